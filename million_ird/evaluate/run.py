"""Samples through a network and its scores.

from million_ird.evaluate.run import Sample, evaluate

scores = evaluate(samples, restore, "strict")    # restore: (H, W, 3) float32 in [0, 1] to the same
scores.mean()["psnr"], scores.mean("input")["psnr"]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from million_ird.errors import InputError
from million_ird.evaluate import protocols
from million_ird.evaluate.metrics import Picture, metric
from million_ird.evaluate.protocols import Protocol
from million_ird.evaluate.sets import Sample

Restore = Callable[[NDArray[np.float32]], NDArray[np.floating[Any]]]
"""(H, W, 3) RGB float32 in [0, 1] to the restored picture of the same shape."""

Side = Literal["output", "input"]

__all__ = ["Restore", "Row", "Sample", "Scores", "evaluate"]


@dataclass(frozen=True)
class Row:
    """One picture's scores.

    Attributes:
        name: of it.
        width, height: px, as compared.
        output: metric -> score of the restored picture; None where the metric has none for it.
        input: metric -> score of the degraded picture as it is.
        seconds: that the network took.
    """

    name: str
    width: int
    height: int
    output: Mapping[str, float | None]
    input: Mapping[str, float | None]
    seconds: float


@dataclass(frozen=True)
class Scores:
    """The scores of a set of pictures, in the order they came in.

    Attributes:
        label: of the set.
        metrics: names, the headline first.
        rows: one for each picture.
    """

    label: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]

    def mean(self, side: Side = "output") -> dict[str, float | None]:
        """Metric -> the mean over pictures that have it, each counting once; None where none has."""
        found = {name: [getattr(row, side)[name] for row in self.rows] for name in self.metrics}
        kept = {name: [value for value in values if value is not None] for name, values in found.items()}
        return {name: statistics.fmean(values) if values else None for name, values in kept.items()}

    def ranked(self) -> list[Row]:
        """The pictures from the worst output to the best, by the first metric; ties by name."""
        first, sign = self.metrics[0], -1 if metric(self.metrics[0]).lower_better else 1
        return sorted(self.rows, key=lambda row: (sign * (row.output[first] or 0.0), row.name))


def evaluate(
    samples: Iterable[Sample],
    restore: Restore,
    protocol: str | Protocol = "strict",
    metrics: Sequence[str] | None = None,
    watch: Callable[[int, str], None] | None = None,
    *,
    label: str = "",
    with_input: bool = True,
) -> Scores:
    """Restore every sample and score it; no more than one is held at a time.

    Args:
        samples: in any number, cut and degraded by the protocol or not (what needs no cutting is not cut).
        restore: what gives a degraded picture back restored; may go beyond [0, 1], and is clipped.
        protocol: name or protocol; says what is compared.
        metrics: names (see `metrics.metric`); None: those of the protocol.
        watch: told (pictures done, name of the last).
        label: what the set is called.
        with_input: score the degraded pictures as they are too, else they have no scores (validation in training).

    Raises:
        ConfigError: no such protocol or metric.
        InputError: a picture is too small for a metric; the output has another size or is not finite; no samples.
    """
    protocol = protocols.find(protocol)
    names = tuple(metrics or protocol.metrics)
    found = {name: metric(name) for name in names}
    rows = []
    for sample in samples:
        given, target = (to_float(protocol.cut(image)) for image in (sample.input, sample.target))
        began = time.perf_counter()
        output = restore(given.astype(np.float32))
        seconds = time.perf_counter() - began
        output = checked(output, target, sample.name)
        rows.append(
            Row(
                sample.name,
                target.shape[1],
                target.shape[0],
                _scores(found, protocol.finish(output), target, sample.name),
                _scores(found, given, target, sample.name) if with_input else dict.fromkeys(names),
                seconds,
            )
        )
        if watch is not None:
            watch(len(rows), sample.name)
    if not rows:
        raise InputError(f"{label or 'evaluate'}: there are no pictures")
    return Scores(label, names, tuple(rows))


def to_float(image: NDArray[Any]) -> NDArray[np.float64]:
    """uint8 or float in [0, 1] to float64 in [0, 1]."""
    return image / 255.0 if image.dtype == np.uint8 else np.asarray(image, np.float64)


def checked(output: NDArray[Any], target: NDArray[Any], name: str) -> NDArray[Any]:
    """The output, where it is a picture of the target's size.

    Raises:
        InputError: it is not.
    """
    if output.shape != target.shape:
        raise InputError(f"{name}: the network gave {output.shape}, the target is {target.shape}")
    if not np.isfinite(output).all():
        raise InputError(f"{name}: the network gave values that are no finite numbers; try --dtype fp32")
    return output


def _scores(
    found: Mapping[str, Callable[[Picture, Picture], float | None]], output: Picture, target: Picture, name: str
) -> dict[str, float | None]:
    try:
        return {key: one(output, target) for key, one in found.items()}
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
