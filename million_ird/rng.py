"""Where all chance comes from: a key made of what is degraded, never of when, where or in which order."""

from __future__ import annotations

import hashlib

import numpy as np


def key_for(seed: int, *what: str | int) -> int:
    """A 128-bit key from a seed and what it is for: equal inputs give equal keys, neighbouring ones unrelated keys."""
    text = "\0".join(str(part) for part in (seed, *what))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def rng_for(seed: int, *what: str | int) -> np.random.Generator:
    """A generator of its own for (seed, what): counter-based (Philox), so that nothing is shared with any other."""
    return np.random.Generator(np.random.Philox(key=key_for(seed, *what)))
