"""One part of the output, whole or not at all: Parquet, a folder of PNGs, or a WebDataset tar."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.pairs.render import Sample
from million_ird.pairs.settings import DegradeConfig
from million_ird.tables import add_member, output_error, row_groups, whole

IMAGES = ("lq", "hq", "mask")
TRACES = "traces.jsonl"

_PIXELS = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_FACTS: dict[str, pa.DataType] = {
    "labels": pa.list_(pa.string()),
    "trace": pa.string(),
    "id": pa.string(),
    "uri": pa.string(),
    "index": pa.int32(),
    "seed": pa.int64(),
}


class Tally:
    """Passes samples on and counts them.

    Attributes:
        samples: how many.
        bytes: of their pictures and masks.
        labels: samples in which a class is present.
    """

    def __init__(self, source: Iterator[Sample]) -> None:
        self._source = source
        self.samples = self.bytes = 0
        self.labels: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._source:
            self.samples += 1
            self.bytes += sample.size()
            self.labels.update(sample.labels)
            yield sample


def write_part(folder: Path, shard: int, shards: int, samples: Tally, config: DegradeConfig) -> None:
    """Write part `shard` of `shards` below a folder: a file in files/, or a folder in parts/."""
    name = f"train-{shard:05d}-of-{shards:05d}"
    if config.format == "parquet":
        _parquet(folder / "files" / f"{name}.parquet", samples, config)
    elif config.format == "webdataset" and not config.virtual:
        _webdataset(folder / "files" / f"{name}.tar", samples)
    else:
        _folder(folder / "parts" / f"{shard:05d}", samples, config)


def features(config: DegradeConfig) -> pa.Schema:
    """The Arrow schema, with the `datasets` library's feature types in its metadata, so that it knows the images."""
    kinds: dict[str, Any] = {} if config.virtual else {name: {"_type": "Image"} for name in IMAGES}
    fields = [(name, _PIXELS) for name in kinds]
    for name, kind in _FACTS.items():
        value = {"dtype": "string" if pa.types.is_list(kind) else str(kind), "_type": "Value"}
        kinds[name] = [value] if pa.types.is_list(kind) else value
    metadata = {"huggingface": json.dumps({"info": {"features": kinds}})}
    return pa.schema([*fields, *_FACTS.items()], metadata=metadata)


def _parquet(path: Path, samples: Tally, config: DegradeConfig) -> None:
    schema = features(config)
    # Pixels are compressed already: no dictionary, no second compression; the page index lets readers skip.
    codecs = {name: "zstd" for name in _FACTS if name != "labels"} | {"labels.list.element": "zstd"}
    for name in IMAGES if not config.virtual else ():
        codecs |= {f"{name}.bytes": "none", f"{name}.path": "zstd"}
    options: dict[str, Any] = {"compression": codecs, "use_dictionary": ["uri", "id"], "write_page_index": True}
    with whole(path) as file, pq.ParquetWriter(file, schema, **options) as writer:
        for group in row_groups(samples, config.row_group, Sample.size):
            columns = [
                pa.array([_cell(sample, name) for sample in group], schema.field(name).type) for name in schema.names
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=len(group))


def _cell(sample: Sample, column: str) -> Any:
    value = getattr(sample, column)
    if column in IMAGES:
        return {"bytes": value, "path": f"{sample.name}.png"}
    return compact(value) if column == "trace" else value


def _webdataset(path: Path, samples: Tally) -> None:
    with whole(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            for name in IMAGES:
                add_member(tar, f"{sample.name}.{name}.png", getattr(sample, name))
            add_member(tar, f"{sample.name}.json", compact(sample.facts()).encode())


def _folder(folder: Path, samples: Tally, config: DegradeConfig) -> None:
    """The files of a part, gathered under a temporary name and flushed to disk before they get their own."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        for name in IMAGES if not config.virtual else ():
            (temporary / name).mkdir(parents=True)
        temporary.mkdir(parents=True, exist_ok=True)
        with (temporary / TRACES).open("wb") as lines:
            for sample in samples:
                for name in IMAGES if not config.virtual else ():
                    (temporary / name / f"{sample.name}.png").write_bytes(getattr(sample, name))
                lines.write(compact(sample.facts()).encode() + b"\n")
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    _flush(file)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise output_error(error, folder) from error


def _flush(file: IO[bytes]) -> None:
    os.fsync(file.fileno())


def compact(value: Any) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
