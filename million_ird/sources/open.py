"""From what the user typed to sources, from sources to items, from an item to its bytes."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from million_ird.errors import InputError
from million_ird.records import Item
from million_ird.sources.archive import TarSource, ZipSource
from million_ird.sources.files import FolderSource, LocalFiles, RemoteFiles, printable

_ARCHIVES = {".tar": "tar", ".zip": "zip"}
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")
_KNOWN = (
    "folders, images, .tar and .zip archives, globs of these, and fsspec addresses of these (s3://, gs://, memory://)"
)


class Source(Protocol):
    """What there is to read in one place."""

    label: str

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """All inputs, in an order that is the same every time; what is passed over is counted in `skipped`, by kind."""
        ...

    def read(self, item: Item, count: int = -1) -> bytes:
        """The first `count` bytes of an input, or all of it.

        Raises:
            BadImage: where it cannot be read, or ends too early.
        """
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...


@dataclass(frozen=True)
class SourceSpec:
    """One source, resolved: enough for any process to list or read it.

    Attributes:
        label: short name, unique within a run; the `source` column.
        kind: "folder" = everything below root; "files" = the listed paths; "tar", "zip" = the one archive in paths.
        protocol: "" for the local file system, else fsspec's name for it.
        root: absolute folder that paths are relative to.
        paths: for all kinds but "folder": paths relative to root, os.fsdecode'd.
    """

    label: str
    kind: Literal["folder", "files", "tar", "zip"]
    protocol: str
    root: str
    paths: tuple[str, ...] = ()

    def open(self, leave_out: str = "") -> Source:
        """The source itself.

        Args:
            leave_out: absolute path of a folder that is no part of it (the output of the run).
        """
        files = RemoteFiles(self.protocol, self.root) if self.protocol else LocalFiles(self.root, leave_out)
        if self.kind == "tar":
            return TarSource(self.label, files, self.paths[0])
        if self.kind == "zip":
            return ZipSource(self.label, files, self.paths[0])
        return FolderSource(self.label, files, self.paths if self.kind == "files" else None)


def resolve(sources: Sequence[str]) -> list[SourceSpec]:
    """What each SOURCE of a command line means.

    Raises:
        InputError: missing, given twice, matching nothing, or of a kind that cannot be read.
    """
    if not sources:
        raise InputError("no SOURCE given: name a folder, an image, an archive, a glob or an fsspec address")
    specs: list[SourceSpec] = []
    for source in sources:
        for spec in _remote(source) if "://" in source else _local(source):
            if any((s.protocol, s.root, s.paths) == (spec.protocol, spec.root, spec.paths) for s in specs):
                raise InputError(f"{source}: this source is given twice; name it once")
            specs.append(_labelled(spec, specs))
    return specs


class Reader:
    """Bytes of items of several sources, in any order; keeps the source it read last open. One per process."""

    def __init__(self, specs: Sequence[SourceSpec]) -> None:
        self._specs = {spec.label: spec for spec in specs}
        self._open: Source | None = None

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read` of the item's source."""
        if self._open is None or self._open.label != item.source:
            self.close()
            self._open = self._specs[item.source].open()
        return self._open.read(item, count)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the source that is open, if one is."""
        if self._open is not None:
            self._open.close()
            self._open = None


def _local(source: str) -> Iterator[SourceSpec]:
    path = Path(source).expanduser()
    if path.is_dir():
        yield SourceSpec("", "folder", "", str(path.absolute()))
    elif path.is_file():
        yield _one_file("", path.absolute().parent.as_posix(), path.name)
    elif glob.has_magic(source):
        yield from _local_glob(str(path))
    else:
        raise InputError(f"{source}: no such file or folder")


def _local_glob(pattern: str) -> Iterator[SourceSpec]:
    matches = sorted(glob.iglob(pattern, recursive=True))  # noqa: PTH207 (a whole pattern, absolute or not)
    if not matches:
        raise InputError(f"{pattern}: the pattern matches nothing")
    paths = [Path(match).absolute() for match in matches]
    fixed = Path(*_before_magic(Path(pattern).absolute().parts))
    files = [p.relative_to(fixed).as_posix() for p in paths if p.is_file() and p.suffix.lower() not in _ARCHIVES]
    if files:
        yield SourceSpec("", "files", "", str(fixed), tuple(files))
    for path in paths:
        if path.is_file() and path.suffix.lower() in _ARCHIVES:
            yield _one_file("", path.parent.as_posix(), path.name)
    folders = [path for path in paths if path.is_dir()]
    if not files:  # `photos/*` means the files; `shoot-*` that matches folders alone means the folders
        yield from (SourceSpec("", "folder", "", str(folder)) for folder in folders)


def _remote(source: str) -> Iterator[SourceSpec]:
    import fsspec

    protocol, _, address = source.partition("://")
    if protocol in ("http", "https", "hf") or protocol not in fsspec.available_protocols():
        raise InputError(f"{source}: cannot read this kind of source; this version reads {_KNOWN}")
    fs = RemoteFiles(protocol, address).fs
    try:
        root = fs._strip_protocol(source)
        if glob.has_magic(source):
            matches = sorted(match for match in fs.glob(root) if fs.isfile(match))
            fixed = "/".join(_before_magic(root.split("/")))
            if not matches:
                raise InputError(f"{source}: the pattern matches nothing")
            plain = [m for m in matches if PurePosixPath(m).suffix.lower() not in _ARCHIVES]
            if plain:
                names = tuple(m.removeprefix(fixed).lstrip("/") for m in plain)
                yield SourceSpec("", "files", protocol, fixed, names)
            for match in matches:
                if match not in plain:
                    yield _one_file(protocol, *match.rsplit("/", 1))
        elif fs.isfile(root):
            parent, _, name = root.rpartition("/")
            yield _one_file(protocol, parent, name)
        elif fs.isdir(root):
            yield SourceSpec("", "folder", protocol, root)
        else:
            raise InputError(f"{source}: no such file or folder")
    except OSError as error:
        raise InputError(f"{source}: cannot be reached: {error}") from None


def _one_file(protocol: str, root: str, name: str) -> SourceSpec:
    lower = name.lower()
    if lower.endswith(_PACKED):
        raise InputError(
            f"{name}: compressed archives cannot be read in place; unpack it, or repack it as .tar or .zip"
        )
    if lower.endswith((".txt", ".csv", ".tsv", ".jsonl", ".parquet")):
        raise InputError(f"{name}: cannot read this kind of source; this version reads {_KNOWN}")
    kind = _ARCHIVES.get(PurePosixPath(lower).suffix, "files")
    return SourceSpec("", kind, protocol, root, (name,))  # type: ignore[arg-type]


def _before_magic(parts: Sequence[str]) -> list[str]:
    fixed = []
    for part in parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return fixed


def _labelled(spec: SourceSpec, others: Sequence[SourceSpec]) -> SourceSpec:
    archive = spec.kind in ("tar", "zip")
    base = printable(
        os.fsencode(spec.paths[0] if archive else PurePosixPath(Path(spec.root).as_posix()).name or "root")
    )
    taken = {other.label for other in others}
    label, count = base, 1
    while label in taken:
        count += 1
        label = f"{base}-{count}"
    return SourceSpec(label, spec.kind, spec.protocol, spec.root, spec.paths)
