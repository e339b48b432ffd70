"""Paths of this machine, and places in the world, in what is about to leave it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from PIL import Image

from million_ird.errors import BadImage
from million_ird.images.header import guarded

LOCAL = (
    r"(?:^|[\s\"'=,:;(\[{<>|`])"  # where a path can begin; not within an address or a relative path
    r"(?:/(?:home|Users|root|tmp|var|mnt|media|opt|srv|usr|etc|data|scratch|workspace|work|Volumes|private|content)/[^\s/]"
    r"|[A-Za-z]:\\+[^\s\\]|\\\\+[A-Za-z0-9.-]+\\+[^\s\\]|(?i:file)://?/|~/[^\s/])"
)
"""A regular expression (Python's and RE2's) of an absolute path of somebody's machine within text."""

_PATHS = frozenset(["paths", "path", "file", "blocklist", "tasks", "sets", "init", "adapters", "folder"])
"""Keys of configurations whose text is a path, or holds one."""
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_PART = re.compile(r"(?<![\w/.~\\-])(?:~|[A-Za-z]:)?/(?!/)(?:[^\s/\"',|]+/)*([^\s/\"',|]*)")
_GPS, _LATITUDE, _LONGITUDE = 0x8825, 2, 4
_EXIF = re.compile(rb"(?:Exif\0\0|eXIf|EXIF.{4}|\A)(?=II\*\0|MM\0\*)", re.DOTALL)
"""Where a block begins: in JPEG and HEIF, in PNG, in WebP; a TIFF is one."""
_PROFILE = b"Raw profile type exif"
_XMP = (b"exif:GPSLatitude", b"exif:GPSLongitude")
_local = re.compile(LOCAL)


def local_path(text: str) -> str:
    """The first path of somebody's machine in a text, as far as it is needed to find it; "" = none."""
    found = _local.search(text)
    return text[found.start() : found.end() + 40].strip(" \t\n\"'=,:;([{<>|`").partition('"')[0] if found else ""


def bare(value: Any, is_path: bool = False) -> Any:
    """Plain values (of a configuration) in which paths of this machine are cut down to their last part, and addresses
    hold no password.

    A text under a key that means a path is cut wherever it leads; others, which may be patterns or conditions, only
    where they name a folder of somebody's machine.
    """
    if isinstance(value, Mapping):
        return {name: bare(inner, is_path or name in _PATHS) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [bare(inner, is_path) for inner in value]
    if isinstance(value, str) and (is_path or "://" in value or local_path(value)):
        return _bare_text(value)
    return value


def _bare_text(text: str) -> str:
    if text.lower().startswith("file:"):
        return PurePosixPath(text).name
    if _WINDOWS.match(text):
        return PureWindowsPath(text).name
    if text.startswith(("/", "~/")) and "," not in text:
        return PurePosixPath(text).name
    if "://" in text:
        return without_password(text)
    return _PART.sub(r"\1", text)


def without_password(address: str) -> str:
    """An address without user name and password."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else address


def own_folders(*folders: Path) -> tuple[str, ...]:
    """Texts that give this machine away wherever they stand: its home and these folders, as absolute paths."""
    found = {str(path.expanduser().absolute()) for path in (Path.home(), *folders)}
    return tuple(sorted(name for name in found if len(PurePosixPath(name).parts) > 2))


def shows_where(data: bytes) -> bool:
    """Whether an image file says where on Earth it was taken, by EXIF or XMP. Nothing is decoded for it.

    A block that is not understood says nothing.
    """
    if any(name in data for name in _XMP):
        return True
    # An EXIF block that has a GPS part names its tag, in one byte order or the other.
    blocks = [match.end() for match in _EXIF.finditer(data)] if b"\x88\x25" in data or b"\x25\x88" in data else []
    return any(_has_place(data[at:]) for at in blocks) or (_PROFILE in data and _has_place_in_text(data))


def _has_place(block: bytes) -> bool:
    try:
        with guarded(block, "tiff"):
            exif = Image.Exif()
            exif.load(block)
            place = exif.get_ifd(_GPS)
    except BadImage:
        return False
    return any(place.get(tag) for tag in (_LATITUDE, _LONGITUDE))


def _has_place_in_text(data: bytes) -> bool:
    """As some programs write EXIF into PNG: in hexadecimal digits, as text."""
    try:
        with guarded(data, "png"), Image.open(io.BytesIO(data)) as image:
            place = image.getexif().get_ifd(_GPS)
    except BadImage:
        return False
    return any(place.get(tag) for tag in (_LATITUDE, _LONGITUDE))
