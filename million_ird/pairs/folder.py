"""The folder of a run: what lies in it, which configuration it belongs to, and the last step that puts all in place."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import yaml

from million_ird import __version__
from million_ird.config import read_yaml, validate
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.mirror import DIARY, Mounted, RunFolder
from million_ird.pairs.remote import PARTIAL, put_in_place
from million_ird.pairs.settings import DegradeConfig, as_yaml, changes, public
from million_ird.pairs.summary import DegradeSummary
from million_ird.pairs.writers import IMAGES, TRACES, compact
from million_ird.tables import locked, output_error, read_json, whole, write_json, write_text

CONFIG, VERSIONS, STATE = "degrade.yaml", "versions.json", "done.json"
# Not state.json: `datasets` takes a folder with a file of that name for one of its own.
CLASSES, SKIPPED = "classes.json", "skipped.jsonl"
RESULTS = ("data", *IMAGES, TRACES)
"""What a run makes, under their last names."""
OURS = (
    *(CONFIG, VERSIONS, "plan.json", "plan.parquet", PARTIAL, *RESULTS),
    *(CLASSES, SKIPPED, "README.md", "only", "logs", DIARY, STATE),
)
"""Everything that a run writes into its folder, besides the lock."""
_PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "opencv": "opencv-python-headless",
    "pillow": "pillow",
    "simplejpeg": "simplejpeg",
}


class Folder(RunFolder):
    """The output folder of a run, locked. Make one with `opened`.

    Attributes:
        warnings: what the user should know.
    """

    def __init__(self, out: Path, mount: Mounted | None = None) -> None:
        super().__init__(out, f"{time.time_ns():x}", mount)
        self.warnings: list[str] = []

    def _names(self) -> set[str]:
        """What lies in it, or at its address."""
        if self.mount:
            return {name.partition("/")[0] for name in self.mount.mirror.listed()}
        return {path.name for path in self.out.iterdir()}

    def clear(self) -> None:
        """Delete what a run wrote here, and nothing else."""
        if self._ours():
            self.drop(OURS)

    def _ours(self) -> bool:
        """Whether a run was here: a configuration alone may be what somebody put beside their own hq/."""
        return (self.out / CONFIG).exists() and (self.out / VERSIONS).exists()

    def adopt(self, config: DegradeConfig) -> None:
        """Write the configuration down, or refuse one that what lies here was not made by.

        Raises:
            ConfigError: naming what differs.
            OutputError: what a run would write is there already, and is not a run's.
        """
        if self._ours():
            if (self.out / "plan.json").exists():
                self._check(config)
        elif taken := [name for name in (*RESULTS, "README.md", CLASSES) if name in self._names()]:
            raise OutputError(
                f"--out {self.name} holds {taken[0]}, which is not of `mird degrade`; choose another --out"
            )
        write_text(self.out / CONFIG, as_yaml(config))
        if not (self.out / PARTIAL).exists() and self.done() is None:
            write_json(self.out / VERSIONS, versions())
        self.push(CONFIG, VERSIONS)

    def _check(self, config: DegradeConfig) -> None:
        if found := changes(stored_config(self.out), config):
            shown = "; ".join(found[:4]) + (f"; and {len(found) - 4} more" if len(found) > 4 else "")
            raise ConfigError(
                f"--out {self.name} holds a run with another configuration ({shown}): set it back, "
                "choose another --out, or start over with --fresh"
            )
        if (self.out / PARTIAL).exists() and self.done() is None and (other := changed_versions(self.out)):
            if found := [text for name, text in other.items() if name != "simd"]:
                raise ConfigError(
                    f"--out {self.name} holds a run that other versions began ({'; '.join(found)}), and would not go "
                    "on to the same bytes: install those, or start over with --fresh"
                )
            self.warnings.append(
                "begun on another kind of processor: steps of tier `versions` may differ by one level from there on"
            )

    def done(self) -> dict[str, Any] | None:
        """The summary of the finished run; None where it is not finished, or what it wrote is gone."""
        state = read_json(self.out / STATE)
        if state is None or not self._names().issuperset(state["results"]):
            return None
        return state["summary"]

    def finish(self, config: DegradeConfig, shards: int, skipped: list[dict[str, str]]) -> list[str]:
        """Put the parts in their places; may be killed and done again at any point.

        Returns:
            Names of what is there now.
        """
        partial = self.out / PARTIAL
        try:
            if self.mount:
                put_in_place(self.mount, shards)
            elif (partial / "files").exists():
                shutil.rmtree(self.out / "data", ignore_errors=True)
                (partial / "files").rename(self.out / "data")
            else:
                self._gather(partial / "parts", shards, config)
        except OSError as error:
            raise output_error(error, self.out) from error
        with whole(self.out / SKIPPED) as file:
            file.write("".join(f"{compact(row)}\n" for row in skipped).encode())
        write_json(self.out / CLASSES, {name: bit for bit, name in enumerate(config.pipeline.classes)})
        return [name for name in RESULTS if (self.out / name).exists()]

    def _gather(self, parts: Path, shards: int, config: DegradeConfig) -> None:
        """The files of all parts into lq/, hq/ and mask/, and their traces, in order, into one file."""
        if not parts.exists():  # gathered by a run that was killed after it
            return
        for name in IMAGES if not config.virtual else ():
            (self.out / name).mkdir(exist_ok=True)
            for shard in range(shards):
                for path in sorted((parts / f"{shard:05d}" / name).iterdir()):
                    path.replace(self.out / name / path.name)
        with whole(self.out / TRACES) as file:
            for shard in range(shards):
                with (parts / f"{shard:05d}" / TRACES).open("rb") as lines:
                    shutil.copyfileobj(lines, file)

    def close(self, summary: DegradeSummary, config: DegradeConfig, results: list[str]) -> None:
        """Write the card and the mark that all is done, then let go of what was needed on the way."""
        write_text(self.out / "README.md", card(self.out, summary, config))
        self.push(SKIPPED, CLASSES, "README.md")
        kept = {**summary.as_dict(), "out": "", "seconds": 0.0, "rendered": 0}
        write_json(self.out / STATE, {"results": results, "summary": kept})
        self.push(STATE)
        self.tidy()

    def tidy(self) -> None:
        """Delete what only an unfinished run needs."""
        if self.mount:
            self.mount.clear([PARTIAL])
        shutil.rmtree(self.out / PARTIAL, ignore_errors=True)
        shutil.rmtree(self.out / "logs", ignore_errors=True)


@contextmanager
def opened(out: Path, mount: Mounted | None = None) -> Iterator[Folder]:
    """Lock a run's folder, made if it is not there; see `locked`.

    Args:
        out: the folder.
        mount: the address that it is a copy of.
    """
    with locked(out, leave=RESULTS):
        folder = Folder(out, mount)
        yield folder
        if (out / DIARY).exists():
            folder.push(DIARY)


def stored_config(out: Path) -> DegradeConfig:
    """The configuration of a finished or unfinished run.

    Raises:
        InputError: the folder holds none.
    """
    if not (out / CONFIG).exists():
        raise InputError(
            f"{out}: no degraded set here ({CONFIG} is missing); `mird degrade INPUT --out {out}` makes one"
        )
    return validate(DegradeConfig, read_yaml(out / CONFIG))


def versions() -> dict[str, str]:
    """What the bytes of a result hang on, beside the configuration."""
    found = {"million-ird": __version__}
    for name, package in _PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found | {"machine": platform.machine(), "simd": cv2.getCPUFeaturesLine()}


def changed_versions(out: Path) -> dict[str, str]:
    """What a run was made with that is otherwise here, as {"numpy": "numpy 2.1.0 -> 2.2.0"}."""
    made, now = read_json(out / VERSIONS) or {}, versions()
    return {name: f"{name} {made.get(name)} -> {now[name]}" for name in now if made.get(name) != now[name]}


def card(out: Path, summary: DegradeSummary, config: DegradeConfig) -> str:
    """README.md: what this is, and how `datasets` opens it."""
    head: dict[str, Any] = {"pretty_name": out.resolve().name, "tags": ["image-restoration", "million-ird"]}
    kind = {"parquet": "parquet", "webdataset": "tar"}.get(config.format)
    if kind and (out / "data").exists():
        files = {"split": "train", "path": f"data/train-*.{kind}"}
        head["configs"] = [{"config_name": "default", "data_files": [files]}]
    about = config.pipeline.about
    labels = "".join(f"| {bit} | {name} | {count:,} |\n" for bit, (name, count) in enumerate(summary.labels.items()))
    what = "Traces" if config.virtual else "Pairs of clean and degraded images"
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n# {out.resolve().name}\n\n"
        f"{what}: {summary.samples:,} samples of {summary.images:,} images, by the recipe "
        f"`{summary.recipe or 'unnamed'}` of million-ird {__version__}. {about}\n\n"
        "`hq` is the clean image, `lq` the degraded one; bit i of `mask` (16-bit PNG) is set where class i acted, 0 is "
        "the clean pixel. `trace` says how each sample was made, and makes it again.\n\n"
        f"| bit | class | samples |\n|---|---|---|\n{labels}\n"
        f"## Configuration\n\n```yaml\n{public(config)}```\n"
    )
