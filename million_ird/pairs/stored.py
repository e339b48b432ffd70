"""What a finished run wrote, read back: any sample by its number."""

from __future__ import annotations

import json
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.errors import OutputError
from million_ird.pairs.render import Sample
from million_ird.pairs.settings import DegradeConfig
from million_ird.pairs.writers import IMAGES, TRACES


class Stored(Protocol):
    """The samples of a run, numbered in the order in which they were written."""

    def __len__(self) -> int: ...

    def read(self, numbers: Sequence[int]) -> Iterator[Sample]:
        """Some of them, given in ascending order; a picture that is gone is empty."""
        ...

    def facts(self) -> Iterator[dict[str, Any]]:
        """`name`, `id`, `uri` and `index` of all."""
        ...

    def gaps(self) -> list[str]:
        """What is there or not there against what the traces say, in words."""
        ...


def stored(out: Path, config: DegradeConfig) -> Stored:
    """What a finished run wrote.

    Raises:
        OutputError: it cannot be read.
    """
    if config.format == "parquet":
        return ParquetSet(out / "data", config)
    if config.format == "webdataset" and not config.virtual:
        return TarSet(out / "data")
    return FolderSet(out, config)


class ParquetSet:
    """Rows of data/*.parquet."""

    def __init__(self, folder: Path, config: DegradeConfig) -> None:
        self._paths = sorted(folder.glob("train-*.parquet"))
        self._virtual = config.virtual
        self._groups: list[tuple[Path, int]] = []
        counts: list[int] = []
        for path in self._paths:
            with _parquet(path) as file:
                for group in range(file.num_row_groups):
                    self._groups.append((path, group))
                    counts.append(file.metadata.row_group(group).num_rows)
        self._ends = list(accumulate(counts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, numbers: Sequence[int]) -> Iterator[Sample]:
        at, rows = -1, pa.table({})
        for number in numbers:
            group = bisect_right(self._ends, number)
            if group != at:
                at, (path, inside) = group, self._groups[group]
                with _parquet(path) as file:
                    try:
                        rows = file.read_row_group(inside, use_threads=False)
                    except (pa.ArrowException, OSError) as error:
                        raise OutputError(f"{path}: cannot be read: {error}") from None
            first = self._ends[group - 1] if group else 0
            yield self._sample(rows.slice(number - first, 1).to_pylist()[0])

    def _sample(self, row: dict[str, Any]) -> Sample:
        pixels: dict[str, Any] = (
            {} if self._virtual else {name: (row[name] or {}).get("bytes") or b"" for name in IMAGES}
        )
        name = f"{row['uri']} #{row['index']}" if self._virtual else Path(row["hq"]["path"]).stem
        facts = {key: row[key] for key in ("id", "uri", "index", "seed", "labels")}
        return Sample(name, **facts, trace=json.loads(row["trace"]), **pixels)

    def facts(self) -> Iterator[dict[str, Any]]:
        columns = ["id", "uri", "index"] if self._virtual else ["hq.path", "id", "uri", "index"]
        for path in self._paths:
            with _parquet(path) as file:
                for batch in file.iter_batches(columns=columns):
                    for row in batch.to_pylist():
                        yield {"name": "" if self._virtual else Path(row.pop("hq")["path"]).stem, **row}

    def gaps(self) -> list[str]:
        wanted = int(self._paths[0].stem.rpartition("-")[2]) if self._paths else 0
        return [] if len(self._paths) == wanted else [f"{len(self._paths)} of {wanted} files are there"]


class FolderSet:
    """lq/, hq/, mask/ and traces.jsonl; or traces.jsonl alone."""

    def __init__(self, out: Path, config: DegradeConfig) -> None:
        self._out = out
        self._virtual = config.virtual
        self._count = sum(1 for _ in self._lines())

    def __len__(self) -> int:
        return self._count

    def _lines(self) -> Iterator[bytes]:
        try:
            with (self._out / TRACES).open("rb") as file:
                yield from file
        except OSError as error:
            raise OutputError(f"{self._out / TRACES}: cannot be read: {error.strerror or error}") from None

    def read(self, numbers: Sequence[int]) -> Iterator[Sample]:
        wanted = set(numbers)
        for number, line in enumerate(self._lines()):
            if number in wanted:
                facts = _parsed(line, self._out / TRACES)
                pixels: dict[str, Any] = (
                    {} if self._virtual else {name: self._file(name, facts["name"]) for name in IMAGES}
                )
                yield Sample(**facts, **pixels)

    def _file(self, folder: str, name: str) -> bytes:
        try:
            return (self._out / folder / f"{name}.png").read_bytes()
        except OSError:
            return b""

    def facts(self) -> Iterator[dict[str, Any]]:
        for line in self._lines():
            facts = _parsed(line, self._out / TRACES)
            yield {name: facts[name] for name in ("name", "id", "uri", "index")}

    def gaps(self) -> list[str]:
        if self._virtual:
            return []
        counts = {name: sum(1 for _ in (self._out / name).glob("*.png")) for name in IMAGES}
        return [f"{name}/ holds {n} files for {self._count} traces" for name, n in counts.items() if n != self._count]


class TarSet:
    """Members of data/*.tar."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob("train-*.tar"))
        self._members: list[tuple[Path, dict[str, tarfile.TarInfo]]] = []
        for path in self._paths:
            samples: dict[str, dict[str, tarfile.TarInfo]] = {}
            with _tar(path) as tar:
                for member in tar:
                    key, _, kind = member.name.partition(".")
                    samples.setdefault(key, {})[kind] = member
            self._members += [(path, members) for members in samples.values() if "json" in members]

    def __len__(self) -> int:
        return len(self._members)

    def read(self, numbers: Sequence[int]) -> Iterator[Sample]:
        for number in numbers:
            path, members = self._members[number]
            with path.open("rb") as file:
                found = {kind: _member(file, member) for kind, member in members.items()}
            pixels: dict[str, Any] = {name: found.get(f"{name}.png", b"") for name in IMAGES}
            yield Sample(**_parsed(found["json"], path), **pixels)

    def facts(self) -> Iterator[dict[str, Any]]:
        for path, members in self._members:
            with path.open("rb") as file:
                facts = _parsed(_member(file, members["json"]), path)
            yield {name: facts[name] for name in ("name", "id", "uri", "index")}

    def gaps(self) -> list[str]:
        wanted = int(self._paths[0].stem.rpartition("-")[2]) if self._paths else 0
        return [] if len(self._paths) == wanted else [f"{len(self._paths)} of {wanted} files are there"]


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise OutputError(f"{path}: not a Parquet file that can be read: {error}") from None


def _tar(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")
    except (tarfile.TarError, OSError) as error:
        raise OutputError(f"{path}: not a tar archive that can be read: {error}") from None


def _member(file: Any, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    return file.read(member.size)


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:
        raise OutputError(f"{path}: holds a line that is not JSON") from None
