"""Where all chance comes from: a key made of what is degraded, never of when, where or in which order."""

from __future__ import annotations

import hashlib
import struct
from functools import cached_property
from typing import Any

import numpy as np

_UNIT = 2.0**-53


def key_for(seed: int, *what: str | int) -> int:
    """A 128-bit key from a seed and what it is for: equal inputs give equal keys, neighbouring ones unrelated keys."""
    return int.from_bytes(_digest(seed, what, 16), "little")


def rng_for(seed: int, *what: str | int) -> Chance:
    """The chance of (seed, what) alone: nothing is shared with any other."""
    return Chance(_digest(seed, what, 16))


class Chance:
    """Random numbers of one key: single ones straight from a hash of key and counter, arrays from Philox of that key.

    Single numbers are what ops draw, a few for each of millions of pictures, and a generator of numpy takes 15 us to
    make; these take 1 us, and are the same bits on every machine. All else that a `numpy.random.Generator` has
    (`normal`, `integers`, ...) is there too, with the guarantees that numpy gives.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._count = 0
        self._left: list[int] = []

    def random(self, size: Any = None) -> Any:
        """A float in [0, 1) with 53 random bits, or an array of them."""
        if size is not None:
            return self.generator.random(size)
        if not self._left:
            digest = hashlib.blake2b(self._count.to_bytes(8, "little"), key=self._key, digest_size=64).digest()
            self._left = list(struct.unpack("<8Q", digest))
            self._count += 1
        return (self._left.pop() >> 11) * _UNIT

    @cached_property
    def generator(self) -> np.random.Generator:
        """numpy's, keyed alike."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self._key, "little")))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.generator, name)


def _digest(seed: int, what: tuple[str | int, ...], size: int) -> bytes:
    text = "\0".join([str(seed), *map(str, what)])
    return hashlib.blake2b(text.encode(), digest_size=size).digest()
