"""Hashes made of thumbs, for copies that the hash of the whole picture misses: re-cropped, mirrored, turned.

A view's hash is the signs of the 63 lowest frequencies of the thumb's DCT-II. A mirror image has the same frequencies
with every other sign changed, and a quarter turn exchanges rows and columns besides, so any of the eight turns of a
thumb is a matter of signs and places, not of pixels. To join copies whatever their turn without entering each eight
times, every thumb is brought to one standard turn: brighter on the left than on the right, at the top than at the
bottom, and more so in the first respect. Where that is in doubt it is entered in each turn that may be meant.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from million_ird.dedup.blocks import Hashes

Thumbs = NDArray[np.uint8]

SIDE = 16  # px, side of a thumb
LOW = 8  # frequencies in each direction
ZOOM = 0.03  # part of each side that the second view leaves out
DOUBT = 0.03  # of the energy: a gradient or a difference of gradients below it does not tell the turn
PART = 1 << 14  # thumbs at a time
# Whole numbers that float64 adds exactly in any order, so that the same thumb has the same hash on every machine.
SCALE = 2.0**20


def view_hashes(thumbs: Thumbs, *, turned: bool) -> tuple[NDArray[np.int64], NDArray[np.uint8], Hashes]:
    """Two views of each thumb, as it is and without its border, hashed.

    Args:
        thumbs: (n, 256) uint8, 16x16 luma row by row.
        turned: bring them to the standard turn first.

    Returns:
        which: (m,) index of the thumb; turn: (m,) uint8, how it was turned, see `turn`; hashes: (m,) uint64.
    """
    starts = range(0, max(len(thumbs), 1), PART)
    parts = [view for start in starts for view in _views(thumbs[start : start + PART], start, turned)]
    which, turns, hashes = zip(*parts, strict=True)
    return np.concatenate(which), np.concatenate(turns), np.concatenate(hashes)


def turn(thumbs: Thumbs, turns: NDArray[np.uint8]) -> Thumbs:
    """Thumbs turned: bit 0 = columns reversed, bit 1 = rows reversed, bit 2 = then rows and columns exchanged.

    Args:
        thumbs: (n, 256) uint8.
        turns: (n,) uint8, 0..7.
    """
    out = thumbs.copy()
    for kind in range(1, 8):
        chosen = np.flatnonzero(turns == kind)
        square = thumbs[chosen].reshape(-1, SIDE, SIDE)[:, :: -1 if kind & 2 else 1, :: -1 if kind & 1 else 1]
        out[chosen] = (square.transpose(0, 2, 1) if kind & 4 else square).reshape(-1, SIDE * SIDE)
    return out


def _views(thumbs: Thumbs, first: int, turned: bool) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8], Hashes]]:
    pixels = thumbs.astype(np.float64)
    for matrix in (_transform(0.0), _transform(ZOOM)):
        waves = (pixels @ matrix.T).reshape(-1, LOW, LOW)
        for kind, possible in enumerate(_turns(waves) if turned else [np.ones(len(waves), bool)]):
            which = np.flatnonzero(possible)
            hashes = _signs(_turn_waves(waves[which], kind))
            yield first + which, np.full(len(which), kind, np.uint8), hashes


def _turns(waves: NDArray[np.float64]) -> Iterator[NDArray[np.bool_]]:
    """For each of the eight turns, whether it may bring the thumbs to the standard one."""
    doubt = DOUBT * np.sqrt((waves**2).sum(axis=(1, 2)) - waves[:, 0, 0] ** 2)
    across, down = waves[:, 0, 1], waves[:, 1, 0]
    steeper = np.abs(across) - np.abs(down)
    for kind in range(8):
        yield (
            ((-across if kind & 1 else across) >= -doubt)
            & ((-down if kind & 2 else down) >= -doubt)
            & ((-steeper if kind & 4 else steeper) >= -doubt)
        )


def _turn_waves(waves: NDArray[np.float64], kind: int) -> NDArray[np.float64]:
    """What `turn` does, on (n, LOW, LOW) frequencies."""
    odd = np.where(np.arange(LOW) % 2, -1.0, 1.0)
    waves = waves * (odd if kind & 1 else 1.0) * (odd[:, None] if kind & 2 else 1.0)
    return waves.transpose(0, 2, 1) if kind & 4 else waves


def _signs(waves: NDArray[np.float64]) -> Hashes:
    positive = waves.reshape(-1, LOW * LOW) > 0
    positive[:, 0] = False
    return np.packbits(positive, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _transform(zoom: float) -> NDArray[np.float64]:
    """(LOW * LOW, 256): crop `zoom` of each side, back to 16x16 by linear interpolation and averaging, DCT-II."""
    fine = 8
    places = zoom * SIDE + (np.arange(SIDE * fine) + 0.5) * (1 - 2 * zoom) / fine - 0.5
    linear = np.clip(1 - np.abs(np.clip(places, 0, SIDE - 1)[:, None] - np.arange(SIDE)), 0, 1)
    crop = linear.reshape(SIDE, fine, SIDE).mean(axis=1) if zoom else np.eye(SIDE)
    cosines = np.cos(np.pi / SIDE * np.arange(LOW)[:, None] * (np.arange(SIDE) + 0.5)) @ crop
    return np.rint(np.kron(cosines, cosines) * SCALE)
