"""The contact sheet and its page: what they show, and that a file's name cannot do anything on it."""

from __future__ import annotations

import html
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from million_ird.degrade.labels import colours
from million_ird.errors import ConfigError, InputError
from million_ird.pairs.charts import chart, parameters
from million_ird.pairs.preview import preview, spread, telling
from million_ird.pairs.settings import as_config, completed
from tests.pairs.conftest import RECIPE, SETTINGS


def settings(source: Path, **fields):
    return completed(as_config({**SETTINGS, **fields}), source)


@pytest.fixture(scope="module")
def made(clean, tmp_path_factory):
    return preview(settings(clean), tmp_path_factory.mktemp("preview") / "grid.png")


def test_the_sheet_shows_input_result_and_mask_with_a_legend(made):
    survey, png, _ = made
    image = np.asarray(Image.open(png))
    assert image.shape[1] > 3 * 300
    shown = {tuple(colour) for colour in image.reshape(-1, 3)[::3].tolist()}
    assert {tuple(colours()[bit + 1].tolist()) for bit in range(3)} <= shown
    assert {label for shot in survey.shots[:6] for label in shot.labels} == {"noise", "speckle", "impulse"}


def test_the_page_tells_of_64_samples_and_names_what_could_not_be_used(made):
    survey, _, page = made
    text = page.read_text("ascii")
    assert len(survey.shots) >= 64 * 8 // 11
    assert f"{len(survey.shots)} samples of 8 images, crops of 64 px, seed 5" in text
    assert {uri for uri, _ in survey.skipped} == {"cut.jpg", "small.png", "text.jpg"}
    assert all(f"<li>{uri}: " in text for uri, _ in survey.skipped)
    for name in ("GaussianNoise.sigma", "CutMix.shares", "ImpulseNoise.amount", "PSNR of the whole picture"):
        assert name in text
    assert text.count("data:image/jpeg;base64,") == 3 * 12
    assert "CutMix.seed" not in text


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value for name, value in attrs if name in ("src", "href")]


def test_no_file_name_gets_out_of_its_place_on_the_page(clean, tmp_path):
    evil = ["<script>alert(1)<", '"><img src=x onerror=alert(1)>.png', "'&lt;b onload=1.png", "</title><svg onload=1>"]
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate(evil):
        name = name.replace("/", "\u2215")
        shutil.copy(clean / "a.png", folder / (name if number else f"{name}.png"))
    (folder / "<b>bad.jpg").write_text("no picture")
    recipe = {**RECIPE, "name": "</title><script>alert(2)</script>", "about": "<iframe src=//evil.example>"}
    _, _, path = preview(settings(folder, recipe=recipe), tmp_path / "grid.png")
    text = path.read_text("ascii")
    page = Page()
    page.feed(text)
    assert not page.tags & {"script", "iframe", "object", "b", "link"}
    assert not {name for name in page.attributes if name.startswith("on")}
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert html.escape("<b>bad.jpg") in text
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in text
    assert str(tmp_path) not in text


def test_a_png_is_asked_for_and_an_image_is_needed(clean, tmp_path):
    with pytest.raises(ConfigError, match=r"the sheet is a \.png"):
        preview(settings(clean), tmp_path / "grid.jpg")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.jpg").write_text("no picture")
    with pytest.raises(InputError, match=r"no image can be used; the first: x\.jpg: unsupported"):
        preview(settings(tmp_path / "bad"), tmp_path / "grid.png")


def test_samples_that_show_something_new_come_first(made):
    survey, _, _ = made
    first = telling(survey.shots)[:8]
    assert len({shot.uri for shot in first}) == 8
    assert spread(list(range(100)), 4) == [0, 25, 50, 75]
    assert spread([1, 2], 4) == [1, 2]


def test_charts_hold_every_kind_of_value():
    steps = [{"op": "A", "params": {"x": 1.5, "kind": "<b>", "on": True, "seed": 3, "list": [1, 2]}}]
    found = parameters([{"steps": [{"op": "C", "params": {}, "branches": [steps, steps]}]}])
    assert found == {"A.x": [1.5] * 2, "A.kind": ["<b>"] * 2, "A.on": [True] * 2, "A.list": [1, 2, 1, 2]}
    assert "always 1.5" in chart(found["A.x"])
    assert "&lt;b&gt; 100 %" in chart(found["A.kind"])
    assert "True 100 %" in chart(found["A.on"])
    heights = [float(value) for value in re.findall(r'height="([\d.]+)"><title>', chart([0, 1, 1, 2]))]
    assert max(heights) == 2 * sorted(set(heights))[1]
    assert "no finite value" in chart([float("inf")])
