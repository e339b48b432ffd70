"""What must not be kept: addresses, hosts, bytes and pictures that a list names, and what was removed from a build."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from million_ird.errors import BadImage, ConfigError
from million_ird.images import decode, read_header
from million_ird.meters.phash import phash
from million_ird.sources.web.guard import canonical, host_of
from million_ird.tables import read_json

TOMBSTONES = "removed.json"
"""In a build's folder: ids, keys and addresses of what `mird remove` took out. It outlives `--fresh`."""
PHASH_BITS = 4
"""A picture is one that a `phash` line names where so many of 64 bits differ at most."""
_KINDS = ("url", "host", "sha256", "phash")


@dataclass(frozen=True)
class Blocklist:
    """Asked with the URL before a request, and with the bytes before they are kept.

    Attributes:
        urls: canonical.
        hosts: names; their subdomains are meant too.
        sha256: of files, hex.
        phashes: (N,) uint64, `meters.phash` of pictures.
        removed: URLs and sha256 of what was taken out of this build.
    """

    urls: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()
    phashes: tuple[int, ...] = ()
    removed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, file: str | None, out: Path) -> Blocklist:
        """The one of a configuration and of a build's folder.

        Raises:
            ConfigError: the file is missing, or a line is not understood.
        """
        found: dict[str, set[str]] = {kind: set() for kind in _KINDS}
        for number, line in enumerate(_lines(file), 1):
            kind, _, value = line.strip().partition(" ")
            if not line.strip() or line.startswith("#"):
                continue
            if kind not in found or not _fits(kind, value.strip()):
                raise ConfigError(
                    f"fetch.blocklist: {file}, line {number}: {line.strip()[:80]!r}; a line is `url ADDRESS`, "
                    "`host NAME`, `sha256 HEX` or `phash HEX`"
                )
            found[kind].add(canonical(value) if kind == "url" else value.strip().lower())
        hashes = tuple(sorted(int(text, 16) for text in found["phash"]))
        return cls(
            frozenset(found["url"]), frozenset(found["host"]), frozenset(found["sha256"]), hashes, tombstones(out)
        )

    def __call__(self, url: str, data: bytes | None) -> str:
        """Why not, "" = nothing against it."""
        return self._address(url) if data is None else self._bytes(data)

    def _address(self, url: str) -> str:
        if url in self.removed:
            return "removed from this build"
        if url in self.urls:
            return "this address is on the blocklist"
        parts = host_of(url).split(".") if self.hosts else []
        named = any(".".join(parts[at:]) in self.hosts for at in range(len(parts)))
        return "this host is on the blocklist" if named else ""

    def _bytes(self, data: bytes) -> str:
        if self.sha256 or self.removed:
            name = hashlib.sha256(data).hexdigest()
            if name in self.removed:
                return "removed from this build"
            if name in self.sha256:
                return "this file is on the blocklist"
        return "this picture is on the blocklist" if self.phashes and self._pictured(data) else ""

    def _pictured(self, data: bytes) -> bool:
        try:
            rgb = decode(data, read_header(data)).rgb
        except BadImage:
            return False
        apart = np.bitwise_count(np.array(self.phashes, np.uint64) ^ np.uint64(phash(rgb)))
        return bool((apart <= PHASH_BITS).any())


def tombstones(out: Path) -> frozenset[str]:
    """Ids, keys and addresses of what was taken out of a build for good."""
    return frozenset(read_json(out / TOMBSTONES) or ())


def _lines(file: str | None) -> list[str]:
    if file is None:
        return []
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"fetch.blocklist: {file}: cannot be read ({error})") from None


def _fits(kind: str, value: str) -> bool:
    digits = {"sha256": 64, "phash": 16}.get(kind)
    if digits is None:
        return bool(value)
    return len(value) == digits and all(c in "0123456789abcdef" for c in value.lower())
