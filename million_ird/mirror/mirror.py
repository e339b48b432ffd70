"""Files of a run between its address and the working folder of a machine."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from million_ird.errors import OutputError
from million_ird.mirror.address import OBJECT_STORES, attempt, file_system
from million_ird.tables import output_error

THREADS = 8
"""Files under way at a time."""
_BATCH = 1000
"""Names in one request to delete or to copy."""


class Remote(NamedTuple):
    """A file at the address: its size, and its version as the time (ns) that a copy of it bears."""

    size: int
    stamp: int


@dataclass(frozen=True)
class Mirror:
    """The files below an address and their copies in a working folder, both called by their path below it.

    A copy bears a time that says of which version it is; so one look tells whether it is still what lies there, and
    what is derived from times and sizes of files is the same on every machine.

    Picklable: a worker elsewhere has a working folder of its own.

    Attributes:
        address: without a slash at its end.
        scratch: where working folders lie, variables of the environment and ~ replaced where it is used; "" = the
            user's cache folder.
    """

    address: str
    scratch: str = ""

    @property
    def folder(self) -> Path:
        """The working folder on this machine: SCRATCH/HASH/NAME, so that it is called as the address is."""
        name = hashlib.blake2b(self.address.encode(), digest_size=8).hexdigest()
        return scratch_root(self.scratch) / name / (self.address.rpartition("/")[2] or "out")

    @property
    def shared(self) -> bool:
        """Whether other processes see what lies there."""
        return not self.address.startswith("memory://")

    def listed(self, below: str = "", *, patient: bool = True) -> dict[str, Remote]:
        """All files below a folder of the address, by name.

        Raises:
            OutputError: it cannot be read.
        """
        fs, root = file_system(self.address)
        try:
            found = attempt(self.address, "read", fs.find, f"{root}/{below}".rstrip("/"), detail=True, patient=patient)
        except FileNotFoundError:
            bucket = root.partition("/")[0]
            raise OutputError(
                f"--out {self.address}: there is no bucket '{bucket}'; make it, or choose another"
            ) from None
        cut = len(root) + 1
        return {path[cut:]: _remote(info) for path, info in found.items() if info["type"] == "file"}

    def look(self, name: str) -> Remote | None:
        """A file at the address; None where there is none."""
        fs, root = file_system(self.address)
        try:
            info = attempt(self.address, "read", fs.info, f"{root}/{name}")
        except FileNotFoundError:
            return None
        return _remote(info) if info["type"] == "file" else None

    def bring(self, names: Iterable[str], known: dict[str, Remote] | None = None) -> None:
        """Make copies what lies at the address now: fetch those that are another version, delete those that are gone.

        Args:
            names: of files.
            known: what `listed` gave, where it was asked just now.

        Raises:
            OutputError: one cannot be read, or the working folder cannot be written.
        """
        self._each(lambda name: self._bring(name, self.look(name) if known is None else known.get(name)), names)

    def _bring(self, name: str, there: Remote | None) -> None:
        path = self.folder / name
        if there is None:
            path.unlink(missing_ok=True)
        elif not fits(path, there):
            fs, root = file_system(self.address)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                attempt(self.address, "read", fs.get_file, f"{root}/{name}", str(temporary))
                os.utime(temporary, ns=(there.stamp, there.stamp))
                temporary.replace(path)
            except FileNotFoundError:  # gone since it was seen
                path.unlink(missing_ok=True)
            except OSError as error:
                raise output_error(error, path) from error
            finally:
                temporary.unlink(missing_ok=True)

    def push(self, names: Iterable[str]) -> None:
        """Put files where they are not as they are here, each whole or not at all.

        Raises:
            OutputError: the address cannot be written.
        """
        self._each(self._push, names)

    def _push(self, name: str) -> None:
        path = self.folder / name
        there = self.look(name)
        if there is not None and fits(path, there):
            return
        fs, root = file_system(self.address)
        target = f"{root}/{name}"
        if self.address.partition("://")[0] in OBJECT_STORES:
            attempt(self.address, "written", fs.put_file, str(path), target)
        else:
            parent = target.rpartition("/")[0]
            attempt(self.address, "written", fs.makedirs, parent, exist_ok=True)
            temporary = f"{parent}/.{path.name}.{uuid.uuid4().hex}.tmp"
            attempt(self.address, "written", fs.put_file, str(path), temporary)
            attempt(self.address, "written", _renamed, fs, temporary, target)
        there = self.look(name)
        if there is None or there.size != path.stat().st_size:
            raise OutputError(f"--out {self.address}: {name} was put there and is not; does another run write there?")
        os.utime(path, ns=(there.stamp, there.stamp))

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes of a file at the address.

        Raises:
            FileNotFoundError: there is none.
            OutputError: it cannot be read.
        """
        fs, root = file_system(self.address)
        return attempt(self.address, "read", fs.cat_file, f"{root}/{name}", start=start, end=end)

    def put(self, name: str, data: bytes) -> None:
        """A few bytes to a file at the address, no copy here."""
        fs, root = file_system(self.address)
        self._parent(fs, f"{root}/{name}")
        attempt(self.address, "written", fs.pipe_file, f"{root}/{name}", data)

    def create(self, name: str, data: bytes) -> bool:
        """Put a few bytes where there is no such file yet; whether it is ours that lies there.

        It cannot go to two where the store can be told so (S3's If-None-Match, Google's ifGenerationMatch); elsewhere
        two at the very same moment may both believe it until they look again.
        """
        fs, root = file_system(self.address)
        self._parent(fs, f"{root}/{name}")
        with suppress(FileExistsError):
            attempt(self.address, "written", fs.pipe_file, f"{root}/{name}", data, mode="create")
        try:  # what lies there counts: a request that was sent again finds its own first try
            return self.read(name) == data
        except FileNotFoundError:
            return False

    def _parent(self, fs: Any, target: str) -> None:
        if self.address.partition("://")[0] not in OBJECT_STORES:
            attempt(self.address, "written", fs.makedirs, target.rpartition("/")[0], exist_ok=True)

    def drop(self, names: Sequence[str]) -> None:
        """Delete files at the address; those that are gone already are no matter."""
        fs, root = file_system(self.address)
        for first in range(0, len(names), _BATCH):
            paths = [f"{root}/{name}" for name in names[first : first + _BATCH]]
            try:
                attempt(self.address, "written", fs.rm, paths)
            except FileNotFoundError:  # of a file system that stops there
                for path in paths:
                    with suppress(FileNotFoundError):
                        attempt(self.address, "written", fs.rm_file, path)

    def drop_below(self, folder: str) -> None:
        """Delete a folder at the address, or a file of that name."""
        self.drop([*self.listed(folder)])
        if self.address.partition("://")[0] not in OBJECT_STORES:
            fs, root = file_system(self.address)
            with suppress(FileNotFoundError):
                attempt(self.address, "written", fs.rm, f"{root}/{folder}", recursive=True)

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy files at the address to other names there; no byte comes here where the store can do it."""
        fs, root = file_system(self.address)
        if self.address.partition("://")[0] not in OBJECT_STORES:
            for _, new in pairs:
                self._parent(fs, f"{root}/{new}")
        for first in range(0, len(pairs), _BATCH):
            some = pairs[first : first + _BATCH]
            for old, new in some if not getattr(fs, "async_impl", False) else ():
                attempt(self.address, "written", fs.cp_file, f"{root}/{old}", f"{root}/{new}")
            if getattr(fs, "async_impl", False):
                olds, news = ([f"{root}/{pair[side]}" for pair in some] for side in (0, 1))
                attempt(self.address, "written", fs.copy, olds, news, on_error="raise")

    def move(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy, then delete: killed in between, a file is at one of its places or at both."""
        for first in range(0, len(pairs), _BATCH):
            some = pairs[first : first + _BATCH]
            self.copy(some)
            self.drop([old for old, _ in some])

    def _each(self, call: Callable[[str], None], names: Iterable[str]) -> None:
        names = list(names)
        if len(names) == 1:
            call(names[0])
            return
        with ThreadPoolExecutor(THREADS) as threads:
            for done in [threads.submit(partial(call, name)) for name in names]:
                done.result()


def fits(path: Path, there: Remote) -> bool:
    """Whether a copy is of the version that lies at the address."""
    try:
        here = path.stat()
    except OSError:
        return False
    return here.st_size == there.size and here.st_mtime_ns // 1000 == there.stamp // 1000


def scratch_root(setting: str) -> Path:
    """Where working folders lie on this machine."""
    if setting:
        return Path(os.path.expandvars(setting)).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "million-ird" / "runs"


def _remote(info: dict[str, Any]) -> Remote:
    """Of what a file system tells of a file: its size and its version.

    The seconds are those of its last change; what identifies the content makes the microseconds, so that two versions
    of one second and of one size differ.
    """
    when: Any = next((info[name] for name in ("LastModified", "mtime", "created", "updated") if info.get(name)), 0)
    if isinstance(when, str):
        with suppress(ValueError):
            when = datetime.fromisoformat(when)
    when = when.timestamp() if isinstance(when, datetime) else when
    seconds = int(when) if isinstance(when, (int, float)) else 0
    version = next((info[name] for name in ("ETag", "etag", "md5Hash", "generation") if info.get(name)), when)
    digest = hashlib.blake2b(re.sub("[\"']", "", str(version)).encode(), digest_size=8).digest()
    return Remote(int(info["size"] or 0), (seconds * 1_000_000 + int.from_bytes(digest) % 1_000_000) * 1000)


def _renamed(fs: Any, old: str, new: str) -> None:
    if fs.exists(new):
        fs.rm_file(new)
    fs.mv(old, new)
