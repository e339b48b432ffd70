"""Files that are written whole or not at all: any file, Parquet parts, JSON; what it takes to read them back; and the
lock and the diary of the folder they lie in."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from million_ird.errors import OutputError

_FOLDERS = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s:'\"|]+)+[\\/]")
T = TypeVar("T")

GROUP_BYTES = 64_000_000
"""Pixels in a Parquet row group at most: what a reader (and a writer) must hold at once."""

_TEMPORARY = re.compile(r"\..+\.tmp")

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_REFUSED = {
    errno.EROFS: "is on a read-only file system",
    errno.EACCES: "is not writable",
    errno.EPERM: "is not writable",
}


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name; on leaving without an error it is flushed to disk and renamed into place.

    Raises:
        OutputError: the disk is full, or the folder cannot be written; nothing half-written stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(out: Path, leave: Sequence[str] = ()) -> Iterator[None]:
    """Lock a run's folder, made if it is not there, for as long as the context lasts; the lock dies with the process.

    What killed writers left in it is swept away first; folders named in `leave` are not entered.

    Raises:
        OutputError: another run works in it, or it cannot be written.
    """
    busy = f"--out {out}: another mird run works in this folder; wait for it or choose another"
    with flocked(out, ".lock", busy):
        sweep(out, leave)
        yield


@contextlib.contextmanager
def flocked(folder: Path, name: str, busy: str) -> Iterator[None]:
    """Hold a lock file in a folder, made if it is not there; the lock dies with the process.

    Raises:
        OutputError: another process holds it (`busy`), or the folder cannot be written.
    """
    lock = FileLock(folder / name, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(busy) from None
    except OSError as error:
        raise output_error(error, folder) from error
    try:
        yield
    finally:
        lock.release()


def log_event(path: Path, run: str, name: str, level: str = "info", **fields: Any) -> None:
    """Append an event of a run to its diary, one JSON object a line."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "level": level, "event": name, "run": run, **fields}
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise output_error(error, path) from error


def without_folders(text: str) -> str:
    """Text in which paths are cut down to their last part, for files that leave this machine."""
    return _FOLDERS.sub("", text)


def sweep(folder: Path, leave: Sequence[str] = ()) -> None:
    """Delete what killed writers left under a folder: files and folders named as `whole` names its temporaries.

    Call it where no writer can be at work, that is, under the folder's lock. Folders named in `leave` are not entered.
    """
    for parent, folders, files in os.walk(folder):
        for name in filter(_TEMPORARY.fullmatch, files):
            Path(parent, name).unlink(missing_ok=True)
        for name in filter(_TEMPORARY.fullmatch, folders):
            shutil.rmtree(Path(parent, name), ignore_errors=True)
        folders[:] = [name for name in folders if name not in leave and not _TEMPORARY.fullmatch(name)]


def output_error(error: OSError, path: Path) -> OutputError:
    """An `OSError` met while writing, as one line with the remedy."""
    if error.errno in _FULL:
        return OutputError(f"{path}: {_FULL[error.errno]}; free some space and run the same command again")
    if error.errno in _REFUSED:
        return OutputError(f"{path}: {_REFUSED[error.errno]}; choose another --out or change its permissions")
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return OutputError(f"{path}: a file is in the way; choose another --out")
    return OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another --out")


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to disk."""
    if os.name == "nt":  # a folder cannot be opened there; NTFS journals the rename
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with whole(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON, keys in the order given, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """A JSON file's value; None where the file does not exist.

    Raises:
        OutputError: the file is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise OutputError(f"{path}: not valid JSON; delete it, or start over with --fresh") from None


def write_table(path: str | Path, table: pa.Table, **options: Any) -> None:
    """Write one Parquet file (zstd) whole or not at all."""
    with whole(path) as file:
        pq.write_table(table, file, **{"compression": "zstd", "store_schema": True, **options})


def row_groups(rows: Iterable[T], most: int, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Rows in groups of at most so many, and of at most `GROUP_BYTES` of pixels (`size` of each row)."""
    group: list[T] = []
    total = 0
    for row in rows:
        length = size(row)
        if group and (len(group) == most or total + length > GROUP_BYTES):
            yield group
            group, total = [], 0
        group.append(row)
        total += length
    if group:
        yield group


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to a tar; owner 0, time 0, so that the same content gives the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def part_path(folder: Path, shard: int) -> Path:
    """Where shard `shard` of a pass lies; that it exists is the mark that the shard is done."""
    return folder / f"part-{shard:05d}.parquet"


def native(path: Path) -> pa.OSFile:
    """A file for Arrow to read. Opened, so that it reads no meaning (hive partitions) into the folder's name; and not
    by Python: its threads, which may outlast the reading, would abort a short command at its end over such a file.

    Raises:
        FileNotFoundError: there is none.
    """
    return pa.OSFile(os.fsencode(path))


def read_parts(folder: Path, shards: int, columns: Sequence[str] | None = None, first: int = 0) -> pa.Table:
    """Parts `first` to `shards` - 1 of a pass as one table, in shard order.

    Raises:
        OutputError: a part is missing or cannot be read.
    """
    tables = []
    for shard in range(first, shards):
        path = part_path(folder, shard)
        try:
            with native(path) as file:
                tables.append(pq.read_table(file, columns=list(columns) if columns is not None else None))
        except FileNotFoundError:
            raise OutputError(
                f"{path} is missing: the build is not finished; run the same `mird build` again"
            ) from None
        except pa.ArrowInvalid as error:
            raise OutputError(f"{path}: not a Parquet file ({error}); delete it and run `mird build` again") from None
    return pa.concat_tables(tables) if tables else pa.table({})


def rows_to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows to a table of exactly this schema; a key the schema lacks is an error, a key a row lacks is null."""
    for row in rows:
        if extra := row.keys() - set(schema.names):
            raise KeyError(f"columns {sorted(extra)} are not in the schema")
    arrays = [pa.array([row.get(f.name) for row in rows], f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
