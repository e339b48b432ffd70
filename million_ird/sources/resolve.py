"""From what the user typed to sources."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from million_ird.errors import InputError
from million_ird.sources.archive import IMAGE_SUFFIXES
from million_ird.sources.files import LocalFiles, RemoteFiles, failures, first_line, printable
from million_ird.sources.open import Kind, Listing, SourceSpec
from million_ird.sources.web.guard import SCHEMES, Refused, canonical, check_url, host_of

_ARCHIVES: dict[str, Kind] = {".tar": "tar", ".zip": "zip"}
_LISTS = frozenset([".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow"])
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")
_KNOWN = (
    "folders, images, .tar and .zip archives, lists of URLs (.txt, .csv, .tsv, .jsonl, .parquet), globs of these, "
    "fsspec addresses of these (s3://, gs://, memory://), https:// (an image, a list, an archive or a site), and "
    "hf://datasets/ORG/NAME"
)


def resolve(
    sources: Sequence[str], listing: Listing | None = None, beside: Sequence[SourceSpec] = ()
) -> list[SourceSpec]:
    """What each SOURCE of a command line means.

    Args:
        sources: as typed.
        listing: how lists of URLs are read; None = nothing of the web is taken.
        beside: sources that are there already, to which these are added.

    Raises:
        InputError: missing, given twice, matching nothing, or of a kind that cannot be read.
    """
    if not sources:
        raise InputError(f"no SOURCE given: name one of {_KNOWN}")
    specs = list(beside)
    for source in sources:
        for spec in _meant(source):
            if (spec.web or spec.kind == "brought") and listing is None:
                raise InputError(f"{source}: what lies on the web is read by `mird build` alone; build a dataset first")
            if spec.kind == "list" and listing is not None:
                spec = replace(spec, listing=listing)
            if any((s.protocol, s.root, s.paths) == (spec.protocol, spec.root, spec.paths) for s in specs):
                raise InputError(f"{source}: this source is given twice; name it once")
            specs.append(_labelled(spec, specs))
    return specs[len(beside) :]


def _meant(source: str) -> Iterator[SourceSpec]:
    protocol = source.partition("://")[0].lower() if "://" in source else ""
    if protocol in SCHEMES:
        return _address(source)
    if protocol == "hf":
        return _hub(source)
    return _remote(source) if protocol else _local(source)


def _address(source: str) -> Iterator[SourceSpec]:
    """A web address: an image, a list or an archive by how it ends, else a site."""
    try:
        check_url(url := canonical(source))
    except Refused as refused:
        raise InputError(f"{source}: {refused}") from None
    name = PurePosixPath(urlsplit(url).path).name
    suffix = PurePosixPath(name.lower()).suffix
    if suffix.lstrip(".") in IMAGE_SUFFIXES:
        yield SourceSpec("", "url", "", host_of(url), (url,))
    elif suffix in _LISTS or suffix in _ARCHIVES:
        yield SourceSpec("", "brought", "", url, (name,))
    elif name.lower().endswith(_PACKED):
        yield _one_file("", "", name)
    else:
        yield SourceSpec("", "site", "", url)


def _hub(source: str) -> Iterator[SourceSpec]:
    from million_ird.sources.hub import resolve_hub

    for found in resolve_hub(source):
        yield SourceSpec("", found.kind, "hf", found.root, found.paths, licence=found.licence)


def _local(source: str) -> Iterator[SourceSpec]:
    path = Path(source).expanduser()
    if path.is_dir():
        from million_ird.sources.rowfiles import dataset_files

        rows = dataset_files(path)
        yield SourceSpec("", "rows" if rows else "folder", "", str(path.absolute()), tuple(rows or ()))
    elif path.is_file():
        yield _one_file("", path.absolute().parent.as_posix(), path.name)
    elif glob.has_magic(source):
        yield from _local_glob(str(path))
    else:
        raise InputError(f"{source}: no such file or folder")


def _local_glob(pattern: str) -> Iterator[SourceSpec]:
    matches = sorted(glob.iglob(pattern, recursive=True))  # noqa: PTH207 (a whole pattern, absolute or not)
    if not matches:
        raise InputError(f"{pattern}: the pattern matches nothing")
    paths = [Path(match).absolute() for match in matches]
    fixed = Path(*_before_magic(Path(pattern).absolute().parts))
    files = [path for path in paths if path.is_file()]
    plain = [path.relative_to(fixed).as_posix() for path in files if path.suffix.lower() not in _ARCHIVES]
    yield from _grouped("", str(fixed), plain, alone=len(plain) == len(files))
    for path in files:
        if path.suffix.lower() in _ARCHIVES:
            yield _one_file("", path.parent.as_posix(), path.name)
    folders = [path for path in paths if path.is_dir()]
    if not plain:  # `photos/*` means the files; `shoot-*` that matches folders alone means the folders
        yield from (SourceSpec("", "folder", "", str(folder)) for folder in folders)


def _grouped(protocol: str, root: str, paths: Sequence[str], alone: bool) -> Iterator[SourceSpec]:
    """The files that a pattern matches, archives apart: tables of images, lists of URLs, and all others."""
    from million_ird.sources.batches import tables_of

    rows, lists, others = tables_of(RemoteFiles(protocol, root) if protocol else LocalFiles(root), paths, alone)
    kinds: tuple[tuple[Kind, list[str]], ...] = (("files", others), ("rows", rows), ("list", lists))
    yield from (SourceSpec("", kind, protocol, root, tuple(found)) for kind, found in kinds if found)


def _remote(source: str) -> Iterator[SourceSpec]:
    import fsspec

    protocol, _, address = source.partition("://")
    if protocol not in fsspec.available_protocols():
        raise InputError(f"{source}: cannot read this kind of source; this version reads {_KNOWN}")
    files = RemoteFiles(protocol, address)
    fs = files.fs
    try:
        root = fs._strip_protocol(source)
        if glob.has_magic(source):
            matches = sorted(match for match in fs.glob(root) if fs.isfile(match))
            fixed = "/".join(_before_magic(root.split("/")))
            if not matches:
                raise InputError(f"{source}: the pattern matches nothing")
            plain = [m for m in matches if PurePosixPath(m).suffix.lower() not in _ARCHIVES]
            names = [m.removeprefix(fixed).lstrip("/") for m in plain]
            yield from _grouped(protocol, fixed, names, alone=len(plain) == len(matches))
            for match in matches:
                if match not in plain:
                    yield _one_file(protocol, *match.rsplit("/", 1))
        elif fs.isfile(root):
            parent, _, name = root.rpartition("/")
            yield _one_file(protocol, parent, name)
        elif fs.isdir(root):
            yield SourceSpec("", "folder", protocol, root)
        else:
            raise InputError(f"{source}: no such file or folder")
    except failures(files) as error:
        raise InputError(f"{source}: cannot be reached: {first_line(error)}") from None


def _one_file(protocol: str, root: str, name: str) -> SourceSpec:
    lower = name.lower()
    if lower.endswith(_PACKED):
        raise InputError(
            f"{name}: compressed archives cannot be read in place; unpack it, or repack it as .tar or .zip"
        )
    suffix = PurePosixPath(lower).suffix
    if suffix in _LISTS:
        from million_ird.sources.batches import is_image_table

        files = RemoteFiles(protocol, root) if protocol else LocalFiles(root)
        return SourceSpec("", "rows" if is_image_table(files, name) else "list", protocol, root, (name,))
    return SourceSpec("", _ARCHIVES.get(suffix, "files"), protocol, root, (name,))


def _before_magic(parts: Sequence[str]) -> list[str]:
    fixed = []
    for part in parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return fixed


def _labelled(spec: SourceSpec, others: Sequence[SourceSpec]) -> SourceSpec:
    if spec.kind == "site":
        name = host_of(spec.root)
    elif spec.kind in ("tar", "zip", "list", "brought"):
        name = spec.paths[0]
    else:
        name = PurePosixPath(Path(spec.root).as_posix()).name.partition("@")[0] or "root"
    base = printable(os.fsencode(name))
    taken = {other.label for other in others}
    label, count = base, 1
    while label in taken:
        count += 1
        label = f"{base}-{count}"
    return replace(spec, label=label)
