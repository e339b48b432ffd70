"""What a run would cost: a few of its images rendered on this machine, nothing written."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from million_ird.errors import BadImage
from million_ird.pairs.plan import Entry, listing
from million_ird.pairs.render import Renderer
from million_ird.pairs.settings import DegradeConfig, as_config, completed
from million_ird.tables import GROUP_BYTES

SAMPLE = 8
"""Images rendered."""
_WORKER_BYTES = 200_000_000
_BYTES_PER_PIXEL = 60
"""Of a chain: a few float32 pictures, their masks and PNGs."""


@dataclass(frozen=True)
class Estimate:
    """What is to be expected.

    Attributes:
        inputs: images.
        samples: pairs, if all of them can be used.
        classes: of the recipe.
        sampled: images rendered for this estimate.
        seconds_per_sample: one worker's, about.
        seconds: wall time with `workers` processes.
        workers: processes.
        bytes: of the output.
        memory_bytes: of all workers, about.
        money: core hours times `run.price_per_core_hour`.
        statuses: of the sample.
        passed_over: what is no input, by kind.
    """

    inputs: int
    samples: int
    classes: tuple[str, ...]
    sampled: int
    seconds_per_sample: float
    seconds: float
    workers: int
    bytes: int
    memory_bytes: int
    money: float
    statuses: Mapping[str, int]
    passed_over: Mapping[str, int]


def estimate(source: str | Path | None, config: DegradeConfig | Mapping[str, Any] | None = None) -> Estimate:
    """Check everything that `degrade_dataset` would check, list the images, render a few, and write nothing.

    Raises:
        MirdError: as `degrade_dataset`.
    """
    config = completed(as_config(config), source)
    plan, entries = listing(config)
    chosen = entries[:: max(1, len(entries) // SAMPLE)][:SAMPLE]
    statuses: Counter[str] = Counter()
    written = made = most_pixels = 0
    began = time.perf_counter()
    with Renderer(plan.sources, config) as renderer:
        for entry in chosen:
            status, count, size, pixels = _one(renderer, entry)
            statuses[status] += 1
            made, written, most_pixels = made + count, written + size, max(most_pixels, pixels)
    per_sample = (time.perf_counter() - began) / max(1, made)
    samples = len(entries) * config.per_image
    workers = max(1, config.run.workers if config.run.workers is not None else os.cpu_count() or 1)
    return Estimate(
        inputs=len(entries),
        samples=samples,
        classes=config.pipeline.classes,
        sampled=len(chosen),
        seconds_per_sample=per_sample,
        seconds=per_sample * samples / workers,
        workers=workers,
        bytes=round(written / max(1, made) * samples),
        memory_bytes=workers * (_WORKER_BYTES + 2 * GROUP_BYTES + _BYTES_PER_PIXEL * most_pixels),
        money=per_sample * samples / 3600 * config.run.price_per_core_hour,
        statuses=dict(statuses),
        passed_over=plan.passed_over,
    )


def _one(renderer: Renderer, entry: Entry) -> tuple[str, int, int, int]:
    """Status, samples made, their bytes and the pixels of one; two samples of an image stand for all."""
    count = size = pixels = 0
    try:
        for sample in renderer.samples(entry):
            count += 1
            size += len(sample.lq) + len(sample.hq) + len(sample.mask)
            height, width = sample.trace["size"]
            pixels = height * width
            if count == 2:
                break
    except BadImage as bad:
        return bad.status, 0, 0, 0
    return "ok", count, size, pixels
