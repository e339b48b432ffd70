"""Hash lists: what the pictures of a test set are recognised by, in one Parquet file with where it is from.

One row per picture: name, width, height (px), thumb (256 bytes), points (n x 4 uint16: x, y in 1/32 px of the picture
reduced to 896 px, turn in 1/64 degree, level), plain and mirrored (n x 32 bytes: ORB descriptors). The schema's
metadata holds `mird.hashes`, a JSON object: the fields of `Provenance`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.dedup.contamination import KIND, Known, Print
from million_ird.errors import ConfigError
from million_ird.tables import write_table

SUFFIX = ".parquet"
_META = b"mird.hashes"
_SCALE = np.array([32, 32, 64, 1], np.float64)
_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("thumb", pa.binary()),
        ("points", pa.binary()),
        ("plain", pa.binary()),
        ("mirrored", pa.binary()),
    ]
)


@dataclass(frozen=True)
class Provenance:
    """Where a hash list is from.

    Attributes:
        name: of the set.
        source: where the pictures are from.
        licence: of the pictures, a note.
        count: pictures.
        made: by what.
        kind: what the fingerprints are made of.
    """

    name: str
    source: str
    licence: str
    count: int
    made: str
    kind: str = KIND


@dataclass(frozen=True)
class Lists:
    """Several hash lists as one.

    Attributes:
        prints: of all pictures.
        names: "SET/PICTURE" of each.
        digest: 12 hex digits that change with any byte of any list.
    """

    prints: tuple[Print, ...]
    names: tuple[str, ...]
    digest: str

    @cached_property
    def known(self) -> Known:
        """The pictures, ready to be compared with."""
        return Known(self.prints)


def write_list(path: str | Path, prints: Sequence[Print], provenance: Provenance) -> None:
    """Write a hash list, whole or not at all."""
    rows = [
        {
            "name": one.name,
            "width": one.width,
            "height": one.height,
            "thumb": one.thumb.tobytes(),
            "points": np.rint(np.maximum(one.points, 0) * _SCALE).astype("<u2").tobytes(),
            "plain": one.plain.tobytes(),
            "mirrored": one.mirrored.tobytes(),
        }
        for one in prints
    ]
    about = json.dumps(asdict(provenance), ensure_ascii=False, sort_keys=True)
    schema = _SCHEMA.with_metadata({_META: about.encode()})
    write_table(path, pa.Table.from_pylist(rows, schema=schema), use_dictionary=False, write_statistics=False)


def read_list(path: str | Path) -> tuple[list[Print], Provenance]:
    """The pictures of a hash list, and where it is from.

    Raises:
        ConfigError: it is missing, no hash list, or one of another kind.
    """
    path = Path(path)
    again = "make it with `mird hashes make FOLDER --name NAME --out FILE`"
    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
        provenance = Provenance(**json.loads(table.schema.metadata[_META]))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; {again}") from None
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError):
        raise ConfigError(f"{path}: not a hash list; {again}") from None
    if provenance.kind != KIND or not table.schema.remove_metadata().equals(_SCHEMA):
        raise ConfigError(f"{path}: a hash list of kind '{provenance.kind}', this version reads '{KIND}'; {again}")
    return [
        Print(
            row["name"],
            row["width"],
            row["height"],
            np.frombuffer(row["thumb"], np.uint8),
            (np.frombuffer(row["points"], "<u2").reshape(-1, 4) / _SCALE).astype(np.float32),
            np.frombuffer(row["plain"], np.uint8).reshape(-1, 32),
            np.frombuffer(row["mirrored"], np.uint8).reshape(-1, 32),
        )
        for row in table.to_pylist()
    ], provenance


def built_in() -> dict[str, Path]:
    """The hash lists that come with the package, by name."""
    with resources.as_file(resources.files("million_ird.dedup") / "lists") as folder:
        return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def is_file(name: str) -> bool:
    """Whether an entry of `policy.contaminated.sets` means a file, not a name."""
    return name.endswith(SUFFIX) or "/" in name or "\\" in name


def find_list(name: str) -> Path:
    """The file of a hash list: a built-in name, or a path.

    Raises:
        ConfigError: there is none.
    """
    known = built_in()
    path = Path(name).expanduser() if is_file(name) else known.get(name)
    if path is None:
        raise ConfigError(
            f"policy.contaminated.sets: no hash list called '{name}'; known: {', '.join(known)}; or give the path of a "
            f"{SUFFIX} file made by `mird hashes make`"
        )
    if not path.is_file():
        raise ConfigError(f"policy.contaminated.sets: {path}: no such file")
    return path


def load_lists(names: Sequence[str]) -> Lists:
    """The hash lists of `policy.contaminated.sets`; read once as long as their files stay as they are.

    Raises:
        ConfigError: one is missing, damaged or of another kind.
    """
    paths = tuple(find_list(name) for name in names)
    stats = [path.stat() for path in paths]
    return _load(paths, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


@lru_cache(maxsize=4)
def _load(paths: tuple[Path, ...], _state: tuple[tuple[int, int], ...]) -> Lists:
    prints: list[Print] = []
    names: list[str] = []
    digest = hashlib.blake2b(KIND.encode(), digest_size=6)
    for path in paths:
        found, provenance = read_list(path)
        prints += found
        names += [f"{provenance.name}/{one.name}" for one in found]
        digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return Lists(tuple(prints), tuple(names), digest.hexdigest())
