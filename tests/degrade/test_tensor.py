"""The device path gives what the CPU path gives, for every native op, in mixed batches; on CUDA where it is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from million_ird import degrade as D
from million_ird.degrade import counter
from million_ird.degrade.tensor import jpeg as device_jpeg
from million_ird.degrade.tensor import noise as device_noise
from million_ird.degrade.tensor import philox, words
from million_ird.errors import InputError
from million_ird.rng import key_for

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
"""Everything below is checked on each of them."""
EXACT, NEAR = 4e-5, 1e-3

NOISES = {
    "colour": D.GaussianNoise(sigma=(0, 80)),
    "grey": D.GaussianNoise(sigma=(0, 80), kind="grey"),
    "correlated": D.GaussianNoise(sigma=(0, 80), kind="correlated"),
    "uniform": D.UniformNoise(),
    "speckle": D.SpeckleNoise(),
    "impulse": D.ImpulseNoise(amount=(0, 0.5), salt=(0, 1)),
    "impulse pixels": D.ImpulseNoise(per="pixel"),
    "poisson gaussian": D.PoissonGaussianNoise(),
    "poisson": D.PoissonNoise(peak={"choice": [20, 700]}),
    "poisson linear": D.PoissonNoise(peak=50, space="linear"),
    "mask": D.Mask(fill={"choice": ["white", "grey", "noise", "mean"]}),
    "mask blocks": D.Mask(patch=5, layout="block"),
    "cutmix": D.CutMix([D.GaussianNoise(), D.Mask(), D.ImpulseNoise(label="impulse")], untouched=0.2),
    "feathered": D.CutMix([D.GaussianNoise(), D.UniformNoise(label="uniform")], untouched=0.2, feather=4),
    "nested": D.CutMix([D.CutMix([D.GaussianNoise(), D.ImpulseNoise()], shapes="grid"), D.Mask()], shares=[0.5, 0.3]),
    "chain": D.Compose([D.Maybe(D.GaussianNoise()), D.SpeckleNoise(), D.Maybe(D.Mask()), D.UniformNoise()]),
}
FILTERS = {
    "gaussian": D.GaussianBlur(),
    "shapes": D.GaussianBlur(kind={"choice": ["anisotropic", "generalised", "plateau"]}, sigma=(0.1, 6)),
    "linear": D.GaussianBlur(space={"choice": ["linear", "srgb"]}),
    "motion": D.MotionBlur(kind={"choice": ["line", "trajectory"]}, length=(1, 90)),
    "motion in light": D.MotionBlur(space="linear", highlights=(1, 4)),
    "defocus": D.DefocusBlur(radius=(0, 12), blades=(0, 8)),
    "ringing": D.Ringing(),
    "rain": D.Rain(unit="pixel"),
    "rain hard": D.Rain(edge="hard", blend={"choice": ["alpha", "screen", "add"]}, unit="pixel"),
    "heavy rain": D.Rain(veil=(0.1, 0.8), unit="pixel"),
    "haze": D.Haze(),
    "haze linear": D.Haze(space="linear", heterogeneity=0),
    "gain": D.LowLight(kind="gain"),
    "gamma": D.LowLight(kind="gamma"),
    "retinex": D.LowLight(kind="retinex"),
    "physical": D.LowLight(kind="physical"),
    "blurred then noisy": D.Compose([D.GaussianBlur(), D.GaussianNoise()]),
}


@pytest.fixture
def pictures(photo: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    corners = [(0, 0), (60, 180), (300, 40), (420, 400), (120, 120), (5, 300), (200, 330), (250, 250)]
    return [photo[y : y + 70, x : x + 91].astype(np.float32) / np.float32(255) for y, x in corners]


def stacked(pictures: list[NDArray[np.float32]], device: str = "cpu") -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy()).to(device)


def both(
    pipe: Any, pictures: list[NDArray[np.float32]], device: str, seed: int = 3, views: Any = 2
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(B, H, W, 3) of the device and of the CPU path, after comparing traces and labels."""
    names = [f"{i}.png" for i in range(len(pictures))]
    out = D.tensor.load(pipe, seed=seed)(stacked(pictures, device), names, views)
    assert out.lq.device.type == device and out.mask.device.type == device and out.mask.dtype == torch.int32
    loaded = D.load(pipe)
    wanted = []
    for i, picture in enumerate(pictures):
        view = views if isinstance(views, int) else views[i]
        one = loaded(picture, seed=seed, image_id=names[i], view=view)
        assert out.traces[i] == one.trace
        differ = (out.mask[i].cpu().numpy() != one.mask).mean()
        assert differ == 0, f"labels differ in {differ:.2%}"
        assert out.labels[i].tolist() == D.multi_hot(one.mask, len(one.classes)).tolist()
        if one.ignore is not None:
            assert np.array_equal(out.ignore[i].cpu().numpy(), one.ignore)
        wanted.append(one.lq)
    return out.lq.permute(0, 2, 3, 1).cpu().numpy(), np.stack(wanted)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("key", [0, 1, 2**64 - 1, 2**64, 2**127 + 12345, key_for(7, "a"), key_for(8, "")])
def test_philox_gives_the_words_of_numpy(device: str, key: int) -> None:
    raw = philox([key, key ^ 1], 300, torch.device(device)).cpu().numpy().view(np.uint64)
    for row, k in zip(raw, (key, key ^ 1), strict=True):
        assert np.array_equal(row, np.random.Philox(key=k).random_raw(1200))


@pytest.mark.parametrize("device", DEVICES)
def test_words_are_those_of_the_counter(device: str) -> None:
    seeds = [5, 6, 2**52]
    for count in (1, 15, 16, 1000):
        got = words(seeds, count, torch.device(device), "what").cpu().numpy()
        assert np.array_equal(got, np.stack([counter.words16(s, count, "what") for s in seeds]))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NOISES)
def test_noise_masks_and_cutmix_are_those_of_the_cpu(
    pictures: list[NDArray[np.float32]], name: str, device: str
) -> None:
    for seed in (3, 4):
        got, wanted = both(NOISES[name], pictures, device, seed)
        assert not np.array_equal(wanted, np.stack(pictures))
        assert np.abs(got - wanted).max() <= EXACT
        if device == "cpu":
            assert np.array_equal(got, wanted)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", FILTERS)
def test_filters_and_weather_come_near_the_cpu(pictures: list[NDArray[np.float32]], name: str, device: str) -> None:
    for seed in (3, 4):
        got, wanted = both(FILTERS[name], pictures, device, seed)
        assert not np.array_equal(wanted, np.stack(pictures))
        apart = np.abs(got - wanted)
        if name == "physical":  # a count of the converter more or less, where a value lies on the border
            assert np.mean(apart > NEAR) < 1e-3
        else:
            assert apart.max() <= NEAR


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sampling", ["4:2:0", "4:2:2", "4:4:4", "4:4:0", "4:1:1"])
@pytest.mark.parametrize("quality", [10, 50, 95])
def test_jpeg_comes_near_libjpeg(pictures: list[NDArray[np.float32]], sampling: str, quality: int, device: str) -> None:
    got, wanted = both(D.JPEG(quality=quality, sampling=sampling, shift=(0, 7)), pictures, device)
    psnr = -10 * np.log10(np.mean((got - wanted) ** 2) + 1e-12)
    change = -10 * np.log10(np.mean((wanted - np.stack(pictures)) ** 2))
    assert psnr > 38 and psnr > change + 8


@pytest.mark.parametrize("device", DEVICES)
def test_small_and_odd_pictures_work(device: str, photo: NDArray[np.uint8]) -> None:
    pipes = [*NOISES.values(), *FILTERS.values(), D.JPEG()]
    for height, width in ((1, 1), (1, 9), (17, 3)):
        picture = photo[100 : 100 + height, 200 : 200 + width].astype(np.float32) / np.float32(255)
        for pipe in pipes:
            got, wanted = both(pipe, [picture, picture[::-1].copy()], device)
            assert np.isfinite(got).all() and np.mean(np.abs(got - wanted) > 2 / 255) <= 0.05


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("recipe", ["dynet", "abair"])
def test_recipes_agree_with_the_cpu(pictures: list[NDArray[np.float32]], recipe: str, device: str) -> None:
    got, wanted = both(recipe, pictures, device, views=list(range(len(pictures))))
    apart = np.abs(got - wanted)
    assert -10 * np.log10(np.mean(apart**2) + 1e-12) > 45


def test_an_op_without_a_device_version_goes_by_way_of_the_cpu(pictures: list[NDArray[np.float32]]) -> None:
    assert "BitDepth" not in D.tensor.NATIVE and {"JPEG", "CutMix", "Haze"} <= set(D.tensor.NATIVE)
    pipe = D.Compose([D.Maybe(D.GaussianNoise()), D.BitDepth(), D.Maybe(D.UniformNoise())])
    got, wanted = both(pipe, pictures, "cpu")
    assert np.array_equal(got, wanted)


def test_a_sample_does_not_depend_on_its_batch(pictures: list[NDArray[np.float32]]) -> None:
    pipe = D.tensor.load("abair", seed=1)
    names = [str(i) for i in range(len(pictures))]
    whole = pipe(stacked(pictures), names, 0)
    for i in (0, 3, 7):
        alone = pipe(stacked([pictures[i]]), [names[i]], 0)
        assert (alone.lq[0] - whole.lq[i]).abs().max() < 1e-5 and torch.equal(alone.mask[0], whole.mask[i])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_and_input_stay(pictures: list[NDArray[np.float32]], dtype: torch.dtype) -> None:
    batch = stacked(pictures).to(dtype)
    before = batch.clone()
    out = D.tensor.load(NOISES["chain"])(batch, list("abcdefgh"))
    assert out.lq.dtype == dtype and out.hq is batch and torch.equal(batch, before)
    assert out.lq.min() >= 0 and out.lq.max() <= 1


def test_the_words_of_the_device_make_the_same_noise(
    pictures: list[NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_philox(seeds: list[int], count: int, device: torch.device, stream: str = "") -> torch.Tensor:
        raw = philox([key_for(seed, stream) for seed in seeds], -(-count // 16), device)
        return raw.view(torch.int16)[:, :count].to(torch.int32) & 0xFFFF

    monkeypatch.setattr(device_noise, "words", by_philox)
    for name in ("colour", "grey", "poisson", "impulse"):
        got, wanted = both(NOISES[name], pictures, "cpu")
        assert np.array_equal(got, wanted)


def test_clean_pixels_are_the_very_same(pictures: list[NDArray[np.float32]]) -> None:
    for name in ("mask", "impulse", "cutmix", "feathered", "nested"):
        out = D.tensor.load(NOISES[name])(stacked(pictures), list("abcdefgh"))
        clean = (out.mask == 0)[:, None].expand_as(out.lq)
        assert clean.any() and torch.equal(out.lq[clean], out.hq[clean])
    for name in ("rain", "haze"):
        out = D.tensor.load(FILTERS[name])(stacked(pictures), list("abcdefgh"))
        clean = (out.mask == 0)[:, None].expand_as(out.lq)
        assert torch.equal(out.lq[clean], out.hq[clean])


def test_wrong_batches_are_named() -> None:
    pipe = D.tensor.load(D.GaussianNoise())
    good = torch.rand(2, 3, 8, 8)
    for batch, message in (
        (good[0], "shape"),
        (good[:, :1], "shape"),
        ((good * 255).byte(), "floating-point"),
        (good + 1, "lie in"),
        (good.numpy(), "ndarray"),
    ):
        with pytest.raises(InputError, match=message):
            pipe(batch, ["a", "b"])
    with pytest.raises(InputError, match="1 ids"):
        pipe(good, ["a"])


def test_jpeg_tables_are_those_of_the_ijg() -> None:
    luma, chroma = device_jpeg._tables((50, 10, 95, 100), torch.device("cpu"))
    assert luma[:, 0, 0].tolist() == [16, 80, 2, 1] and chroma[:, 7, 7].tolist() == [99, 255, 10, 1]
