"""Drops on the lens or on a window before it: each shows the scene upside down, small and wide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.dist import Among, Between, Log, Names, Spec, draw, draw_name, draw_seed
from million_ird.degrade.op import Bytes, Floats, Image, Op, Params, Shape, Support, Tier, to_float, to_uint8
from million_ird.degrade.weather import UNITS, lay, scale_of, summed
from million_ird.rng import Chance, rng_for

_BATCH = 1 << 18
"""Samples worked on at a time."""
_MOST = 20_000
"""Drops of a picture at most."""
_CELL = 3
"""Cell of the height field, px at 512 px height; drops are never sharper than that."""
_RIM = 0.3
"""Height of the field at which a drop ends."""
_VISIBLE = math.sqrt(1 - math.sqrt(_RIM))
"""Radius of a drop in parts of the reach of its ball: where (1 - q^2)^2 falls to `_RIM`."""
_ROW = 256
_LIGHT = (-0.35, -0.55)
"""Where the sky is mirrored, in parts of the radius: to the upper left."""


class Raindrop(Op):
    """Drops: y = x + a (r - x), with a the cover of the drops, out of focus, and r the scene refracted by them: turned
    over, wide-angle, blurred, darker at the rim, with a glint of the sky (I = (1 - M) B + R of Qian 2018; in sRGB)."""

    family: ClassVar[str] = "raindrop"
    tier: ClassVar[Tier] = "versions"

    density: Annotated[Spec, Between(0, 20)] = Log(log=(0.4, 3))
    """Drops per 10,000 px of a picture 512 px high. Own, by eye on the Raindrop set of Qian 2018."""
    radius: Annotated[Spec, Between(2, 120)] = Log(log=(10, 30))
    """Radius of the largest drops, px at 512 px height; most are smaller. 6 to 60: own."""
    spread: Annotated[Spec, Between(0, 0.95)] = 0.7
    """The smallest radius lies by this share of the largest below it; 0 = all alike."""
    refraction: Annotated[Spec, Between(0.05, 2)] = (0.5, 0.9)
    """Part of the picture's height that a drop shows."""
    rim: Annotated[Spec, Between(0, 1)] = (0.1, 0.4)
    """How much darker the rim is than the middle: light that is reflected within."""
    glint: Annotated[Spec, Between(0, 1)] = (0, 0.4)
    """Strength of the mirrored sky."""
    defocus: Annotated[Spec, Between(0, 20)] = (0.8, 4)
    """Standard deviation of the blur of the drops, px at 512 px height: the camera is focused on the scene, not on the
    glass. Below 1 to 10: own."""
    opacity: Annotated[Spec, Between(0, 1)] = (0.9, 1)
    """Opacity in the middle of a drop."""
    unit: Annotated[Names, Among(UNITS)] = "height"
    """"height" = px above are at 512 px height and grow with the picture; "pixel" = px of the picture as it is."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        numbers = ("density", "radius", "spread", "refraction", "rim", "glint", "defocus", "opacity")
        params: Params = {name: draw(getattr(self, name), rng) for name in numbers}
        return params | {"scale": scale_of(draw_name(self.unit, rng), shape), "seed": draw_seed(rng)}

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        return _dropped(image, cls.layers(params, image.shape[:2]), params)

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        return _dropped(image, cls.layers(params, image.shape[:2]), params)

    @classmethod
    def layers(cls, params: Params, shape: Shape) -> Drops:
        """The drops without the picture.

        Args:
            params: what `draw` gave.
            shape: (H, W).
        """
        cell = _cell(params)
        size = -(-shape[0] // cell), -(-shape[1] // cell)
        field, reach = _field(params, shape, size, cell)
        # Water has no creases: what is left of them where balls meet is smoothed away.
        smooth = max(params["radius"] * params["scale"] / cell / 6, 0.5)
        root = cv2.GaussianBlur(np.sqrt(field), (0, 0), smooth, borderType=cv2.BORDER_REFLECT)
        alpha = np.clip((root - np.float32(math.sqrt(_RIM))) * np.maximum(reach / cell, 4) + np.float32(0.5), 0, 1)
        sigma = params["defocus"] * params["scale"] / cell
        if sigma > 0.3:
            alpha = cv2.GaussianBlur(alpha, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        near = cv2.dilate(alpha, np.ones((3, 3), np.uint8)) > 0
        alpha = cv2.resize(alpha, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        # Slopes of the field in parts of a single drop's at its rim: where on the drop a place is, on the unit disk.
        unit = reach * np.float32(-1 / (2 * _VISIBLE * 8 * cell))
        x = cv2.Sobel(root, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REFLECT) * unit
        y = cv2.Sobel(root, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REFLECT) * unit
        return Drops(np.rint(alpha * np.float32(255 * params["opacity"])).astype(np.uint8), x, y, near)


class Drops(NamedTuple):
    """What `Raindrop.layers` gives."""

    alpha: Bytes
    """(H, W) opacity in 1/255; 0 = no drop."""
    x: Floats
    """(h, w) on a coarser grid: where on its drop a place is, (0, 0) = the middle, 1 = the rim."""
    y: Floats
    near: NDArray[np.bool_]
    """(h, w): the cells that show in pixels with a drop."""


class _Balls(NamedTuple):
    """(N, 1, 1) float32 each, px: one or several make a drop."""

    x: Floats
    y: Floats
    reach: Floats


def _cell(params: Params) -> int:
    return max(1, round(_CELL * params["scale"]))


def _dropped(image: Image, drops: Drops, params: Params) -> tuple[Image, Support]:
    if not drops.alpha.any():
        return image.copy(), drops.alpha
    colour = _refracted(to_uint8(image), drops, params)
    return lay(image, drops.alpha, colour), drops.alpha


def _refracted(image: Bytes, drops: Drops, params: Params) -> Bytes:
    """(H, W, 3): what the drops show, wherever there are some."""
    height, width = image.shape[:2]
    # Reduced as a drop of middling size reduces it, so that sampling it is neither rough nor soft.
    wanted = 1.6 * params["radius"] * params["scale"] / params["refraction"]
    side = int(min(max(wanted, 8), 160, height))
    low = cv2.resize(image, (max(1, round(width * side / height)), max(1, side)), interpolation=cv2.INTER_AREA)
    # What lies on glass out of focus is as blurred as its outline; in the reduced picture that is about as many pixels.
    sigma = params["defocus"] * params["scale"] * 0.8
    if sigma > 0.3:
        low = cv2.GaussianBlur(low, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    cells = np.flatnonzero(drops.near)
    x, y = drops.x.reshape(-1)[cells], drops.y.reshape(-1)[cells]
    # Where drops run into one another their slopes add up; no light comes from beyond the rim.
    out2 = x * x + y * y
    back = 1 / np.sqrt(np.maximum(out2, 1))
    x, y, out2 = x * back, y * back, np.minimum(out2, 1)
    # Towards the rim ever more of the scene is pressed together.
    bend = (1 + out2) * np.float32(-params["refraction"] * side / 4)
    rows, columns = drops.x.shape
    map_x = (cells % columns + 0.5) * (low.shape[1] / columns) - 0.5 + x * bend
    map_y = (cells // columns + 0.5) * (low.shape[0] / rows) - 0.5 + y * bend
    shade = 1 - np.float32(params["rim"]) * out2 * out2
    glint = (x - np.float32(_LIGHT[0])) ** 2 + (y - np.float32(_LIGHT[1])) ** 2
    glint = np.exp(glint * np.float32(-12)) * np.float32(params["glint"])
    shown = to_float(_sampled(low, map_x, map_y)) * shade[:, None] + glint[:, None]
    whole = np.zeros((rows * columns, 3), np.uint8)
    whole[cells] = to_uint8(shown)
    return cv2.resize(whole.reshape(rows, columns, 3), (width, height), interpolation=cv2.INTER_LINEAR)


def _sampled(image: Bytes, x: Floats, y: Floats) -> Bytes:
    """(N, 3): bilinear values at places; what lies outside is mirrored."""
    # In rows, because OpenCV takes no line as long as a list of pixels may be.
    shape = -(-x.size // _ROW), _ROW
    map_x, map_y = (np.resize(values.astype(np.float32), shape) for values in (x, y))
    return cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).reshape(-1, 3)[: x.size]


def _field(params: Params, shape: Shape, size: Shape, cell: int) -> tuple[Floats, Floats]:
    """(h, w) each: the field of the balls (each adds (1 - q^2)^2, after Wyvill 1986), and their reach there in px."""
    batches = [_samples(batch, size, cell) for batch in _batches(_balls(params, shape), cell)]
    padded = size[0] + 2, size[1] + 2
    total = summed(((place, weight) for place, weight, _ in batches), padded)[1:-1, 1:-1]
    reach = summed(((place, weight * reach) for place, weight, reach in batches), padded)[1:-1, 1:-1]
    return total, reach / np.maximum(total, np.float32(1e-6))


def _balls(params: Params, shape: Shape) -> _Balls:
    """A main ball per drop, a smaller one above it, as drops thin out where they came from, and one at its side."""
    height, width = shape
    scale, largest = params["scale"], params["radius"] * params["scale"]
    rng = rng_for(params["seed"], "drops")
    margin = 2 * largest
    rows, columns = height + 2 * margin, width + 2 * margin
    expected = params["density"] / 1e4 / scale**2 * rows * columns
    chance = rng.random((8, min(int(expected + rng.random()), _MOST)))
    least = max(largest * (1 - params["spread"]), 0.5)
    radius = np.sort(least / (1 - chance[2] * (1 - least / max(largest, least))))
    reach = radius / _VISIBLE
    x, y = chance[0] * columns - margin, chance[1] * rows - margin
    turn = 2 * np.pi * chance[5]
    above, side = 0.6 + 0.25 * chance[4], 0.5 + 0.3 * chance[6]
    found = _Balls(
        x=np.concatenate([x, x + (chance[3] - 0.5) * 0.4 * radius, x + np.cos(turn) * 0.45 * radius]),
        y=np.concatenate([y, y - (0.3 + 0.45 * chance[7]) * radius, y + np.sin(turn) * 0.45 * radius]),
        reach=np.concatenate([reach * 0.85, reach * above, reach * side]),
    )
    order = np.argsort(found.reach, kind="stable")
    return _Balls(*(part[order].astype(np.float32).reshape(-1, 1, 1) for part in found))


def _batches(balls: _Balls, cell: int) -> Iterator[_Balls]:
    """Parts of bounded size, each of balls of about the same size."""
    start = 0
    while start < balls.x.size:
        bound = float(balls.reach[start, 0, 0]) * 1.5
        stop = int(np.searchsorted(balls.reach[:, 0, 0], bound, side="right"))
        stop = min(stop, start + max(1, int(_BATCH / (2 * bound / cell + 3) ** 2)))
        yield _Balls(*(part[start:stop] for part in balls))
        start = stop


def _samples(balls: _Balls, size: Shape, cell: int) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Places on the grid with a border for what is outside, what to add there, and the reach of the ball it is of."""
    height, width = size
    reach = float(balls.reach.max()) / cell
    span = np.arange(int(2 * reach) + 2, dtype=np.float32)
    column = np.floor(balls.x / cell - np.float32(reach)) + span
    row = np.floor(balls.y / cell - np.float32(reach)) + span[:, None]
    dx, dy = (column + np.float32(0.5)) * cell - balls.x, (row + np.float32(0.5)) * cell - balls.y
    inside = np.maximum(1 - (dx * dx + dy * dy) / (balls.reach * balls.reach), 0)
    across = np.clip(column, -1, width).astype(np.int64) + 1
    down = (np.clip(row, -1, height).astype(np.int64) + 1) * (width + 2)
    weight = (inside * inside).reshape(-1)
    return (down + across).reshape(-1), weight, np.broadcast_to(balls.reach, inside.shape).reshape(-1)
