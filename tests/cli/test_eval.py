"""`mird eval`: what it prints, what it writes, what it exits with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from million_ird import models
from tests.cli.calls import inside


def evaluated(*words):
    return inside(*words, *([] if "--help" in words else ["--no-malloc-tuning"]))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Networks that change nothing."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    net = models.create("dynet-tiny", dim=8, refinement=1)
    torch.nn.init.zeros_(net.output.weight)
    net.save_pretrained(folder / "identity")
    net = models.create("abair-tiny", dim=8, refinement=1)
    torch.nn.init.zeros_(net.output.weight)
    net.add_adapter("rain")
    net.add_adapter("haze")
    net.save_pretrained(folder / "abair")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name, photo in {"a": data.astronaut(), "b": data.coffee()}.items():
        Image.fromarray(np.ascontiguousarray(photo[100:137, 100:145])).save(folder / f"{name}.png")
    return folder


def test_help_has_an_example():
    done = evaluated("eval", "--help")
    assert done.returncode == 0
    assert "Example: mird eval" in done.stdout


@pytest.mark.parametrize("protocol", ["strict", "published"])
def test_a_network_is_scored_and_the_protocol_says_what_it_does(model, photos, tmp_path, protocol):
    done = evaluated(
        *("eval", "--model", model / "identity", "--on", f"photos={photos},sigma=25,variant=s", "--json"),
        *("--on", f"hazy={photos},recipe=dehaze,limit=1", "--protocol", protocol, "--out", tmp_path / "t.json"),
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["protocol"]["about"] in done.stderr
    assert [one["name"] for one in value["sets"]] == ["photos, sigma 25, s", "hazy, dehaze, first 1"]
    for one in value["sets"]:
        assert one["mean"]["output"]["psnr"] == pytest.approx(one["mean"]["input"]["psnr"], abs=0.02)
    written = json.loads((tmp_path / "t.json").read_text())
    assert [len(one["per_image"]) for one in written["sets"]] == [2, 1]
    size = {"strict": (45, 37), "published": (32, 32)}[protocol]
    first = written["sets"][0]["per_image"][0]
    assert (first["width"], first["height"]) == size
    assert all((tmp_path / f"t.{suffix}").stat().st_size for suffix in ("csv", "md", "tex"))
    assert len(list((tmp_path / "t_crops").iterdir())) == 4


def test_the_table_is_printed(model, photos, tmp_path):
    call = ["eval", "--model", model / "identity", "--on", f"photos={photos},sigma=25", "--no-crops", "--mode", "tile"]
    done = evaluated(*call, "--metrics", "niqe", "--out", tmp_path / "t.json", "--tile", "16", "--overlap", "4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("set ")
    assert "niqe" in done.stdout
    assert "2 pictures were restored in tiles" in done.stderr
    assert "2 pictures were restored in tiles" in (tmp_path / "t.md").read_text()
    assert not (tmp_path / "t_crops").exists()


def test_every_way_to_blend_adapters_is_a_row(model, photos, tmp_path):
    ways = ["oh", "sw", "none", "rain", "rain:0.5+haze:0.5"]
    on = [word for way in ways for word in ("--on", f"p={photos},sigma=25,limit=1,adapter={way}")]
    done = evaluated("eval", "--model", model / "abair", *on, "--no-crops", "--json", "--out", tmp_path / "t.json")
    assert done.returncode == 0, done.stderr
    names = [one["name"] for one in json.loads(done.stdout)["sets"]]
    assert names == [f"p, sigma 25, first 1, {way}" for way in ways]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--on", "PHOTOS,sigma=25", "--out", "t.txt"], "ends in .json"),
        (["--on", "PHOTOS,sigma=25", "--out", "t.json", "--metrics", "psnrr"], "metric psnrr: unknown"),
        (["--on", "PHOTOS", "--out", "t.json"], "add ,sigma=25"),
        (["--on", "PHOTOS,sigma=25", "--on", "PHOTOS,sigma=25", "--out", "t.json"], "given twice"),
        (["--on", "PHOTOS,sigma=25,adapter=sw", "--out", "t.json"], "no adapters"),
        (["--on", "PHOTOS,sigma=25,variant=xl", "--out", "t.json"], "variant"),
        (["--on", "PHOTOS,recipe=deraim", "--out", "t.json"], "did you mean 'derain'"),
        (["--on", "PHOTOS,sigma=25", "--out", "t.json", "--ledger", "nowhere"], "nowhere: no ledger here"),
        (["--on", "nowhere=nowhere,sigma=25", "--out", "t.json"], "nowhere: no such folder"),
    ],
)
def test_a_wrong_call_is_one_line(model, photos, words, message):
    words = [word.replace("PHOTOS", f"p={photos}") for word in words]
    done = evaluated("eval", "--model", model / "identity", *words)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
