"""A camera's sensor, in numbers: noise levels as they go together, colour matrices, and the Bayer mosaic."""

from __future__ import annotations

from math import exp, log

import cv2
import numpy as np
from scipy.special import ndtri

from million_ird.degrade.op import Floats
from million_ird.rng import Chance, rng_for

_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Of sRGB's primaries, D65."""

_XYZ_TO_CAMERA = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
    ]
)
"""Colour matrices of four cameras, as their makers give them in DNG files."""

_GREEN = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4
_RED_BLUE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4


def read_variance(shot: float, rng: Chance) -> float:
    """Read-noise variance that goes with a shot noise: log read ~ N(2.18 log shot + 1.20, .26) (Brooks et al. 2019)."""
    return float(f"{exp(2.18 * log(shot) + 1.20 + 0.26 * float(ndtri(0.5 * 1e-9 + rng.random() * (1 - 1e-9)))):.6g}")


def colour_matrices(seed: int) -> tuple[Floats, Floats]:
    """(3, 3) linear sRGB to camera, and back: a random mixture of four cameras, rows summing to 1: white stays."""
    weights = rng_for(seed, "camera").random(4) + 1e-8
    to_camera = np.tensordot(weights / weights.sum(), _XYZ_TO_CAMERA, axes=1) @ _RGB_TO_XYZ
    to_camera /= to_camera.sum(axis=1, keepdims=True)
    return to_camera.astype(np.float32), np.linalg.inv(to_camera).astype(np.float32)


def mosaic(planes: Floats) -> Floats:
    """(H, W, 3) to (H, W): what an RGGB sensor sees of it."""
    raw = planes[..., 1].copy()
    raw[::2, ::2] = planes[::2, ::2, 0]
    raw[1::2, 1::2] = planes[1::2, 1::2, 2]
    return raw


def demosaic(raw: Floats) -> Floats:
    """(H, W) RGGB to (H, W, 3) by bilinear interpolation: linear, so that a sum's is the sum."""
    planes: Floats = np.zeros((3, *raw.shape), np.float32)
    planes[0, ::2, ::2] = raw[::2, ::2]
    planes[1, ::2, 1::2], planes[1, 1::2, ::2] = raw[::2, 1::2], raw[1::2, ::2]
    planes[2, 1::2, 1::2] = raw[1::2, 1::2]
    kernels = (_RED_BLUE, _GREEN, _RED_BLUE)
    full = [cv2.filter2D(p, -1, k, borderType=cv2.BORDER_REFLECT_101) for p, k in zip(planes, kernels, strict=True)]
    return cv2.merge(full)
