"""Test pictures that the training set has seen: near duplicates between a test set and the ledger of a `mird build`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from million_ird.config import read_yaml
from million_ird.dedup import find_edges
from million_ird.dedup.edges import VIEWS_NEAR
from million_ird.dedup.views import view_hashes
from million_ird.errors import BadImage, InputError
from million_ird.images import decode
from million_ird.meters import Frame
from million_ird.meters.phash import hash_frame, thumb

Hashes = NDArray[np.uint64]
Thumbs = NDArray[np.uint8]

DISTANCE = 8
"""Bits of 64 within which two hashes are compared further, where the build does not say."""
BLOCK = 1 << 16
"""Rows of a ledger that are looked at in one go."""


@dataclass(frozen=True)
class Seen:
    """A test picture that looks like a training picture.

    Attributes:
        name: of the test picture.
        uri: of the training picture, the first of those it looks like.
    """

    name: str
    uri: str


@dataclass(frozen=True)
class Ledger:
    """What a build knows of the pictures it kept.

    Attributes:
        folder: of the build.
        parts: Parquet files.
        hash: kind of hash, as `hash_frame` knows it, and its mode.
        distance: bits.
        flips: whether mirrored and turned copies count.
        kept: keys of the pictures that were kept; None: not decided yet, all count.
    """

    folder: Path
    parts: tuple[Path, ...]
    hash: tuple[str, Any]
    distance: int
    flips: bool
    kept: frozenset[str] | None


def ledger_of(folder: str | Path) -> Ledger:
    """The ledger that `mird build` wrote.

    Raises:
        InputError: the folder holds none.
    """
    folder = Path(folder)
    parts = tuple(sorted((folder / "ledger" / "base").glob("part-*.parquet")))
    if not parts:
        raise InputError(f"{folder}: no ledger here (ledger/base is missing); give the --out of a `mird build`")
    meta = pq.read_schema(parts[0]).metadata or {}
    kind, _, mode = meta.get(b"mird.hash", b"phash:fast").decode().partition(":")
    build = folder / "build.yaml"
    near = read_yaml(build).get("policy", {}).get("near_duplicate", {}) if build.exists() else {}
    kept = None
    if (folder / "decisions.parquet").exists():
        table = pq.read_table(folder / "decisions.parquet", columns=["key", "keep"])
        kept = frozenset(table.filter(table.column("keep")).column("key").to_pylist())
    distance, flips = int(near.get("distance", DISTANCE)), bool(near.get("flips", False))
    return Ledger(folder, parts, (kind, mode or "fast"), distance, flips, kept)


def near_by(model: str | Path) -> list[Path]:
    """Builds that a trained model's folder names: in `train.yaml` in it or above it, any path that holds a ledger."""
    found: list[Path] = []
    place = Path(model).resolve()
    for folder in (place, *place.parents[:2]) if place.is_dir() else ():
        if (folder / "train.yaml").is_file():
            for text in _words(read_yaml(folder / "train.yaml")):
                path = Path(text.partition(",")[0].rpartition("=")[2].rpartition(":")[2] or ".")
                found += [build for build in (path, path.parent) if (build / "ledger" / "base").is_dir()]
            break
    return list(dict.fromkeys(found))


def _words(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _words(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _words(one)


def seen(
    ledger: Ledger, pictures: Sequence[tuple[str, Path]], watch: Callable[[int, int], None] = lambda done, total: None
) -> list[Seen]:
    """The test pictures that are near duplicates of a kept one, by the build's own search and its own check of thumbs.

    Copies that were resized, recompressed, toned or cropped by a few per cent are found; smaller crops are not.

    Args:
        ledger: of the training set.
        pictures: (name, file) of the clean test pictures.
        watch: told (pictures hashed, pictures in all).
    """
    names, hashes, thumbs = _hashed(ledger, pictures, watch)
    if not names:
        return []
    uris, their_hashes, their_thumbs = _candidates(ledger, hashes, thumbs)
    count = len(names)
    both = np.concatenate([hashes, their_hashes]), np.concatenate([thumbs, their_thumbs])
    edges = find_edges(*both, np.ones(len(both[0]), bool), ledger.distance, flips=ledger.flips)
    members: dict[int, list[int]] = defaultdict(list)  # first picture of a bundle -> training pictures in it
    for row, first in enumerate(edges.bundle[count:]):
        members[int(first)].append(row)
    around: dict[int, list[int]] = defaultdict(list)
    for i, j in zip(edges.i.tolist(), edges.j.tolist(), strict=True):
        around[i].append(j)
        around[j].append(i)
    out = []
    for row, name in enumerate(names):
        first = int(edges.bundle[row])
        rows = [other for bundle in (first, *around[first]) for other in members.get(bundle, ())]
        if rows:
            out.append(Seen(name, uris[min(rows)]))
    return out


def _hashed(
    ledger: Ledger, pictures: Sequence[tuple[str, Path]], watch: Callable[[int, int], None]
) -> tuple[list[str], Hashes, Thumbs]:
    names, hashes, thumbs = [], [], []
    for done, (name, file) in enumerate(pictures, 1):
        try:
            frame = Frame(decode(file.read_bytes()).rgb)
        except (OSError, BadImage):
            continue  # evaluation itself names what cannot be read
        names.append(name)
        hashes.append(hash_frame(frame, *ledger.hash))
        thumbs.append(np.frombuffer(thumb(frame), np.uint8))
        watch(done, len(pictures))
    return names, np.array(hashes, np.uint64), np.array(thumbs, np.uint8).reshape(-1, 256)


def _candidates(ledger: Ledger, hashes: Hashes, thumbs: Thumbs) -> tuple[list[str], Hashes, Thumbs]:
    """Kept rows of the ledger that are near a test picture by either of the two searches, part by part."""
    uris: list[str] = []
    near_hashes, near_thumbs = [np.empty(0, np.uint64)], [np.empty((0, 256), np.uint8)]
    views = np.unique(view_hashes(thumbs, turned=ledger.flips)[2])
    for part in ledger.parts:
        with part.open("rb") as file:
            table = pq.read_table(file, columns=["key", "uri", "phash", "thumb"])
        for batch in table.to_batches(BLOCK):
            keys, names, values, images = (batch.column(index).to_pylist() for index in range(4))
            rows = [
                row
                for row, key in enumerate(keys)
                if values[row] is not None and images[row] and (ledger.kept is None or key in ledger.kept)
            ]
            if not rows:
                continue
            theirs = np.array([values[row] for row in rows], np.uint64)
            small = np.frombuffer(b"".join(images[row] for row in rows), np.uint8).reshape(-1, 256)
            close = _close(theirs, hashes, ledger.distance)
            which, _, keyed = view_hashes(small, turned=ledger.flips)
            close[which[_close(keyed, views, VIEWS_NEAR)]] = True
            uris += [names[row] for row, chosen in zip(rows, close, strict=True) if chosen]
            near_hashes.append(theirs[close])
            near_thumbs.append(small[close])
    return uris, np.concatenate(near_hashes), np.concatenate(near_thumbs)


def _close(theirs: Hashes, ours: Hashes, distance: int) -> NDArray[np.bool_]:
    """(n,) whether each of theirs is within the distance of any of ours."""
    out = np.zeros(len(theirs), bool)
    for one in ours:
        out |= np.bitwise_count(theirs ^ one) <= distance
    return out
