"""The ledger's schema: one row per input, good or bad, and every measurement a column of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from million_ird.curate import contaminated
from million_ird.curate.contaminated import recogniser
from million_ird.curate.settings import BuildConfig
from million_ird.errors import ConfigError, OutputError
from million_ird.meters import METERS, Meter, create
from million_ird.meters.onnx import OnnxMeter
from million_ird.tables import part_path

FACTS: tuple[tuple[str, pa.DataType], ...] = (
    ("key", pa.string()),
    ("id", pa.string()),
    ("uri", pa.string()),
    ("source", pa.string()),
    ("status", pa.string()),
    ("error", pa.string()),
    ("bytes", pa.int64()),
    ("format", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("meta", pa.string()),
    ("phash", pa.uint64()),
    ("thumb", pa.binary()),
    ("meters", pa.string()),
)
"""Columns that are no measurement. `meters` names the meters that ran on the row ("" = judged by its header alone), so
that a null can be told from a value that was never measured."""

HASH_METER = "phash"


class Column(NamedTuple):
    """A measurement: the meter that fills it, and what it means."""

    meter: str
    help: str


@lru_cache
def _built_in(name: str) -> Mapping[str, str]:
    return create(name).columns


def measurement_columns(config: BuildConfig) -> dict[str, Column]:
    """Every measurement column of a run, in the order of the schema: the built-in ones first, then third-party ones.

    Raises:
        ConfigError: two meters fill the same column, or a third-party column has the name of a fact.
    """
    columns: dict[str, Column] = {}
    taken = {name for name, _ in FACTS}
    for name in dict.fromkeys([*METERS, *_named(config)]):
        for column, text in _built_in(name).items():
            if column in taken or column in columns:
                raise ConfigError(f"measure.meters: '{name}' fills column '{column}', which exists already")
            columns[column] = Column(name, text)
    for name, file in config.measure.onnx.items():
        if name in taken or name in columns:
            raise ConfigError(f"measure.onnx.{name}: there is a column of that name already; choose another")
        columns[name] = Column(name, file.help)
    found = recogniser(config.policy)
    if found is not None:
        columns[contaminated.COLUMN] = Column(found.name, contaminated.HELP)
    return columns


def schema(config: BuildConfig) -> pa.Schema:
    """The one Arrow schema of all parts of the base pass; its metadata names the perceptual hash."""
    fields = [pa.field(name, kind, nullable=name not in ("key", "uri", "source", "status")) for name, kind in FACTS]
    fields += [pa.field(name, pa.float32()) for name in measurement_columns(config)]
    return pa.schema(fields, metadata={"mird.hash": hash_name(config)})


def fitted(table: pa.Table, config: BuildConfig, columns: Sequence[str] | None = None) -> pa.Table:
    """A part of the base pass with all columns of the schema (or those named): meters that were added since it was
    written have nulls, and the rows' `meters` say that they did not run."""
    whole = schema(config)
    names = whole.names if columns is None else list(columns)
    if table.column_names == names:
        return table
    arrays = [
        table.column(name) if name in table.column_names else pa.nulls(table.num_rows, whole.field(name).type)
        for name in names
    ]
    fields = pa.schema([whole.field(name) for name in names], metadata=table.schema.metadata)
    return pa.Table.from_arrays(arrays, schema=fields)


def part_names(folder: Path, shard: int) -> list[str]:
    """The columns that a part was written with."""
    with part_path(folder, shard).open("rb") as file:
        return pq.read_schema(file).names


def hash_name(config: BuildConfig) -> str:
    """What the `phash` column holds, so that hashes of two kinds are never compared."""
    return f"phash:{config.dedup.mode}" if config.dedup.hash == "phash" else config.dedup.hash


def check_hash(table: pa.Table, config: BuildConfig) -> None:
    """Refuse a ledger whose hashes are of another kind than the configuration's."""
    found = (table.schema.metadata or {}).get(b"mird.hash", b"").decode()
    if found and found != hash_name(config):
        raise OutputError(
            f"the ledger holds hashes of kind '{found}', dedup asks for '{hash_name(config)}': "
            "set dedup back, or build into another folder"
        )


def make_meters(config: BuildConfig) -> dict[str, Meter]:
    """The meters that a configuration asks for, by name.

    Raises:
        ConfigError: unknown meter or option.
    """
    unknown = config.measure.options.keys() - set(config.measure.meters)
    if unknown:
        raise ConfigError(f"measure.options.{min(unknown)}: no such meter in measure.meters")
    meters: dict[str, Meter] = {name: create(name, config.measure.options.get(name)) for name in _named(config)}
    meters.update((name, OnnxMeter(name=name, file=file)) for name, file in config.measure.onnx.items())
    return meters


def _named(config: BuildConfig) -> list[str]:
    """Meters that are known by their name alone."""
    return [name for name in config.measure.meters if name not in config.measure.onnx]


def numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A numeric column as float64, null = NaN."""
    column = table.column(name).combine_chunks()
    return pc.fill_null(pc.cast(column, pa.float64()), float("nan")).to_numpy(zero_copy_only=False)


def thumbs(table: pa.Table) -> NDArray[np.uint8]:
    """The `thumb` column as (N, 256) uint8; zeros where it is null."""
    column = table.column("thumb").combine_chunks()
    out = np.zeros((len(column), 256), np.uint8)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    at = 0
    for chunk in chunks:
        present = chunk.is_valid().to_numpy(zero_copy_only=False)
        packed = chunk.drop_null()
        if len(packed):
            offsets = np.frombuffer(packed.buffers()[1], np.int32)[packed.offset : packed.offset + len(packed) + 1]
            flat = np.frombuffer(packed.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
            out[at : at + len(chunk)][present] = flat.reshape(-1, 256)
        at += len(chunk)
    return out
