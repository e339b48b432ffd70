"""`mird restore --suggest`: what is seen in pictures, and which adapters are for it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from million_ird import degrade as D
from million_ird.degrade.recipe import builtin
from million_ird.meters.artefacts import _SHIPPED, COLUMNS
from million_ird.restore.suggest import NAMES, degradations, mixture, suggest
from tests.cli.calls import inside

shipped = pytest.mark.skipif(not _SHIPPED.is_file(), reason="no network ships: `mird train detectors` makes one")

NOTHING = {name.removeprefix("artefacts_"): 0.0 for name in COLUMNS} | {"quality": 98.0, "upscale": 1.0}


@pytest.fixture(scope="module")
def pictures(photo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(D.GaussianNoise(sigma=35)(photo, seed=0).lq).save(folder / "noisy.png")
    Image.fromarray(photo[:40, :40]).save(folder / "small.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_only_what_is_strong_enough_counts():
    assert degradations(NOTHING) == {}
    found = degradations(NOTHING | {"noise": 24.6, "quality": 41.0, "rain": 0.9, "haze": 0.3})
    assert found == {"noise": "sigma 25", "jpeg": "quality 41", "rain": "0.90"}
    found = degradations(NOTHING | {"gaussian": 0.2, "motion": 0.6, "blur": 3.21, "upscaled": 0.7, "upscale": 2.04})
    assert found == {"blur": "motion, 3.2 px", "upscaled": "x2.0"}
    assert degradations(NOTHING | {"gaussian": 0.9, "blur": 0.1, "upscaled": 0.9, "upscale": 1.1}) == {}


def test_adapters_are_found_by_what_they_are_called():
    seen = {"noise": "sigma 25", "rain": "0.90"}
    assert mixture(seen, ["Derain", "haze", "noise"]) == "Derain:0.5,noise:0.5"
    assert mixture(seen, ["rain", "haze"]) == "rain"
    assert mixture(seen, ["haze"]) == mixture({}, ["rain"]) == mixture(seen, []) == ""


def test_what_is_proposed_are_recipes_that_there_are():
    assert {names[0] for names in NAMES.values()} <= set(builtin())


@shipped
def test_noise_is_seen_and_what_cannot_be_looked_at_is_named(pictures):
    told = []
    found = {one.uri: one for one in suggest([str(pictures)], ["denoise", "derain"], told.append)}
    assert [one.uri for one in told] == list(found)
    assert found["noisy.png"].seen["noise"].startswith("sigma 3") and "denoise" in found["noisy.png"].adapters
    assert found["small.png"].status == "too_small" and found["notes.txt"].status == "unsupported"
    assert not found["small.png"].seen and found["noisy.png"].values["noise"] == pytest.approx(35, abs=5)


@shipped
def test_the_command_needs_no_network_and_writes_nothing(pictures):
    before = sorted(pictures.iterdir())
    done = inside("restore", pictures, "--suggest", "--json")
    assert done.returncode == 0, done.stderr
    shown = {one["uri"]: one for one in json.loads(done.stdout)["pictures"]}
    assert "noise" in shown["noisy.png"]["seen"] and "notes.txt: unsupported" in done.stderr
    assert "denoise" in inside("restore", pictures / "noisy.png", "--suggest").stdout
    assert inside("restore", pictures, "--suggest", "--strict").returncode == 3
    assert inside("restore", pictures / "small.png", "--suggest").returncode == 1
    assert sorted(pictures.iterdir()) == before


def test_no_pictures_and_an_output_are_told(pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    nothing = inside("restore", tmp_path / "empty", "--suggest")
    assert nothing.returncode == 2 and "no pictures in" in nothing.stderr
    written = inside("restore", pictures, "--suggest", "--out", tmp_path / "out")
    assert written.returncode == 2 and "--suggest writes nothing" in written.stderr


def test_without_it_network_and_folder_are_asked_for(pictures, tmp_path):
    for words, name in ((["--out", tmp_path / "out"], "--model"), (["--model", "tiny"], "--out")):
        done = inside("restore", pictures, *words)
        assert done.returncode == 2 and name in done.stderr and "Traceback" not in done.stderr
    assert np.asarray(Image.open(pictures / "noisy.png")).shape == (512, 512, 3)
