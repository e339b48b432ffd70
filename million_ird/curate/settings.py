"""The configuration of `mird build`. Numbers that decide anything stand in `presets/*.yaml`, each with its source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from million_ird.config import Config, merge, parse_sets, read_yaml, validate
from million_ird.curate.policy import Policy
from million_ird.errors import ConfigError
from million_ird.execute.settings import Running
from million_ird.images import Limits
from million_ird.meters import METERS
from million_ird.meters.clip import Clip
from million_ird.meters.iqa import Pyiqa
from million_ird.meters.onnx import OnnxFile
from million_ird.sources.web.settings import Crawl, Fetch

PRESETS: Mapping[str, tuple[str, ...]] = {
    "photos": (),
    "lsdir": ("photos",),
    "million-ird": ("photos",),
    "million-ird-iqa": ("photos", "million-ird"),
}
"""Built-in presets, each with those that it lies on."""
DEFAULT_METERS = tuple(METERS)


class Sources(Config):
    """What is read."""

    paths: tuple[str, ...] = ()
    """The SOURCEs; where the command line names some, those take the place of these."""
    limit: int | None = Field(default=None, ge=1)
    """Take only the first so many inputs; null = all."""
    url_column: str = ""
    """Of lists of URLs: the column that holds them; empty = the first of url, image_url, ... that is there."""
    where: str = ""
    """Of lists of URLs: what their columns have to say before anything is requested, for example
    "width >= 1024 and pwatermark < 0.3"."""

    @field_validator("url_column", "where", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return "" if value is None else value  # what `--set sources.where=` says


class Measure(Config):
    """What is measured of every readable image, in one decode."""

    triage: bool | None = None
    """Judge by the header first and don't decode, or fetch, what fails a rule there; null = where sources are on the
    web."""
    meters: tuple[str, ...] = DEFAULT_METERS
    """Names of meters, built-in or registered under the entry-point group million_ird.meters; those that a rule of the
    policy needs are measured in any case."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Fields of single meters, for example {noise: {percentile: 20}}."""
    onnx: dict[str, OnnxFile] = Field(default_factory=dict)
    """Classifiers of others as meters: {NAME: {path: FILE, ...}} fills the column NAME, on which policy.meters.NAME
    rules."""

    @model_validator(mode="after")
    def _columns_have_names(self) -> Measure:
        for name in self.onnx:
            if not re.fullmatch("[a-z][a-z0-9_]*", name):
                raise ValueError(f"onnx.{name}: a column's name is a-z, 0-9 and _, and begins with a letter")
        return self


class Passes(Config):
    """Large models over what all cheaper rules keep, each with a ledger of its own."""

    clip: Clip = Clip()
    """Embeddings, and scores by prompts and linear heads."""
    pyiqa: Pyiqa = Pyiqa()
    """No-reference quality metrics of pyiqa, for non-commercial use only."""


class Dedup(Config):
    """How duplicates are recognised; what becomes of them is policy."""

    hash: Literal["phash", "imagehash.phash", "imagehash.dhash", "imagehash.whash", "imagehash.colorhash"] = "phash"
    """Perceptual hash: our own, or one of the imagehash library's."""
    mode: Literal["fast", "exact"] = "fast"
    """Of our own hash: `exact` equals imagehash.phash bit for bit, `fast` is within 4 bits on 99 % of images."""


class Export(Config):
    """How the dataset is written."""

    format: Literal["parquet", "imagefolder", "webdataset"] = "parquet"
    """parquet = what datasets.load_dataset opens best; imagefolder = files and metadata.jsonl; webdataset = tars."""
    image: Literal["as_found", "strip", "png", "jpeg"] = "as_found"
    """Bytes as found; without metadata but credit, not re-encoded (JPEG, PNG, WebP, BMP; others become PNG); or
    re-encoded, upright and sRGB, as PNG or JPEG."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """IJG quality for image: jpeg."""
    patch: int | None = Field(default=None, ge=32)
    """Cut into squares of so many px that pass the flat and blur rules on their own; null = whole images."""
    file_bytes: int = Field(default=500_000_000, ge=1_000_000)
    """Image bytes in one output file, about."""
    row_group: int = Field(default=100, ge=1)
    """Largest number of rows in a Parquet row group."""
    name: str | None = None
    """Title on the dataset card; null = the output folder's name."""


class Report(Config):
    """The HTML page."""

    exact_rows: int = Field(default=50_000, ge=0)
    """Up to so many rows the page counts exactly as thresholds move; beyond, from a stratified sample of that size."""
    samples: int = Field(default=12, ge=0, le=60)
    """Sample pictures for each reason and each side of a threshold."""
    thumb_px: int = Field(default=200, ge=32, le=512)
    """Long side of a sample picture, px."""


class Run(Running):
    """How the work is done; none of it changes the result."""

    shard_size: int | None = Field(default=None, ge=1)
    """Inputs per shard; null = by the number of inputs, 32 to 4096."""
    price_per_core_hour: float = Field(default=0.05, ge=0)
    """For the cost estimate of --dry-run, in your currency; so are the other prices."""
    price_per_gpu_hour: float = Field(default=2.0, ge=0)
    """Of passes that run on a GPU."""
    price_per_gb_fetched: float = Field(default=0.0, ge=0)
    """Of what comes over the network, 10^9 bytes."""
    price_per_gb_month: float = Field(default=0.02, ge=0)
    """Of what is written (ledger, store, dataset), 10^9 bytes kept for a month."""


class BuildConfig(Config):
    """Everything that `mird build` can be told."""

    sources: Sources = Sources()
    """What is read."""
    fetch: Fetch = Fetch()
    """How bytes are fetched from the web."""
    crawl: Crawl = Crawl()
    """How sites are crawled."""
    limits: Limits = Limits()
    """Sizes beyond which an image is not decoded."""
    measure: Measure = Measure()
    """What is measured."""
    passes: Passes = Passes()
    """Large models over what is left; off."""
    dedup: Dedup = Dedup()
    """How duplicates are recognised."""
    policy: Policy = Policy()
    """What is kept: rules in the order in which they are asked."""
    export: Export = Export()
    """How the dataset is written."""
    report: Report = Report()
    """The HTML page."""
    run: Run = Run()
    """How the work is done."""
    seed: int = 0
    """Of the report's choice of samples, the only thing that is drawn."""


@lru_cache
def preset(name: str) -> Mapping[str, Any]:
    """A built-in preset, with those that it lies on, as a plain mapping.

    Raises:
        ConfigError: unknown name.
    """
    if name not in PRESETS:
        raise ConfigError(f"--preset {name}: unknown preset; known: {', '.join(PRESETS)}")
    data: Mapping[str, Any] = {}
    for layer in (*PRESETS[name], name):
        with resources.as_file(resources.files("million_ird.curate") / "presets" / f"{layer}.yaml") as path:
            data = merge(data, read_yaml(path))
    return data


def load_config(
    base: str | Mapping[str, Any] = "photos", file: str | Path | None = None, sets: Sequence[str] = ()
) -> BuildConfig:
    """Preset (by name, or a mapping such as a former run's configuration), file and `--set`, merged and checked."""
    data = preset(base) if isinstance(base, str) else base
    if file is not None:
        data = merge(data, read_yaml(file))
    return validate(BuildConfig, merge(data, parse_sets(sets)))


def as_config(value: BuildConfig | Mapping[str, Any] | None) -> BuildConfig:
    """What `build(config=...)` takes: None = the `photos` preset; a mapping is laid on top of it."""
    if isinstance(value, BuildConfig):
        return value
    return validate(BuildConfig, merge(preset("photos"), value or {}))
