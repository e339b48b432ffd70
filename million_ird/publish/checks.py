"""What must be right before the first byte leaves: each problem one line with its remedy."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from million_ird.cards import Stored
from million_ird.curate.blocklist import tombstones
from million_ird.curate.credit import licence_of, parsed
from million_ird.errors import BadImage
from million_ird.images import read_header
from million_ird.publish.contents import Sample, data_files, samples
from million_ird.publish.facts import Build
from million_ird.publish.places import local_path, own_folders, shows_where
from million_ird.sources.web.guard import canonical

FOLDER_ENTRIES = 10_000
"""Files that the Hub takes in one folder."""
LARGEST = 50_000_000_000
"""Bytes that the Hub takes in one file."""
ALL_FILES = 100_000
"""Files in a repository beyond which the Hub warns."""
FREE_PRIVATE = 100_000_000_000
"""Bytes that a free account may keep in private."""

_SHOWN = 3
_STEM = re.compile(r"[0-9a-f]{32}")


def dataset_problems(build: Build, stored: Stored, allow_unknown_licence: bool) -> list[str]:
    """What is wrong with the dataset of a build; every row of it is looked at."""
    folder, form = build.out / "dataset", build.config.export.format
    if not data_files(folder, form):
        return [f"{folder / 'data'}: holds no {form} files; run the same `mird build` again"]
    found = _Found()
    # What was stripped or encoded anew holds no metadata, so that the pictures need not be read.
    raw = build.config.export.image == "as_found" and build.config.export.patch is None
    removed, own = tombstones(build.out), own_folders(build.out, *_source_folders(build))
    kept = set(build.decisions.column("id").filter(build.decisions.column("keep")).to_pylist())
    seen = set()
    count = 0
    for row in samples(folder, form, raw):
        if count == 0 and raw:
            _first_opens(row, found)
        count += 1
        seen.add(row.id)
        if row.id not in kept:
            found.add("stale", row.uri or row.name)
        if not removed.isdisjoint(_names(row)):
            found.add("removed", row.uri or row.name)
        if not row.uri:
            found.add("origin", row.name)
        if not licence_of(parsed(row.meta)):
            found.add("licence", row.uri)
        if local := next(filter(None, map(local_path, (row.uri, *_texts(row.meta)))), ""):
            found.add("path", f"{row.uri} ({local})")
        elif any(name in row.uri or name in row.meta for name in own):
            found.add("path", row.uri.rpartition("/")[2])
        if raw and shows_where(row.image):
            found.add("place", row.uri)
    if count != stored.samples:
        found.add("count", f"{count:,} rows, not {stored.samples:,}")
    if len(seen) < len(kept) and build.config.export.patch is None:
        found.add("missing", f"{len(kept) - len(seen):,} of {len(kept):,}")
    if allow_unknown_licence:
        found.forget("licence")
    return [*found.lines(build.out, count), *loading_problems(folder)]


class _Found:
    """Rows by what is wrong with them: how many, and the first few."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        if len(self.examples[kind]) < _SHOWN:
            self.examples[kind].append(what)

    def forget(self, kind: str) -> None:
        self.counts.pop(kind, None)

    def lines(self, out: Path, rows: int) -> list[str]:
        """One for each kind."""
        again = f"run `mird build --out {out} --config {out / 'build.yaml'}`"
        remedies = {
            "unreadable": f"the first image does not open: delete dataset/ and {again}",
            "stale": f"rows are not kept by decisions.parquet: {again}",
            "missing": f"images that are kept are not in dataset/: {again}",
            "count": f"the files don't hold what their footers say: delete dataset/ and {again}",
            "removed": f"rows were taken out by `mird remove` (removed.json): {again}",
            "origin": "rows have no `uri`: build from a source that names its images",
            "licence": "rows name no licence: give the list or dataset a column `licence`, or publish with "
            "--allow-unknown-licence",
            "path": "rows hold a path of this machine: leave that column out of the source and build again",
            "place": f"images say where they were taken (GPS): {again} --set export.image=strip",
        }
        return [
            f"{self.counts[kind]:,} of {rows:,} {remedy}; first: {', '.join(self.examples[kind])}"
            if kind not in ("count", "unreadable", "missing")
            else f"{remedy} ({', '.join(self.examples[kind])})"
            for kind, remedy in remedies.items()
            if self.counts[kind]
        ]


def _first_opens(row: Sample, found: _Found) -> None:
    try:
        read_header(row.image)
    except BadImage as bad:
        found.add("unreadable", f"{row.uri}: {bad.detail}")


def _names(row: Sample) -> list[str]:
    """What `mird remove` may have called a row."""
    stem = row.name.partition(".")[0].partition("_")[0]
    address = [canonical(row.uri)] if "://" in row.uri else []
    return [row.id, row.uri, *address, *([stem] if _STEM.fullmatch(stem) else [])]


def _texts(meta: str) -> Iterable[str]:
    """The texts in the `meta` column; itself where it is no JSON."""
    if not meta:
        return ()
    try:
        return list(_strings(json.loads(meta)))
    except ValueError:
        return (meta,)


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _source_folders(build: Build) -> list[Path]:
    return [Path(spec.root) for spec in build.plan.sources if not spec.protocol and Path(spec.root).is_absolute()]


def loading_problems(folder: Path) -> list[str]:
    """Whether the `datasets` library opens what was written and gives a first row; [] where it is not installed."""
    try:
        from datasets import load_dataset
    except ImportError:
        return []
    try:
        rows = load_dataset(str(folder.absolute()), split="train", streaming=True)
        empty = next(iter(rows), None) is None
    except Exception as error:  # noqa: BLE001 (whatever the library raises on a dataset is its answer)
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return [f"{folder}: datasets.load_dataset does not open it: {type(error).__name__}: {first[:200]}"]
    return [f"{folder}: holds no rows; loosen the policy (`mird decide`), then build again"] if empty else []


def text_problems(files: Mapping[str, str], own: Iterable[str]) -> list[str]:
    """Paths of this machine in text that is about to leave it.

    Args:
        files: name -> text.
        own: of `own_folders`.
    """
    own = tuple(own)
    out = []
    for name, text in files.items():
        path = local_path(text) or next((one for one in own if one in text), "")
        if path:
            out.append(f"{name}: holds a path of this machine: {path}")
    return out


def card_problems(name: str, card: str, files: Iterable[str]) -> list[str]:
    """What the Hub would not understand of a card's head.

    Args:
        name: of the file.
        card: its text.
        files: paths that go beside it: `configs` must match some.
    """
    begin, _, rest = card.partition("---\n")
    text, end, _ = rest.partition("\n---")
    try:
        head = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return [f"{name}: its YAML is not valid: {' '.join(str(error).split())[:200]}"]
    if begin or not end or not isinstance(head, dict):
        return [f"{name}: does not begin with YAML between two lines of ---"]
    problems = []
    if not isinstance(head.get("license"), str):
        problems.append(f"{name}: license: expected a name, got {head.get('license')!r}")
    elif head["license"] == "other" and not head.get("license_name"):
        problems.append(f"{name}: license: other needs license_name")
    names = list(files)
    for config in head.get("configs") or ():
        for one in config.get("data_files", ()):
            if not any(Path(path).match(one["path"].replace("**", "*/*")) or path == one["path"] for path in names):
                problems.append(f"{name}: configs: {one['path']} matches no file")
    return problems


def size_problems(files: Mapping[str, int]) -> list[str]:
    """What the Hub would not take for its size."""
    folders = Counter(path.rpartition("/")[0] for path in files)
    problems = [
        f"{folder or '.'}: {count:,} files, the Hub takes {FOLDER_ENTRIES:,} in a folder; --set export.format=parquet"
        for folder, count in folders.items()
        if count > FOLDER_ENTRIES
    ]
    return problems + [
        f"{path}: {size / 1e9:.1f} GB, the Hub takes {LARGEST / 1e9:.0f} GB in a file; --set export.file_bytes=N"
        for path, size in files.items()
        if size > LARGEST
    ]


def removal_warnings(out: Path, repo: str) -> list[str]:
    """That a repository remembers what was taken out of a build."""
    removed = tombstones(out)
    text = (
        f"{repo}: older commits may still hold what `mird remove` took out; squash its history "
        "(huggingface_hub.super_squash_history) and delete the old files in its settings"
    )
    return [text] if removed else []


def size_warnings(files: Mapping[str, int], private: bool) -> list[str]:
    """What may cost more than is thought."""
    out = []
    if len(files) > ALL_FILES:
        out.append(f"{len(files):,} files; the Hub advises at most {ALL_FILES:,}: --set export.format=parquet")
    if private and sum(files.values()) > FREE_PRIVATE:
        out.append(f"{sum(files.values()) / 1e9:,.0f} GB in private; a free account has {FREE_PRIVATE / 1e9:,.0f} GB")
    return out
