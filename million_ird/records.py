"""The nouns of the project: what rooms hand to each other. Standard library and numpy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

STATUSES = (
    "ok",
    "unreadable",
    "truncated",
    "unsupported",
    "too_large",
    "too_small",
    "animated",
    "fetch_failed",
    "blocked",
    "crashed",
)
"""What became of an input before any rule was asked; all but "ok" are reasons to drop it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One input, as a source lists it: where it lies, not what is in it.

    Attributes:
        source: label of the source it came from (unique within a run).
        uri: path relative to the source, POSIX; in an archive `archive.tar::member`; printable UTF-8.
        path: the path as the file system has it, relative to the source's root (os.fsencode'd).
        member: index of the member in an archive; -1 where the whole file is the input.
        offset: where a tar member's bytes begin in the archive; -1 where that is not known or not meant.
        size: bytes, or -1 where unknown.
        status: "" = to be read; else a status of `STATUSES` that the source gives it unread (a link that leaves its
            root is "blocked", a damaged archive "truncated").
        detail: why, for the ledger's `error` column.
        meta: JSON object of metadata that came with it ("" = none).
        facts: JSON object of the ledger's columns that are known already, because its head was enough to judge it
            ("" = none); such an item has no bytes.
    """

    source: str
    uri: str
    path: bytes
    member: int = -1
    offset: int = -1
    size: int = -1
    status: str = ""
    detail: str = ""
    meta: str = ""
    facts: str = ""

    @property
    def key(self) -> str:
        """32 hex digits that name this input in every table of a run."""
        return hashlib.blake2b(f"{self.source}\0{self.uri}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says of itself before any pixel is decoded.

    Attributes:
        format: "jpeg", "png", "webp", "bmp", "tiff", "avif" or "heif".
        width, height: px, after the EXIF turn.
        mode: Pillow's name of the stored pixel form, for example "RGB", "CMYK", "I;16", "P".
        orientation: EXIF orientation 1..8 (1 = upright).
        jpeg_quality: IJG quality 1..100 estimated from the quantisation tables, None for other formats.
        subsampling: "4:4:4", "4:2:2", "4:2:0", ... for JPEG, None for other formats.
        icc: the embedded ICC profile, None where there is none.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int = 1
    jpeg_quality: float | None = None
    subsampling: str | None = None
    icc: bytes | None = field(default=None, repr=False)

    def notes(self) -> dict[str, Any]:
        """What is worth keeping of it in the ledger's `meta`."""
        notes: dict[str, Any] = {"mode": self.mode}
        if self.orientation != 1:
            notes["orientation"] = self.orientation
        if self.subsampling:
            notes["subsampling"] = self.subsampling
        return notes

    def facts(self) -> dict[str, Any]:
        """The ledger's columns that it fills."""
        facts: dict[str, Any] = {"format": self.format, "width": self.width, "height": self.height}
        if self.jpeg_quality is not None:
            facts["jpeg_quality"] = self.jpeg_quality
        return facts
