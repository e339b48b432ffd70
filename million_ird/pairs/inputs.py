"""From what the user named to sources: files as `mird build` reads them, and datasets, whose images lie in rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from million_ird.errors import InputError
from million_ird.pairs.rows import TableSpec
from million_ird.sources import SourceSpec, resolve

_TRAIN = re.compile(r"train(?:ing)?\b", re.IGNORECASE)


def sources_of(address: str) -> tuple[list[SourceSpec], Counter[str]]:
    """What an INPUT means, and what of it is passed over, by kind.

    A folder is, in this order: a `mird build` output; what `datasets.save_to_disk` wrote; Parquet files (in it or in
    its data/); the tars of a dataset; else its files.

    Raises:
        InputError: missing, unfinished, or of a kind that cannot be read.
    """
    if not address:
        raise InputError(
            "no INPUT given: name a folder of clean images, an archive, a `mird build` output or a dataset"
        )
    passed: Counter[str] = Counter()
    if "://" in address:
        return resolve([address]), passed
    path = Path(address).expanduser()
    if path.is_file() and path.suffix.lower() == ".parquet":
        return [_parquet(path.parent, [path])], passed
    if path.is_dir():
        return _folder(_built(path), passed), passed
    return resolve([address]), passed


def _built(path: Path) -> Path:
    """The dataset of a `mird build` output; any other folder as it is."""
    if not (path / "build.yaml").exists() or not (path / "plan.json").exists():
        return path
    if not (path / "dataset" / "README.md").exists():
        raise InputError(f"{path}: this build is not finished; run `mird build` again until dataset/ is there")
    return path / "dataset"


def _folder(path: Path, passed: Counter[str]) -> list[SourceSpec]:
    if (path / "dataset_dict.json").exists() or (
        (path / "state.json").exists() and (path / "dataset_info.json").exists()
    ):
        return [TableSpec(_label(path), "files", "", str(path.absolute()), layout="saved")]
    ours = (path / "degrade.yaml").exists()
    for folder in (path / "data",) if ours else (path / "data", path):
        if parts := sorted(folder.glob("*.parquet")):
            return [_parquet(path, _training(parts, passed))]
    if ours:
        raise InputError(f"{path}: this is an output of `mird degrade`; name {path / 'hq'} or other clean images")
    if (path / "README.md").exists() and (parts := sorted((path / "data").glob("*.tar"))):
        return resolve([str(part) for part in _training(parts, passed)])
    if (path / "README.md").exists() and any((path / "data").glob("**/metadata.jsonl")):
        return resolve([str(path / "data")])
    return resolve([str(path)])


def _training(parts: list[Path], passed: Counter[str]) -> list[Path]:
    """The files of the training split, where there are several splits."""
    chosen = [part for part in parts if _TRAIN.match(part.name)]
    if not chosen or len(chosen) == len(parts):
        return parts
    passed["file of another split than train"] += len(parts) - len(chosen)
    return chosen


def _parquet(root: Path, parts: Sequence[Path]) -> TableSpec:
    names = tuple(part.absolute().relative_to(root.absolute()).as_posix() for part in parts)
    return TableSpec(_label(root), "files", "", str(root.absolute()), names, layout="parquet")


def _label(path: Path) -> str:
    name = path.absolute().name
    return (path.absolute().parent.name if name == "dataset" else name) or "root"


def spec_as_json(spec: SourceSpec) -> dict[str, Any]:
    """A source as plan.json holds it."""
    return asdict(spec)


def spec_from_json(data: dict[str, Any]) -> SourceSpec:
    """And back."""
    return (TableSpec if "layout" in data else SourceSpec).of(data)
