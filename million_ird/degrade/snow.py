"""Falling snow: flakes in planes of depth, smeared by their motion, near ones large and out of focus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.dist import Among, Between, Names, Spec, draw, draw_name, draw_seed
from million_ird.degrade.op import Bytes, Floats, Image, Op, Params, Shape, Support, Tier
from million_ird.degrade.weather import UNITS, colour8, lay, lay_behind_veil, local_light, opacity8, scale_of, summed
from million_ird.rng import Chance, rng_for

_BATCH = 1 << 17
"""Samples worked on at a time."""
_EDGE = 0.3
"""Width of the edge of a flake in parts of its radius."""
_REACH = 1.6
"""How far a flake reaches at most, in parts of its radius: 1 and half of its edge, over what it is least round."""
_SHARP = 0.3
"""Standard deviation of a blur, in cells of its grid, that nobody sees."""
_SHAPED = 1.5
"""Radius in px from which the shape of a flake can be seen."""
_MOST = 60_000
"""Flakes of one plane at most."""


class Snow(Op):
    """Flakes: y = x + a (c - x), with a the opacity of the flakes that lie over one another and c nearly white;
    optionally on a scene seen through the veil of farther snow (all of it in sRGB). The scene is not made white."""

    family: ClassVar[str] = "snow"
    tier: ClassVar[Tier] = "versions"

    density: Annotated[Spec, Between(0, 20)] = (0.3, 1.5)
    """Flakes, in parts of 15, 6 and 1.5 per 10,000 px of the three planes. Own, set by eye on photos of snowfall."""
    size: Annotated[Spec, Between(0.2, 5)] = (0.7, 1.3)
    """Size of flakes, in parts of radii of 0.7-1.5, 1.5-4 and 4-14 px at 512 px height. Own, small to large as in the
    three parts of Snow100K."""
    near: Annotated[Spec, Between(0, 1)] = (0, 1)
    """Share of the third plane's flakes that are there: large, near, out of focus. 0 = fine snow only."""
    opacity: Annotated[Spec, Between(0, 1)] = (0.5, 0.95)
    """Opacity in the middle of a small flake; large ones, out of focus, have about half of it. 0.3 to 0.95: own."""
    spread: Annotated[Spec, Between(0, 1)] = 0.4
    """How much opacities and smears of one picture differ, in parts of them; 0 = all alike."""
    smear: Annotated[Spec, Between(0, 60)] = (0, 10)
    """Way of a near flake during the exposure, px at 512 px height; far ones move less. 0 to 20: own."""
    angle: Annotated[Spec, Between(-90, 90)] = (-45, 45)
    """Direction of that way in degrees from the vertical; above 0 snow falls to the right."""
    jitter: Annotated[Spec, Between(0, 90)] = (5, 15)
    """Greatest deviation of a flake from that direction, degrees: flakes flutter."""
    brightness: Annotated[Spec, Between(0, 1)] = (0.9, 1)
    """Brightness of a flake that knows nothing of its scene."""
    tint: Annotated[Spec, Between(0, 1)] = 0.25
    """Share of the light around a place in the colour of its flakes; 0 = grey."""
    veil: Annotated[Spec, Between(0, 3)] = 0
    """Optical depth of the far snow; 0 = none, and only flakes change the picture. 0.1 to 0.8: own, heavy snow."""
    unit: Annotated[Names, Among(UNITS)] = "height"
    """"height" = px above are at 512 px height and grow with the picture; "pixel" = px of the picture as it is."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        numbers = (
            "density",
            "size",
            "near",
            "opacity",
            "spread",
            "smear",
            "angle",
            "jitter",
            "brightness",
            "tint",
            "veil",
        )
        params: Params = {name: draw(getattr(self, name), rng) for name in numbers}
        return params | {"scale": scale_of(draw_name(self.unit, rng), shape), "seed": draw_seed(rng)}

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        return _snowed(image, params)

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        return _snowed(image, params)

    @classmethod
    def layers(cls, params: Params, shape: Shape) -> Bytes:
        """The snow without the picture: all planes in one map.

        Args:
            params: what `draw` gave.
            shape: (H, W).

        Returns:
            (H, W) uint8, opacity in 1/255; 0 = no flake.
        """
        depth: Any = None
        for index in _ORDER:
            plane = _PLANES[index]
            # Where nothing is sharp a coarser grid shows the same.
            coarse = max(1, int(plane.radius[0] * params["size"] * params["scale"] / 2))
            size = -(-shape[0] // coarse), -(-shape[1] // coarse)
            flakes = _flakes(params, plane, shape, rng_for(params["seed"], "plane", index))
            found = (_rasterized(batch, size, coarse) for batch in _batches(flakes))
            # The border has caught what fell beside the picture. Nothing large is kept from plane to plane.
            inner = summed(found, (size[0] + 2, size[1] + 2))[1:-1, 1:-1]
            depth = _defocused(depth, inner, shape, coarse, plane.blur * params["scale"])
            del inner
        return opacity8(depth)


class _Plane(NamedTuple):
    radius: tuple[float, float]
    """px at 512 px height."""
    density: float
    """Flakes per px."""
    opacity: float
    """In parts of the drawn one."""
    smear: float
    """In parts of the drawn one."""
    blur: float
    """Standard deviation of its defocus, px at 512 px height."""


_PLANES = (
    _Plane((0.7, 1.5), 15e-4, 0.85, 0.25, 0),
    _Plane((1.5, 4), 6e-4, 0.95, 0.5, 0.8),
    _Plane((4, 14), 1.5e-4, 0.45, 1, 2.2),
)
"""From far to near."""
_ORDER = 1, 2, 0
"""The order in which they are summed that needs the least memory."""


class _Flakes(NamedTuple):
    """(N, 1, 1) float32 each, px."""

    x: Floats
    y: Floats
    radius: Floats
    depth: Floats
    """Opacity as optical depth."""
    dx: Floats
    """Half the smear."""
    dy: Floats
    two: Floats
    """Shape: how far it is from round, by the double angle (an ellipse) and by the triple angle (a pear)."""
    two_turned: Floats
    three: Floats
    three_turned: Floats


def _snowed(image: Image, params: Params) -> tuple[Image, Support]:
    alpha, light = Snow.layers(params, image.shape[:2]), local_light(image)
    colour = colour8(light, image.shape[:2], params["brightness"], params["tint"])
    if params["veil"]:
        return lay_behind_veil(image, alpha, colour, "alpha", light, params["veil"])
    return lay(image, alpha, colour), alpha


def _defocused(before: Floats | None, depth: Floats, shape: Shape, coarse: int, sigma: float) -> Floats:
    """(H, W) float32: what was there before, and a plane, blurred on its own grid and enlarged to pixels."""
    if before is not None and coarse == 1 and sigma <= _SHARP:
        return np.add(before, depth, out=before)
    plane = np.ascontiguousarray(depth)
    if sigma / coarse > _SHARP:
        cv2.GaussianBlur(plane, (0, 0), sigma / coarse, dst=plane, borderType=cv2.BORDER_REFLECT)
    if coarse > 1:
        size = plane.shape[1] * coarse, plane.shape[0] * coarse
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)[: shape[0], : shape[1]]
    return plane if before is None else np.add(before, plane, out=before)


def _flakes(params: Params, plane: _Plane, shape: Shape, rng: Chance) -> _Flakes:
    """Place flakes over the picture and as far around it as one can reach in, small ones first."""
    height, width = shape
    scale, spread = params["scale"], params["spread"]
    least, greatest = (radius * params["size"] * scale for radius in plane.radius)
    smear = params["smear"] * plane.smear * scale / 2
    margin = _REACH * greatest + smear * (1 + spread) + 1
    rows, columns = height + 2 * margin, width + 2 * margin
    share = params["near"] if plane is _PLANES[-1] else 1
    expected = params["density"] * share * plane.density / scale**2 * rows * columns
    chance = rng.random((10, min(int(expected + rng.random()), _MOST)))
    # Radii go with 1/r^2, as seen from within a cloud of equal flakes that thins out with nearness.
    radius = np.sort(least / (1 - chance[2] * (1 - least / greatest)))
    angle = np.radians(params["angle"] + params["jitter"] * (2 * chance[3] - 1))
    way = smear * (1 + spread * (2 * chance[4] - 1))
    # A flake that moves is as much fainter as it covers more of the picture.
    thinner = radius / (radius + way / 2)
    opacity = np.minimum(params["opacity"] * plane.opacity * (1 + spread * (2 * chance[5] - 1)) * thinner, 0.98)
    shaped = radius > _SHAPED
    found = _Flakes(
        x=chance[0] * columns - margin,
        y=chance[1] * rows - margin,
        radius=radius,
        depth=-np.log1p(-opacity),
        dx=way * np.sin(angle),
        dy=way * np.cos(angle),
        two=0.25 * (2 * chance[6] - 1) * shaped,
        two_turned=0.25 * (2 * chance[7] - 1) * shaped,
        three=0.15 * (2 * chance[8] - 1) * shaped,
        three_turned=0.15 * (2 * chance[9] - 1) * shaped,
    )
    return _Flakes(*(part.astype(np.float32).reshape(-1, 1, 1) for part in found))


def _batches(flakes: _Flakes) -> Iterator[_Flakes]:
    """Parts of bounded size, each of flakes that need about the same number of pixels."""
    start = 0
    while start < flakes.x.size:
        # Up to a third larger than the first: the square around a flake is the square around the largest of its batch.
        bound = float(flakes.radius[start, 0, 0]) * 1.5
        stop = int(np.searchsorted(flakes.radius[:, 0, 0], bound, side="right"))
        side = 2 * (bound * _REACH + float(np.abs([flakes.dx, flakes.dy]).max())) + 4
        stop = min(stop, start + max(1, int(_BATCH / side**2)))
        yield _Flakes(*(part[start:stop] for part in flakes))
        start = stop


def _rasterized(flakes: _Flakes, size: Shape, coarse: int) -> tuple[NDArray[np.int64], Floats]:
    """Places on a grid of cells of `coarse` px, with a border for what is outside, and optical depths to add there."""
    height, width = size
    reach_x = (_REACH * flakes.radius + np.abs(flakes.dx)).max() / coarse + 1
    reach_y = (_REACH * flakes.radius + np.abs(flakes.dy)).max() / coarse + 1
    column = np.floor(flakes.x / coarse - reach_x) + np.arange(int(2 * reach_x) + 2, dtype=np.float32)
    row = np.floor(flakes.y / coarse - reach_y) + np.arange(int(2 * reach_y) + 2, dtype=np.float32)[:, None]
    weight = _cover(flakes, (column + np.float32(0.5)) * coarse - flakes.x, (row + np.float32(0.5)) * coarse - flakes.y)
    across = np.clip(column, -1, width).astype(np.int64) + 1
    down = (np.clip(row, -1, height).astype(np.int64) + 1) * (width + 2)
    return (down + across).reshape(-1), weight.reshape(-1)


def _cover(flakes: _Flakes, x: Floats, y: Floats) -> Floats:
    """(N, h, w) optical depth at places relative to each flake's middle."""
    # Away from the way of the flake: what lies beside a place of the way is as far as from that place.
    way2 = flakes.dx * flakes.dx + flakes.dy * flakes.dy
    along = np.clip((x * flakes.dx + y * flakes.dy) / np.maximum(way2, np.float32(1e-6)), -1, 1)
    x, y = x - along * flakes.dx, y - along * flakes.dy
    x2, y2 = x * x, y * y
    r2 = x2 + y2
    distance = np.sqrt(r2)
    if flakes.radius[-1, 0, 0] > _SHAPED:
        # Cosine and sine of the double and the triple angle, without the angle.
        r2 += np.float32(1e-6)
        double = flakes.two * (x2 - y2) + flakes.two_turned * (x * y)
        triple = flakes.three * x * (x2 - 3 * y2) + flakes.three_turned * y * (3 * x2 - y2)
        distance -= (double * distance + triple) / r2
    ramp = np.maximum(_EDGE * flakes.radius, 1)
    return np.clip((flakes.radius + ramp / 2 - distance) / ramp, 0, 1) * flakes.depth
