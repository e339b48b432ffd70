"""What a detector's training has reached, so that one that was cut off goes on to the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from million_ird.errors import InputError
from million_ird.tables import read_json, whole
from million_ird.train.checkpoint import STATE, State, latest, prune, restore, save
from million_ird.train.record import METRICS

CHECKPOINTS = "checkpoints"
"""Folder of a run that is not done."""


@dataclass
class Progress:
    """Where a run keeps what it has reached, and what it is a run of.

    Attributes:
        folder: of the run.
        settings, pictures: hashes.
        before: seconds that went into it until it was taken up.
        began: when it began or was taken up.
    """

    folder: Path
    settings: str
    pictures: str
    before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """All that went into it."""
        return self.before + time.monotonic() - self.began

    def take_up(self, state: State) -> list[dict[str, float]]:
        """Bring the state to the last checkpoint, if there is one; returns the log up to there."""
        if (last := latest(self.folder / CHECKPOINTS)) is None:
            return []
        data = read_json(last / STATE)["data"]
        if other := " and ".join(name for name in ("settings", "pictures") if data.get(name) != getattr(self, name)):
            raise InputError(
                f"{self.folder}: holds a run that was cut off, with other {other}; give another --out, or delete "
                f"{self.folder / CHECKPOINTS}"
            )
        restore(state, last)
        self.before = float(data["seconds"])
        lines = map(json.loads, (self.folder / METRICS).read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["step"] <= state.position.step]

    def keep(self, state: State, log: Sequence[Mapping[str, float]]) -> None:
        """Write a checkpoint in place of the one before."""
        with whole(self.folder / METRICS) as file:
            file.write(lines_of(log))
        state.position.data = {"settings": self.settings, "pictures": self.pictures, "seconds": str(self.seconds)}
        save(state, self.folder / CHECKPOINTS)
        prune(self.folder / CHECKPOINTS, 1, None)

    def done(self) -> None:
        """Nothing is to be taken up any more."""
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)


def hash_of(facts: Mapping[str, Any]) -> str:
    """Of what JSON can say, whatever the order of its names."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def lines_of(log: Sequence[Mapping[str, float]]) -> bytes:
    """The log as JSON lines."""
    return "".join(json.dumps(line) + "\n" for line in log).encode()
