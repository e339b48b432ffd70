"""Datasets of the Hugging Face Hub; the one file of this room that knows `huggingface_hub`. Nothing is downloaded but
what is read; the token is the one that `hf auth login` stored, or that the environment holds."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote

from million_ird.errors import InputError
from million_ird.sources.archive import IMAGE_SUFFIXES
from million_ird.sources.batches import SUFFIXES, columns_of, is_list
from million_ird.sources.files import RemoteFiles

_ADDRESS = re.compile(
    r"hf://datasets/(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/@]+))?(?:/(?P<path>.*))?"
)
_ARCHIVES: dict[str, Literal["tar", "zip"]] = {".tar": "tar", ".zip": "zip"}
_PACKED = (".tar.gz", ".tgz", ".zst", ".bz2", ".xz", ".7z", ".rar")


@dataclass(frozen=True)
class HubSet:
    """A part of a dataset on the Hub that is read in one way.

    Attributes:
        label: the dataset's name, without its owner.
        kind: "rows" = tables that hold images; "list" = tables that hold URLs; "tar", "zip" = the one archive in
            `paths`; "folder" = images, all below `root`; "files" = the images in `paths`.
        root: "datasets/ORG/NAME@COMMIT", of a folder with the folder: what `RemoteFiles("hf", root)` takes.
        paths: relative to it, sorted; () of a folder.
        commit: what the revision meant when it was asked for, 40 hex digits.
        licence: as the dataset's card names it, "" where it does not.
    """

    label: str
    kind: Literal["rows", "list", "tar", "zip", "folder", "files"]
    root: str
    paths: tuple[str, ...]
    commit: str
    licence: str = ""
    protocol: str = "hf"


def resolve_hub(address: str) -> list[HubSet]:
    """What an address of the Hub means, at the commit that its revision stands for now.

    A dataset is, in this order: tables that hold images; archives (an entry for each); images; tables that hold URLs.

    Args:
        address: `hf://datasets/ORG/NAME`, with `@REVISION` and `/FOLDER`, `/FILE` or `/PATTERN` where wanted.

    Raises:
        InputError: it cannot be had, and why, or holds nothing that can be read.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise InputError(f"{address}: no address of a dataset; write hf://datasets/ORG/NAME[@REVISION][/PATH]")
    name, path = match["id"], (match["path"] or "").strip("/")
    revision = unquote(match["revision"]) if match["revision"] else None
    info, files = _asked(address, name, revision, path)
    root = f"datasets/{name}@{info.sha}"
    licence = (info.card_data or {}).get("license") or ""
    found = _Chosen(
        name.rpartition("/")[2], root, info.sha, licence if isinstance(licence, str) else ", ".join(licence)
    )
    return found.sets(address, files, path)


def network_errors() -> tuple[type[BaseException], ...]:
    """What reading from the Hub raises when it fails."""
    from huggingface_hub.errors import HfHubHTTPError

    # The first base is `HTTPError` of the HTTP library, which is another one from version to version.
    return (OSError, HfHubHTTPError.__bases__[0])


def _asked(address: str, name: str, revision: str | None, path: str) -> tuple[Any, list[str]]:
    """What the Hub says of a dataset, and its files below the fixed part of a path."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise InputError(f'{address}: the Hub needs: pip install "million-ird[train]"') from None
    api = huggingface_hub.HfApi(library_name="million-ird")
    folder = _fixed(path)
    try:
        info = api.dataset_info(name, revision=revision)
        if info.gated:
            api.auth_check(name, repo_type="dataset")
        files = _listed(api, name, info.sha, folder)
    except errors.OfflineModeIsEnabled:
        raise InputError(
            f"{address}: the Hub is not asked, because HF_HUB_OFFLINE is on; unset it, or name a local copy"
        ) from None
    except errors.GatedRepoError:
        raise InputError(
            f"{address}: access is gated: accept its terms at {api.endpoint}/datasets/{name}, then run `hf auth login`"
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{address}: the dataset has no branch, tag or commit '{revision}'") from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{address}: not found, or private: check the name, or run `hf auth login` as someone who may read it"
        ) from None
    except errors.EntryNotFoundError:
        raise InputError(f"{address}: the dataset has no file or folder '{folder}'") from None
    except errors.HFValidationError as error:
        raise InputError(f"{address}: {str(error).splitlines()[0]}") from None
    except network_errors() as error:
        raise InputError(f"{address}: {_trouble(error, api.endpoint)}") from None
    return info, files


def _trouble(error: BaseException, endpoint: str) -> str:
    answer = getattr(error, "response", None)
    code = getattr(answer, "status_code", None)
    if code == 401:
        return "the Hub does not accept the token; run `hf auth login` again, or unset HF_TOKEN"
    if code is not None:
        return f"the Hub answers {code}" + ("; try again later" if code == 429 or code >= 500 else "")
    why = (str(error) or type(error).__name__).splitlines()[0]
    return f"{endpoint} cannot be reached ({why}); is there a network?"[:300]


def _fixed(path: str) -> str:
    """The part of a path before its first pattern."""
    parts = path.split("/")
    fixed = [part for part in parts[: next((i for i, p in enumerate(parts) if glob.has_magic(p)), len(parts))] if part]
    return "/".join(fixed)


def _listed(api: Any, name: str, commit: Any, folder: str) -> list[str]:
    """All files below a folder, or the one file of that name; sorted; hidden ones are left out."""
    from huggingface_hub.hf_api import RepoFile

    if folder:
        entries = api.get_paths_info(name, folder, revision=commit, repo_type="dataset")
        if not entries:
            raise InputError(f"hf://datasets/{name}/{folder}: the dataset has no such file or folder")
        if isinstance(entries[0], RepoFile):
            return [folder]
    tree = api.list_repo_tree(name, folder or None, recursive=True, revision=commit, repo_type="dataset")
    paths = (entry.path for entry in tree if isinstance(entry, RepoFile))
    return sorted(path for path in paths if not any(part.startswith(".") for part in path.split("/")))


@dataclass(frozen=True)
class _Chosen:
    """Sorts the files of a dataset by what can be read of them."""

    label: str
    root: str
    commit: str
    licence: str

    def sets(self, address: str, files: Sequence[str], path: str) -> list[HubSet]:
        if glob.has_magic(path):
            from fsspec.utils import glob_translate

            pattern = re.compile(glob_translate(path))
            files = [name for name in files if pattern.match(name)]
            if not files:
                raise InputError(f"{address}: the pattern matches nothing")
        rows, lists = self._tables(files)
        archives = [name for name in files if PurePosixPath(name.lower()).suffix in _ARCHIVES]
        images = [name for name in files if name.rpartition(".")[2].lower() in IMAGE_SUFFIXES]
        if rows:
            return [self._set("rows", rows)]
        if archives:
            return [self._set(_ARCHIVES[PurePosixPath(name.lower()).suffix], [name]) for name in archives]
        if images and (glob.has_magic(path) or files == [path]):
            return [self._set("files", images)]
        if images:
            root = f"{self.root}/{path}" if path else self.root
            return [HubSet(self.label, "folder", root, (), self.commit, self.licence)]
        if lists:
            return [self._set("list", lists)]
        if any(name.lower().endswith(_PACKED) for name in files):
            raise InputError(
                f"{address}: its archives are compressed, and cannot be read in place; download and unpack"
            )
        raise InputError(f"{address}: holds no images, no tables of images or URLs, and no .tar or .zip archives")

    def _set(self, kind: Any, paths: Sequence[str]) -> HubSet:
        return HubSet(self.label, kind, self.root, tuple(paths), self.commit, self.licence)

    def _tables(self, files: Sequence[str]) -> tuple[list[str], list[str]]:
        """Tables that hold images, and those that hold URLs; one file is looked into of each set of parts."""
        rows, lists = [], []
        reader = RemoteFiles("hf", self.root)
        for parts in _alike(files):
            if parts[0].lower().endswith(".arrow"):
                rows += parts
                continue
            columns = columns_of(reader, parts[0])
            if columns.images:
                rows += parts
            elif is_list(columns):
                lists += parts
        return sorted(rows), sorted(lists)


def _alike(files: Sequence[str]) -> Iterator[list[str]]:
    """Tables in groups of names that differ in numbers only."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in files:
        if PurePosixPath(name.lower()).suffix in (*SUFFIXES, ".arrow"):
            groups[re.sub(r"[0-9]+", "0", name)].append(name)
    yield from groups.values()
