"""Falling rain: streaks in layers of depth, and the veil of all the drops too far to be seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.dist import Among, Between, Log, Names, Spec, draw, draw_name, draw_seed, draw_whole
from million_ird.degrade.op import Bytes, Floats, Image, Op, Params, Shape, Support, Tier
from million_ird.degrade.weather import UNITS, colour8, lay, lay_behind_veil, local_light, opacity8, scale_of, summed
from million_ird.rng import Chance, rng_for

_NEAR, _FAR = 1.8, 0.45
"""Size of streaks in the nearest and the farthest layer, in parts of `length` and `width`."""
_THINNING = 1.9
"""Streaks per layer go with size to the power of minus this: a view holds more of the far rain than of the near."""
_MOST = 60_000
"""Streaks of a picture at most."""
_BATCH = 1 << 18
"""Samples worked on at a time."""


class Rain(Op):
    """Streaks of one direction: y = x + a (c - x), with a the opacity of the streaks that lie over one another and c
    the light around the place; optionally on a scene seen through the veil of farther rain (all of it in sRGB)."""

    family: ClassVar[str] = "rain"
    tier: ClassVar[Tier] = "versions"

    density: Annotated[Spec, Between(0, 50)] = Log(log=(0.5, 6))
    """Streaks per 1000 px of a picture 512 px high. 0.5 to 6: own, around albumentations (0.6 to 2 per 1000 px)."""
    length: Annotated[Spec, Between(1, 400)] = (12, 60)
    """Length of a streak in the middle of the depth, px at 512 px height. 10 to 60: albumentations, drizzle to
    torrential."""
    angle: Annotated[Spec, Between(-60, 60)] = (-30, 30)
    """Direction in degrees from the vertical; above 0 rain falls to the right. +-30 to +-45: Fu 2017."""
    jitter: Annotated[Spec, Between(0, 20)] = (1, 4)
    """Greatest deviation of a streak from that direction, degrees."""
    width: Annotated[Spec, Between(0.2, 20)] = (0.8, 2)
    """Width of a streak in the middle of the depth, px at 512 px height; below 1 px it is thin and therefore faint."""
    opacity: Annotated[Spec, Between(0, 1)] = (0.2, 0.6)
    """Opacity in the middle of a streak. 0.1 to 0.6: the share of the exposure for which a drop covers a place."""
    spread: Annotated[Spec, Between(0, 1)] = 0.5
    """How much lengths and opacities of one picture differ, in parts of them; 0 = all alike."""
    planes: Annotated[Spec, Between(1, 8, whole=True)] = 4
    """Planes of depth: from many short, thin, faint streaks to few long, wide ones out of focus; 1 = all alike."""
    edge: Annotated[Names, Among(("soft", "hard"))] = "soft"
    """"soft" = anti-aliased, with ends that fade; "hard" = drawn line segments, all of one opacity."""
    blend: Annotated[Names, Among(("alpha", "screen", "add"))] = "alpha"
    """"alpha" x + a (c - x); "screen" x + a c (1 - x); "add" x + a c, as most derain sets are made."""
    brightness: Annotated[Spec, Between(0, 1)] = (0.75, 0.95)
    """Brightness of a streak that knows nothing of its scene."""
    tint: Annotated[Spec, Between(0, 1)] = 0.6
    """Share of the light around a place in the colour of its streaks; 0 = grey."""
    veil: Annotated[Spec, Between(0, 3)] = 0
    """Optical depth of the far rain; 0 = none, and only streaks change the picture. 0.1 to 0.8: own, heavy rain."""
    unit: Annotated[Names, Among(UNITS)] = "height"
    """"height" = px above are at 512 px height and grow with the picture; "pixel" = px of the picture as it is."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        numbers = ("density", "length", "angle", "jitter", "width", "opacity", "spread", "brightness", "tint", "veil")
        params: Params = {name: draw(getattr(self, name), rng) for name in numbers}
        params |= {"planes": draw_whole(self.planes, rng)}
        params |= {"edge": draw_name(self.edge, rng), "blend": draw_name(self.blend, rng)}
        return params | {"scale": scale_of(draw_name(self.unit, rng), shape), "seed": draw_seed(rng)}

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        return _streaked(image, params)

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        return _streaked(image, params)

    @classmethod
    def layers(cls, params: Params, shape: Shape) -> Bytes:
        """The rain without the picture: all layers in one map.

        Args:
            params: what `draw` gave.
            shape: (H, W).

        Returns:
            (H, W) uint8, opacity in 1/255; 0 = no streak.
        """
        hard = params["edge"] == "hard"
        batches = _batches(_streaks(params, shape), shape)
        total = summed((_rasterized(batch, shape, hard) for batch in batches), (shape[0], shape[1] + 2))
        level = math.floor(255 * params["opacity"] + 0.5)
        alpha = (total > 0).view(np.uint8) * np.uint8(level) if hard else opacity8(total)
        # The outer columns have caught what fell beside the picture.
        return np.ascontiguousarray(alpha[:, 1:-1])


class _Layer(NamedTuple):
    length: float
    """px."""
    width: float
    """px."""
    density: float
    """Streaks per px."""
    blur: float
    """Half the width of the ramp at the edge of a streak, px; half a pixel is what a camera in focus gives."""


class _Streaks(NamedTuple):
    """(N,) float32 each, px; from the widest to the thinnest."""

    x: Floats
    """Of the middle."""
    y: Floats
    dx: Floats
    """From end to end."""
    dy: Floats
    depth: Floats
    """Opacity as optical depth."""
    width: Floats
    blur: Floats


def _streaked(image: Image, params: Params) -> tuple[Image, Support]:
    alpha, light = Rain.layers(params, image.shape[:2]), local_light(image)
    colour = colour8(light, image.shape[:2], params["brightness"], params["tint"])
    if params["veil"]:
        return lay_behind_veil(image, alpha, colour, params["blend"], light, params["veil"])
    return lay(image, alpha, colour, params["blend"]), alpha


def _depths(params: Params) -> list[_Layer]:
    """From near to far."""
    count, scale = params["planes"], params["scale"]
    ratio = (_FAR / _NEAR) ** (1 / max(count - 1, 1))
    sizes = [_NEAR * ratio**index for index in range(count)] if count > 1 else [1.0]
    shares = [size**-_THINNING for size in sizes]
    layers = []
    for size, share in zip(sizes, shares, strict=True):
        width = max(params["width"] * size * scale, 0.2)
        density = params["density"] * share / sum(shares) / 1000 / scale**2
        layers.append(_Layer(params["length"] * size * scale, width, density, max(0.5, 0.5 * width * size / _NEAR)))
    return layers


def _streaks(params: Params, shape: Shape) -> _Streaks:
    """Place streaks over the picture and as far around it as one can reach in."""
    height, width = shape
    spread, angle, jitter = params["spread"], math.radians(params["angle"]), math.radians(params["jitter"])
    rng = rng_for(params["seed"], "streaks")
    layers = _depths(params)
    lean = math.sin(min(abs(angle) + jitter, math.pi / 2))
    longest = np.array([layer.length for layer in layers]) * (1 + spread)
    rows, columns = height + longest, width + longest * lean + [2 * layer.width + 2 for layer in layers]
    expected = np.array([layer.density for layer in layers]) * rows * columns
    counts = np.minimum(expected + rng.random(len(layers)), _MOST / len(layers)).astype(np.int64)
    each = np.repeat(np.array([[*layer, r, c] for layer, r, c in zip(layers, rows, columns, strict=True)]), counts, 0)
    length, wide, _, blur, rows, columns = each.T
    across, down, turn, longer, denser = rng.random((5, len(each)))
    turned = angle + jitter * (2 * turn - 1)
    length = length * (1 + spread * (2 * longer - 1))
    opacity = np.minimum(params["opacity"] * (1 + spread * (2 * denser - 1)), 0.98)
    found = _Streaks(
        x=across * columns - (columns - width) / 2,
        y=down * rows - (rows - height) / 2,
        dx=length * np.sin(turned),
        dy=np.maximum(length * np.cos(turned), 1),
        depth=-np.log1p(-opacity),
        width=wide,
        blur=blur,
    )
    return _Streaks(*(part.astype(np.float32) for part in found))


def _batches(streaks: _Streaks, shape: Shape) -> Iterator[_Streaks]:
    """Parts of bounded size."""
    if streaks.x.size:
        each = (min(float(streaks.dy.max()), shape[0]) + 1) * (float(streaks.width[0] + 2 * streaks.blur[0]) + 2)
        step = max(1, int(_BATCH / each))
        for start in range(0, streaks.x.size, step):
            yield _Streaks(*(part[start : start + step] for part in streaks))


def _rasterized(streaks: _Streaks, shape: Shape, hard: bool) -> tuple[NDArray[np.int64], Floats]:
    """Places in (H, W + 2) that streaks cover, row by row of each, and the optical depth to add there."""
    height, width = shape
    top = streaks.y - streaks.dy / 2
    first = np.clip(np.ceil(top - 0.5), 0, height).astype(np.int64)
    lengths = np.clip(np.ceil(top + streaks.dy - 0.5), 0, height).astype(np.int64) - first
    which = np.repeat(np.arange(lengths.size), lengths)
    row = np.arange(which.size) + np.repeat(first + lengths - np.cumsum(lengths), lengths)
    # A streak is a middle that moves by its slope from row to row, and a cross-section that is the same in all rows.
    slope = streaks.dx / streaks.dy
    middle = (row.astype(np.float32) + np.float32(0.5)) * slope[which]
    middle += (streaks.x - np.float32(0.5) - streaks.y * slope)[which]
    cosine = 1 / np.sqrt(1 + slope * slope)
    reach = ((streaks.width / 2 + streaks.blur) / cosine).astype(np.float32)
    left = np.ceil(middle - reach[which])
    depth = None if hard else _lengthwise(streaks, row, which)
    places, weights = [], []
    base, cosine_of = row * (width + 2) + 1, cosine[which]
    for step, many in enumerate(_still_wide(reach, lengths)):
        column = left[:many] + np.float32(step)
        distance = np.abs(column - middle[:many]) * cosine_of[:many]
        places.append(base[:many] + np.clip(column, -1, width).astype(np.int64))
        weights.append(_crosswise(streaks, distance, which[:many], depth))
    return np.concatenate(places), np.concatenate(weights)


def _lengthwise(streaks: _Streaks, row: NDArray[np.int64], which: NDArray[np.int64]) -> Floats:
    """Optical depth along the streaks, which fade at their ends."""
    along = (row.astype(np.float32) + np.float32(0.5) - streaks.y[which]) * (2 / streaks.dy)[which]
    along *= along
    return (1 - along * along) * streaks.depth[which]


def _crosswise(streaks: _Streaks, distance: Floats, which: NDArray[np.int64], depth: Floats | None) -> Floats:
    """Optical depth at a distance from the middle line: a box of the width, blurred by a box of twice the blur."""
    if depth is None:
        return (distance <= np.maximum(streaks.width / 2, np.float32(0.5))[which]).astype(np.float32)
    slack = ((streaks.width / 2 + streaks.blur) / (2 * streaks.blur))[which]
    most = np.minimum(1, streaks.width / (2 * streaks.blur))[which]
    cover = np.clip(slack - distance * (1 / (2 * streaks.blur))[which], 0, most)
    return cover * depth[: cover.size]


def _still_wide(reach: Floats, lengths: NDArray[np.int64]) -> Iterator[int]:
    """How many samples have a first, a second, a third column ...: always the first so many, the widest lead."""
    columns = (2 * reach).astype(np.int64) + 1
    ends = np.cumsum(lengths)
    for step in range(int(columns.max())):
        wide = np.flatnonzero(columns > step)
        yield int(ends[wide[-1]])
