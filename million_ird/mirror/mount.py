"""An address as a folder to work in: locked, brought up to date, and let go of at the end."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from million_ird.mirror.address import checked
from million_ird.mirror.lease import FOLDER, Lease, take
from million_ird.mirror.mirror import Mirror, Remote, fits, scratch_root
from million_ird.tables import flocked

_TEMPORARY = re.compile(r"\..+\.tmp")
_WRITER = f"{FOLDER}/writer"

DIARY = "run.jsonl"
"""The events of all runs in a folder; only ever appended to."""


@dataclass(frozen=True)
class Rules:
    """Which files of a run are mirrored.

    Attributes:
        mirrored: whether a name is one of them; others are this machine's alone.
        pulled: of these, whether it is fetched at the start; others when they are asked for.
        ahead: of these, whether one that was made here and never came to the address is put there when a killed run
            goes on; others are made again. Only the driver writes these.
        outlives: names that `--fresh` leaves.
    """

    mirrored: Callable[[str], bool]
    pulled: Callable[[str], bool]
    ahead: Callable[[str], bool] = lambda name: False
    outlives: Sequence[str] = ()


@dataclass(frozen=True)
class Mounted:
    """A mirror that this process alone writes to, as long as its lease holds.

    Attributes:
        mirror: to be given to tasks.
        lease: on the address.
    """

    mirror: Mirror
    lease: Lease

    @property
    def address(self) -> str:
        return self.mirror.address

    @property
    def folder(self) -> Path:
        """The working folder on this machine."""
        return self.mirror.folder

    def push(self, names: Iterable[str]) -> None:
        """As `Mirror.push`, where the lease is held still."""
        self.lease.check()
        self.mirror.push(names)

    def push_below(self, folder: str, last: str = "") -> None:
        """All files of a folder; those that end like `last` when the others are there."""
        names = [f"{folder}/{name}" for name in files_below(self.folder / folder)]
        for late in (False, True):
            self.push(sorted(name for name in names if bool(last and name.endswith(last)) == late))

    def clear(self, ours: Sequence[str], but: str = "") -> None:
        """Delete what a run put there, by the first part of its name; not what lies in the folder `but`."""
        self.lease.check()
        names = [name for name in self.mirror.listed() if name.partition("/")[0] in ours]
        self.mirror.drop([name for name in names if not (but and name.startswith(f"{but}/"))])


@contextmanager
def mounted(
    address: str,
    scratch: str | None,
    lease_seconds: float,
    rules: Rules,
    *,
    fresh: bool = False,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[Mounted]:
    """Lock an address and bring the working folder to what lies there.

    Where this working folder was the last one to write there, what it has ready is put there; where another machine
    was, what lies here of an older run is deleted.

    Args:
        address: of the run.
        scratch: as `Mirror.scratch`.
        lease_seconds: how long another run may give no sign before it counts as dead.
        rules: what is mirrored.
        fresh: don't fetch what is about to be deleted.
        waiting: called where another run's lease has to run out first.

    Raises:
        ConfigError: the address cannot be used.
        OutputError: it cannot be reached, or another run works there.
    """
    mirror = Mirror(checked(address), scratch or "")
    mirror.listed(FOLDER, patient=False)
    with _flocked(mirror):
        owner = _owner(mirror.folder)
        lease = take(mirror, owner, lease_seconds, waiting)
        try:
            if fresh:
                _forget(mirror, rules)
            else:
                _sync(mirror, rules, mine=_writer(mirror) == owner)
            mirror.put(_WRITER, owner.encode())
            yield Mounted(mirror, lease)
        finally:
            lease.release()


@contextmanager
def peeked(address: str, scratch: str | None, rules: Rules) -> Iterator[Path]:
    """A folder with what lies at an address, to be read only: it needs no lease and disturbs no run.

    Raises:
        ConfigError: the address cannot be used.
        OutputError: it cannot be reached.
    """
    mirror = Mirror(checked(address), str(scratch_root(scratch or "") / "read"))
    mirror.listed(FOLDER, patient=False)
    with _flocked(mirror):
        _sync(mirror, rules, mine=False)
        yield mirror.folder


@contextmanager
def _flocked(mirror: Mirror) -> Iterator[None]:
    """No other process of this machine uses the working folder; the lock dies with the process."""
    busy = f"--out {mirror.address}: another mird run on this machine works here; wait for it or choose another"
    with flocked(mirror.folder, ".mirror.lock", busy):
        yield


def _owner(folder: Path) -> str:
    """The name of a working folder, drawn when it is made."""
    path = folder / ".scratch"
    try:
        return path.read_text("ascii")
    except FileNotFoundError:
        path.write_text(uuid.uuid4().hex, "ascii")
        return path.read_text("ascii")


def _writer(mirror: Mirror) -> str:
    try:
        return mirror.read(_WRITER).decode("ascii", "replace")
    except FileNotFoundError:
        return ""


def _forget(mirror: Mirror, rules: Rules) -> None:
    """Delete the copies of a run that is about to be deleted."""
    for name in list(files_below(mirror.folder)):
        if rules.mirrored(name):
            (mirror.folder / name).unlink()
    mirror.bring(rules.outlives)


def _sync(mirror: Mirror, rules: Rules, mine: bool) -> None:
    there: dict[str, Remote] = {name: one for name, one in mirror.listed().items() if rules.mirrored(name)}
    here = {name for name in files_below(mirror.folder) if rules.mirrored(name)}
    # Nobody but the driver writes these, so that where it was this machine they are as new as there or newer.
    newer = {name for name in here if mine and (name == DIARY or rules.ahead(name))}
    mirror.bring([name for name in there if rules.pulled(name) and name not in newer], there)
    ready = []
    for name in here:
        path = mirror.folder / name
        if name in there and fits(path, there[name]):
            continue
        if name in newer:
            ready.append(name)
        else:
            path.unlink(missing_ok=True)
    # An index comes behind what it names.
    mirror.push(sorted(name for name in ready if not name.endswith(".parquet")))
    mirror.push(sorted(name for name in ready if name.endswith(".parquet")))


def files_below(folder: Path) -> Iterator[str]:
    """Files below a folder, by their path below it."""
    for parent, _, files in os.walk(folder):
        for name in files:
            if not _TEMPORARY.fullmatch(name):
                yield (Path(parent) / name).relative_to(folder).as_posix()
