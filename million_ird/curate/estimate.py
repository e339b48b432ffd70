"""What a build would cost: a sample of its inputs measured on this machine, nothing written."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from million_ird.curate.measure import Measurer
from million_ird.curate.plan import all_items
from million_ird.curate.settings import BuildConfig, as_config
from million_ird.curate.stages import completed
from million_ird.errors import InputError
from million_ird.sources import resolve

SAMPLE = 24
_WORKER_BYTES = 150_000_000
_BYTES_PER_PIXEL = 12


@dataclass(frozen=True)
class Estimate:
    """What is to be expected.

    Attributes:
        inputs: how many there are.
        input_bytes: of all inputs whose size is known.
        sampled: inputs measured for this estimate.
        images_per_second: one worker's.
        seconds: wall time of the measuring pass with `workers` processes.
        workers: processes.
        memory_bytes: of all workers, about.
        money: core hours times `run.price_per_core_hour`.
        statuses: of the sample.
        skipped: what sources pass over, by kind.
    """

    inputs: int
    input_bytes: int
    sampled: int
    images_per_second: float
    seconds: float
    workers: int
    memory_bytes: int
    money: float
    statuses: Mapping[str, int]
    skipped: Mapping[str, int]


def estimate(sources: Sequence[str | Path], config: BuildConfig | Mapping[str, Any] | None = None) -> Estimate:
    """Check everything that `build` would check, list the inputs, measure a few of them, and write nothing.

    Raises:
        MirdError: as `build`.
    """
    config = completed(as_config(config))
    paths = [str(source) for source in sources] or list(config.sources.paths)
    specs = tuple(resolve(paths))
    skipped: Counter[str] = Counter()
    items = list(islice(all_items(specs, skipped, ""), config.sources.limit))
    if not items:
        raise InputError(f"no inputs in {', '.join(paths)}")
    sample = items[:: max(1, len(items) // SAMPLE)][:SAMPLE]
    measurer = Measurer(specs, config)
    with measurer.reader:
        measurer(sample[0])  # models and codecs are loaded once, not once per image
        began = time.perf_counter()
        rows = [measurer(item) for item in sample]
        per_image = (time.perf_counter() - began) / len(sample)
    workers = max(1, config.run.workers if config.run.workers is not None else os.cpu_count() or 1)
    most_pixels = max((row["width"] * row["height"] for row in rows if row.get("width")), default=0)
    return Estimate(
        inputs=len(items),
        input_bytes=sum(max(0, item.size) for item in items),
        sampled=len(sample),
        images_per_second=1 / per_image,
        seconds=per_image * len(items) / workers,
        workers=workers,
        memory_bytes=workers * (_WORKER_BYTES + _BYTES_PER_PIXEL * most_pixels),
        money=per_image * len(items) / 3600 * config.run.price_per_core_hour,
        statuses=dict(Counter(row["status"] for row in rows)),
        skipped=dict(skipped),
    )
