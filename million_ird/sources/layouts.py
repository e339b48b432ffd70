"""Pairs of pictures on disk, found by the name of the benchmark they are or by the plain layouts `pairs` and `clean`.

from million_ird.sources import layouts

found = layouts.find("rain100l", "/data/Rain100L")
found.pairs[0].degraded, found.pairs[0].clean, found.missing, found.notes
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from million_ird.errors import BadImage, InputError
from million_ird.images import read_header
from million_ird.sources.benchmarks import BENCHMARKS, Benchmark, Form

Split = Literal["test", "train"]

SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"])

HEAD = 1 << 16
"""Bytes that nearly every header lies in."""

LAYOUTS: dict[str, str] = {name: f"{one.title}. Expected: {one.tree}" for name, one in BENCHMARKS.items()}
"""Name of each layout -> what it is, and the expected tree."""


@dataclass(frozen=True)
class Pair:
    """One picture to restore.

    Attributes:
        name: relative path of the degraded picture (of the clean one where there is no other) below the folder that
            holds the set, with "/": the same wherever the set lies.
        clean: file of the target.
        degraded: file of the input; None: clean only, to be degraded by a recipe.
    """

    name: str
    clean: Path
    degraded: Path | None


@dataclass(frozen=True)
class Found:
    """What lies in a folder.

    Attributes:
        layout: name of it.
        root: the folder that names are relative to.
        pairs: by name, sorted.
        missing: degraded pictures without a clean one, relative paths.
        surplus: clean pictures without a degraded one, relative paths.
        notes: leaks and pitfalls that are known of the set.
        published: pairs that the set has as published; 0 = no fixed number.
    """

    layout: str
    root: Path
    pairs: list[Pair]
    missing: list[str]
    surplus: list[str]
    notes: list[str] = field(default_factory=list)
    published: int = 0


def find(name: str, path: str | Path, split: Split | str = "test") -> Found:
    """The pairs of a set as it was downloaded, sorted by name; nothing is read but names.

    Args:
        name: one of `LAYOUTS`.
        path: the folder that was downloaded and unpacked, or the part of it that holds the split.
        split: "test" or "train"; sets that have one split only take either word.

    Raises:
        InputError: unknown name or split, or the folder is laid out in another way; says what was expected.
    """
    benchmark = BENCHMARKS.get(name)
    if benchmark is None:
        raise InputError(f"layout {name}: unknown; known: {', '.join(BENCHMARKS)}")
    if split not in ("test", "train"):
        raise InputError(f"split {split}: unknown; known: test, train")
    top = Path(path)
    if not top.is_dir():
        raise InputError(f"{path}: no such folder; {name} is a folder with {benchmark.tree}")
    files = _images(top)
    for root in _roots(benchmark, split):
        within = _below(files, root)
        for form in benchmark.forms if within else ():
            lq, hq = (_matching(within, pattern) for pattern in (form.lq, form.hq))
            if hq and (lq or not form.lq):
                return _found(name, top, split, form, lq, hq)
    part = f" ({split} part)" if "test" in benchmark.roots else ""
    raise InputError(f"{path}: not laid out as {name}{part}; expected {benchmark.tree}")


def mismatched(pairs: Sequence[Pair], watch: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
    """What is wrong with the files of pairs by their headers: sizes that differ, files that are no images.

    Args:
        pairs: as found.
        watch: told (pairs done, pairs in all).

    Returns:
        "NAME: degraded 480x320, clean 481x321 px", ...; empty where all is well.
    """
    wrong: list[str] = []
    sizes: dict[Path, tuple[int, int] | str] = {}
    for done, pair in enumerate(pairs, 1):
        for file in filter(None, (pair.clean, pair.degraded)):
            if file not in sizes:
                sizes[file] = _size(file)
        clean, degraded = sizes[pair.clean], sizes[pair.degraded] if pair.degraded else None
        bad = [text for text in (clean, degraded) if isinstance(text, str)]
        wrong += [f"{pair.name}: {text}" for text in bad]
        if not bad and degraded is not None and degraded != clean:
            wrong.append(f"{pair.name}: degraded {_px(degraded)}, clean {_px(clean)} px")
        watch(done, len(pairs))
    return wrong


def _px(size: tuple[int, int] | str) -> str:
    return f"{size[0]}x{size[1]}"


def _size(file: Path) -> tuple[int, int] | str:
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
            try:
                header = read_header(head)
            except BadImage:  # what comes before the picture may be long: a profile, a preview
                header = read_header(head + stream.read())
    except OSError as error:
        return f"{file.name} cannot be read: {error.strerror}"
    except BadImage as error:
        return f"{file.name}: {error}"
    return header.width, header.height


@dataclass(frozen=True)
class _File:
    """An image: its path, the same relative to the root it was looked up under, and the key once it has one."""

    path: Path
    relative: str
    key: tuple[str, ...] = ()


def _images(top: Path) -> list[_File]:
    """All images below a folder but hidden ones, sorted by path; links to folders are not followed."""
    out: list[_File] = []
    for folder, subfolders, names in os.walk(top):
        subfolders[:] = [sub for sub in subfolders if not sub.startswith((".", "__MACOSX"))]
        prefix = Path(folder).relative_to(top).as_posix()
        prefix = "" if prefix == "." else f"{prefix}/"
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                out.append(_File(Path(folder, name), prefix + name))
    return sorted(out, key=lambda file: file.relative)


def _roots(benchmark: Benchmark, split: str) -> Iterator[str]:
    yield from benchmark.roots.get(split, benchmark.roots.get("", ()))
    yield ""


def _below(files: Sequence[_File], root: str) -> list[_File]:
    if not root:
        return list(files)
    start = f"{root}/".lower()
    return [_File(f.path, f.relative[len(start) :]) for f in files if f.relative.lower().startswith(start)]


def _matching(files: Sequence[_File], pattern: str) -> list[_File]:
    if not pattern:
        return []
    regex = re.compile(pattern, re.IGNORECASE)
    out = []
    for file in files:
        match = regex.fullmatch(file.relative[: -len(file.path.suffix)])
        if match:
            out.append(_File(file.path, file.relative, match.groups()))
    return out


def _found(name: str, top: Path, split: str, form: Form, lq: list[_File], hq: list[_File]) -> Found:
    benchmark = BENCHMARKS[name]
    published = benchmark.published.get(split, benchmark.published.get("", 0))
    root = _root_of(hq[0])
    if not form.lq:
        pairs = [Pair(file.relative, file.path, None) for file in hq]
        return Found(name, root, pairs, [], [], list(benchmark.notes), published)
    clean: dict[tuple[str, ...], list[_File]] = defaultdict(list)
    for file in hq:
        clean[file.key].append(file)
    pairs, missing, used = [], [], set()
    for file in lq:
        choice = clean.get(file.key)
        if not choice:
            missing.append(file.relative)
            continue
        # Two clean pictures that differ in their suffix: the one of the same suffix is meant.
        best = next((one for one in choice if one.path.suffix == file.path.suffix), choice[0])
        used.add(best.path)
        pairs.append(Pair(file.relative, best.path, file.path))
    surplus = [] if form.shared else [file.relative for file in hq if file.path not in used]
    return Found(name, root, pairs, missing, surplus, list(benchmark.notes), published)


def _root_of(file: _File) -> Path:
    return Path(*file.path.parts[: len(file.path.parts) - len(file.relative.split("/"))])
