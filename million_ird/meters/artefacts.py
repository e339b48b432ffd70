"""Artefacts: what has been done to a picture, as a small network sees it in nine patches at native scale."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from million_ird.meters import RGB, Frame
from million_ird.meters.files import OURS, Modelled
from million_ird.meters.onnx import network
from million_ird.rng import Chance, rng_for

SIDE, ACROSS = 96, 3
"""Side of a patch, px, and how many of them there are across and down."""

GRID = 8
"""Patches begin at multiples of so many px: where the blocks of a JPEG begin that nobody has cropped."""

COLUMNS: Mapping[str, str] = {
    "artefacts_noise": "sigma of noise as a network sees it, grey levels, 0..about 50; higher = noisier",
    "artefacts_quality": "IJG quality of the worst JPEG that the pixels have been, whatever the file says, 1..100; "
    "100 = none that shows; higher = better",
    "artefacts_blur": "standard deviation of the blur along its widest direction, px, 0 and up; higher = more blurred",
    "artefacts_gaussian": "Gaussian blur, 0..1; higher = surer",
    "artefacts_defocus": "blur by defocus, 0..1; higher = surer",
    "artefacts_motion": "blur by motion, 0..1; higher = surer",
    "artefacts_upscale": "factor by which the picture has been enlarged, 1..about 4; higher = more",
    "artefacts_upscaled": "enlarged at all, 0..1; higher = surer",
    "artefacts_haze": "haze, 0..1; higher = surer",
    "artefacts_lowlight": "too little light, 0..1; higher = surer",
    "artefacts_rain": "streaks of rain, 0..1; higher = surer",
    "artefacts_snow": "falling snow, 0..1; higher = surer",
}
"""What the network gives, in its order. None of them below 96 px."""

_SHIPPED = Path(__file__).parent / "weights" / "artefacts.onnx"


class Artefacts(Modelled):
    """A network of several heads, trained on degradations of this project's own making.

    It looks at nine patches of 96 x 96 px, never at a smaller copy, which would have lost the noise and the blocks.
    They are spread over the picture, each at a place in its ninth that a hash of the picture chooses: the same picture
    gives the same values. One thread of onnxruntime, and the same cost for any size.
    """

    columns: ClassVar[Mapping[str, str]] = COLUMNS

    model: str = OURS
    """The network: `million-ird`, or an ONNX file written by `mird train detectors --only artefacts`."""

    @field_validator("model")
    @classmethod
    def _readable(cls, model: str) -> str:
        if model != OURS:
            session(model)  # a wrong file is reported before any picture is read
        return model

    def __call__(self, frame: Frame) -> tuple[float | None, ...]:
        """Returns:
        One value per column; all None where a side is below 96 px.
        """
        if min(frame.rgb.shape[:2]) < SIDE:
            return (None,) * len(COLUMNS)
        rng = rng_for(zlib.crc32(frame.points.tobytes()), "artefacts")
        (values,) = session(self.model).run(["values"], {"patches": patches(frame.rgb, rng)})
        return tuple(float(value) for value in values)


def patches(rgb: RGB, rng: Chance) -> NDArray[np.uint8]:
    """(9, 3, 96, 96) uint8: one patch from each ninth of the picture.

    Args:
        rgb: (H, W, 3) uint8, both sides 96 px or more.
        rng: chooses the places.
    """
    found = np.empty((ACROSS * ACROSS, 3, SIDE, SIDE), np.uint8)
    for number in range(ACROSS * ACROSS):
        top, left = (
            _start(length, part, rng) for length, part in zip(rgb.shape[:2], divmod(number, ACROSS), strict=True)
        )
        found[number] = rgb[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1)
    return found


def _start(length: int, part: int, rng: Chance) -> int:
    """Where a patch begins in the given third of a side of this length, px."""
    return int((length - SIDE) * (part + rng.random()) / ACROSS) // GRID * GRID


@lru_cache(maxsize=4)
def session(model: str = OURS) -> Any:
    """The network by name or from a file, on one thread.

    Raises:
        ConfigError: no such file, or one that holds no such network.
    """
    path = _SHIPPED if model == OURS else Path(model)
    remedy = f"give '{OURS}' or a file that `mird train detectors --only artefacts` wrote"
    return network("artefacts", path, remedy, "patches", {"values": len(COLUMNS)})
