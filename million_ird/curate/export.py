"""Kept rows to a dataset: Parquet that `datasets` opens, a folder, or tars; whole images or patches."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from million_ird.curate.passes.columns import pass_columns, pass_rows, with_passes
from million_ird.curate.passes.ledger import enabled
from million_ird.curate.patches import cut, patch_lines, patch_meters
from million_ird.curate.plan import STORE, Plan, shard_items
from million_ird.curate.remote import StoreReader, bring_shard, part_name, put_in_place, take_over_there
from million_ird.curate.reuse import contents, forget, remember, take_over
from million_ird.curate.settings import BuildConfig
from million_ird.curate.survey import Line
from million_ird.curate.writers import Sample, dataset_columns, file_name, write_file
from million_ird.errors import BadImage, OutputError
from million_ird.images import decode, encode_jpeg, encode_png, read_header, strip_metadata
from million_ird.images.metadata import STRIPPABLE
from million_ird.meters import Meter
from million_ird.mirror import Mirror, Mounted, files_below
from million_ird.records import Item
from million_ird.sources import SourceSpec
from million_ird.tables import read_json, read_parts, write_json

PARTIAL = "dataset.partial"
DONE = ".done"
"""Folder of marks of finished files, within what they are about, so that neither outlives the other."""
FILES_PER_FOLDER = 9000
"""Rows in one output file at most: the Hub takes 10,000 files in a folder."""

_SUFFIX = {
    "jpeg": ".jpg",
    "png": ".png",
    "webp": ".webp",
    "bmp": ".bmp",
    "tiff": ".tif",
    "avif": ".avif",
    "heif": ".heic",
}

_LEAVE_OUT = "leave such inputs out by policy.pins.drop=[URI, ...], or measure all anew with --fresh"


@dataclass(frozen=True)
class ExportFile:
    """One output file: which rows of the run it holds (row numbers in plan order)."""

    number: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class ExportTask:
    """The picklable task: write output file number n, whole.

    Attributes:
        out: the run's folder.
        specs: its sources.
        config: its configuration.
        files: what goes where.
        plan: what the rows are numbered by.
        folder: where the files are gathered, by its path below the run's.
        mirror: where the run's folder is a copy of an address: finished files are put there and leave this machine.
    """

    out: str
    specs: tuple[SourceSpec, ...]
    config: BuildConfig
    files: tuple[ExportFile, ...]
    plan: Plan
    folder: str
    mirror: Mirror | None = None

    @property
    def home(self) -> Path:
        """The run's folder, as it is called on this machine."""
        return self.mirror.folder if self.mirror else Path(self.out)

    @cached_property
    def reader(self) -> StoreReader:
        """One per process."""
        return StoreReader(self.specs, self.home / STORE, self.mirror)

    def close(self) -> None:
        """Let go of what reading holds open."""
        self.reader.close()

    @cached_property
    def patch_judges(self) -> tuple[list[Meter], list[Line]]:
        """What patches are measured and judged by; one set per process."""
        return patch_meters(self.config), patch_lines(self.config)

    def __call__(self, number: int, progress: Callable[[int], None]) -> dict[str, Any]:
        """Returns:
        "samples" and "bytes" written, and at an address "files"; of a file that a former run has finished too.
        """
        mark = f"{self.folder}/{DONE}/{number:05d}.json"
        if self.mirror:
            self.mirror.bring([mark])
        if (known := read_json(self.home / mark)) is not None:
            return known
        samples = self._samples(number, progress)
        done: dict[str, Any] = {**write_file(self.home / self.folder, number, len(self.files), samples, self.config)}
        if self.mirror:
            done["files"] = self._put(number)
        write_json(self.home / mark, done)
        if self.mirror:
            self.mirror.push([mark])
        return done

    def _put(self, number: int) -> list[str]:
        """What was written, put at the address and deleted here; its names."""
        assert self.mirror is not None
        folder, name = self.home / self.folder, file_name(number, len(self.files), self.config)
        below = f"data/train/{number:05d}"
        names = [name] if name else [f"{below}/{one}" for one in files_below(folder / below)]
        self.mirror.push([f"{self.folder}/{one}" for one in names])
        for one in names:
            (folder / one).unlink()
        return names

    def _samples(self, number: int, progress: Callable[[int], None]) -> Iterator[Sample]:
        shard, items, rows = -1, [], []
        for row in self.files[number].rows:
            holds, within = self.plan.place(row)
            if holds != shard:
                shard = holds
                if self.mirror:
                    bring_shard(self.mirror, self.specs, shard, part=True)
                    self.mirror.bring(part_name(shard, name) for name in enabled(self.config))
                items = shard_items(self.home, shard)
                rows = self._rows(shard)
            yield from self._of_image(items[within], rows[within])
            progress(1)

    def _rows(self, shard: int) -> list[dict[str, Any]]:
        """A shard's rows of the ledger, with what the passes found of them."""
        ledger = self.home / "ledger"
        seen, unseen = pass_rows(ledger, shard, self.config), dict.fromkeys(pass_columns(self.config))
        rows = read_parts(ledger / "base", shard + 1, first=shard).to_pylist()
        return [{**row, **unseen, **seen.get(row["key"], {})} for row in rows]

    def _of_image(self, item: Item, row: dict[str, Any]) -> Iterator[Sample]:
        data = self._bytes(item, row)
        facts = {name: row[name] for name in dataset_columns(self.config)}
        if self.config.export.patch is not None:
            for patch in cut(data, facts, *self.patch_judges, self.config):
                yield replace(patch, name=f"{row['key']}_{patch.name}")
            return
        image, suffix = _encoded(data, row["format"], self.config)
        yield Sample(row["key"], suffix, image, facts)

    def _bytes(self, item: Item, row: dict[str, Any]) -> bytes:
        try:
            data = self.reader.read(item)
        except BadImage as bad:
            raise OutputError(f"{item.uri}: measured but now {bad.detail}; bring it back, {_LEAVE_OUT}") from bad
        if hashlib.sha256(data).hexdigest() != row["id"]:
            raise OutputError(f"{item.uri}: has changed since it was measured; {_LEAVE_OUT}")
        return data


def export_dataset(
    out: Path,
    plan: Plan,
    table: pa.Table,
    keep: pa.Array,
    config: BuildConfig,
    run: Callable[[Any, Sequence[int]], Iterator[tuple[int, dict[str, Any]]]],
    finish: Callable[[Path, dict[str, int]], None],
    mount: Mounted | None = None,
) -> dict[str, int]:
    """Write the dataset of the kept rows beside the old one, then put it in its place; files that would hold the same
    are taken from the old one.

    Files are gathered in `dataset.partial/<what goes in>`: a killed export goes on with those that are missing, one of
    other decisions starts over.

    Args:
        out: the run's folder.
        plan: its plan.
        table: the ledger in plan order, with `id` and `bytes`.
        keep: (N,) bool.
        config: its `export` section.
        run: executes the task over file numbers.
        finish: writes the card into the folder, given the totals.
        mount: the address that the run's folder is a copy of.

    Returns:
        "images" kept, "samples" (rows or patches) and "bytes" written, "files".
    """
    rows = np.flatnonzero(keep.to_numpy(zero_copy_only=False))
    sizes = pc.fill_null(table.column("bytes"), 0).to_numpy()[rows]
    files = split(rows.tolist(), sizes.tolist(), config.export.file_bytes, FILES_PER_FOLDER)
    mark = _fingerprint(out, plan, table, rows, config)
    place = f"{PARTIAL}/{mark}"
    folder = out / place
    for other in (out / PARTIAL).iterdir() if (out / PARTIAL).exists() else ():
        if other.name != mark:
            shutil.rmtree(other)
    if mount:
        mount.clear([PARTIAL], but=place)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = contents(out, plan, table, [file.rows for file in files], config)
    shards = (map(plan.shard_of, file.rows) for file in files)
    wanted = [with_passes(one, out / "ledger", some, config) for one, some in zip(wanted, shards, strict=True)]
    taken = take_over_there(mount, place, wanted, config) if mount else take_over(out, folder, wanted, config)
    for number, done in taken.items():
        write_json(folder / DONE / f"{number:05d}.json", done)
    if mount:
        mount.push_below(f"{place}/{DONE}")
    task = ExportTask(str(out), plan.sources, config, files, plan, place, mount.mirror if mount else None)
    each: dict[int, dict[str, Any]] = {}
    totals = {"images": len(rows), "samples": 0, "bytes": 0, "files": len(files)}
    for number, written in run(task, range(len(files))):
        each[number] = written
        totals["samples"] += written["samples"]
        totals["bytes"] += written["bytes"]
    finish(folder, totals)
    forget(out)
    written = [(content, each[number]) for number, content in enumerate(wanted)]
    if mount:
        put_in_place(mount, place, written, folder / "README.md")
        mount.mirror.drop_below(PARTIAL)
    else:
        shutil.rmtree(folder / DONE, ignore_errors=True)
        swap(folder, out / "dataset")
        remember(out, written, config)
    shutil.rmtree(out / PARTIAL, ignore_errors=True)
    return totals


def split(rows: Sequence[int], sizes: Sequence[int], most_bytes: int, most_rows: int) -> tuple[ExportFile, ...]:
    """Consecutive rows cut into files of at most so many bytes and rows; at least one file, which may be empty."""
    files: list[ExportFile] = []
    current: list[int] = []
    total = 0
    for row, size in zip(rows, sizes, strict=True):
        if current and (total + size > most_bytes or len(current) == most_rows):
            files.append(ExportFile(len(files), tuple(current)))
            current, total = [], 0
        current.append(row)
        total += size
    if current or not files:
        files.append(ExportFile(len(files), tuple(current)))
    return tuple(files)


def swap(new: Path, place: Path) -> None:
    """Put a finished folder in its place; the old one is gone only when the new one stands."""
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _fingerprint(out: Path, plan: Plan, table: pa.Table, rows: np.ndarray, config: BuildConfig) -> str:
    what = hashlib.blake2b(config.export.model_dump_json().encode(), digest_size=8)
    what.update(config.policy.model_dump_json().encode())
    what.update(with_passes("", out / "ledger", map(plan.shard_of, rows.tolist()), config).encode())
    for name in table.column("key").take(pa.array(rows)).to_pylist():
        what.update(name.encode())
    return what.hexdigest()


def _encoded(data: bytes, kind: str, config: BuildConfig) -> tuple[bytes, str]:
    """An image's bytes as `export.image` asks for them, and the suffix that goes with them."""
    wanted = config.export.image
    if wanted == "as_found":
        return data, _SUFFIX.get(kind, f".{kind}")
    if wanted == "strip" and kind in STRIPPABLE:
        return strip_metadata(data), _SUFFIX.get(kind, f".{kind}")
    rgb = decode(data, read_header(data, config.limits)).rgb
    if wanted == "jpeg":
        return encode_jpeg(rgb, config.export.jpeg_quality), ".jpg"
    return encode_png(rgb), ".png"
