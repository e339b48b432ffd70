"""What a run writes down: metrics.jsonl always, TensorBoard, and services where they are installed."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from million_ird.errors import ConfigError
from million_ird.tables import output_error, write_text
from million_ird.train.settings import TrainConfig

METRICS = "metrics.jsonl"
SERVICES = ("wandb", "trackio")
IDENTITY = "wandb.txt"


class Sink(Protocol):
    """Somewhere that figures go."""

    def log(self, step: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(self, folder: Path, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Hides what a killed run wrote from that step on; the step of the checkpoint itself does not come again.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first + 1)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Service:
    """wandb or trackio, which are called alike. A resumed run goes on as the run that it was there, too; of steps that
    come again they keep what they were told first."""

    def __init__(self, package: str, project: str, out: Path, config: Mapping[str, Any], first: int) -> None:
        self._package = import_module(package)
        # trackio knows a run by its name, wandb by an id.
        known = {"id": _identity(out), "resume": "allow"} if package == "wandb" else {}
        resume = "allow" if first else "never"
        self._package.init(**{"project": project, "name": out.name, "config": dict(config), "resume": resume, **known})

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._package.log(dict(figures), step=step)

    def close(self) -> None:
        self._package.finish()


def _identity(out: Path) -> str:
    """What the run in this folder is called where names are not enough: the same as long as the folder holds it."""
    path = out / IDENTITY
    if not path.is_file():
        write_text(path, uuid.uuid4().hex + "\n")
    return path.read_text(encoding="utf-8").strip()


def check(config: TrainConfig) -> None:
    """ConfigError where a package is missing that the figures are to go to."""
    modules = {"tensorboard": "torch.utils.tensorboard", **{name: name for name in SERVICES}}
    for name in filter(lambda name: getattr(config.log, name), modules):
        try:
            import_module(modules[name])
        except ImportError:
            without = "false" if name == "tensorboard" else "null"
            wanted = f"log.{name}: {name} is not installed: pip install {name}, or --set log.{name}={without}"
            raise ConfigError(wanted) from None


class Record:
    """All of them. A line of metrics.jsonl: kind ("step", "validation", "skipped", ...), step, and figures.

    Args:
        out: folder of the run.
        config: its `log` says where figures go.
        first: steps that are done; lines of later ones are deleted.

    Raises:
        ConfigError: a package that is asked for is not installed.
    """

    def __init__(self, out: Path, config: TrainConfig, first: int) -> None:
        check(config)
        self._path = out / METRICS
        _cut(self._path, first)
        self._sinks: list[Sink] = []
        if config.log.tensorboard:
            self._sinks.append(TensorBoard(out, first))
        for package in SERVICES:
            if project := getattr(config.log, package):
                self._sinks.append(Service(package, project, out, config.model_dump(mode="json"), first))

    def __call__(self, kind: str, step: int, **figures: Any) -> None:
        """Write a line, null for what is not finite (JSON has no such numbers); numbers go to the other sinks, too."""
        figures = {name: None if _endless(value) else value for name, value in figures.items()}
        line = {"kind": kind, "step": step, **figures}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise output_error(error, self._path) from error
        plain = {f"{kind}/{name}": value for name, value in figures.items() if isinstance(value, (int, float))}
        if variant := figures.get("variant"):  # curves of each variant: theirs differ in height
            own = {f"{kind}/{name}/{variant}": figures.get(name) for name in ("loss", "gradient_norm")}
            plain |= {name: value for name, value in own.items() if value is not None}
        for sink in self._sinks:
            sink.log(step, plain)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


def _endless(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def read(out: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, or those of a kind; a last line that was cut off is passed over."""
    path = out / METRICS
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return [line for line in lines if kind is None or line["kind"] == kind]


def _cut(path: Path, first: int) -> None:
    """Forget what a killed run wrote after its last checkpoint: those steps come again."""
    if path.is_file():
        kept = [line for line in read(path.parent) if line["step"] <= first]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
