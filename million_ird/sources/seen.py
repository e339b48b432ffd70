"""What came before, in 8 bytes an entry: sorted runs of hashes that are merged as they grow."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_LARGEST_RUN = 1 << 25
"""Entries up to which runs are merged: merging holds two runs twice, for a moment."""


def hashes_of(texts: Iterable[str]) -> NDArray[np.uint64]:
    """(N,) 64-bit hashes (blake2b) of texts; what is no UTF-8 counts too."""
    digests = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64, copy=False)


class Seen:
    """A set of 64-bit hashes that only grows. Two things of one hash are taken for one: among 100M, that happens once
    in some 3,700 lists."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []  # each sorted; each at least twice as long as the next

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def new(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of a batch were not met before, in the batch or earlier; they are remembered.

        Args:
            hashes: (N,) uint64.

        Returns:
            (N,) bool; of several equal ones in a batch, the first.
        """
        found = np.zeros(len(hashes), dtype=bool)
        if not len(hashes):
            return found
        unique, first = np.unique(np.asarray(hashes, dtype=np.uint64), return_index=True)
        fresh = np.ones(len(unique), dtype=bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, unique), len(run) - 1)
            fresh &= run[places] != unique
        found[first[fresh]] = True
        if fresh.any():
            self._add(unique[fresh])
        return found

    def _add(self, run: NDArray[np.uint64]) -> None:
        runs = self._runs
        while runs and len(runs[-1]) < 2 * len(run) and len(runs[-1]) + len(run) <= _LARGEST_RUN:
            run = np.concatenate((runs.pop(), run))
            run.sort()
        runs.append(run)
