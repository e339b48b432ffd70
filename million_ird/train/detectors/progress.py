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
from million_ird.tables import read_json, whole, write_json
from million_ird.train.checkpoint import State, latest, prune, restore, save
from million_ird.train.record import METRICS

CHECKPOINTS = "checkpoints"
"""Folder of a run that is not done."""

_RUN = "run.json"


@dataclass
class Progress:
    """Where a run keeps what it has reached, and what it is a run of; made by `Progress.of`.

    Attributes:
        folder: of the run.
        settings, pictures: hashes.
        log: name of its log.
        before, busy_before: seconds, and of them those of the processor, that went into it until it was taken up.
        began, busy_began: when it began or was taken up.
    """

    folder: Path
    settings: str
    pictures: str
    log: str
    before: float = 0.0
    busy_before: float = 0.0
    began: float = field(default_factory=time.monotonic)
    busy_began: float = field(default_factory=time.process_time)

    @classmethod
    def of(cls, folder: Path, settings: Mapping[str, Any], pictures: Mapping[str, Any], log: str = METRICS) -> Progress:
        """Of a run that begins, or of one that was cut off and goes on.

        Args:
            folder: of the run; nobody else works in it.
            settings, pictures: all that decides what comes out.
            log: name of its log.

        Raises:
            InputError: the folder holds a run that was cut off, with other settings or pictures.
        """
        made = cls(folder, hash_of(settings), hash_of(pictures), log)
        made.place.mkdir(exist_ok=True)
        if {path.name for path in made.place.iterdir()} <= {_RUN}:  # nothing that a run of other settings would spoil
            made.note()
            return made
        found = read_json(made.place / _RUN)
        if other := " and ".join(name for name in ("settings", "pictures") if found.get(name) != getattr(made, name)):
            raise InputError(
                f"{folder}: holds a run that was cut off, with other {other}; give another --out, or delete "
                f"{made.place}"
            )
        made.before, made.busy_before = found["seconds"], found["processor_seconds"]
        return made

    @property
    def place(self) -> Path:
        """The folder of what is kept."""
        return self.folder / CHECKPOINTS

    @property
    def seconds(self) -> float:
        """All that went into it."""
        return self.before + time.monotonic() - self.began

    @property
    def busy(self) -> float:
        """The seconds of this process's processor that went into it."""
        return self.busy_before + time.process_time() - self.busy_began

    def note(self) -> None:
        """Write down what it is a run of, and the time that has gone into it."""
        facts = {"settings": self.settings, "pictures": self.pictures}
        write_json(self.place / _RUN, facts | {"seconds": self.seconds, "processor_seconds": self.busy})

    def take_up(self, state: State) -> list[dict[str, float]]:
        """Bring the state to the last checkpoint, if there is one; returns the log up to there."""
        if (last := latest(self.place)) is None:
            return []
        restore(state, last)
        lines = map(json.loads, (self.folder / self.log).read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["step"] <= state.position.step]

    def keep(self, state: State, log: Sequence[Mapping[str, float]]) -> None:
        """Write a checkpoint in place of the one before."""
        with whole(self.folder / self.log) as file:
            file.write(lines_of(log))
        save(state, self.place)
        prune(self.place, 1, None)
        self.note()

    def deliver(
        self, name: str, model: bytes, card: str, log: Sequence[Mapping[str, float]], facts: Mapping[str, Any]
    ) -> Path:
        """Write NAME.onnx, NAME.md (the card), the log and NAME.json; then nothing is to be taken up any more.

        Returns:
            The model.
        """
        for file, content in ((f"{name}.onnx", model), (f"{name}.md", card.encode()), (self.log, lines_of(log))):
            with whole(self.folder / file) as opened:
                opened.write(content)
        write_json(self.folder / f"{name}.json", facts)
        shutil.rmtree(self.place, ignore_errors=True)
        return self.folder / f"{name}.onnx"


def hash_of(facts: Mapping[str, Any]) -> str:
    """Of what JSON can say, whatever the order of its names."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def lines_of(log: Sequence[Mapping[str, float]]) -> bytes:
    """The log as JSON lines."""
    return "".join(json.dumps(line) + "\n" for line in log).encode()
