"""What a build would cost: a sample of its inputs fetched and measured on this machine, nothing written that stays."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from million_ird.curate.measure import Measurer
from million_ird.curate.network import fetch_sample
from million_ird.curate.plan import all_items, nothing
from million_ird.curate.settings import BuildConfig, as_config
from million_ird.curate.stages import completed, listing_of, with_models, with_triage
from million_ird.errors import InputError
from million_ird.records import Item
from million_ird.sources import SourceSpec, Web, resolve

SAMPLE = 24
_WORKER_BYTES = 150_000_000
_BYTES_PER_PIXEL = 12


@dataclass(frozen=True)
class Estimate:
    """What is to be expected.

    Attributes:
        inputs: how many there are; without those of sites, which are not crawled for an estimate.
        input_bytes: of all inputs whose size is known; on the web by the sample.
        sampled: inputs measured for this estimate.
        images_per_second: one worker's.
        seconds: wall time of the measuring pass with `workers` processes.
        workers: processes.
        memory_bytes: of all workers, about.
        money: core hours times `run.price_per_core_hour`.
        statuses: of the sample.
        skipped: what sources pass over, by kind.
        requests: to the web, robots.txt not counted.
        fetch_bytes: that come over the network.
        fetch_seconds: wall time of fetching at the least, by the sample's answers and `fetch.connections`; hosts that
            hold many of the images take longer, by `fetch.host_rate`.
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
    requests: int = 0
    fetch_bytes: int = 0
    fetch_seconds: float = 0.0

    @property
    def days(self) -> float:
        """Wall time in all, days: fetching and measuring go on at the same time."""
        return max(self.seconds, self.fetch_seconds) / 86400


def estimate(sources: Sequence[str | Path], config: BuildConfig | Mapping[str, Any] | None = None) -> Estimate:
    """Check everything that `build` would check, list the inputs, fetch and measure a few of them, and leave nothing.

    Raises:
        MirdError: as `build`.
    """
    config = with_models(completed(as_config(config)))
    paths = [str(source) for source in sources] or list(config.sources.paths)
    specs = resolve(paths, listing_of(config))
    config = with_triage(config, specs)
    skipped: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        listed = list(_listable(specs, skipped))
        items = all_items(listed, skipped, "", Web(config.fetch, config.crawl, folder))
        inputs, known_bytes, on_web, sample = _sampled(islice(items, config.sources.limit), listed, config.seed)
        if not inputs:
            raise InputError(nothing(paths, skipped))
        sample, requests, received, waited = fetch_sample(sample, listed, config, Path(folder))
        measurer = Measurer(tuple(listed), config, Path(folder))
        with measurer.reader:
            measurer(sample[0])  # models and codecs are loaded once, not once per image
            began = time.perf_counter()
            rows = [measurer(item) for item in sample]
            per_image = (time.perf_counter() - began) / len(sample)
    workers = max(1, config.run.workers if config.run.workers is not None else os.cpu_count() or 1)
    most_pixels = max((row["width"] * row["height"] for row in rows if row.get("width")), default=0)
    return Estimate(
        inputs=inputs,
        input_bytes=known_bytes + int(received * on_web),
        sampled=len(sample),
        images_per_second=1 / per_image,
        seconds=per_image * inputs / workers,
        workers=workers,
        memory_bytes=workers * (_WORKER_BYTES + _BYTES_PER_PIXEL * most_pixels),
        money=per_image * inputs / 3600 * config.run.price_per_core_hour,
        statuses=dict(Counter(row["status"] for row in rows)),
        skipped=dict(skipped),
        requests=round(requests * on_web),
        fetch_bytes=round(received * on_web),
        fetch_seconds=waited * on_web / config.fetch.connections,
    )


def _listable(specs: Sequence[SourceSpec], skipped: Counter[str]) -> Iterator[SourceSpec]:
    """The sources that can be listed without doing the work itself."""
    for spec in specs:
        if spec.kind in ("site", "brought"):
            skipped[f"{spec.label}: not read for an estimate"] += 1
        else:
            yield spec


def _sampled(items: Iterator[Item], specs: Sequence[SourceSpec], seed: int) -> tuple[int, int, int, list[Item]]:
    """How many items, bytes known of, items on the web; and a sample, each with the same chance (reservoir)."""
    web = {spec.label for spec in specs if spec.web}
    rng = np.random.default_rng(seed)
    sample: list[Item] = []
    count = size = on_web = 0
    for item in items:
        count += 1
        size += max(0, item.size)
        on_web += item.source in web
        if len(sample) < SAMPLE:
            sample.append(item)
        elif (place := int(rng.integers(count))) < SAMPLE:
            sample[place] = item
    return count, size, on_web, sample
