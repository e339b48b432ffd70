"""Rain, drops, snow and haze: what they look like, their labels, and that they repeat."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.degrade.op import Params, to_float, to_uint8
from million_ird.degrade.registry import find
from million_ird.degrade.run import degrade, replay
from million_ird.rng import rng_for

Picture = NDArray[Any]
Rain, Raindrop, Snow, Haze = map(find, ("Rain", "Raindrop", "Snow", "Haze"))
OPS: dict[str, Any] = {
    "rain": Rain(),
    "rain screen": Rain(blend="screen", veil=0.3),
    "rain add": Rain(blend="add", edge="hard", planes=1),
    "raindrop": Raindrop(),
    "snow": Snow(near=1),
    "snow veil": Snow(veil=0.4),
    "haze": Haze(),
    "haze flat": Haze(depth="flat", heterogeneity=0),
    "haze linear": Haze(space="linear", beta=(0.05, 0.3)),
}
SPARSE = ("rain", "rain add", "raindrop", "snow")
HEAVIER = {
    "rain": [Rain(density=d, length=30, width=1.2, opacity=0.4, angle=10) for d in (0.5, 2, 6)],
    "raindrop": [Raindrop(density=d, radius=20) for d in (0.5, 1.5, 4)],
    "snow": [Snow(density=d, near=0.5, opacity=0.8, smear=4) for d in (0.3, 1, 3)],
    "haze": [Haze(beta=b, airlight=0.8, tint=0, heterogeneity=0) for b in (0.3, 0.8, 2)],
}


@pytest.fixture(scope="module")
def small(photo: Picture) -> Any:
    return cv2.resize(photo, (192, 160), interpolation=cv2.INTER_AREA)


def drawn(op: Any, image: Picture, seed: int = 3) -> Params:
    return op.draw(rng_for(seed, "test"), (image.shape[0], image.shape[1]))


def applied(op: Any, image: Picture, seed: int = 3) -> tuple[Picture, Picture]:
    return op.apply(image, drawn(op, image, seed))


@pytest.mark.parametrize("name", OPS)
def test_8_bits_are_the_rounding_of_float(name: str, small: Picture) -> None:
    for seed in range(3):
        params = drawn(OPS[name], small, seed)
        ours, support = OPS[name].apply(small, params)
        exact, other = OPS[name].apply(to_float(small), params)
        assert ours.dtype == np.uint8 and exact.dtype == np.float32
        assert np.array_equal(ours, to_uint8(exact)) and np.array_equal(support, other)


@pytest.mark.parametrize("name", OPS)
def test_where_nothing_is_labelled_nothing_has_changed(name: str, small: Picture) -> None:
    for seed in range(3):
        for image in (small, to_float(small)):
            out, support = OPS[name].apply(image, drawn(OPS[name], small, seed))
            assert support.shape == small.shape[:2] and support.dtype == np.uint8
            assert np.array_equal(out[support == 0], image[support == 0])
            assert (out != image).any()


@pytest.mark.parametrize("name", SPARSE)
def test_what_falls_leaves_most_of_the_picture_as_it_is(name: str, small: Picture) -> None:
    out, support = applied(OPS[name], small)
    assert 0.001 < (support > 0).mean() < 0.7
    # Where it acts strongly on a black picture, it is seen.
    black = np.zeros_like(small)
    if name != "raindrop":
        out, support = applied(OPS[name], black)
        seen = out.max(axis=2)
        assert (seen[support > 60] > 0).all() and (seen[support == 0] == 0).all()


@pytest.mark.parametrize("name", OPS)
def test_the_same_parameters_give_the_same_bytes_and_leave_the_input_alone(name: str, small: Picture) -> None:
    params = json.loads(json.dumps(drawn(OPS[name], small)))
    before = small.copy()
    first, support = OPS[name].apply(small, params)
    again, support_again = OPS[name].apply(np.asfortranarray(small), params)
    assert np.array_equal(first, again) and np.array_equal(support, support_again)
    assert np.array_equal(small, before) and not np.shares_memory(first, small)
    other, _ = OPS[name].apply(small, dict(params, seed=params["seed"] + 1))
    assert name == "haze flat" or not np.array_equal(first, other)


@pytest.mark.parametrize("name", OPS)
def test_traces_are_small_and_replay(name: str, small: Picture) -> None:
    out = degrade(OPS[name], small, 5, "cat.jpg", 0)
    assert len(json.dumps(out.trace)) < 4096
    assert np.array_equal(replay(small, json.loads(json.dumps(out.trace))), out.lq)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 500), (500, 3), (7, 5)])
def test_any_size_will_do(name: str, shape: tuple[int, int]) -> None:
    for value in (0, 77, 255):
        image = np.full((*shape, 3), value, np.uint8)
        for seed in range(2):
            out, support = applied(OPS[name], image, seed)
            assert out.shape == image.shape and support.shape == shape
            assert np.array_equal(out[support == 0], image[support == 0])


@pytest.mark.parametrize("family", HEAVIER)
def test_more_of_it_does_more(family: str, small: Picture) -> None:
    results = [applied(op, small) for op in HEAVIER[family]]
    strength = [float(support.mean()) for _, support in results]
    change = [float(cv2.absdiff(out, small).mean()) for out, _ in results]
    assert strength == sorted(strength) and strength[-1] > 2 * strength[0]
    assert change == sorted(change) and change[-1] > 2 * change[0]


@pytest.mark.parametrize(("op", "grows"), [(Rain, "length"), (Rain, "width"), (Snow, "size"), (Raindrop, "radius")])
def test_larger_means_more_cover(op: Any, grows: str, small: Picture) -> None:
    params = drawn(op(), small)
    cover = []
    for factor in (0.5, 1, 2):
        _, support = op.apply(small, params | {grows: params[grows] * factor, "opacity": 0.8})
        cover.append((support > 0).mean())
    assert cover[0] < cover[1] < cover[2]


@pytest.mark.parametrize("family", ["rain", "snow"])
def test_borders_are_hit_as_much_as_the_middle(family: str) -> None:
    op = Rain(density=3, length=60, angle=20) if family == "rain" else Snow(density=2, near=1, smear=15)
    total = np.zeros((256, 256))
    for seed in range(24):
        alpha = type(op).layers(op.draw(rng_for(seed, "b"), (256, 256)), (256, 256))
        total += alpha
    middle = total[64:192, 64:192].mean()
    for side in (total[:8], total[-8:], total[:, :8], total[:, -8:]):
        assert 0.7 < side.mean() / middle < 1.3


@pytest.mark.parametrize("angle", [-50, -20, 0, 35, 60])
def test_rain_falls_in_the_direction_drawn(angle: float) -> None:
    params = Rain(angle=angle, jitter=0, density=1, length=40, planes=1).draw(rng_for(1, "a"), (256, 256))
    alpha = cv2.GaussianBlur(Rain.layers(params, (256, 256)).astype(np.float32), (0, 0), 1.5)
    dx, dy = cv2.Sobel(alpha, cv2.CV_32F, 1, 0), cv2.Sobel(alpha, cv2.CV_32F, 0, 1)
    # The direction across which the picture changes least, by the structure tensor.
    tilt = 0.5 * np.arctan2(2 * (dx * dy).sum(), (dx * dx).sum() - (dy * dy).sum())
    assert np.degrees(-tilt) == pytest.approx(angle, abs=2)


def test_thin_rain_is_faint_and_moves_by_parts_of_a_pixel() -> None:
    wide = Rain(width=2, planes=1, density=0.02, spread=0, angle=0, jitter=0, opacity=0.5, length=40)
    params = wide.draw(rng_for(2, "w"), (512, 512))
    thick = Rain.layers(params, (512, 512))
    thin = Rain.layers(params | {"width": 0.3}, (512, 512))
    assert int(thick.max()) == pytest.approx(128, abs=10)
    assert 20 < thin.max() < 60
    assert len(np.unique(thin)) > 20


def test_hard_additive_rain_is_a_neutral_constant_on_line_segments(small: Picture) -> None:
    op = Rain(blend="add", edge="hard", planes=1, spread=0, tint=0, brightness=1, opacity=0.28, jitter=0, angle=3)
    grey = np.full((240, 320, 3), 60, np.uint8)
    out, support = applied(op, grey)
    assert set(np.unique(support)) == {0, 71}
    assert set(np.unique(out)) == {60, 131}
    assert (np.ptp(out, axis=2) == 0).all()


def test_rain_takes_the_light_of_its_place() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, 128:] = (250, 120, 40)
    image[:, 128:][::8] = 0
    out, _ = applied(Rain(tint=1, density=4, opacity=0.6), image)
    dark = image.max(axis=2) == 0
    left, right = out[:, :90][dark[:, :90]], out[:, 170:][dark[:, 170:]]
    assert right[:, 0].mean() > 5 * max(left[:, 0].mean(), 0.1)
    assert right[:, 0].sum() > 2 * right[:, 2].sum()


@pytest.mark.parametrize("op", [Rain, Snow])
def test_a_veil_covers_everything_and_most_of_all_what_is_high_up(op: Any, small: Picture) -> None:
    params = drawn(op(veil=0.8), small)
    _, support = op.apply(small, params)
    assert support.min() > 0
    assert np.median(support[:30]) > np.median(support[-30:]) + 40
    _, without = op.apply(small, params | {"veil": 0})
    assert (support >= without).all()


def test_snow_does_not_whiten_the_scene(small: Picture) -> None:
    out, support = applied(Snow(density=1, near=0.5), small)
    assert abs(float(np.median(out)) - float(np.median(small))) < 12
    assert (support == 0).mean() > 0.5


def test_snow_moves_along_its_angle() -> None:
    def spread(angle: float) -> float:
        op = Snow(angle=angle, jitter=0, smear=30, near=1, density=0.5, unit="pixel")
        alpha = Snow.layers(op.draw(rng_for(4, "s"), (256, 256)), (256, 256)).astype(np.float32)
        return float(np.abs(np.diff(alpha, axis=0)).sum() / np.abs(np.diff(alpha, axis=1)).sum())

    assert spread(0) < 0.85 < 1.15 < spread(90)


def test_a_drop_shows_the_scene_upside_down() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[:128] = (40, 80, 240)
    image[128:] = (200, 120, 20)
    params = drawn(
        Raindrop(density=1.2, radius=30, defocus=0.5, glint=0, rim=0, refraction=1.5, unit="pixel"), image, 8
    )
    drops = Raindrop.layers(params, (256, 256))
    out, _ = Raindrop.apply(image, params)
    # Near the middle of the picture the upper part of a drop shows what is below, and the other way round.
    vertical = cv2.resize(drops.y, (256, 256))
    solid = drops.alpha > 200
    solid[:70] = solid[186:] = False
    upper, lower = out[solid & (vertical < -0.6)].mean(axis=0), out[solid & (vertical > 0.6)].mean(axis=0)
    assert upper[0] > upper[2] + 30 and lower[2] > lower[0] + 30


def test_drops_are_round_and_merge() -> None:
    params = drawn(Raindrop(density=6, radius=25), np.zeros((256, 256, 3), np.uint8))
    drops = Raindrop.layers(params, (256, 256))
    count, _ = cv2.connectedComponents((drops.alpha > 127).view(np.uint8))
    single, _ = cv2.connectedComponents(
        (Raindrop.layers(params | {"density": 0.8}, (256, 256)).alpha > 127).view(np.uint8)
    )
    assert single > 3 and (drops.alpha > 127).mean() > 0.2
    assert count - 1 < 6 * 1e-4 * (256 * 2) ** 2


@pytest.mark.parametrize("op", [Rain, Snow, Raindrop])
def test_scenes_grow_with_the_picture_unless_told_otherwise(op: Any) -> None:
    seed = rng_for(6, "scale")
    params = op().draw(seed, (128, 128))
    assert params["scale"] == 0.25
    assert op().draw(seed, (1024, 10))["scale"] == 2
    assert op(unit="pixel").draw(seed, (1024, 10))["scale"] == 1
    maps = [op.layers(params | {"scale": side / 512, "opacity": 0.8}, (side, side)) for side in (256, 512)]
    small, large = (np.asarray(found[0] if isinstance(found, tuple) else found) for found in maps)
    assert (small > 40).mean() == pytest.approx((large > 40).mean(), rel=0.6)


@pytest.mark.parametrize("name", ["rain", "raindrop", "snow"])
def test_large_pictures_take_bounded_memory(name: str, monkeypatch: pytest.MonkeyPatch, small: Picture) -> None:
    from million_ird.degrade import rain, raindrop, snow, weather

    params = drawn(OPS[name], small)
    whole, _ = OPS[name].apply(small, params)
    # The same in parts, as large pictures are done: sums in another order may round one level elsewhere.
    for module in (rain, raindrop, snow):
        monkeypatch.setattr(module, "_BATCH", 500)
    monkeypatch.setattr(weather, "_HELD", 1000)
    parts, _ = OPS[name].apply(small, params)
    assert cv2.absdiff(parts, whole).max() <= 1
