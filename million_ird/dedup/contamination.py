"""Whether a picture shows what a test picture shows: the same, a copy, a crop of it, or a picture it is a crop of.

Two searches. The 16x16 thumbs are compared as `edges` does it, in all eight turns: that finds copies of the whole
picture, however blurred or small. And local features (ORB: Rublee, Rabaud, Konolige, Bradski 2011, as OpenCV makes
them) are looked up in hash tables, and what meets must agree on one similarity transform (shift, zoom, turn), found by
RANSAC, and what it brings onto each other must correlate: that finds crops, both ways. ORB knows no mirror, so each
test picture is described twice, mirrored too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.dedup.verify import flat, look_alike
from million_ird.dedup.views import turn, view_hashes

Plane = NDArray[np.uint8]
Points = NDArray[np.float32]
Descriptors = NDArray[np.uint8]
Index = NDArray[np.int64]

KIND = "thumb16+orb256/1"
"""What a fingerprint is made of, and how; lists of another kind are refused."""
LONG = 896  # px: a longer picture is reduced to it before its features are looked for
SHORT = 16  # px: in a smaller one no features are looked for
STEP, LEVELS = 1.25, 7  # of ORB's pyramid: features over a range of 3.8 in scale
DETECT = 3000  # corners from which features are chosen
CORNER = 7  # grey levels: FAST's threshold
QUICK = 1500, 20  # the same for a picture that is asked about, where enough corners pass
EDGE = 16  # px from the border in which no feature is looked for, in each level
CELL = 48  # px, in each level: features are taken from every cell in turn, so that any crop has its share
STORED, ASKED = 512, 640  # features of a test picture, of a picture that is asked about

VIEWS_NEAR = 6  # bits in which hashes of thumbs may differ
KEY_BITS, TABLES = 20, 12  # a descriptor has so many keys of so many of its bits; three of four near pairs share one
NEAR_WORD, NEAR = 20, 48  # bits of 64, and of all 256, in which two descriptors of one point may differ
NEAREST = 4  # of ours, to one of theirs: more is chance, or the same picture in several sets
TURNS = 16  # bins of the turn
FEW = 5  # pairs of about one turn and zoom with a test picture, below which no transform is looked for
TOLERANCE = 4.0  # px
AGREE = 8  # points that agree on a transform
ZOOMS = 0.2, 5.0
_BITS = np.random.default_rng(0).permutation(256)[: KEY_BITS * TABLES]
COVERED = 6  # cells of the 16x16 thumb below which too little is there to correlate
CORRELATION = 0.8  # of the thumb with what lies there in the picture


@dataclass(frozen=True)
class Print:
    """What a test picture is recognised by.

    Attributes:
        name: of the picture in its set.
        width, height: px.
        thumb: (256,) uint8, 16x16 luma.
        points: (n, 4) float32, of features x and y (px of the picture reduced to `LONG`), turn (degrees), level.
        plain, mirrored: (n, 32) uint8, their descriptors, and those of the same points in the mirrored picture.
    """

    name: str
    width: int
    height: int
    thumb: Plane
    points: Points
    plain: Descriptors
    mirrored: Descriptors


@dataclass(frozen=True)
class Match:
    """A test picture that was recognised.

    Attributes:
        index: which of the prints.
        share: 0..1 of the smaller of the two pictures that lies in the other.
        points: features that agree; 0 where the thumbs told.
    """

    index: int
    share: float
    points: int


def fingerprint(name: str, luma: Plane, thumb: bytes) -> Print:
    """What is kept of a test picture.

    Args:
        name: of the picture in its set.
        luma: (H, W) uint8.
        thumb: 256 bytes, `meters.phash.thumb`.
    """
    plane = _reduced(luma)
    corners = _corners(plane, STORED, DETECT, CORNER)
    plain, mirrored = _described(plane, corners), _described(plane[:, ::-1], _mirrored(corners, plane.shape[1]))
    height, width = luma.shape
    return Print(name, width, height, np.frombuffer(thumb, np.uint8), _table(corners), plain, mirrored)


class Known:
    """Test pictures, ready to be compared with.

    Args:
        prints: of all of them.
    """

    def __init__(self, prints: Sequence[Print]) -> None:
        self.prints = tuple(prints)
        self._thumbs = np.array([one.thumb for one in prints], np.uint8).reshape(-1, 256)
        self._telling = ~flat(self._thumbs)
        self._which, self._turns, self._views = view_hashes(self._thumbs, turned=True)
        pairs = [part for one in prints for part in ((one.points, one.plain), (_turned(one), one.mirrored))]
        self._descriptors = _words(np.concatenate([np.empty((0, 32), np.uint8), *(part for _, part in pairs)]))
        self._points = np.concatenate([np.empty((0, 4), np.float32), *(part for part, _ in pairs)])
        self._side = np.repeat(np.arange(len(pairs)), [len(part) for part, _ in pairs])  # print x 2, + 1 = mirrored
        keys = _keys(self._descriptors).ravel()
        order = np.argsort(keys, kind="stable")
        self._keys, self._rows = keys[order], (order // TABLES).astype(np.int32)

    def find(self, luma: Plane, thumb: bytes) -> Match | None:
        """The test picture that a picture shares most with, None where there is none.

        Args:
            luma: (H, W) uint8.
            thumb: 256 bytes, `meters.phash.thumb`.
        """
        whole = self._whole(np.frombuffer(thumb, np.uint8).reshape(1, 256))
        found = [Match(whole, 1.0, 0)] if whole >= 0 else list(self._parts(luma))
        return max(found, key=lambda match: (match.share, match.points, -match.index), default=None)

    def _whole(self, thumb: Plane) -> int:
        """Index of the first print whose thumb looks alike in any turn, -1 = none."""
        if flat(thumb)[0]:
            return -1
        _, turns, hashes = view_hashes(thumb, turned=True)
        ours, theirs = np.nonzero(np.bitwise_count(hashes[:, None] ^ self._views) <= VIEWS_NEAR)
        which = self._which[theirs]
        alike = self._telling[which]
        seen = turn(np.repeat(thumb, len(which), axis=0), turns[ours])
        alike &= look_alike(seen, turn(self._thumbs[which], self._turns[theirs]))
        return int(which[alike].min()) if alike.any() else -1

    def _parts(self, luma: Plane) -> Iterator[Match]:
        plane = _reduced(luma)
        corners = _corners(plane, ASKED, *QUICK)
        if len(corners) < ASKED:
            corners = _corners(plane, ASKED, DETECT, CORNER)
        ours = _table(corners)
        row, other = self._meet(_words(_described(plane, corners)))
        for side, chosen in _peaks(self._side[other], ours[row], self._points[other]):
            one = self.prints[side // 2]
            agreed = _agree(self._points[other[chosen], :2], ours[row[chosen], :2])
            if agreed is None:
                continue
            motion, count = agreed
            shape = _reduced_shape((one.height, one.width))
            thumb = one.thumb.reshape(16, 16)[:, :: -1 if side % 2 else 1]
            if _correlates(thumb, shape, motion, plane):
                yield Match(side // 2, _share(motion, shape, plane.shape), count)

    def _meet(self, words: NDArray[np.uint64]) -> tuple[Index, Index]:
        """Pairs (row, row of ours) of descriptors that are near, each once."""
        keys = _keys(words).ravel()
        order = np.argsort(keys)
        first = np.searchsorted(self._keys, keys[order])
        counts = np.searchsorted(self._keys, keys[order], "right") - first
        row = np.repeat(order // TABLES, counts)
        other = self._rows[np.arange(len(row)) + np.repeat(first - (np.cumsum(counts) - counts), counts)]
        likely = np.bitwise_count(words[row, 0] ^ self._descriptors[other, 0]) <= NEAR_WORD
        row, other = row[likely], other[likely]
        apart = np.bitwise_count(words[row] ^ self._descriptors[other]).sum(axis=1, dtype=np.int64)
        close = np.flatnonzero(apart <= NEAR)
        pairs = np.unique((row[close] << 40) + (apart[close] << 32) + other[close])  # by row, the nearest first
        row = pairs >> 40
        rank = np.arange(len(pairs)) - np.searchsorted(row, row)
        return row[rank < NEAREST], pairs[rank < NEAREST] & 0xFFFFFFFF


def _peaks(side: Index, ours: Points, theirs: Points) -> Iterator[tuple[int, Index]]:
    """Sides, and which of the pairs, where at least `FEW` pairs ask for about the same turn and zoom."""
    many = np.flatnonzero(np.bincount(side) >= FEW)
    for each in many:
        rows = np.flatnonzero(side == each)
        turned = np.floor((ours[rows, 2] - theirs[rows, 2]) % 360 / (360 / TURNS)).astype(np.int64) % TURNS
        zoomed = (ours[rows, 3] - theirs[rows, 3]).astype(np.int64) + LEVELS
        votes = np.zeros((2 * LEVELS + 1, TURNS), np.int64)
        np.add.at(votes, (zoomed, turned), 1)
        wide = votes + np.roll(votes, 1, 1) + np.roll(votes, -1, 1)
        wide[1:-1] += wide[:-2] + wide[2:]
        zoom, angle = np.unravel_index(wide.argmax(), wide.shape)
        if wide[zoom, angle] >= FEW:
            apart = (turned - angle) % TURNS
            yield int(each), rows[(np.abs(zoomed - zoom) <= 1) & ((apart <= 1) | (apart == TURNS - 1))]


def _reduced_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = min(1.0, LONG / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _reduced(luma: Plane) -> Plane:
    height, width = _reduced_shape(luma.shape)
    if (height, width) == luma.shape:
        return luma
    how = cv2.INTER_LINEAR if 2 * width >= luma.shape[1] else cv2.INTER_AREA
    return cv2.resize(luma, (width, height), interpolation=how).astype(np.uint8, copy=False)


def _orb(count: int = DETECT, corner: int = CORNER) -> cv2.ORB:
    return cv2.ORB.create(count, STEP, LEVELS, edgeThreshold=EDGE, fastThreshold=corner)


def _corners(plane: Plane, most: int, count: int, corner: int) -> list[cv2.KeyPoint]:
    """Of the `count` best corners the strongest of each cell of each level, then the second strongest, and so on."""
    if min(plane.shape) < SHORT:
        return []
    corners = list(_orb(count, corner).detect(np.ascontiguousarray(plane)))
    if not corners:
        return []
    table = np.array([(*corner.pt, corner.response, corner.octave) for corner in corners])
    cells = np.floor(table[:, :2] / (CELL * STEP ** table[:, 3:])).astype(np.int64)
    cell = (table[:, 3].astype(np.int64) << 40) + (cells[:, 1] << 20) + cells[:, 0]
    order = np.lexsort((table[:, 0], table[:, 1], -table[:, 2], cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    chosen = order[np.lexsort((-table[order, 2], rank))][:most]
    return [corners[index] for index in chosen]


def _mirrored(corners: Sequence[cv2.KeyPoint], width: int) -> list[cv2.KeyPoint]:
    return [
        cv2.KeyPoint(width - 1 - c.pt[0], c.pt[1], c.size, (180 - c.angle) % 360, c.response, c.octave, index)
        for index, c in enumerate(corners)
    ]


def _table(corners: Sequence[cv2.KeyPoint]) -> Points:
    return np.array([(*c.pt, c.angle, c.octave) for c in corners], np.float32).reshape(-1, 4)


def _turned(one: Print) -> Points:
    """The points in the mirrored picture."""
    width = _reduced_shape((one.height, one.width))[1]
    x, y, angle, level = one.points.T
    return np.stack([width - 1 - x, y, (180 - angle) % 360, level], axis=1)


def _described(plane: Plane, corners: Sequence[cv2.KeyPoint]) -> Descriptors:
    """(n, 32), row by row those of the corners."""
    if not corners:
        return np.empty((0, 32), np.uint8)
    numbered = [cv2.KeyPoint(c.pt[0], c.pt[1], c.size, c.angle, c.response, c.octave, i) for i, c in enumerate(corners)]
    kept, found = _orb().compute(np.ascontiguousarray(plane), numbered)
    out = np.empty((len(corners), 32), np.uint8)
    out[[corner.class_id for corner in kept]] = found
    if len(kept) != len(corners):
        raise AssertionError("ORB left out a corner that it has found itself")
    return out


def _words(descriptors: Descriptors) -> NDArray[np.uint64]:
    return np.ascontiguousarray(descriptors).view("<u8").astype(np.uint64, copy=False)


def _keys(words: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """(n, TABLES): `KEY_BITS` bits of a descriptor, others in each column, and above them the column's number."""
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1)[:, _BITS].reshape(-1, TABLES, KEY_BITS)
    values = bits.astype(np.float32) @ (2.0 ** np.arange(KEY_BITS, dtype=np.float32))  # exact below 2**24
    return values.astype(np.uint32) + np.arange(TABLES, dtype=np.uint32) * np.uint32(1 << KEY_BITS)


def _agree(theirs: Points, ours: Points) -> tuple[NDArray[np.float64], int] | None:
    """The similarity transform from theirs to ours on which enough points agree, and how many do."""
    cv2.setRNGSeed(0)
    motion, inside = cv2.estimateAffinePartial2D(
        theirs, ours, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE, maxIters=2000, confidence=0.995
    )
    if motion is None:
        return None
    chosen = inside[:, 0] > 0
    # Points that lie on each other count once: a corner is found at several levels, and a pattern repeats.
    count = min(len(np.unique(np.round(points[chosen] / TOLERANCE), axis=0)) for points in (theirs, ours))
    zoom = float(np.hypot(motion[0, 0], motion[1, 0]))
    motion = np.asarray(motion, np.float64)
    return (motion, count) if count >= AGREE and ZOOMS[0] <= zoom <= ZOOMS[1] else None


def _correlates(thumb: Plane, shape: tuple[int, int], motion: NDArray[np.float64], plane: Plane) -> bool:
    """Whether what lies under the cells of a thumb, moved into a picture, is what the thumb says; not where few do."""
    cell = np.array([shape[1], shape[0]]) / 16
    rows, columns = np.mgrid[:16, :16]
    places = (np.stack([columns, rows], axis=2) + 0.5) * cell @ motion[:, :2].T + motion[:, 2]
    size = np.hypot(motion[0, 0], motion[1, 0]) * cell
    inside = ((places >= size / 2) & (places <= np.array(plane.shape[::-1]) - size / 2)).all(axis=2)
    if inside.sum() < COVERED:
        return False
    box = max(1, round(float(size.max()))), max(1, round(float(size.min())))
    smooth = cv2.blur(plane, box, borderType=cv2.BORDER_REPLICATE)
    here = places[inside].astype(np.int64)
    one, other = thumb[inside].astype(np.float64), smooth[here[:, 1], here[:, 0]].astype(np.float64)
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other) >= CORRELATION * float(np.sqrt((one @ one) * (other @ other) + 1))


def _share(motion: NDArray[np.float64], theirs: tuple[int, int], ours: tuple[int, ...]) -> float:
    """Of the smaller picture what lies in the other, both seen in our pixels."""
    corners = np.array([[0, 0], [theirs[1], 0], [theirs[1], theirs[0]], [0, theirs[0]]], np.float32)
    moved = (corners @ motion[:, :2].T + motion[:, 2]).astype(np.float32)
    here = np.array([[0, 0], [ours[1], 0], [ours[1], ours[0]], [0, ours[0]]], np.float32)
    common, _ = cv2.intersectConvexConvex(moved, here)
    smaller = min(cv2.contourArea(moved), float(ours[0] * ours[1]))
    return float(min(1.0, max(common / max(smaller, 1.0), 0.001)))
