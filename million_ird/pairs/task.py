"""The picklable task: render one shard and write its part; and the journal that finds out which image kills workers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import cv2

from million_ird.errors import BadImage
from million_ird.mirror import Mirror
from million_ird.pairs.plan import LISTED, Entry, shard_entries
from million_ird.pairs.remote import PARTIAL, clear_part, put_part
from million_ird.pairs.render import Renderer, Sample
from million_ird.pairs.settings import DegradeConfig
from million_ird.pairs.writers import Tally, write_part
from million_ird.sources import SourceSpec
from million_ird.tables import read_json, write_json

ATTEMPTS = 2
"""So many workers may die on an image before it is given up as `crashed`."""


@dataclass(frozen=True)
class DegradeShard:
    """Renders one shard.

    Attributes:
        out: the run's folder.
        specs: the sources of its images.
        config: its configuration.
        shards: how many there are.
        mirror: where the folder is a copy of an address: a worker has one of its own, and what it makes is put there.
        run: name of this run of the command; journals of others, which such a folder may hold, are no evidence.
    """

    out: str
    specs: tuple[SourceSpec, ...]
    config: DegradeConfig
    shards: int
    mirror: Mirror | None = None
    run: str = ""

    @cached_property
    def renderer(self) -> Renderer:
        """One per process: its reader keeps an archive open."""
        cv2.setNumThreads(1)
        return Renderer(self.specs, self.config)

    def close(self) -> None:
        """Let go of what reading holds open."""
        self.renderer.reader.close()

    def __call__(self, shard: int, progress: Callable[[int], None]) -> dict[str, Any]:
        """Returns:
        The shard's mark: "images", "samples", "bytes", "labels" and "skipped".
        """
        out = self.mirror.folder if self.mirror else Path(self.out)
        if self.mirror:
            self.mirror.bring([LISTED])
            clear_part(self.mirror, shard)
        folder = out / PARTIAL
        entries = shard_entries(out, shard)
        skipped: list[dict[str, str]] = []
        journal = Journal(folder / "journal" / (self.run if self.mirror else ""), shard)
        try:
            tally = Tally(self._samples(entries, journal, skipped, progress))
            write_part(folder, shard, self.shards, tally, self.config)
        finally:
            journal.close()
        if self.mirror:
            put_part(self.mirror, shard)
        mark = {
            "images": len(entries) - len(skipped),
            "samples": tally.samples,
            "bytes": tally.bytes,
            "labels": dict(sorted(tally.labels.items())),
            "skipped": skipped,
        }
        write_json(mark_path(out, shard), mark)
        if self.mirror:
            self.mirror.push([mark_name(shard)])
        return mark

    def _samples(
        self, entries: list[Entry], journal: Journal, skipped: list[dict[str, str]], progress: Callable[[int], None]
    ) -> Iterator[Sample]:
        for number, entry in enumerate(entries):
            try:
                if number in journal.crashed:
                    raise BadImage("crashed", "the worker process died on it, twice")
                journal.start(number)
                for sample in self.renderer.samples(entry):
                    yield sample
                    progress(0)  # a sign of life: an image of many samples is no standstill
            except BadImage as bad:
                item = entry.item
                what = {"uri": item.uri, "source": item.source, "status": bad.status, "detail": bad.detail}
                skipped.append(what)
            # An image that a worker had finished before it died on another is counted once.
            progress(0 if number in journal.finished else 1)
            journal.finish(number)


def mark_path(out: Path, shard: int) -> Path:
    """The mark of a finished shard; that it exists says that its part is whole."""
    return out / mark_name(shard)


def mark_name(shard: int) -> str:
    """The mark as it is called below the run's folder."""
    return f"{PARTIAL}/done/{shard:05d}.json"


def read_mark(out: Path, shard: int) -> dict[str, Any] | None:
    """The mark of a shard; None where it is not finished."""
    return read_json(mark_path(out, shard))


class Journal:
    """Which images of a shard were begun and which finished, by all workers that have had it in this run.

    Args:
        folder: where journals lie; emptied when a run begins, so that a killed run is no evidence against an image.
        shard: number of the shard.
    """

    def __init__(self, folder: Path, shard: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{shard:05d}.txt"
        began: Counter[int] = Counter()
        self.finished: set[int] = set()
        for line in path.read_text("ascii").split("\n")[:-1] if path.exists() else ():
            kind, number = line.split()
            if kind == "-":
                self.finished.add(int(number))
                began[int(number)] -= 1
            else:
                began[int(number)] += 1
        self.crashed = {number for number, count in began.items() if count >= ATTEMPTS}
        self._file: IO[str] = path.open("a", encoding="ascii")

    def start(self, number: int) -> None:
        """Note that an image is about to be read."""
        self._write("+", number)

    def finish(self, number: int) -> None:
        """Note that all is done with it."""
        self._write("-", number)

    def _write(self, kind: str, number: int) -> None:
        # To the kernel at once: what is written outlives the process.
        os.write(self._file.fileno(), f"{kind} {number}\n".encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
