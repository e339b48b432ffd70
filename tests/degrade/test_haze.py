"""Haze: that it is the scattering model, and where its distances come from."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from million_ird.degrade.haze import THRESHOLD
from million_ird.degrade.light import to_linear
from million_ird.degrade.op import Params, to_float
from million_ird.degrade.registry import find
from million_ird.degrade.run import degrade
from million_ird.errors import ConfigError, InputError
from million_ird.rng import rng_for

Picture = NDArray[Any]
Haze = find("Haze")


@pytest.fixture(scope="module")
def small(photo: Picture) -> Any:
    return cv2.resize(photo, (192, 160), interpolation=cv2.INTER_AREA)


def drawn(op: Any, image: Picture, seed: int = 3) -> Params:
    return op.draw(rng_for(seed, "test"), (image.shape[0], image.shape[1]))


@pytest.mark.parametrize("space", ["srgb", "linear"])
def test_haze_is_inverted_by_its_transmission(space: str, small: Picture) -> None:
    clean = to_float(small)
    params = drawn(Haze(space=space, beta=1.2), small)
    hazy, _ = Haze.render(clean, params)
    t = Haze.transmission(clean, params)[:, :, None]
    air = np.asarray(params["airlight"], np.float32)
    if space == "linear":
        clean, hazy, air = to_linear(clean), to_linear(hazy), to_linear(air)
    assert np.abs((hazy - air * (1 - t)) / t - clean).max() < 2e-5
    assert params["t_min"] <= t.min() and t.max() <= 1


def test_flat_haze_is_beer_and_lambert() -> None:
    image = np.full((32, 32, 3), 0.2, np.float32)
    params = drawn(Haze(depth="flat", heterogeneity=0, beta=0.7, tint=0, airlight=0.9), np.zeros((32, 32, 3), np.uint8))
    out, support = Haze.apply(image, params)
    assert out == pytest.approx(0.2 * np.exp(-0.7) + 0.9 * (1 - np.exp(-0.7)), abs=1e-6)
    assert (support == round(255 * (1 - np.exp(-0.7)))).all()


def test_haze_too_thin_to_see_changes_and_labels_nothing(tmp_path: Path, small: Picture) -> None:
    ramp = np.tile(np.linspace(0, 1, small.shape[1], dtype=np.float32), (small.shape[0], 1))
    np.save(tmp_path / "d.npy", ramp)
    op = Haze(depth=f"file:{tmp_path}/d.npy", heterogeneity=0, beta=0.2, airlight=1)
    for space in ("srgb", "linear"):
        params = drawn(op, small) | {"space": space}
        out, support = Haze.apply(to_float(small), params)
        t = Haze.transmission(small, params)
        clean = 1 - np.exp(-0.2 * ramp) < THRESHOLD - 1e-6
        assert clean.any() and (support[clean] == 0).all() and (t[clean] == 1).all()
        assert np.array_equal(out[clean], to_float(small)[clean])
        assert (support[1 - np.exp(-0.2 * ramp) > THRESHOLD + 1e-4] > 0).all()
        assert np.abs(np.diff(t, axis=1)).max() < 0.01


def test_guessed_distances_grow_upwards_and_follow_edges() -> None:
    image = np.full((256, 256, 3), (90, 90, 90), np.uint8)
    t = [Haze.transmission(image, drawn(Haze(beta=1, heterogeneity=0), image, seed)) for seed in range(8)]
    rows = np.mean(t, axis=0).mean(axis=1)
    assert rows[20] < rows[128] < rows[-20]


@pytest.mark.parametrize("kind", ["npy", "png16", "png8"])
def test_a_given_depth_map_is_used(kind: str, tmp_path: Path, small: Picture) -> None:
    depth = np.tile(np.linspace(0.2, 1, 96, dtype=np.float32), (80, 1))
    if kind == "npy":
        np.save(tmp_path / "cat.npy", depth)
    else:
        top, dtype = (65535, np.uint16) if kind == "png16" else (255, np.uint8)
        cv2.imwrite(str(tmp_path / "cat.png"), np.rint(depth * top).astype(dtype))
    suffix = "npy" if kind == "npy" else "png"
    op = Haze(depth=f"file:{tmp_path}/{{stem}}.{suffix}", beta=1, heterogeneity=0)
    out = degrade(op, small, 0, "cat.jpg", 0)
    assert out.trace["steps"][0]["params"]["depth"].endswith(f"cat.{suffix}")
    t = Haze.transmission(small, out.trace["steps"][0]["params"])
    expected = np.exp(-cv2.resize(depth, (192, 160)))
    assert np.abs(t - expected).max() < (0.005 if kind == "png8" else 0.001)


def test_a_depth_estimator_is_called_by_its_import_path(monkeypatch: pytest.MonkeyPatch, small: Picture) -> None:
    module: Any = types.ModuleType("my_depth_for_test")
    module.near_left = lambda image: np.tile(np.linspace(0, 1, image.shape[1]), (image.shape[0], 1))
    monkeypatch.setitem(sys.modules, "my_depth_for_test", module)
    t = Haze.transmission(small, drawn(Haze(depth="my_depth_for_test:near_left", heterogeneity=0), small))
    assert (t[:, 0] == 1).all() and (np.diff(t, axis=1) <= 0).all() and t[0, -1] < 0.7


def test_wrong_depths_are_named(tmp_path: Path, small: Picture) -> None:
    with pytest.raises(ValidationError, match="expected pseudo, flat"):
        Haze(depth="midas")
    with pytest.raises(InputError, match=r"none\.npy"):
        Haze.apply(small, drawn(Haze(depth=f"file:{tmp_path}/none.npy"), small))
    with pytest.raises(ConfigError, match="no_such_package_here"):
        Haze.apply(small, drawn(Haze(depth="no_such_package_here:f"), small))
    np.save(tmp_path / "minus.npy", np.full((4, 4), -1, np.float32))
    with pytest.raises(InputError, match="negative"):
        Haze.apply(small, drawn(Haze(depth=f"file:{tmp_path}/minus.npy"), small))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"text\.png"):
        Haze.apply(small, drawn(Haze(depth=f"file:{tmp_path}/text.png"), small))
