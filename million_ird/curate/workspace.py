"""A run's folder: its lock, its events, and what it remembers of what is done."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from million_ird.config import differences, read_yaml, to_yaml
from million_ird.curate.settings import BuildConfig, load_config
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.mirror import DIARY, Mounted, RunFolder
from million_ird.tables import locked, read_json, without_folders, write_json, write_text

__all__ = ["FREE", "OURS", "Workspace", "check_build", "opened", "public", "stored_config", "without_folders"]

OURS = (
    "build.yaml",
    "plan.json",
    "plan.parquet",
    "merge.json",
    "crawl",
    "store",
    "ledger",
    "spool",
    "cache",
    "logs",
    "decisions.parquet",
    "dataset",
    "dataset.partial",
    "dataset.old",
    "report.html",
    DIARY,
    "state.json",
)
"""Everything that a build writes into its folder, besides the lock."""

_TELL_SECONDS = 30.0

FREE = ("policy", "export", "report", "run", "seed", "fetch", "passes")
"""Sections that may change on the same ledger: they decide, write, draw or fetch, but don't measure. Of the passes,
each part says what it rests on."""


class Workspace(RunFolder):
    """The output folder of a run. Make one with `opened`, which holds its lock."""

    def __init__(self, out: Path, run: str, mount: Mounted | None = None) -> None:
        super().__init__(out, run, mount)
        self._told = time.monotonic()

    def event(self, name: str, level: str = "info", **fields: Any) -> None:
        """Append an event to run.jsonl; at an address it is brought up to date now and then."""
        super().event(name, level, **fields)
        if time.monotonic() - self._told > _TELL_SECONDS:
            self.push(DIARY)
            self._told = time.monotonic()

    def clear(self) -> None:
        """Delete what a build wrote here, and nothing else."""
        self.drop(OURS)

    def state(self) -> dict[str, Any]:
        """What the last run finished: stage -> mark of what went into it, and its summary."""
        return read_json(self.out / "state.json") or {}

    def remember(self, **stages: Any) -> None:
        """Add finished stages to the state."""
        write_json(self.out / "state.json", {**self.state(), **stages})
        self.push("state.json", DIARY)

    def adopt(self, config: BuildConfig, *, grows: bool = False) -> None:
        """Write the configuration, or refuse one that the ledger here was not measured by.

        Args:
            config: the new one.
            grows: take sources that come behind the old ones.

        Raises:
            ConfigError: naming what differs.
        """
        path = self.out / "build.yaml"
        if path.exists() and (self.out / "plan.json").exists():
            old = load_config({}, path)
            known = {name for name, file in old.measure.onnx.items() if file.sha256}
            paths = old.sources.paths
            if grows and config.sources.paths[: len(paths)] == paths:
                old = old.model_copy(update={"sources": old.sources.model_copy(update={"paths": config.sources.paths})})
            found = differences(_frozen(old, known), _frozen(config, known))
            if found:
                raise ConfigError(
                    f"--out {self.name} holds a build with another configuration ({'; '.join(found)}): set it back, "
                    "choose another --out, or start over with --fresh"
                )
        write_text(path, to_yaml(config))
        self.push("build.yaml")


def _frozen(config: BuildConfig, known: Collection[str]) -> dict[str, Any]:
    """What must not change on one ledger. Meters may be added: rows say which ones ran on them.

    Args:
        config: the old one or the new one.
        known: names of the ONNX files that the old one measured by; their paths may change, their bytes not.
    """
    data = config.model_dump(mode="json", exclude=set(FREE))
    del data["measure"]["meters"]
    data["measure"]["onnx"] = {name: file for name, file in data["measure"]["onnx"].items() if name in known}
    for file in data["measure"]["onnx"].values():
        del file["path"], file["help"]
    for options in data["measure"]["options"].values():
        if options.get("sha256"):
            options.pop("model", None)  # its path may change, its bytes not
    data["measure"]["triage"] = bool(data["measure"]["triage"])
    return data


@contextmanager
def opened(out: Path, mount: Mounted | None = None) -> Iterator[Workspace]:
    """Lock a run's folder, made if it is not there, for as long as the context lasts; the lock dies with the process.

    Args:
        out: the folder.
        mount: the address that it is a copy of.

    Raises:
        OutputError: another run works in it, or it cannot be written.
    """
    if mount is None and re.match("[a-z][a-z0-9]+:/", out.as_posix()):  # C:/ has one letter
        raise OutputError(f"{out}: this command works on folders of this machine; copy what lies there to one first")
    with locked(out, leave=("dataset",)):  # put in its place finished, and may hold millions of files
        space = Workspace(out, f"{time.time_ns():x}", mount)
        yield space
        if (out / DIARY).exists():
            space.push(DIARY)


def stored_config(out: Path) -> BuildConfig:
    """The configuration of a finished or unfinished build.

    Raises:
        InputError: the folder holds no build.
    """
    check_build(out)
    return load_config(read_yaml(out / "build.yaml"))


def check_build(out: Path) -> None:
    """Raise `InputError` where the folder holds no build."""
    if not (out / "build.yaml").exists():
        raise InputError(f"{out}: no build here (build.yaml is missing); run `mird build SOURCE --out {out}` first")


def public(config: BuildConfig) -> str:
    """A configuration as YAML without the paths of this machine and without `run`, which changes no result."""
    hidden: Mapping[str, Any] = {"paths": tuple(Path(path).name for path in config.sources.paths)}
    pins = config.policy.pins
    file = Path(pins.file).name if pins.file else None
    lists = config.policy.contaminated
    lists = lists.model_copy(update={"sets": tuple(Path(name).name for name in lists.sets)})
    policy = config.policy.model_copy(update={"pins": pins.model_copy(update={"file": file}), "contaminated": lists})
    files = {name: one.model_copy(update={"path": Path(one.path).name}) for name, one in config.measure.onnx.items()}
    options = {
        name: {**given, "model": Path(given["model"]).name} if given.keys() >= {"model", "sha256"} else given
        for name, given in config.measure.options.items()
    }
    measure = config.measure.model_copy(update={"onnx": files, "options": options})
    sources = config.sources.model_copy(update=hidden)
    shown = config.model_copy(
        update={"sources": sources, "measure": measure, "passes": _passes_without_folders(config), "policy": policy}
    )
    return to_yaml(shown, leave_out={"run"})


def _passes_without_folders(config: BuildConfig) -> Any:
    clip = config.passes.clip
    heads = {name: head.model_copy(update={"path": Path(head.path).name}) for name, head in clip.heads.items()}
    local = Path(clip.model).expanduser().is_absolute() or Path(clip.model).is_dir()
    found = {"heads": heads, "model": Path(clip.model).name if local else clip.model}
    if "/" in clip.pretrained:
        found["pretrained"] = Path(clip.pretrained).name
    return config.passes.model_copy(update={"clip": clip.model_copy(update=found)})
