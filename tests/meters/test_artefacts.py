"""The artefact meter: any size, the same twice; sees plain degradations; refuses other files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from million_ird import degrade as D
from million_ird.errors import ConfigError
from million_ird.images import decode
from million_ird.meters import Frame, Meter
from million_ird.meters.artefacts import _SHIPPED, COLUMNS, GRID, SIDE, Artefacts, patches
from million_ird.rng import rng_for
from million_ird.train.detectors.artefacts.export import to_onnx
from million_ird.train.detectors.artefacts.net import Estimator

shipped = pytest.mark.skipif(not _SHIPPED.is_file(), reason="no network ships: `mird train detectors` makes one")

SIDES = ((96, 96), (96, 5000), (5000, 97), (512, 300), (700, 900))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A network that has learnt nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    path.write_bytes(to_onnx(Estimator().eval(), {}))
    return str(path)


@pytest.mark.parametrize("shape", SIDES, ids=str)
def test_any_size_gives_numbers_in_their_ranges(shape, model):
    meter = Artefacts(model=model)
    random = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for rgb in (np.zeros_like(random), np.full_like(random, 255), random):
        found = dict(zip(COLUMNS, meter(Frame(rgb)), strict=True))
        assert all(type(value) is float and math.isfinite(value) for value in found.values())
        assert found["artefacts_noise"] >= 0 and found["artefacts_blur"] >= 0 and found["artefacts_upscale"] >= 1
        assert 1 <= found["artefacts_quality"] <= 100
        assert all(0 <= value <= 1 for value in list(found.values())[7:] + list(found.values())[3:6])


@pytest.mark.parametrize("shape", [(1, 1), (95, 400), (400, 95), (1, 5000)], ids=str)
def test_what_is_too_small_has_no_values(shape, model):
    assert Artefacts(model=model)(Frame(np.zeros((*shape, 3), np.uint8))) == (None,) * len(COLUMNS)


def test_it_changes_nothing_and_repeats_itself(photo, model):
    meter, before = Artefacts(model=model), photo.copy()
    assert isinstance(meter, Meter)
    assert meter(Frame(photo)) == meter(Frame(photo)) == Artefacts(model=model)(Frame(before))
    np.testing.assert_array_equal(photo, before)


def test_every_column_says_its_range_and_direction():
    for column, text in COLUMNS.items():
        assert "higher" in text and any(digit.isdigit() for digit in text), column


def test_patches_come_from_all_ninths_and_begin_on_the_grid():
    rows, columns = np.mgrid[:600, :900]
    where = np.stack([rows // 8, columns // 8, np.zeros_like(rows)], 2).astype(np.uint8)
    found = patches(where, rng_for(0, "patches"))
    assert found.shape == (9, 3, SIDE, SIDE) and found.dtype == np.uint8
    corners = found[:, :2, 0, 0].astype(int) * GRID
    # Had a patch begun off the grid, its second value would differ before the eighth pixel.
    assert all((patch[:2, :GRID, :GRID] == patch[:2, :1, :1]).all() for patch in found)
    for number, (top, left) in enumerate(corners):
        assert (top * 3 // 504, left * 3 // 804) == divmod(number, 3)


@shipped
def test_it_sees_how_much_noise_and_which_quality(real):
    pictures = [decode(path.read_bytes()).rgb for path in sorted(real("kodak24").iterdir())[:8]]
    meter, names = Artefacts(), list(COLUMNS)

    def off(op: D.Op, column: str, truth: float) -> float:  # type: ignore[name-defined]
        chain = D.Compose([op, D.JPEG(quality=95)]) if column == "artefacts_quality" else op
        found = [meter(Frame(chain(p, seed=1, image_id=str(n)).lq)) for n, p in enumerate(pictures)]
        return float(np.mean([abs(row[names.index(column)] - truth) for row in found]))  # type: ignore[operator]

    assert all(off(D.GaussianNoise(sigma=sigma), "artefacts_noise", sigma) < 4 for sigma in (10, 30, 45))
    assert all(off(D.JPEG(quality=quality), "artefacts_quality", quality) < 10 for quality in (20, 50, 80))


@shipped
def test_it_tells_enlarged_from_untouched_photos(real):
    pictures = [decode(path.read_bytes()).rgb for path in sorted(real("kodak24").iterdir())[:8]]
    meter, at = Artefacts(), list(COLUMNS).index("artefacts_upscaled")
    clean = [meter(Frame(picture))[at] for picture in pictures]
    twice = [meter(Frame(D.Resize(scale=0.5)(picture, seed=0).lq))[at] for picture in pictures]
    assert min(twice) > 0.5 > np.median(clean)  # type: ignore[type-var]


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"artefacts.model: .*none.onnx does not exist"):
        Artefacts(model=str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(ConfigError, match=r"bad.onnx is no ONNX network"):
        Artefacts(model=str(tmp_path / "bad.onnx"))


@shipped
def test_the_shipped_network_is_small_and_has_its_card_and_log():
    assert _SHIPPED.stat().st_size < 400_000
    card = _SHIPPED.with_suffix(".md").read_text(encoding="utf-8")
    assert "sha256" in card and Path(_SHIPPED.with_suffix(".jsonl")).read_text(encoding="utf-8").startswith('{"step"')
