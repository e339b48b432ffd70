"""The masks of a join side by side: a small one in threads, a large one in processes of its own.

A process of its own can be told, before numpy is imported, which vector instructions to leave alone. Zen 4 has
AVX-512, and numpy takes its AVX-512 sort there, which is five times slower than its AVX2 sort (a store that compresses
is microcode). Whether that is so is measured, not guessed from a processor's name. The results are whole numbers and
the same either way.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from million_ird.dedup.blocks import Blocks, Hashes
from million_ird.dedup.masks import Values, under_mask

LARGE = 30_000_000  # hashes sorted, over all masks, from which on processes are worth their start
SLOW_SORT = 25.0  # ns for each of 65,536 hashes: any processor of the last ten years takes less for its widest sort
_DISABLE = "NPY_DISABLE_CPU_FEATURES"
_CHILD = "import sys; sys.path.insert(0, {!r}); from million_ird.dedup.lanes import serve; serve()"


def found_under_masks(shuffled: Hashes, blocks: Blocks, distance: int, lanes: int) -> Iterator[Values | None]:
    """What `under_mask` finds for every mask, `lanes` masks at a time, in no particular order; None as each ends.

    Args:
        shuffled: (n,) uint64, bits as `blocks.shuffle` puts them.
        lanes: at least 1; each holds about 10 bytes a hash.

    Raises:
        RuntimeError: a process of the join died, for want of memory most likely.
    """
    if blocks.count * len(shuffled) < LARGE or not sys.executable:
        yield from _side_by_side((under_mask(shuffled, blocks, mask, distance) for mask in blocks.masks), lanes)
        return
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mird-join-"))
        path = Path(folder) / "hashes.npy"
        np.save(path, shuffled)
        del shuffled  # the processes share the file's pages
        free: SimpleQueue[_Lane] = SimpleQueue()
        for _ in range(min(lanes, blocks.count)):
            free.put(stack.enter_context(_Lane(path, blocks, distance)))
        yield from _side_by_side((_elsewhere(free, mask) for mask in blocks.masks), lanes)


def _side_by_side(streams: Iterator[Iterator[Values]], lanes: int) -> Iterator[Values | None]:
    """What the streams yield, `lanes` of them at a time, none more than one item ahead; None as each ends."""
    with ThreadPoolExecutor(lanes) as pool:
        running = {pool.submit(next, stream, None): stream for stream in islice(streams, lanes)}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                stream, item = running.pop(future), future.result()
                yield item
                stream = next(streams, None) if item is None else stream
                if stream is not None:
                    running[pool.submit(next, stream, None)] = stream


def _elsewhere(free: SimpleQueue[_Lane], mask: tuple[int, ...]) -> Iterator[Values]:
    """`under_mask` in a process that has nothing to do."""
    lane = free.get()
    yield from lane.ask(mask)
    free.put(lane)


class _Lane:
    """A process that does one mask after the other."""

    def __init__(self, path: Path, blocks: Blocks, distance: int) -> None:
        left_alone = {*os.environ.get(_DISABLE, "").split(), *_slow_to_sort_by()}
        environment = {**os.environ, _DISABLE: " ".join(sorted(left_alone))} if left_alone else None
        code = _CHILD.format(str(Path(__file__).parents[2]))
        command = [sys.executable, "-c", code]
        self._process: Any = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=1 << 16
        )
        self._send((path, blocks, distance))

    def __enter__(self) -> _Lane:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with suppress(BrokenPipeError):  # what it was not sent any more
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def ask(self, mask: tuple[int, ...]) -> Iterator[Values]:
        """What `under_mask` yields."""
        self._send(mask)
        while (found := self._receive()) is not None:
            yield found

    def _send(self, what: Any) -> None:
        try:
            pickle.dump(what, self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except OSError:
            self._ended()

    def _receive(self) -> Values | None:
        try:
            return pickle.load(self._process.stdout)  # noqa: S301 (from a process that this one started)
        except (EOFError, pickle.UnpicklingError):
            self._ended()

    def _ended(self) -> Any:
        raise RuntimeError(f"a process of the near-duplicate join ended with {self._process.wait()}") from None


def serve() -> None:
    """A lane's side: the file, the cut and the distance first, then masks, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asked sees to it
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    path, blocks, distance = pickle.load(asked)  # noqa: S301 (from the process that started this one)
    shuffled = np.load(path, mmap_mode="r")
    while True:
        try:
            mask = pickle.load(asked)  # noqa: S301
        except EOFError:
            return
        for found in under_mask(shuffled, blocks, mask, distance):
            pickle.dump(found, answers, pickle.HIGHEST_PROTOCOL)
        pickle.dump(None, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


@cache
def _slow_to_sort_by() -> tuple[str, ...]:
    """Features of this processor without which numpy sorts faster."""
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    wide = tuple(name for name in found if name == "X86_V4" or name.startswith("AVX512"))
    if not wide:
        return ()
    sample = np.random.default_rng(0).integers(0, 2**64, 1 << 16, dtype=np.uint64)
    return wide if min(_nanoseconds(sample) for _ in range(5)) > SLOW_SORT else ()


def _nanoseconds(sample: Hashes) -> float:
    """What sorting takes for each hash."""
    copy, begin = sample.copy(), time.thread_time()
    copy.sort()
    return (time.thread_time() - begin) / len(copy) * 1e9
