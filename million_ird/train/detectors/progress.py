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

from million_ird.errors import InputError, MirdError
from million_ird.tables import whole, write_json
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
        name: of what comes out.
        settings, pictures: hashes.
        log: name of its log.
        finished: the facts of a run that is done, else None.
        before, busy_before: seconds, and of them those of the processor, that went into it until it was taken up.
        began, busy_began: when it began or was taken up.
    """

    folder: Path
    name: str
    settings: str
    pictures: str
    log: str
    finished: Mapping[str, Any] | None = None
    before: float = 0.0
    busy_before: float = 0.0
    began: float = field(default_factory=time.monotonic)
    busy_began: float = field(default_factory=time.process_time)

    @classmethod
    def of(
        cls, folder: Path, name: str, settings: Mapping[str, Any], pictures: Mapping[str, str], log: str = METRICS
    ) -> Progress:
        """Of a run that begins, of one that was cut off and goes on, or of one that is done.

        Args:
            folder: of the run; nobody else works in it.
            name: of what comes out.
            settings, pictures: all that decides what comes out, the order of the pictures with it.
            log: name of its log.

        Raises:
            InputError: the folder holds a run with other settings or pictures, or a damaged one.
        """
        made = cls(folder, name, hash_of(settings), hash_of(list(pictures.items())), log)
        if (folder / f"{name}.json").is_file():
            made.finished = made._same(folder / f"{name}.json", f"a finished {name}", f"{name}.*")
            return made
        made.place.mkdir(exist_ok=True)
        if {path.name for path in made.place.iterdir()} <= {_RUN}:  # nothing that a run of other settings would spoil
            made.note()
            return made
        found = made._same(made.place / _RUN, "a run that was cut off", CHECKPOINTS)
        made.before, made.busy_before = found["seconds"], found["processor_seconds"]
        return made

    def _same(self, file: Path, what: str, files: str) -> Mapping[str, Any]:
        """What a file says of a run (`what`, which lies in `files`), if it is this one."""
        remedy = f"give another --out, or delete {self.folder / files}"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            run = found["run"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{file}: is missing or damaged; {remedy}") from None
        if other := " and ".join(name for name in ("settings", "pictures") if run.get(name) != getattr(self, name)):
            raise InputError(f"{self.folder}: holds {what}, with other {other}; {remedy}")
        return found

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
        write_json(self.place / _RUN, self.run | {"seconds": self.seconds, "processor_seconds": self.busy})

    @property
    def run(self) -> dict[str, Any]:
        """What it is a run of."""
        return {"run": {"settings": self.settings, "pictures": self.pictures}}

    def take_up(self, state: State) -> list[dict[str, float]]:
        """Bring the state to the last checkpoint, if there is one; returns the log up to there."""
        if (last := latest(self.place)) is None:
            return []
        remedy = f"give another --out, or delete {self.place}"
        try:
            restore(state, last)
            lines = [json.loads(line) for line in (self.folder / self.log).read_text(encoding="utf-8").splitlines()]
        except MirdError as error:
            raise InputError(f"{error}; {remedy}") from None
        except (OSError, ValueError):
            raise InputError(f"{self.folder / self.log}: is missing or damaged; {remedy}") from None
        return [line for line in lines if line["step"] <= state.position.step]

    def keep(self, state: State, log: Sequence[Mapping[str, float]]) -> None:
        """Write a checkpoint in place of the one before."""
        with whole(self.folder / self.log) as file:
            file.write(lines_of(log))
        save(state, self.place)
        prune(self.place, 1, None)
        self.note()

    @property
    def model(self) -> Path:
        """The file that comes out."""
        return self.folder / f"{self.name}.onnx"

    def deliver(self, model: bytes, card: str, log: Sequence[Mapping[str, float]], facts: Mapping[str, Any]) -> None:
        """Write NAME.onnx, NAME.md (the card), the log and NAME.json; then nothing is to be taken up any more."""
        files = (
            (self.model, model),
            (self.model.with_suffix(".md"), card.encode()),
            (self.folder / self.log, lines_of(log)),
        )
        for file, content in files:
            with whole(file) as opened:
                opened.write(content)
        write_json(self.model.with_suffix(".json"), {**facts, **self.run})
        shutil.rmtree(self.place, ignore_errors=True)


def hash_of(facts: Any) -> str:
    """Of what JSON can say, whatever the order of its names."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def lines_of(log: Sequence[Mapping[str, float]]) -> bytes:
    """The log as JSON lines."""
    return "".join(json.dumps(line) + "\n" for line in log).encode()
