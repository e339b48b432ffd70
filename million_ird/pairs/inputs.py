"""From what the user named to sources: files as `mird build` reads them, and datasets, whose images lie in rows."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from million_ird.errors import InputError
from million_ird.pairs.rows import TableSpec
from million_ird.sources import SourceSpec, resolve
from million_ird.sources.rowfiles import dataset_files, image_tables, of_build

_TRAIN = re.compile(r"train(?:ing)?\b", re.IGNORECASE)


def sources_of(address: str) -> tuple[list[SourceSpec], Counter[str]]:
    """What an INPUT means, and what of it is passed over, by kind.

    A folder is, in this order: a `mird build` output; what `datasets.save_to_disk` wrote; Parquet files (in it or in
    its data/); the tars of a dataset; other tables of images, where there are no image files; else its files. Of a
    dataset with several splits, here or on the Hub, the training split is meant.

    Raises:
        InputError: missing, unfinished, or of a kind that cannot be read.
    """
    if not address:
        raise InputError(
            "no INPUT given: name a folder of clean images, an archive, a `mird build` output or a dataset"
        )
    passed: Counter[str] = Counter()
    path = Path(address).expanduser()
    if "://" not in address and path.is_dir():
        return _folder(of_build(path) or path, passed), passed
    if "://" not in address and path.is_file() and path.suffix.lower() == ".parquet":
        return [_tables(path.parent, [path.name])], passed
    specs = resolve([address])
    return [_clean(spec) for spec in (specs if glob.has_magic(address) else _of_training(specs, passed))], passed


def _folder(path: Path, passed: Counter[str]) -> list[SourceSpec]:
    if (path / "dataset_dict.json").exists() or (
        (path / "state.json").exists() and (path / "dataset_info.json").exists()
    ):
        return [_saved(path, passed)]
    ours = (path / "degrade.yaml").exists()
    for folder in (path / "data",) if ours else (path / "data", path):
        if parts := _below(path, folder, "*.parquet"):
            # Where no table holds images, reading says so, and what they do hold.
            return [_tables(path, _training(image_tables(path, parts) or parts, passed))]
    if ours:
        raise InputError(f"{path}: this is an output of `mird degrade`; name {path / 'hq'} or other clean images")
    if (path / "README.md").exists() and (parts := _below(path, path / "data", "*.tar")):
        return resolve([str(path / part) for part in _training(parts, passed)])
    if (path / "README.md").exists() and any((path / "data").glob("**/metadata.jsonl")):
        return resolve([str(path / "data")])
    return [_clean(spec) for spec in _of_training(resolve([str(path)]), passed)]


def _below(root: Path, folder: Path, pattern: str) -> list[str]:
    return [part.relative_to(root).as_posix() for part in sorted(folder.glob(pattern))]


def _saved(path: Path, passed: Counter[str]) -> TableSpec:
    """A saved `Dataset`, or the training split of a saved `DatasetDict`, or its first one; rows go by its name."""
    parts = dataset_files(path)
    if not parts:
        raise InputError(f"{path}: no column of this dataset holds images, or its files are gone")
    if (path / "dataset_dict.json").exists():
        splits = {part.partition("/")[0] for part in parts}
        split = "train" if "train" in splits else min(splits)
        parts = _only([part for part in parts if part.startswith(f"{split}/")], parts, passed)
    return replace(_tables(path, parts), name=path.absolute().name)


def _of_training(specs: Sequence[SourceSpec], passed: Counter[str]) -> list[SourceSpec]:
    """Tables and archives of the training split, where there are several splits; all other sources as they are."""
    split = [spec for spec in specs if spec.kind in ("rows", "tar", "zip")]
    chosen = set(_training([path for spec in split for path in spec.paths], passed))
    kept = [replace(spec, paths=tuple(path for path in spec.paths if path in chosen)) for spec in split]
    return [spec for spec in specs if spec not in split] + [spec for spec in kept if spec.paths]


def _training(parts: Sequence[str], passed: Counter[str]) -> Sequence[str]:
    """The files of the training split, by their names or those of their folders, where there are several splits."""
    return _only([part for part in parts if any(map(_TRAIN.match, part.split("/")))], parts, passed)


def _only(chosen: Sequence[str], parts: Sequence[str], passed: Counter[str]) -> Sequence[str]:
    if not chosen or len(chosen) == len(parts):
        return parts
    passed["file of another split than train"] += len(parts) - len(chosen)
    return chosen


def _tables(root: Path, names: Sequence[str]) -> TableSpec:
    return TableSpec(_label(root), "rows", "", str(root.absolute()), tuple(names))


def _clean(spec: SourceSpec) -> SourceSpec:
    """A source of rows as one of clean images; any other as it is."""
    if spec.kind != "rows":
        return spec
    return TableSpec(**{field.name: getattr(spec, field.name) for field in fields(SourceSpec)})


def _label(path: Path) -> str:
    name = path.absolute().name
    return (path.absolute().parent.name if name == "dataset" else name) or "root"


def spec_as_json(spec: SourceSpec) -> dict[str, Any]:
    """A source as plan.json holds it."""
    return asdict(spec)


def spec_from_json(data: dict[str, Any]) -> SourceSpec:
    """And back."""
    return (TableSpec if data["kind"] == "rows" else SourceSpec).of(data)
