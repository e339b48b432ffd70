"""Decisions by hand: which rows the user pinned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from million_ird.curate.policy import Pins
from million_ird.errors import ConfigError

_NAMES = ("id", "uri", "key")


def pinned(table: pa.Table, pins: Pins) -> tuple[NDArray[np.bool_], NDArray[np.bool_], tuple[str, ...]]:
    """Rows pinned to be kept, rows pinned to be dropped, and the pins that match no row.

    Args:
        table: with key, id and uri.
        pins: of the policy.

    Raises:
        ConfigError: a row is pinned both ways, or the pin file cannot be used.
    """
    keep_names, drop_names = [*pins.keep], [*pins.drop]
    if pins.file is not None:
        for name, keep in _read(Path(pins.file)):
            (keep_names if keep else drop_names).append(name)
    keep, drop = matching(table, keep_names), matching(table, drop_names)
    both = np.flatnonzero(keep & drop)
    if len(both):
        raise ConfigError(f"policy.pins: {table.column('uri')[int(both[0])]} is pinned to be kept and to be dropped")
    return keep, drop, _unknown(table, [*keep_names, *drop_names])


def matching(table: pa.Table, names: Sequence[str]) -> NDArray[np.bool_]:
    """(N,) which rows one of `names` means by their id, uri or key."""
    found = np.zeros(table.num_rows, bool)
    if names:
        wanted = pa.array(list(names), pa.string())
        for column in _NAMES:
            found |= _is_in(table.column(column).combine_chunks(), wanted)
    return found


def _is_in(values: pa.Array, wanted: pa.Array) -> NDArray[np.bool_]:
    found = pc.call_function("is_in", [values], pc.SetLookupOptions(wanted.drop_null(), skip_nulls=True))
    return found.to_numpy(zero_copy_only=False).astype(bool, copy=False)


def _unknown(table: pa.Table, names: list[str]) -> tuple[str, ...]:
    wanted = pa.array(names, pa.string())
    known = np.zeros(len(names), bool)
    for column in _NAMES if names else ():
        known |= _is_in(wanted, table.column(column).combine_chunks())
    return tuple(name for name, is_known in zip(names, known, strict=True) if not is_known)


def _read(path: Path) -> list[tuple[str, bool]]:
    where = f"policy.pins.file: {path}"
    try:
        with path.open("rb") as file:
            table = pq.read_table(file) if path.suffix == ".parquet" else pyarrow.csv.read_csv(file)
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror or error}") from None
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{where}: not a .csv or .parquet table: {error}") from None
    # An id names all copies of an image, a key that input alone: where both are given, the key is meant.
    named = [name for name in ("key", *_NAMES) if name in table.column_names]
    if not named or "keep" not in table.column_names:
        raise ConfigError(f"{where}: needs a column `keep` and one of {', '.join(_NAMES)}; has {table.column_names}")
    try:
        keep = pc.cast(table.column("keep"), pa.bool_())
    except pa.ArrowInvalid:
        raise ConfigError(f"{where}: `keep` must hold true or false") from None
    rows = zip(table.column(named[0]).to_pylist(), keep.to_pylist(), strict=True)
    return [(str(name), flag) for name, flag in rows if name is not None and flag is not None]
