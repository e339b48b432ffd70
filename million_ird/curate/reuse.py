"""Output files of the former dataset that a new one would write again, byte for byte: they are linked, not written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from million_ird import __version__
from million_ird.curate.plan import Plan
from million_ird.curate.settings import BuildConfig
from million_ird.curate.writers import file_name
from million_ird.tables import part_path, read_json, write_json

WRITTEN = Path("cache") / "export.json"
"""What the files of the dataset hold."""


def contents(out: Path, plan: Plan, table: pa.Table, files: Sequence[Sequence[int]], config: BuildConfig) -> list[str]:
    """What goes into each output file, as a hash: its rows, the ledger parts they are in, and the configuration.

    Args:
        out: the run's folder.
        plan: its plan.
        table: the ledger in plan order, with `key`.
        files: row numbers of each file.
        config: by which they are written.
    """
    names = ("export", "measure", "limits", *(("policy",) if config.export.patch is not None else ()))
    sections = [getattr(config, name).model_dump_json() for name in names]
    common = json.dumps([__version__, *sections]).encode()
    starts, keys = np.array(plan.starts), table.column("key")
    stats = {}
    found = []
    for rows in files:
        what = hashlib.blake2b(common, digest_size=16)
        for shard in np.unique(np.searchsorted(starts, np.array(rows, np.int64), "right") - 1).tolist():
            if shard not in stats:
                stat = part_path(out / "ledger" / "base", shard).stat()
                stats[shard] = f"{stat.st_size}.{stat.st_mtime_ns} ".encode()
            what.update(stats[shard])
        what.update("".join(keys.take(pa.array(rows, pa.int64())).to_pylist()).encode())
        found.append(what.hexdigest())
    return found


def take_over(out: Path, folder: Path, wanted: Sequence[str], config: BuildConfig) -> dict[int, dict[str, int]]:
    """Put files of the former dataset into a new one, as hard links or, where there are none, as copies.

    Args:
        out: the run's folder.
        folder: where the new dataset is gathered.
        wanted: `contents` of each of its files.
        config: for the format.

    Returns:
        File number -> "samples" and "bytes" of those that need not be written.
    """
    known: dict[str, Any] = read_json(out / WRITTEN) or {}
    taken = {}
    for number, content in enumerate(wanted):
        name, row = file_name(number, len(wanted), config), known.get(content)
        if name is None or row is None:
            continue
        old, new = out / "dataset" / row["name"], folder / name
        if not old.is_file() or old.stat().st_size != row["size"]:
            continue
        new.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        try:
            os.link(old, new)
        except OSError:
            shutil.copy2(old, new)
        taken[number] = row["written"]
    return taken


def forget(out: Path) -> None:
    """What was remembered of the dataset; before another takes its place."""
    (out / WRITTEN).unlink(missing_ok=True)


def remember(out: Path, written: Sequence[tuple[str, dict[str, int]]], config: BuildConfig) -> None:
    """Note what the files of the dataset hold.

    Args:
        out: the run's folder.
        written: of each file its `contents`, and its "samples" and "bytes".
        config: for the format.
    """
    rows = {}
    for number, (content, totals) in enumerate(written):
        name = file_name(number, len(written), config)
        if name is not None:
            size = (out / "dataset" / name).stat().st_size
            rows[content] = {"name": name, "size": size, "written": totals}
    write_json(out / WRITTEN, rows)
