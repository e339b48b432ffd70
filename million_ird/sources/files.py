"""Two file systems behind one face: the local one, and whatever fsspec reaches."""

from __future__ import annotations

import contextlib
import inspect
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

from million_ird.errors import BadImage, InputError
from million_ird.records import Item


class Found(NamedTuple):
    """One file under a root: its path relative to the root (os.fsencode'd, "/"-separated), and what Item says."""

    path: bytes
    size: int
    status: str = ""
    detail: str = ""


class Files(Protocol):
    """A root folder on some file system."""

    def walk(self, skipped: Counter[str]) -> Iterator[Found]:
        """All files below the root but hidden ones, sorted by path; what is passed over is counted in `skipped`.

        Raises:
            InputError: the file system cannot be reached.
        """
        ...

    def open(self, path: bytes) -> IO[bytes]:
        """Open one file by its relative path, seekable.

        Raises:
            one of `failures`: it is gone, or cannot be read.
        """
        ...

    def read(self, path: bytes, count: int = -1) -> bytes:
        """The first `count` bytes of a file, or all of it.

        Raises:
            BadImage: "unreadable", where it is gone or cannot be read.
        """
        ...


@dataclass(frozen=True)
class LocalFiles:
    """A folder of this machine. Links to files inside the root are read; links that leave it are not.

    Attributes:
        root: absolute path.
        leave_out: absolute path of a folder below the root that is not a source (the output of the run), or "".
    """

    root: str
    leave_out: str = ""

    def walk(self, skipped: Counter[str]) -> Iterator[Found]:
        yield from self._walk(os.fsencode(self.root), b"", os.fsencode(Path(self.root).resolve()), skipped)

    def _walk(self, folder: bytes, prefix: bytes, real_root: bytes, skipped: Counter[str]) -> Iterator[Found]:
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda e: e.name)
        except OSError as error:
            yield Found(prefix, -1, "unreadable", f"folder cannot be read: {error.strerror}")
            return
        for entry in listed:
            path = prefix + entry.name
            if entry.name.startswith(b"."):
                skipped["hidden"] += _count_files(entry)
            elif entry.is_symlink():
                yield from self._link(entry, path, real_root, skipped)
            elif entry.is_dir(follow_symlinks=False):
                if self.leave_out and os.fsencode(self.leave_out) == os.path.realpath(entry.path):
                    skipped["output folder"] += 1
                    continue
                yield from self._walk(entry.path, path + b"/", real_root, skipped)
            elif entry.is_file(follow_symlinks=False):
                yield Found(path, entry.stat(follow_symlinks=False).st_size)
            else:
                skipped["not a regular file"] += 1

    def _link(self, entry: os.DirEntry[bytes], path: bytes, root: bytes, skipped: Counter[str]) -> Iterator[Found]:
        target = os.path.realpath(entry.path)
        inside = target == root or target.startswith(root.rstrip(b"/") + b"/")
        try:
            info = Path(os.fsdecode(target)).stat()
        except OSError:
            yield Found(path, -1, "blocked", "symbolic link to nothing")
            return
        if stat.S_ISDIR(info.st_mode):
            skipped["linked folder"] += 1
        elif not inside:
            yield Found(path, -1, "blocked", "symbolic link that leaves the source folder")
        elif stat.S_ISREG(info.st_mode):
            yield Found(path, info.st_size)
        else:
            skipped["not a regular file"] += 1

    def open(self, path: bytes) -> IO[bytes]:
        return Path(os.fsdecode(os.path.join(os.fsencode(self.root), path))).open("rb")  # noqa: PTH118 (bytes)

    def read(self, path: bytes, count: int = -1) -> bytes:
        try:
            with self.open(path) as file:
                return file.read(count)
        except OSError as error:
            raise BadImage("unreadable", f"cannot be read: {error.strerror or error}") from error


def _count_files(entry: os.DirEntry[bytes]) -> int:
    if entry.is_symlink() or not entry.is_dir(follow_symlinks=False):
        return 1
    return sum(len(names) for _, _, names in os.walk(entry.path))


@dataclass(frozen=True)
class RemoteFiles:
    """A folder behind an fsspec address.

    Attributes:
        protocol: "s3", "gs", "memory", ...
        root: the path within that file system.
    """

    protocol: str
    root: str

    @property
    def fs(self) -> Any:
        """The fsspec file system (which caches its instances)."""
        import fsspec

        try:
            _no_more_is_needed(self.protocol, fsspec.get_filesystem_class(self.protocol))
            return fsspec.filesystem(self.protocol)
        except (ImportError, ValueError) as error:
            raise InputError(f"{self.protocol}://: {error}") from None

    def walk(self, skipped: Counter[str]) -> Iterator[Found]:
        root = self.root.rstrip("/")
        with reading(self, f"{self.protocol}://{root}"):
            listed = self.fs.find(root, detail=True)
        for name in sorted(listed):
            relative = name.removeprefix(root).lstrip("/")
            if any(part.startswith(".") for part in relative.split("/")):
                skipped["hidden"] += 1
            else:
                yield Found(relative.encode(), int(listed[name].get("size") or -1))

    def open(self, path: bytes) -> IO[bytes]:
        return cast(IO[bytes], self.fs.open(self._full(path), "rb"))

    def read(self, path: bytes, count: int = -1) -> bytes:
        try:
            return cast(bytes, self.fs.cat_file(self._full(path), start=0, end=count if count >= 0 else None))
        except (ValueError, *failures(self)) as error:
            raise BadImage("unreadable", f"cannot be read: {first_line(error)}") from error

    def _full(self, path: bytes) -> str:
        return f"{self.root.rstrip('/')}/{path.decode()}" if path else self.root


def _no_more_is_needed(protocol: str, kind: Any) -> None:
    """Raise `InputError` where a file system is not made from a protocol alone (ftp wants a host, ...)."""
    wanted = list(inspect.signature(kind.__init__).parameters.values())[1:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if lacking := [one.name for one in wanted if one.default is one.empty and one.kind in named]:
        raise InputError(f"{protocol}://: needs {', '.join(lacking)}; copy the files to a folder first, or mount them")


def failures(files: Files) -> tuple[type[BaseException], ...]:
    """What files raise when they cannot be reached."""
    if isinstance(files, RemoteFiles) and files.protocol == "hf":
        from million_ird.sources.hub import network_errors

        return network_errors()
    if isinstance(files, RemoteFiles) and files.protocol in ("s3", "s3a"):
        from botocore.exceptions import BotoCoreError, ClientError

        return OSError, BotoCoreError, ClientError
    return (OSError,)


def lost(files: Files, error: BaseException) -> bool:
    """Whether it is the file system that failed, and not one file of it: only one that is elsewhere can be lost."""
    known = isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError))
    return not isinstance(files, LocalFiles) and isinstance(error, failures(files)) and not known


@contextlib.contextmanager
def reading(files: Files, path: str) -> Iterator[None]:
    """Turns failures of the file system while a source is listed into one line: half a list must not become a plan."""
    try:
        yield
    except failures(files) as error:
        raise InputError(f"{printable(os.fsencode(path))}: cannot be read: {first_line(error)}") from None


def first_line(error: BaseException) -> str:
    """What an error of the file system says, in 200 characters at most."""
    said = getattr(error, "strerror", None) or str(error)
    return (said.splitlines() or [type(error).__name__])[0][:200]


class FolderSource:
    """All files below a folder, or some of them.

    Args:
        label: of the source.
        files: the folder.
        paths: the files to take, os.fsdecode'd and relative to it; None = all.
    """

    def __init__(self, label: str, files: Files, paths: Sequence[str] | None = None) -> None:
        self.label = label
        self._files = files
        self._paths = paths

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """The files, sorted by path.

        Raises:
            InputError: the file system cannot be reached.
        """
        for path, size, status, detail in self._files.walk(skipped) if self._paths is None else self._listed():
            yield Item(self.label, printable(path), path, size=size, status=status, detail=detail)

    def _listed(self) -> Iterator[Found]:
        for name in self._paths or ():
            path = os.fsencode(name)
            with reading(self._files, name):
                try:
                    with self._files.open(path) as file:
                        found = Found(path, file.seek(0, os.SEEK_END))
                except OSError as error:
                    if lost(self._files, error):
                        raise
                    found = Found(path, -1, "unreadable", f"cannot be read: {first_line(error)}")
            yield found

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read`."""
        return self._files.read(item.path, count)

    def close(self) -> None:
        """Nothing is held open."""


def printable(path: bytes) -> str:
    """A path as UTF-8 text that any file can hold; bytes that are no UTF-8 become \\xNN."""
    return path.decode("utf-8", "backslashreplace")
