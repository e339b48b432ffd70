"""Named protocols: how a picture is cut, how noise is put on it, what is compared with the target, and by what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.errors import ConfigError
from million_ird.rng import rng_for

RGB = NDArray[np.uint8]
Noise = Callable[[RGB, float, str], RGB]
"""(clean picture, sigma in grey levels of 255, its name) -> noisy picture."""


@dataclass(frozen=True)
class Protocol:
    """How restored pictures are judged.

    Attributes:
        name: of the protocol.
        about: what it does, for people: printed with every table.
        multiple: H and W are cut down to multiples of it, in the centre; 1 = the whole picture.
        rounded: the output is rounded to 8 bits, as it would be when saved.
        sequential: noise comes from one stream over the pictures in sorted order, not from each picture's name.
        metrics: what is computed; the first two stand in the table.
    """

    name: str
    about: str
    multiple: int
    rounded: bool
    sequential: bool
    metrics: tuple[str, ...]

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """(H, W, 3) to the centre of it, H and W multiples of `multiple`; offsets are rounded down.

        Raises:
            ValueError: the picture is smaller than one multiple.
        """
        height, width = image.shape[:2]
        down, across = height % self.multiple, width % self.multiple
        if min(height, width) < self.multiple:
            raise ValueError(f"{width}x{height} px is smaller than {self.multiple} px")
        top, left = down // 2, across // 2
        return image[top : top + height - down, left : left + width - across]

    def finish(self, output: NDArray[Any]) -> NDArray[np.float64]:
        """What a network gave, (H, W, 3) float, to what is compared: clipped to [0, 1], rounded to n/255 if asked."""
        output = np.clip(np.asarray(output, np.float64), 0, 1)
        return np.rint(output * 255) / 255 if self.rounded else output

    def noise(self) -> Noise:
        """Gaussian noise for the pictures of one set, to be asked for them in sorted order."""
        return _Stream() if self.sequential else _by_name


class _Stream:
    """Noise as the published evaluation draws it: one generator, seed 0; clipped, cut off to whole levels."""

    def __init__(self) -> None:
        # numpy's legacy generator on purpose: it is the stream behind the published numbers.
        self._random = np.random.RandomState(0)

    def __call__(self, clean: RGB, sigma: float, name: str) -> RGB:
        noisy = clean + self._random.standard_normal(clean.shape) * sigma
        return np.clip(noisy, 0, 255).astype(np.uint8)


def _by_name(clean: RGB, sigma: float, name: str) -> RGB:
    """Noise from a hash of the picture's name (without suffix) and sigma; clipped and rounded; grey noise on grey."""
    grey = not (np.ptp(clean, axis=2)).any()
    shape = (*clean.shape[:2], 1) if grey else clean.shape
    stem = PurePosixPath(name).with_suffix("").as_posix()
    noise = rng_for(0, "mird eval", stem, f"{sigma:g}").standard_normal(shape) * sigma
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


PUBLISHED = Protocol(
    "published",
    "published (as the AirNet, PromptIR and DyNet code evaluates): input and target are cut in the centre to "
    "multiples of 16 px; RGB; the output is clipped to [0, 1] and not rounded; PSNR over the three channels; SSIM "
    "with a uniform 7x7 window. Noise: numpy's legacy generator, seed 0, begun anew for each set, pictures in sorted "
    "order of their names (the published code takes them as the file system lists them); clipped and cut off (floor) "
    "to 8 bits.",
    16,
    False,
    True,
    ("psnr", "ssim_uniform7", "ssim_gaussian11", "psnr_y", "ssim_y"),
)
STRICT = Protocol(
    "strict",
    "strict: whole pictures, padded for the network and cut back; RGB; the output is rounded to 8 bits, as it would be "
    "saved; PSNR over the three channels; SSIM with a Gaussian 11x11 window, sigma 1.5. Noise: drawn from a hash of "
    "the picture's name and sigma, so that no order, no other picture and no limit changes it; clipped and rounded to "
    "8 bits; a grey picture gets grey noise.",
    1,
    True,
    False,
    ("psnr", "ssim_gaussian11", "ssim_uniform7", "psnr_y", "ssim_y"),
)
PROTOCOLS = {protocol.name: protocol for protocol in (PUBLISHED, STRICT)}


def find(protocol: str | Protocol) -> Protocol:
    """A protocol by name.

    Raises:
        ConfigError: there is none of this name.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol {protocol}: unknown; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]
