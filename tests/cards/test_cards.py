"""Cards: what the Hub reads of them is valid, foreign text stays text, and pictures are small and always the same."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image

from million_ird.cards import (
    DatasetFacts,
    ModelFacts,
    Threshold,
    WebFacts,
    dataset_card,
    histogram,
    index_card,
    model_card,
)
from million_ird.cards.markdown import size_class

HOSTILE = "x | `rm` <script>alert(1)</script> [a](javascript:b) \n---\nlicense: mit # *"
FACTS = DatasetFacts(
    name=HOSTILE,
    format="parquet",
    inputs=10,
    images=7,
    samples=7,
    bytes=1_000_000,
    reasons={"blur": 2, "contaminated": 1},
    sources=[HOSTILE],
    credits={HOSTILE: 3, "": 4},
    columns={"blur": "sharpness | higher = sharper"},
    config="seed: 0\n",
    version="0.1.0",
)


def head(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_foreign_text_stays_text_on_every_card():
    model = ModelFacts(
        HOSTILE, "dynet", {"dim": HOSTILE}, 1, 1, "0.1.0", adapters=[HOSTILE], licence="", contact=HOSTILE
    )
    for text in (dataset_card(FACTS), index_card(FACTS, 7, 3), model_card(model)):
        about, _, body = text.removeprefix("---\n").partition("\n---")
        body, _, cited = body.partition("## Citation")
        assert cited.count("```") == 2  # it stays within its block
        assert yaml.safe_load(about)["license"] == "other"
        assert "<script>" not in body and not re.search(r"[^\\]\]\(javascript:", body)
        assert "\nlicense: mit" not in body


def test_the_card_of_a_build_has_no_words_on_what_is_not_known():
    text = dataset_card(FACTS)
    assert "## Thresholds" not in text and "## Contamination" not in text and "## From the web" not in text
    assert "dataset_info" not in head(text) and "PATH_OF_THIS_FOLDER" in text


def test_thresholds_pictures_and_contamination_stand_on_the_card():
    facts = replace(
        FACTS,
        thresholds=[Threshold("policy.blur.min", "blur", "min", 80.0)],
        pictures={"blur": "card/blur.png"},
        contamination=["kodak24", "cbsd68"],
    )
    text = dataset_card(facts)
    assert "| `policy.blur.min` | `blur` | at least | 80 |" in text
    assert "![Histogram of blur](card/blur.png)" in text
    assert "Compared with kodak24, cbsd68: 1 images dropped." in text


def test_disobedience_is_on_every_card_of_a_dataset():
    facts = replace(FACTS, web=WebFacts(10, 9, {"http_404": 1}, {}, {"a.test": 9}, 1, "2026-01-01", "2026-01-02", 4))
    for text in (dataset_card(facts), index_card(facts, 7, 3)):
        assert "NOT obeyed for 4 of them" in text


def test_the_parts_of_an_index_are_named_for_the_viewer():
    about = head(index_card(FACTS, 7, 0))
    assert [config["config_name"] for config in about["configs"]] == ["kept"]
    about = head(index_card(replace(FACTS, repo="org/x"), 7, 3))
    assert about["configs"][1]["data_files"] == [{"split": "train", "path": "dropped/*.parquet"}]


@pytest.mark.parametrize(
    ("rows", "name"), [(0, "n<1K"), (1_000, "1K<n<10K"), (999_999, "100K<n<1M"), (10**6, "1M<n<10M"), (10**7, "n>10M")]
)
def test_classes_of_size_are_those_of_the_hub(rows, name):
    assert size_class(rows) == name


def test_a_histogram_is_small_and_the_same_each_time():
    values = np.random.default_rng(0).gamma(2, 50, 10_000)
    first = histogram("blur", values, values > 60, [60.0])
    assert first is not None and first == histogram("blur", values, values > 60, [60.0])
    image = Image.open(io.BytesIO(first))
    assert image.format == "PNG" and len(first) < 8_000


def test_a_histogram_shows_what_is_kept_and_where_the_threshold_lies():
    values = np.concatenate([np.zeros(50), np.ones(50)])
    data = histogram("x", values, values > 0.5, [0.5])
    assert data is not None
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 80).any(axis=0).nonzero()[0]
    red = (pixels[40:, :, 0] - pixels[40:, :, 2] > 80).any(axis=0).nonzero()[0]
    assert blue.min() > pixels.shape[1] / 2 and abs(int(red.mean()) - pixels.shape[1] // 2) < 5


@pytest.mark.parametrize("values", [[3.0], [5.0] * 9, [np.nan, 1.0, np.inf], [1e30, -1e30, 0]])
def test_odd_values_draw_all_the_same(values):
    array = np.array(values)
    assert histogram("x", array, np.ones(len(array), bool), [np.inf])


def test_nothing_measured_draws_nothing():
    assert histogram("x", np.array([np.nan, np.nan]), np.array([True, False])) is None
