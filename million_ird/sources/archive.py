"""Members of `.tar` (plain or WebDataset) and `.zip` archives, read in place: nothing is ever unpacked to disk."""

from __future__ import annotations

import json
import os
import stat
import tarfile
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple

from million_ird.errors import BadImage
from million_ird.records import Item
from million_ird.sources.files import Files, failures, first_line, lost, printable, reading

IMAGE_SUFFIXES = frozenset(
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "tif", "tiff", "avif", "heic", "heif"]
)
_SIDECAR_BYTES = 1 << 20


class TarSource:
    """An uncompressed tar. In a WebDataset tar (`key.jpg`, `key.json`, `key.txt`), what shares an image's key is that
    image's metadata, not an input.

    Args:
        label: of the source.
        files: the folder the archive lies in.
        name: the archive's file name, os.fsdecode'd.
    """

    def __init__(self, label: str, files: Files, name: str) -> None:
        self.label = label
        self._files = files
        self._path = os.fsencode(name)
        self._file: IO[bytes] | None = None

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """The members in the order of the archive.

        Raises:
            InputError: the archive is gone, or cannot be reached.
        """
        with reading(self._files, os.fsdecode(self._path)), self._files.open(self._path) as file:
            yield from _tar_items(_Archive(self.label, self._files, self._path), file, skipped)

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read`."""
        wanted = item.size if count < 0 else min(count, item.size)
        try:
            if self._file is None:
                self._file = self._files.open(self._path)
            self._file.seek(item.offset)
            data = self._file.read(wanted)
        except failures(self._files) as error:
            self.close()  # what stopped in the middle does not go on
            raise BadImage("unreadable", f"archive cannot be read: {first_line(error)}") from error
        if len(data) < wanted:
            raise BadImage("truncated", f"archive ends after {len(data)} of {item.size} bytes")
        return data

    def close(self) -> None:
        """Close the archive where it is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


class ZipSource:
    """A zip archive; arguments as `TarSource`."""

    def __init__(self, label: str, files: Files, name: str) -> None:
        self.label = label
        self._files = files
        self._path = os.fsencode(name)
        self._file: IO[bytes] | None = None
        self._archive: zipfile.ZipFile | None = None

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """The members in the order of the archive's directory; errors as `TarSource`."""
        with reading(self._files, os.fsdecode(self._path)), self._files.open(self._path) as file:
            yield from _zip_items(_Archive(self.label, self._files, self._path), file, skipped)

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read`; "unreadable" also where the member is damaged, encrypted or packed by an unknown method."""
        try:
            if self._archive is None:
                self._file = self._files.open(self._path)
                self._archive = zipfile.ZipFile(self._file)
            with self._archive.open(self._archive.infolist()[item.member]) as member:
                return member.read(count)
        except failures(self._files) as error:
            self.close()
            raise BadImage("unreadable", f"archive cannot be read: {first_line(error)}") from error
        except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, LookupError, zlib.error) as error:
            if self._archive is None:
                self.close()
            status = "truncated" if isinstance(error, EOFError) else "unreadable"
            raise BadImage(status, f"archive member: {error or type(error).__name__}"[:200]) from error

    def close(self) -> None:
        """Close the archive where it is open."""
        if self._file is not None:
            self._file.close()
            self._file = self._archive = None


class _Archive(NamedTuple):
    """An archive that is listed."""

    label: str
    files: Files
    path: bytes

    @property
    def name(self) -> str:
        return printable(self.path)

    def broken(self, detail: str) -> Item:
        return Item(self.label, self.name, self.path, status="unreadable", detail=detail)


def _tar_items(of: _Archive, file: IO[bytes], skipped: Counter[str]) -> Iterator[Item]:
    names = _Names(of.name)
    try:
        archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 (the file is the caller's)
    except tarfile.TarError as error:
        yield of.broken(f"not an uncompressed tar archive: {error}")
        return
    members: list[tarfile.TarInfo] = []
    damage = ""
    try:
        members.extend(archive)
    except (tarfile.TarError, OSError) as error:
        if lost(of.files, error):
            raise
        damage = str(error)
    by_name = {member.name: member for member in members if member.isfile() and not _hidden(member.name)}
    sidecars = _sidecars(list(by_name))
    metadata = {name for others in sidecars.values() for name in others}
    for index, member in enumerate(members):
        if member.isdir():
            continue
        if _hidden(member.name):
            skipped["hidden"] += 1
            continue
        if member.name in metadata:
            skipped["metadata of an image"] += 1
            continue
        status, detail = _refusal(member.name, member.issym() or member.islnk(), member.isfile())
        meta = _tar_meta(archive, [by_name[name] for name in sidecars.get(_key(member.name), [])])
        uri = names.uri(member.name)
        yield Item(of.label, uri, of.path, index, member.offset_data, member.size, status, detail, meta)
    # tarfile stops without a word at a header it cannot read; a whole archive ends in zeros.
    file.seek(archive.offset)
    if damage or file.read(512).strip(b"\0"):
        detail = f"archive is damaged at byte {archive.offset}: {damage or 'what follows cannot be read'}"
        yield Item(of.label, names.uri("?"), of.path, status="truncated", detail=detail)


def _zip_items(of: _Archive, file: IO[bytes], skipped: Counter[str]) -> Iterator[Item]:
    names = _Names(of.name)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        if lost(of.files, error):
            raise
        yield of.broken(f"not a zip archive: {error}")
        return
    for index, member in enumerate(archive.infolist()):
        if member.is_dir():
            continue
        if _hidden(member.filename):
            skipped["hidden"] += 1
            continue
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        status, detail = _refusal(member.filename, is_link, True)
        if not status and member.flag_bits & 1:
            status, detail = "unreadable", "archive member is encrypted"
        yield Item(of.label, names.uri(member.filename), of.path, index, -1, member.file_size, status, detail)


class _Names:
    """URIs of members; a name that occurs again gets "#2", "#3", ..."""

    def __init__(self, archive: str) -> None:
        self.archive = archive
        self.seen: Counter[str] = Counter()

    def uri(self, member: str) -> str:
        member = member.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        self.seen[member] += 1
        again = f"#{self.seen[member]}" if self.seen[member] > 1 else ""
        return f"{self.archive}::{member}{again}"


def _sidecars(names: list[str]) -> dict[str, list[str]]:
    """Which members are metadata of which image: a sample's key -> their names."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_key(name)].append(name)
    owned = {key: [name for name in members if not _looks_like_image(name)] for key, members in groups.items()}
    return {key: others for key, others in owned.items() if others and len(others) < len(groups[key])}


def _tar_meta(archive: tarfile.TarFile, sidecars: list[tarfile.TarInfo]) -> str:
    meta: dict[str, Any] = {}
    for member in sidecars:
        suffix = member.name.rsplit(".", 1)[-1].lower()
        body = archive.extractfile(member)
        if body is None or member.size > _SIDECAR_BYTES or suffix not in ("json", "txt", "cls", "caption", "url"):
            continue
        text = body.read().decode("utf-8", "replace")
        if suffix == "json":
            try:
                value = json.loads(text)
            except ValueError:
                value = text
            meta.update(value if isinstance(value, dict) else {"json": value})
        else:
            meta[suffix] = text.strip()
    return json.dumps(meta, ensure_ascii=False) if meta else ""


def _refusal(name: str, is_link: bool, is_file: bool) -> tuple[str, str]:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        return "blocked", "archive member whose path leaves the archive"
    if is_link:
        return "blocked", "archive member that is a link"
    return ("", "") if is_file else ("unsupported", "archive member that is not a regular file")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def _key(name: str) -> str:
    folder, _, base = name.rpartition("/")
    return f"{folder}/{base.partition('.')[0]}"


def _looks_like_image(name: str) -> bool:
    return name.rsplit(".", 1)[-1].lower() in IMAGE_SUFFIXES
