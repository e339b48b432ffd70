"""From an image of the plan to its samples: read, cut, degrade, encode."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.run import Degraded, perform, trace_of
from million_ird.errors import BadImage
from million_ird.images import decode, read_header
from million_ird.images.png import encode_png
from million_ird.pairs.names import sample_name
from million_ird.pairs.plan import Entry
from million_ird.pairs.settings import DegradeConfig
from million_ird.rng import rng_for
from million_ird.sources import Reader, SourceSpec

Trace = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One pair, as it is written.

    Attributes:
        name: of its files, unique.
        id: of the image.
        uri: of the image.
        index: which of the image's samples.
        seed: of the run.
        labels: classes present somewhere, in the order of the mask's bits.
        trace: how it was made; with `crop` ([left, top, width, height] within the image) where one was cut out.
        lq, hq, mask: PNG; empty where the run is virtual.
    """

    name: str
    id: str
    uri: str
    index: int
    seed: int
    labels: list[str]
    trace: Trace
    lq: bytes = b""
    hq: bytes = b""
    mask: bytes = b""

    def size(self) -> int:
        """Bytes of its pictures and mask."""
        return len(self.lq) + len(self.hq) + len(self.mask)

    def facts(self) -> dict[str, Any]:
        """Everything but the pixels."""
        return {
            "name": self.name,
            "id": self.id,
            "uri": self.uri,
            "index": self.index,
            "seed": self.seed,
            "labels": self.labels,
            "trace": self.trace,
        }


class Renderer:
    """Makes the samples of images; one per process. A context manager.

    Args:
        specs: the sources that images come from.
        config: with its recipe.
    """

    def __init__(self, specs: Sequence[SourceSpec], config: DegradeConfig) -> None:
        self.reader = Reader(specs)
        self.config = config
        self.recipe = config.pipeline

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *error: object) -> None:
        self.reader.close()

    def samples(self, entry: Entry) -> Iterator[Sample]:
        """The samples of one image, first to last.

        Raises:
            BadImage: before the first; the image cannot be used.
        """
        if self.config.virtual:
            yield from self._virtual(entry)
            return
        whole = b""  # without a crop all samples have the same clean picture, encoded once
        for name, facts, found in self.pictures(entry):
            hq = whole or encode_png(found.hq)
            whole = b"" if self.config.size else hq
            yield Sample(
                name, **facts, labels=list(found.labels), lq=encode_png(found.lq), hq=hq, mask=encode_png(found.mask)
            )

    def pictures(self, entry: Entry, indexes: Sequence[int] | None = None) -> Iterator[tuple[str, Any, Degraded]]:
        """The samples as pixels: name, the facts that hang on no pixel, and what became of it.

        Raises:
            BadImage: before the first; the image cannot be used.
        """
        data = self._bytes(entry)
        image_id = _id(entry, data)
        image = decode(data, read_header(data, self.config.limits), self.config.limits).rgb
        self._check_size(*image.shape[:2])
        for index in indexes if indexes is not None else range(self.config.per_image):
            trace = self.trace(image.shape[:2], image_id, index)
            try:
                found = perform(cut(image, trace), trace)
            except Exception as error:
                error.add_note(f"while degrading {entry.item.uri}, index {index}")
                raise
            yield sample_name(entry.name, index), self._facts(entry, image_id, index, trace), found

    def trace(self, shape: tuple[int, int], image_id: str, index: int) -> Trace:
        """How sample `index` of an image of this shape (height, width) is made."""
        size = self.config.size
        if size is None:
            return trace_of(self.recipe, shape, self.config.seed, image_id, index)
        trace = trace_of(self.recipe, (size, size), self.config.seed, image_id, index)
        return {**trace, "crop": [*corner(self.config.seed, image_id, index, shape, size), size, size]}

    def id_of(self, entry: Entry) -> str:
        """What an image is called.

        Raises:
            BadImage: it cannot be read.
        """
        return entry.id or _id(entry, self._bytes(entry))

    def _virtual(self, entry: Entry) -> Iterator[Sample]:
        data = self._bytes(entry)
        image_id = _id(entry, data)
        header = read_header(data, self.config.limits)
        self._check_size(header.height, header.width)
        for index in range(self.config.per_image):
            trace = self.trace((header.height, header.width), image_id, index)
            drawn = classes_of(trace["steps"])
            labels = [name for name in trace["classes"] if name in drawn]
            yield Sample(sample_name(entry.name, index), **self._facts(entry, image_id, index, trace), labels=labels)

    def _facts(self, entry: Entry, image_id: str, index: int, trace: Trace) -> dict[str, Any]:
        return {"id": image_id, "uri": entry.item.uri, "index": index, "seed": self.config.seed, "trace": trace}

    def _bytes(self, entry: Entry) -> bytes:
        item, limits = entry.item, self.config.limits
        if item.status:
            raise BadImage(item.status, item.detail)
        if item.size > limits.max_bytes:
            raise BadImage("too_large", f"{item.size} bytes, limits.max_bytes is {limits.max_bytes}")
        return self.reader.read(item)

    def _check_size(self, height: int, width: int) -> None:
        size = self.config.size
        if size is not None and min(height, width) < size:
            raise BadImage("too_small", f"{width}x{height} px, size is {size}")


def _id(entry: Entry, data: bytes) -> str:
    return entry.id or hashlib.sha256(data).hexdigest()


def corner(seed: int, image_id: str, index: int, shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Left and top of the square that is cut out for a sample."""
    rng = rng_for(seed, image_id, index, "crop")
    height, width = shape
    left = int((width - size + 1) * rng.random())
    return left, int((height - size + 1) * rng.random())


def cut(image: NDArray[np.uint8], trace: Trace) -> NDArray[np.uint8]:
    """The clean picture of a sample."""
    if "crop" not in trace:
        return image
    left, top, width, height = trace["crop"]
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def classes_of(steps: Sequence[dict[str, Any]]) -> set[str]:
    """The classes that steps and their branches can set."""
    found = {step["class"] for step in steps if "class" in step}
    return found.union(*(classes_of(branch) for step in steps for branch in step.get("branches", ())))
