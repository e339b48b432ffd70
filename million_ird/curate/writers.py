"""One output file of a dataset, whole or not at all: Parquet, a folder of images, or a WebDataset tar."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.curate.ledger import measurement_columns
from million_ird.curate.passes.columns import pass_columns
from million_ird.curate.settings import BuildConfig
from million_ird.tables import add_member, row_groups, whole


@dataclass(frozen=True)
class Sample:
    """One row of the dataset: a unique name, the image file's suffix and bytes, and the columns beside it."""

    name: str
    suffix: str
    image: bytes
    facts: dict[str, Any]


def dataset_columns(config: BuildConfig) -> dict[str, pa.DataType]:
    """The columns beside `image`, and their types."""
    columns: dict[str, pa.DataType] = {
        "id": pa.string(),
        "uri": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        **dict.fromkeys([*measurement_columns(config), *pass_columns(config)], pa.float32()),
        "meta": pa.string(),
    }
    return columns


def write_file(folder: Path, number: int, count: int, samples: Iterator[Sample], config: BuildConfig) -> dict[str, int]:
    """Write file `number` of `count` into `folder`/data.

    Returns:
        "samples" and image "bytes" written.
    """
    tally = _Tally(samples)
    name = file_name(number, count, config)
    if name is not None and config.export.format == "parquet":
        _parquet(folder / name, tally, config)
    elif name is not None:
        _webdataset(folder / name, tally)
    else:
        _imagefolder(folder / "data" / "train" / f"{number:05d}", tally)
    return {"samples": tally.samples, "bytes": tally.bytes}


def file_name(number: int, count: int, config: BuildConfig) -> str | None:
    """Path of file `number` of `count` within a dataset; None for the image folder, which has many files."""
    suffix = {"parquet": "parquet", "webdataset": "tar"}.get(config.export.format)
    return suffix and f"data/train-{number:05d}-of-{count:05d}.{suffix}"


class _Tally:
    """Passes samples on and counts them."""

    def __init__(self, samples: Iterator[Sample]) -> None:
        self._source = samples
        self.samples = self.bytes = 0

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._source:
            self.samples += 1
            self.bytes += len(sample.image)
            yield sample


def features(config: BuildConfig) -> pa.Schema:
    """The Arrow schema, with the `datasets` library's feature types in its metadata, so that it knows the images."""
    columns = dataset_columns(config)
    if config.export.patch is not None:
        columns |= {"patch_x": pa.int32(), "patch_y": pa.int32()}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds: dict[str, Any] = {"image": {"_type": "Image"}}
    kinds |= {name: {"dtype": _dtype(kind), "_type": "Value"} for name, kind in columns.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": kinds}})}
    return pa.schema([("image", image), *columns.items()], metadata=metadata)


def _dtype(kind: pa.DataType) -> str:
    return "float32" if pa.types.is_float32(kind) else str(kind)


def _parquet(path: Path, samples: _Tally, config: BuildConfig) -> None:
    schema = features(config)
    plain = [name for name in schema.names if name != "image"]
    # Pixels are compressed already: no dictionary, no second compression; the page index lets readers skip.
    codecs = {"image.bytes": "none", "image.path": "zstd", **dict.fromkeys(plain, "zstd")}
    with whole(path) as file:
        options: dict[str, Any] = {"compression": codecs, "use_dictionary": ["uri"], "write_page_index": True}
        writer = pq.ParquetWriter(file, schema, **options)
        with writer:
            for group in row_groups(samples, config.export.row_group, lambda sample: len(sample.image)):
                images = [{"bytes": sample.image, "path": sample.name + sample.suffix} for sample in group]
                columns = [pa.array(images, schema.field("image").type)]
                columns += [pa.array([s.facts[name] for s in group], schema.field(name).type) for name in plain]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=len(group))


def _webdataset(path: Path, samples: _Tally) -> None:
    with whole(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            # The suffix is a key in WebDataset, and readers want the same one everywhere; decoders look at the bytes.
            add_member(tar, sample.name + ".jpg", sample.image)
            add_member(tar, sample.name + ".json", json.dumps(sample.facts, ensure_ascii=False).encode())


def _imagefolder(folder: Path, samples: _Tally) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    lines = []
    for sample in samples:
        with whole(temporary / (sample.name + sample.suffix)) as file:
            file.write(sample.image)
        lines.append(json.dumps({"file_name": sample.name + sample.suffix, **sample.facts}, ensure_ascii=False))
    with whole(temporary / "metadata.jsonl") as file:
        file.write("".join(line + "\n" for line in lines).encode())
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
