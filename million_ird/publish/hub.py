"""A folder to the Hugging Face Hub; the one file of this room that knows `huggingface_hub`.

The token is the one that `hf auth login` stored or the environment holds; it is neither printed nor written here.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from million_ird import __version__
from million_ird.errors import ConfigError, InputError, OutputError

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
HIDDEN = (".*", "*/.*")
"""Patterns of what is never sent."""

_AGAIN = "run the same command again; it goes on where it was"
_ANSWERS = {
    401: "the Hub does not accept the token; run `hf auth login`, or unset HF_TOKEN",
    402: "the account has no room for it; delete something, or publish in another name",
    403: "this account may not write there; log in as one that may, or choose another --repo",
    404: "not found, or private: check the name, or run `hf auth login` as someone who may write to it",
    408: f"the Hub did not answer in time; {_AGAIN}",
    409: f"the Hub reports a conflict with something that goes on at the same time; {_AGAIN}",
    412: "it was changed by someone else in the meantime; look at it, then run the same command again",
    413: "the Hub finds it too large; write smaller files by --set export.file_bytes=N",
    416: f"the Hub could not store a file; {_AGAIN}",
    429: f"the Hub asks for fewer requests; wait some minutes, then {_AGAIN}",
}


@dataclass(frozen=True)
class Target:
    """Where something goes.

    Attributes:
        repo: ORG/NAME.
        kind: of repository.
        private: whether it must be; False = it may be public, and is made public where it is new.
        revision: branch, "" = main; made where it does not exist.
        create_pr: propose it as a pull request instead.
    """

    repo: str
    kind: Literal["dataset", "model"]
    private: bool = True
    revision: str = ""
    create_pr: bool = False

    def __post_init__(self) -> None:
        if not _REPO.fullmatch(self.repo) or ".." in self.repo or "--" in self.repo or self.repo.endswith(".git"):
            raise ConfigError(f"--repo {self.repo}: expected ORG/NAME, of letters, digits and single . _ -")
        if self.create_pr and self.revision:
            raise ConfigError("--create-pr and --revision: a pull request is made against main; give one of them")


@dataclass(frozen=True)
class Uploaded:
    """What became of an upload.

    Attributes:
        address: of the repository.
        commit: of the last commit, 40 hex digits; where nothing had changed, the one that was there.
        pull_request: its address, "" where none was opened.
        private: whether only those who may can read it.
        changed: whether there was anything to commit.
    """

    address: str
    commit: str
    pull_request: str
    private: bool
    changed: bool


def files_in(folder: Path) -> dict[str, int]:
    """What `upload` sends of a folder: path relative to it, POSIX -> bytes; no hidden files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            found[name] = path.stat().st_size
    return found


def upload(
    folder: Path, files: Mapping[str, int], target: Target, message: str, replaced: Sequence[str], show: bool = False
) -> Uploaded:
    """Put the files of a folder into a repository, and see that they are there.

    Only what changed is sent; what a killed upload has sent already is not sent again.

    Args:
        folder: that holds them.
        files: of `files_in`.
        target: where to.
        message: of the commit.
        replaced: patterns of the repository's files that go where `files` has them no more.
        show: let the client draw its progress.

    Raises:
        OutputError: the repository is public and was not asked to be, the Hub refuses or cannot be reached, or holds
            something else afterwards. Before it is known to be private, no file leaves this machine.
    """
    api = _api(target, show)
    with _answers(target, api.endpoint):
        address = str(api.create_repo(target.repo, repo_type=target.kind, private=target.private, exist_ok=True))
        info = api.repo_info(target.repo, repo_type=target.kind)
    private = bool(info.private)
    if target.private and not private:
        raise OutputError(
            f"{target.repo}: is public on the Hub, and --public was not given: nothing was sent; make it private "
            "there, choose another --repo, or give --public"
        )
    with _answers(target, api.endpoint):
        if target.revision:
            if not target.revision.startswith("refs/"):
                api.create_branch(target.repo, repo_type=target.kind, branch=target.revision, exist_ok=True)
            info = api.repo_info(target.repo, repo_type=target.kind, revision=target.revision)
        done: Any = api.upload_folder(
            repo_id=target.repo,
            repo_type=target.kind,
            folder_path=folder,
            revision=target.revision or None,
            create_pr=target.create_pr,
            parent_commit=None if target.create_pr else info.sha,
            commit_message=message,
            ignore_patterns=list(HIDDEN),
            delete_patterns=list(replaced) or None,
        )
        _verify(api, target, done.oid, files, replaced)
    return Uploaded(address, done.oid, done.pr_url or "", private, done.oid != info.sha)


def _api(target: Target, show: bool) -> Any:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars, logging
    except ImportError:
        raise InputError(f'--repo {target.repo}: the Hub needs: pip install "million-ird[train]"') from None
    if not show:
        disable_progress_bars()
    logging.set_verbosity_error()
    return HfApi(library_name="million-ird", library_version=__version__)


def _verify(api: Any, target: Target, commit: str, files: Mapping[str, int], replaced: Sequence[str]) -> None:
    """OutputError where the commit does not hold these files, of these sizes, or still holds what they replace."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(target.repo, recursive=True, revision=commit, repo_type=target.kind)
    found = {entry.path: entry.size for entry in tree if isinstance(entry, RepoFile)}
    wrong = [name for name, size in files.items() if found.get(name) != size]
    wrong += [name for name in found if name not in files and any(fnmatch.fnmatch(name, one) for one in replaced)]
    if wrong:
        raise OutputError(
            f"{target.repo}: after the upload {len(wrong)} files differ from those here, first: {wrong[0]}; {_AGAIN}"
        )


@contextmanager
def _answers(target: Target, endpoint: str) -> Iterator[None]:
    """What the Hub and the way to it raise, as one line with the remedy."""
    from huggingface_hub import errors

    # The first base is `HTTPError` of the HTTP library, which is another one from version to version. The upload of
    # large files wraps it in RuntimeError; ValueError says what is wrong with a name or with the card's head.
    known: Any = (OSError, RuntimeError, ValueError, errors.HfHubHTTPError.__bases__[0])
    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise OutputError(f"{target.repo}: HF_HUB_OFFLINE is on; unset it") from None
    except errors.RevisionNotFoundError:
        raise OutputError(f"{target.repo}: has no branch '{target.revision}'") from None
    except known as error:
        raise OutputError(f"{target.repo}: {_trouble(error, endpoint)}") from None


def _trouble(error: BaseException, endpoint: str) -> str:
    while error.__cause__ is not None and _status(error) is None:
        error = error.__cause__
    status = _status(error)
    if status == 401 and not _logged_in():
        return "not logged in to the Hub; run `hf auth login`, or set HF_TOKEN"
    if status in _ANSWERS:
        return f"{_ANSWERS[status]} (answer {status})"
    if status is not None:
        return f"the Hub answers {status}; " + (f"later {_AGAIN}" if status >= 500 else _first_line(error))
    if isinstance(error, ValueError):
        return _first_line(error)
    return f"{endpoint} cannot be reached ({_first_line(error)}); {_AGAIN}"[:400]


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _logged_in() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _first_line(error: BaseException) -> str:
    """What an error says, without a token that it may quote."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"hf_\w+", "hf_…", text)
