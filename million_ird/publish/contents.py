"""The rows of a dataset as it was written, whatever its format: what a check has to see of each."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.cards import Stored
from million_ird.errors import OutputError

_BATCH = 64
_TAKEN = ("id", "uri", "meta")


@dataclass(frozen=True)
class Sample:
    """One row.

    Attributes:
        name: of its image file; in whole images its stem is the input's key.
        id, uri, meta: of these columns, "" where they are null or missing.
        image: its bytes; b"" where they were not asked for.
    """

    name: str
    id: str
    uri: str
    meta: str
    image: bytes


def samples(folder: Path, form: str, with_images: bool) -> Iterator[Sample]:
    """Every row of a dataset.

    Args:
        folder: DIR/dataset.
        form: `export.format`.
        with_images: read the pictures' bytes, too.

    Raises:
        OutputError: a file is damaged.
    """
    found = {"parquet": _parquet, "webdataset": _webdataset, "imagefolder": _imagefolder}[form]
    for path in data_files(folder, form):
        try:
            yield from found(path, with_images)
        except (pa.ArrowException, tarfile.TarError, OSError, ValueError, KeyError) as error:
            raise OutputError(
                f"{path}: cannot be read ({str(error).splitlines()[0]}); delete dataset/ and run `mird build` again"
            ) from None


def data_files(folder: Path, form: str) -> list[Path]:
    """The files that hold the rows; of a folder of images, those that describe them."""
    pattern = {"parquet": "*.parquet", "webdataset": "*.tar", "imagefolder": "train/*/metadata.jsonl"}[form]
    return sorted((folder / "data").glob(pattern))


def stored(folder: Path, form: str, count: int) -> Stored:
    """What the files hold, from their footers.

    Args:
        folder: DIR/dataset.
        form: `export.format`.
        count: rows, for formats that don't say.

    Raises:
        OutputError: a Parquet file is damaged, or has other columns than the first.
    """
    size = sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file())
    if form != "parquet":
        return Stored((), count, size, size)
    rows = unpacked = 0
    first: pa.Schema | None = None
    for path in data_files(folder, form):
        try:
            with path.open("rb") as file:
                reader = pq.ParquetFile(file)
                about, schema = reader.metadata, reader.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); delete dataset/ and run `mird build` again") from None
        if first is not None and not schema.equals(first):
            raise OutputError(f"{path}: has other columns than the first file; delete dataset/ and run `mird build`")
        first = schema
        rows += about.num_rows
        unpacked += sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
    return Stored(_features(first), rows, unpacked, size)


def _features(schema: pa.Schema | None) -> Sequence[Mapping[str, Any]]:
    noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")) if schema is not None else {}
    features = noted.get("info", {}).get("features", {})
    return [
        {"name": name, "dtype": "image" if about["_type"] == "Image" else about["dtype"]}
        for name, about in features.items()
    ]


def _parquet(path: Path, with_images: bool) -> Iterator[Sample]:
    columns = [*_TAKEN, "image.path", *(["image.bytes"] if with_images else [])]
    with path.open("rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=_BATCH, columns=columns):
            for row in batch.to_pylist():
                image = row["image"]
                yield _sample(image["path"], row, image.get("bytes") or b"")


def _webdataset(path: Path, with_images: bool) -> Iterator[Sample]:
    name, image = "", b""
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                continue
            if member.name.endswith(".json"):
                yield _sample(name, json.loads(file.read()), image)
            else:
                name, image = member.name, file.read() if with_images else b""


def _imagefolder(path: Path, with_images: bool) -> Iterator[Sample]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            name = row["file_name"]
            yield _sample(name, row, (path.parent / name).read_bytes() if with_images else b"")


def _sample(name: str, row: Mapping[str, Any], image: bytes) -> Sample:
    known = {column: row[column] or "" for column in _TAKEN}
    return Sample(PurePosixPath(name).name, image=image, **known)
