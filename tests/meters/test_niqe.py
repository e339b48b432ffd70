"""NIQE: agrees with the published scores and with a slow reading of the paper, and never fails on a picture."""

from __future__ import annotations

import importlib.util
import json
import tracemalloc
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, special
from scipy.io import savemat

from million_ird.errors import ConfigError
from million_ird.meters import Frame, Meter, create, niqe
from million_ird.meters.niqe import Niqe, pristine
from million_ird.meters.nss import features

# pyiqa 0.1.16, metric "niqe" with its defaults.
PUBLISHED = {
    "iqa/image1.bmp": 5.029,
    "iqa/image2.bmp": 17.837,
    "iqa/image3.bmp": 7.995,
    "iqa/image4.bmp": 2.657,
    "kodak24/01.png": 3.449,
    "kodak24/02.png": 3.468,
    "kodak24/03.png": 4.251,
    "kodak24/04.png": 2.453,
    "kodak24/05.png": 2.856,
}


def score(rgb: NDArray[np.uint8], model: str = "million-ird") -> float | None:
    (value,) = Niqe(model=model, fewest=2)(Frame(np.ascontiguousarray(rgb)))
    return value


def number(rgb: NDArray[np.uint8]) -> float:
    value = score(rgb)
    assert value is not None
    return value


def blurred(rgb: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    return cv2.GaussianBlur(rgb, (0, 0), sigma).astype(np.uint8, copy=False)


# ---- a slow reading of the paper, in float64 and without any of the shortcuts


def slow_aggd(z: NDArray[np.float64]) -> tuple[float, float, float]:
    shapes = np.arange(0.2, 10.0005, 0.001)
    ratios = special.gamma(2 / shapes) ** 2 / (special.gamma(1 / shapes) * special.gamma(3 / shapes))
    left, right = (np.sqrt((z[side] ** 2).mean()) for side in (z < 0, z > 0))
    skew = left / right
    ratio = np.abs(z).mean() ** 2 / (z**2).mean() * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = shapes[np.argmin((ratios - ratio) ** 2)]
    to_scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * to_scale, right * to_scale


def slow_block(block: NDArray[np.float64]) -> list[float]:
    shape, left, right = slow_aggd(block)
    out = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = slow_aggd(block * np.roll(block, shift, axis=(0, 1)))
        out += [shape, (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape), left, right]
    return out


def slow_half(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    distance = np.abs(np.arange(8) - 3.5) / 2
    near, far = 1.5 * distance**3 - 2.5 * distance**2 + 1, -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance <= 1, near, far) / 2
    for _ in range(2):
        padded = np.pad(plane, ((3, 3), (0, 0)), mode="symmetric")
        plane = np.sum([w * padded[k : k + len(plane) : 2] for k, w in enumerate(weights)], axis=0).T
    return plane


def slow_features(luma: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows, columns = (side // 96 for side in luma.shape)
    plane = luma[: rows * 96, : columns * 96].astype(np.float64)
    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window /= window.sum()

    def local(values: NDArray[np.float64]) -> NDArray[np.float64]:
        down = ndimage.correlate1d(values, window, axis=0, mode="nearest")
        return ndimage.correlate1d(down, window, axis=1, mode="nearest")

    scales = []
    for side in (96, 48):
        mean = local(plane)
        x = (plane - mean) / (np.sqrt(np.abs(local(plane**2) - mean**2)) + 1)
        x[np.abs(x) < 1e-9] = -1e-30  # flat: what is left there is rounding
        blocks = [x[i * side :, j * side :][:side, :side] for i in range(rows) for j in range(columns)]
        scales.append([slow_block(block) for block in blocks])
        plane = slow_half(plane)
    return np.concatenate(scales, axis=1)


@pytest.mark.parametrize("crop", [(512, 512), (333, 490), (100, 500), (480, 97)])
def test_equals_the_slow_reading_of_the_paper(photo: NDArray[np.uint8], crop: tuple[int, int]) -> None:
    rgb = photo[: crop[0], -crop[1] :]
    slow = slow_features(Frame(np.ascontiguousarray(rgb)).luma)
    model = pristine()
    apart = slow.mean(axis=0) - model.mean
    expected = np.sqrt(apart @ np.linalg.pinv((model.covariance + np.cov(slow, rowvar=False)) / 2) @ apart)
    assert score(rgb) == pytest.approx(expected, rel=1e-3)


def test_the_statistics_of_each_block_equal_the_slow_ones() -> None:
    rng = np.random.default_rng(5)
    noise = cv2.GaussianBlur(rng.normal(128, 200, (400, 300)), (0, 0), 1.5).clip(1, 254).round().astype(np.uint8)
    np.testing.assert_allclose(features(noise), slow_features(noise), atol=2e-3)


# ---- promises


@pytest.mark.parametrize("name", PUBLISHED)
def test_agrees_with_pyiqa_on_the_published_parameters(real, name: str) -> None:
    parameters = real("iqa") / "niqe_pris_params.npz"
    with Image.open(real(name)) as image:
        rgb = np.asarray(image.convert("RGB"))
    assert score(rgb, str(parameters)) == pytest.approx(PUBLISHED[name], rel=0.002)


def test_a_handful_of_blocks_gives_no_score_unless_asked(photo: NDArray[np.uint8]) -> None:
    small = Frame(np.ascontiguousarray(photo[:288, :288]))
    assert Niqe()(small) == (None,)
    assert Niqe(fewest=9)(small)[0] is not None


def test_a_large_picture_is_scored_by_some_of_its_blocks(photo: NDArray[np.uint8]) -> None:
    large = Frame(np.tile(photo, (2, 3, 1)))
    (some,), (all_of_them,) = Niqe()(large), Niqe(blocks=None)(large)
    assert some != all_of_them
    assert some == pytest.approx(all_of_them, rel=0.5)


def test_more_blur_is_worse(photo: NDArray[np.uint8]) -> None:
    scores = [number(photo), *(number(blurred(photo, sigma)) for sigma in (1, 2, 4))]
    assert scores == sorted(scores)
    assert scores[-1] > 2 * scores[0]


def test_more_noise_is_worse(photo: NDArray[np.uint8]) -> None:
    noise = np.random.default_rng(0).normal(size=photo.shape)
    noisy = [(photo + sigma * noise).clip(0, 255).astype(np.uint8) for sigma in (10, 25, 50)]
    scores = [number(photo), *(number(rgb) for rgb in noisy)]
    assert scores == sorted(scores)
    assert scores[-1] > 3 * scores[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (95, 400), (400, 95), (96, 96), (191, 191)])
def test_a_picture_smaller_than_two_blocks_has_no_score(size: tuple[int, int]) -> None:
    assert score(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)) is None


@pytest.mark.parametrize("size", [(96, 192), (192, 96), (97, 2000), (1100, 100)])
def test_two_blocks_are_enough(size: tuple[int, int]) -> None:
    assert number(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)) > 10


@pytest.mark.parametrize("value", [0, 1, 127, 200, 255])
def test_a_constant_picture_has_no_score(value: int) -> None:
    assert score(np.full((300, 400, 3), value, np.uint8)) is None


def test_flat_blocks_are_left_out(photo: NDArray[np.uint8]) -> None:
    wide = np.concatenate([photo[:480, :480], np.full((480, 480, 3), 255, np.uint8)], axis=1)
    blocks = np.isfinite(features(Frame(wide).luma)).all(axis=1).reshape(5, 10)
    assert blocks[:, :5].all()
    assert not blocks[:, 6:].any()
    assert number(wide) < 10


def test_what_lies_beyond_the_last_whole_block_does_not_count(photo: NDArray[np.uint8]) -> None:
    assert score(photo) == score(photo[:480, :480])


def test_a_score_does_not_depend_on_what_was_measured_before(photo: NDArray[np.uint8]) -> None:
    first = number(photo)
    number(np.random.default_rng(0).integers(0, 256, (700, 300, 3), dtype=np.uint8))
    assert number(photo) == first


def test_memory_stays_bounded_on_a_large_picture() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (4000, 6000), dtype=np.uint8)
    tracemalloc.start()
    features(luma)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


def test_it_is_a_meter_of_one_column(photo: NDArray[np.uint8]) -> None:
    meter = create("niqe")
    assert isinstance(meter, Meter)
    assert list(meter.columns) == ["iqa"]
    assert len(meter(Frame(photo))) == 1


# ---- models


def test_the_shipped_model_is_a_gaussian_of_freely_licensed_photos() -> None:
    model = pristine()
    np.testing.assert_array_equal(model.covariance, model.covariance.T)
    assert np.linalg.eigvalsh(model.covariance)[0] > 0
    with np.load(Path(niqe.__file__).parent / "weights" / "niqe.npz") as file:
        provenance = json.loads(str(file["provenance"]))
    assert set(provenance["sets"]) <= {"cid22", "kodak24", "clic2025"}
    assert provenance["sharp_blocks"] > 500


def test_a_matlab_file_serves_as_well(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    path = tmp_path / "modelparameters.mat"
    savemat(path, {"mu_prisparam": pristine().mean[None], "cov_prisparam": pristine().covariance})
    assert score(photo, str(path)) == pytest.approx(score(photo))


def wrong_files(folder: Path) -> dict[str, Path]:
    model = pristine()
    paths = {name: folder / name for name in ("none.npz", "text.npz", "cut.npz", "empty.mat", "names.npz")}
    paths["text.npz"].write_text("mu: 1")
    paths["cut.npz"].write_bytes(b"PK\x03\x04 cut off")
    paths["empty.mat"].write_bytes(b"")
    np.savez(paths["names.npz"], mean=model.mean, covariance=model.covariance)
    arrays = {
        "short.npz": (model.mean[:18], model.covariance),
        "nan.npz": (model.mean * np.nan, model.covariance),
        "skew.npz": (model.mean, np.triu(model.covariance)),
        "singular.npz": (model.mean, np.ones((36, 36))),
        "words.npz": (np.array(["a"] * 36), model.covariance),
    }
    for name, (mean, covariance) in arrays.items():
        paths[name] = folder / name
        np.savez(paths[name], mu=mean, cov=covariance)
    return paths


NAMES = ["none", "text", "cut", "names", "short", "nan", "skew", "singular", "words"]


@pytest.mark.parametrize("name", [*(f"{name}.npz" for name in NAMES), "empty.mat"])
def test_a_wrong_file_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    path = wrong_files(tmp_path)[name]
    with pytest.raises(ConfigError, match=r"give 'million-ird' or a file of NIQE parameters") as caught:
        create("niqe", {"model": str(path)})
    assert str(path) in str(caught.value)


# ---- the script that fits the model


@pytest.fixture(scope="module")
def fit_niqe() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "fit_niqe.py"
    spec = importlib.util.spec_from_file_location("fit_niqe", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_fit_takes_sharp_blocks_of_photos_and_repeats(
    fit_niqe: ModuleType, tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    soft = blurred(photo, 8)
    half_sharp = np.concatenate([photo[:384, :288], soft[:384, 288:]], axis=1)
    drawing = np.full((400, 400, 3), 255, np.uint8)
    drawing[100:200, 100:300] = 0
    for name, rgb in {"a.png": half_sharp, "b.png": photo, "drawing.png": drawing}.items():
        Image.fromarray(rgb).save(folder / name)
    mean, covariance, provenance = fit_niqe.fit([folder])
    again, covariance_again, _ = fit_niqe.fit([folder])
    np.testing.assert_array_equal(mean, again)
    np.testing.assert_array_equal(covariance, covariance_again)
    assert provenance["left_out"] == ["good/drawing.png"]
    assert provenance["images"] == {"good": ["a.png", "b.png"]}
    luma = Frame(half_sharp).luma
    sharp = fit_niqe.sharpness(luma)
    chosen = (sharp > 0.75 * sharp.max()).reshape(4, 5)
    assert chosen.any()
    assert not chosen[:, 3:].any()
