"""Benchmarks as they are downloaded: every layout on a tree made here, and what is wrong with a tree is named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from million_ird.errors import InputError
from million_ird.sources import layouts
from million_ird.sources.benchmarks import BENCHMARKS

TREES = {
    # layout, split: [(files, {name of the pair: its clean picture})]
    ("rain100l", "test"): [
        (
            ["rainy/rain-001.png", "rainy/rain-002.png", "gt/norain-001.png", "gt/norain-002.png"],
            {"rainy/rain-001.png": "gt/norain-001.png", "rainy/rain-002.png": "gt/norain-002.png"},
        ),
        (["test/input/1.png", "test/target/1.png", "train/input/2.png"], {"input/1.png": "test/target/1.png"}),
        (["input/rain-001.png", "target/norain-001.png"], {"input/rain-001.png": "target/norain-001.png"}),
        (["rain-1.png", "norain-1.png", "rainstreak-1.png"], {"rain-1.png": "norain-1.png"}),
        (["test/Rain100L/input/1.png", "test/Rain100L/target/1.png"], {"input/1.png": "test/Rain100L/target/1.png"}),
    ],
    ("rain100h", "test"): [
        (["rainy/rain-7.png", "gt/norain-7.png"], {"rainy/rain-7.png": "gt/norain-7.png"}),
        (
            ["rain_heavy_test/rain/X2/norain-001x2.png", "rain_heavy_test/norain/norain-001.png"],
            {"rain/X2/norain-001x2.png": "rain_heavy_test/norain/norain-001.png"},
        ),
    ],
    ("rain100h", "train"): [
        (
            ["train/rainy/rain-7.png", "train/gt/norain-7.png", "test/rainy/rain-8.png", "test/gt/norain-8.png"],
            {"rainy/rain-7.png": "train/gt/norain-7.png"},
        )
    ],
    ("sots", "test"): [
        (
            [
                "outdoor/hazy/0001_0.8_0.2.jpg",
                "outdoor/hazy/0001_0.9_0.1.jpg",
                "outdoor/gt/0001.png",
                "indoor/gt/1.png",
            ],
            {"hazy/0001_0.8_0.2.jpg": "outdoor/gt/0001.png", "hazy/0001_0.9_0.1.jpg": "outdoor/gt/0001.png"},
        ),
        (["input/0001_0.8_0.2.jpg", "target/0001.png"], {"input/0001_0.8_0.2.jpg": "target/0001.png"}),
    ],
    ("ots", "train"): [
        (
            ["synthetic/part1/0005_0.8_0.04.jpg", "synthetic/part2/0005_1_0.2.jpg", "original/0005.jpg"],
            {
                "synthetic/part1/0005_0.8_0.04.jpg": "original/0005.jpg",
                "synthetic/part2/0005_1_0.2.jpg": "original/0005.jpg",
            },
        ),
    ],
    ("gopro", "test"): [
        (
            [
                "test/GOPR0384_11_00/blur/000001.png",
                "test/GOPR0384_11_00/blur_gamma/000001.png",
                "test/GOPR0384_11_00/sharp/000001.png",
                "train/GOPR1/blur/1.png",
                "train/GOPR1/sharp/1.png",
            ],
            {"GOPR0384_11_00/blur/000001.png": "test/GOPR0384_11_00/sharp/000001.png"},
        ),
        (["input/GOPR0384_11_00-000001.png", "target/GOPR0384_11_00-000001.png"], None),
    ],
    ("gopro", "train"): [(["GOPRO_Large/train/G/blur/1.png", "GOPRO_Large/train/G/sharp/1.png"], None)],
    ("hide", "test"): [
        (
            [
                "test/test-close-ups/1.png",
                "test/test-long-shot/2.png",
                "GT/1.png",
                "GT/2.png",
                "GT/3.png",
                "train/3.png",
            ],
            {"test/test-close-ups/1.png": "GT/1.png", "test/test-long-shot/2.png": "GT/2.png"},
        ),
    ],
    ("lolv1", "test"): [
        (["eval15/low/1.png", "eval15/high/1.png", "our485/low/2.png"], {"low/1.png": "eval15/high/1.png"})
    ],
    ("lolv1", "train"): [(["our485/low/2.png", "our485/high/2.png", "eval15/low/1.png"], None)],
    ("lolv2", "test"): [
        (
            ["Real_captured/Test/Low/low00690.png", "Real_captured/Test/Normal/normal00690.png", "Synthetic/a.png"],
            {"Low/low00690.png": "Real_captured/Test/Normal/normal00690.png"},
        )
    ],
    ("lolv2", "train"): [(["Train/Low/r0.png", "Train/Normal/r0.png"], {"Low/r0.png": "Train/Normal/r0.png"})],
    ("bsd68", "test"): [(["test001.png", "test002.png"], {"test001.png": "test001.png", "test002.png": "test002.png"})],
    ("cbsd68", "test"): [
        (["original_png/0000.png", "noisy25/0000.png"], {"0000.png": "original_png/0000.png"}),
        (["101085.png"], {"101085.png": "101085.png"}),
    ],
    ("urban100", "test"): [
        (
            ["image_SRF_4/img_001_SRF_4_HR.png", "image_SRF_4/img_001_SRF_4_LR.png"],
            {"img_001_SRF_4_HR.png": "image_SRF_4/img_001_SRF_4_HR.png"},
        ),
        (["HR/img_001.png"], {"img_001.png": "HR/img_001.png"}),
    ],
    ("wed", "train"): [(["pristine_images/00001.bmp", "support/a.png"], {"00001.bmp": "pristine_images/00001.bmp"})],
    ("snow100k", "test"): [
        (
            [
                "test/Snow100K-L/synthetic/a.jpg",
                "test/Snow100K-L/gt/a.jpg",
                "test/Snow100K-L/mask/a.jpg",
                "test/Snow100K-S/synthetic/b.jpg",
                "test/Snow100K-S/gt/b.jpg",
            ],
            {"synthetic/a.jpg": "test/Snow100K-L/gt/a.jpg"},
        )
    ],
    ("snow100k", "train"): [(["all/synthetic/a.jpg", "all/gt/a.jpg"], {"synthetic/a.jpg": "all/gt/a.jpg"})],
    ("cdd11", "test"): [
        (
            [f"CDD-11_test/{kind}/1.png" for kind in ("clear", "haze", "low", "low_haze_rain", "rain", "low_snow")],
            {
                f"{kind}/1.png": "CDD-11_test/clear/1.png"
                for kind in ("haze", "low", "low_haze_rain", "low_snow", "rain")
            },
        )
    ],
    ("pairs", "test"): [
        (
            ["lq/a.png", "hq/a.png", "lq/sub/b.jpg", "hq/sub/b.png"],
            {"lq/a.png": "hq/a.png", "lq/sub/b.jpg": "hq/sub/b.png"},
        )
    ],
    ("clean", "test"): [
        (["a.png", "sub/b.jpg", "notes.txt", ".hidden.png"], {"a.png": "a.png", "sub/b.jpg": "sub/b.jpg"})
    ],
}
CASES = [
    pytest.param(name, split, files, wanted, id=f"{name}-{split}-{number}")
    for (name, split), trees in TREES.items()
    for number, (files, wanted) in enumerate(trees)
]


def plant(folder, files, size=(8, 8)):
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("no picture")
        else:
            Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
    return folder


def test_every_layout_has_a_tree_here():
    assert {name for name, _ in TREES} == set(layouts.LAYOUTS) == set(BENCHMARKS)


@pytest.mark.parametrize(("name", "split", "files", "wanted"), CASES)
def test_a_download_is_found_as_it_is(tmp_path, name, split, files, wanted):
    plant(tmp_path, files)
    found = layouts.find(name, tmp_path, split)
    pairs = {pair.name: pair.clean.relative_to(tmp_path).as_posix() for pair in found.pairs}
    if wanted is None:
        assert len(pairs) == 1
    else:
        assert pairs == wanted
    assert [pair.name for pair in found.pairs] == sorted(pairs)
    assert (found.missing, found.surplus) == ([], [])
    for pair in found.pairs:
        file = pair.clean if pair.degraded is None else pair.degraded
        assert file == found.root / pair.name
        assert file.is_file()
    assert layouts.mismatched(found.pairs) == []


@pytest.mark.parametrize("name", ["bsd68", "cbsd68", "urban100", "wed", "clean"])
def test_clean_sets_have_nothing_degraded(tmp_path, name):
    plant(tmp_path, ["a.png"])
    assert [pair.degraded for pair in layouts.find(name, tmp_path).pairs] == [None]


def test_names_are_the_same_wherever_the_set_lies(tmp_path):
    plant(tmp_path, ["Rain100L/test/input/1.png", "Rain100L/test/target/1.png"])
    names = [
        [pair.name for pair in layouts.find("rain100l", tmp_path / below).pairs]
        for below in ("", "Rain100L", "Rain100L/test")
    ]
    assert names == [["input/1.png"]] * 3


def test_halves_without_the_other_half_are_named(tmp_path):
    plant(tmp_path, ["rainy/rain-1.png", "rainy/rain-81.png", "gt/norain-1.png", "gt/norain-9.png"])
    found = layouts.find("rain100l", tmp_path)
    assert (found.missing, found.surplus) == (["rainy/rain-81.png"], ["gt/norain-9.png"])
    assert [pair.name for pair in found.pairs] == ["rainy/rain-1.png"]
    assert found.published == 100


def test_of_two_clean_pictures_the_one_of_the_same_kind_is_meant(tmp_path):
    plant(tmp_path, ["lq/a.png", "hq/a.jpg", "hq/a.png"])
    found = layouts.find("pairs", tmp_path)
    assert found.pairs[0].clean.name == "a.png"
    assert found.surplus == ["hq/a.jpg"]


def test_files_that_do_not_fit_each_other_are_named(tmp_path):
    plant(tmp_path, ["lq/a.png", "lq/b.png", "hq/b.png"])
    plant(tmp_path, ["hq/a.png"], size=(8, 9))
    (tmp_path / "hq" / "b.png").write_bytes(b"no picture")
    wrong = layouts.mismatched(layouts.find("pairs", tmp_path).pairs)
    assert wrong[0] == "lq/a.png: degraded 8x8, clean 9x8 px"
    assert wrong[1].startswith("lq/b.png: b.png: unsupported")
    assert len(wrong) == 2


@pytest.mark.parametrize(
    "name", [name for name in BENCHMARKS if name not in ("clean", "bsd68", "cbsd68", "urban100", "wed")]
)
def test_another_tree_is_refused_with_the_one_that_is_expected(tmp_path, name):
    plant(tmp_path, ["elsewhere/a.png"])
    with pytest.raises(InputError) as caught:
        layouts.find(name, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert BENCHMARKS[name].tree in str(caught.value)


def test_wrong_words_are_refused(tmp_path):
    with pytest.raises(InputError, match="layout rain100: unknown; known: rain100l"):
        layouts.find("rain100", tmp_path)
    with pytest.raises(InputError, match="split val: unknown"):
        layouts.find("pairs", tmp_path, "val")
    with pytest.raises(InputError, match="no such folder"):
        layouts.find("pairs", tmp_path / "nowhere")


def test_known_leaks_are_said(tmp_path):
    plant(tmp_path, ["low/1.png", "high/1.png", "rainy/rain-1.png", "gt/norain-1.png"])
    assert any("LOLv2" in note for note in layouts.find("lolv1", tmp_path).notes)
    assert any("BSD" in note for note in layouts.find("rain100l", tmp_path).notes)
