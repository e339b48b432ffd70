"""How far away every pixel is: guessed, given, or estimated by a function of someone else."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from million_ird.degrade.op import Bytes, Floats, Shape
from million_ird.degrade.weather import smooth_noise
from million_ird.errors import ConfigError, InputError
from million_ird.rng import Chance, rng_for

_IMPORTED = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
_FILE = "file:"
_NEAREST = 0.1
"""Distance of the nearest that the guess gives, in parts of the farthest."""
_LOW = 64
"""Pixels of the shorter side at which the guess is made."""
_FLATTEN = 4e-3
"""Variance of luma below which the guided filter levels out what is within a window."""


def check(source: str) -> str:
    """A source of distances, as it is.

    Raises:
        ValueError: none of the four forms.
    """
    if source in ("pseudo", "flat") or (source.startswith(_FILE) and len(source) > len(_FILE)):
        return source
    if not source.startswith(_FILE) and _IMPORTED.match(source):
        return source
    raise ValueError("expected pseudo, flat, file:PATH (with {id} or {stem} for the image) or module:function")


def named(source: str, image_id: str) -> str:
    """A file's name for one image."""
    if not source.startswith(_FILE):
        return source
    return source.replace("{id}", image_id).replace(
        "{stem}", str(PurePosixPath(image_id).with_suffix("")) if image_id else ""
    )


def distance(image: Bytes, source: str, seed: int) -> Floats:
    """Distances in parts of the farthest.

    Args:
        image: (H, W, 3) RGB.
        source: "pseudo", "flat", "file:PATH" or "module:function".
        seed: for what "pseudo" can't know.

    Returns:
        (H, W) float32 of 0 and more; "pseudo" and "flat" within [0.1, 1]; new, the caller's to change. "pseudo" may be
        half as large.

    Raises:
        InputError: the file or the function gives no map.
        ConfigError: the function is not there.
    """
    shape = image.shape[:2]
    if source == "flat":
        return np.ones(shape, np.float32)
    if source == "pseudo":
        return pseudo(image, seed)
    if source.startswith(_FILE):
        return _fitted(_read(source[len(_FILE) :]), shape, source)
    return _fitted(_function(source)(image.copy()), shape, source)


def pseudo(image: Bytes, seed: int) -> Floats:
    """A guess without a network: what is high up in the picture, bright and pale tends to be far.

    The sum of a ramp from below to a horizon, smooth noise, and the colour attenuation prior (Zhu, Mai and Shao 2015:
    distance grows with value less saturation) is made at low resolution and brought to the edges of the picture by a
    guided filter (He and Sun 2015, its fast form: the coefficients are enlarged, not the result).

    Returns:
        float32 in [0.1, 1], (H, W) or, of pictures over 128 px a side, half of it: for air that is sharp enough.
    """
    height, width = image.shape[:2]
    factor = max(1.0, min(height, width) / _LOW, max(height, width) / (4 * _LOW))
    size = max(1, round(width / factor)), max(1, round(height / factor))
    low = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    guide = cv2.cvtColor(low, cv2.COLOR_RGB2GRAY).astype(np.float32) * np.float32(1 / 255)
    gain, offset = _guided(guide, _prior(low, rng_for(seed, "depth")), max(1, min(size) // 8))
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    half = ((width + 1) // 2, (height + 1) // 2)
    if min(half) >= _LOW:
        luma = cv2.resize(luma, half, interpolation=cv2.INTER_AREA)
    gain, offset = (cv2.resize(part, luma.shape[::-1], interpolation=cv2.INTER_LINEAR) for part in (gain, offset))
    depth: Floats = cv2.multiply(luma, gain, scale=1 / 255, dtype=cv2.CV_32F)
    depth += offset
    return np.clip(depth, np.float32(_NEAREST), 1, out=depth)


def _prior(low: Bytes, rng: Chance) -> Floats:
    """(h, w) unsmoothed guess, in [0.1, 1] but for 4 % of the pixels."""
    height, width = low.shape[:2]
    horizon, lean, rough = 0.15 + 0.3 * rng.random(), 0.2 * (rng.random() - 0.5), 0.1 + 0.15 * rng.random()
    y = (np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5)) / np.float32(height)
    x = (np.arange(width, dtype=np.float32)[None, :] + np.float32(0.5)) / np.float32(width) - np.float32(0.5)
    below = np.clip((y + np.float32(lean) * x - np.float32(horizon)) / np.float32(1 - horizon), 0, 1)
    ramp = (1 - below) ** np.float32(1.5)
    value = low.max(axis=2).astype(np.float32)
    pale = value - (value - low.min(axis=2)) * (255 / np.maximum(value, 1))
    guess = ramp + pale * np.float32(0.4 / 255) + smooth_noise((height, width), 3, rng) * np.float32(rough)
    ordered = np.sort(guess[::2, ::2], axis=None)
    near, far = ordered[int(0.02 * ordered.size)], ordered[int(0.98 * ordered.size)]
    return np.float32(_NEAREST) + (guess - near) * np.float32((1 - _NEAREST) / max(float(far - near), 1e-3))


def _guided(guide: Floats, target: Floats, radius: int) -> tuple[Floats, Floats]:
    """Coefficients (a, b) of the guided filter: result = a guide + b."""
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(x: Floats) -> Floats:
        return cv2.blur(x, size, borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_target = mean(guide), mean(target)
    variance = mean(guide * guide) - mean_guide * mean_guide
    gain = (mean(guide * target) - mean_guide * mean_target) / (variance + np.float32(_FLATTEN))
    return mean(gain), mean(mean_target - gain * mean_guide)


def _read(path: str) -> Any:
    file = Path(path)
    try:
        if file.suffix == ".npy":
            return np.load(file, allow_pickle=False)
        raw = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, cv2.error) as error:
        raise InputError(f"depth map {path}: {error}; is it there, as 16-bit PNG or .npy?") from error
    if raw is None or raw.dtype not in (np.uint8, np.uint16):
        raise InputError(f"depth map {path}: expected a PNG of 8 or 16 bits, or .npy")
    return raw / np.float32(np.iinfo(raw.dtype).max)


@cache
def _function(source: str) -> Any:
    module, name = source.split(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"depth {source}: {error}; is its package installed?") from error


def _fitted(found: Any, shape: Shape, source: str) -> Floats:
    """Checked, and of the size of the picture: smaller maps are enlarged. Not finite = as far as can be."""
    found = np.array(found, np.float32)
    if found.ndim != 2 or 0 in found.shape:
        raise InputError(f"depth {source}: expected (H, W), got {found.shape}")
    found = np.nan_to_num(found, nan=1.0, posinf=1e6, neginf=0.0)
    if found.min() < 0:
        raise InputError(f"depth {source}: distances must not be negative, the least is {found.min():g}")
    if found.shape != shape:
        found = cv2.resize(found, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return found
