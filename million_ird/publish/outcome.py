"""What publishing came to, and the last steps that all of it shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from million_ird.errors import MirdError
from million_ird.publish.hub import Target, files_in, upload
from million_ird.tables import whole

Watch = Callable[..., None]
"""Called with (stage, done, total); stages: "card", "check", "upload"."""


class Unfit(MirdError):
    """What must not be published as it is: a line for each reason, which `problems` has one by one."""

    exit_code = 1

    def __init__(self, what: str, problems: tuple[str, ...]) -> None:
        lines = problems if len(problems) == 1 else ("", *problems)
        super().__init__(f"{what}: nothing was sent: " + "\n  ".join(lines))
        self.problems = problems


@dataclass(frozen=True)
class Published:
    """What was published, or would be.

    Attributes:
        repo: ORG/NAME.
        kind: "dataset", "model" or "index".
        files: path in the repository -> bytes.
        problems: why it cannot be published as it is; empty where it was.
        warnings: what the user should know.
        address: of the repository, "" where nothing was sent.
        commit: 40 hex digits, "" where nothing was sent.
        pull_request: its address, "" = none.
        private: whether the repository is.
        changed: whether there was anything new.
    """

    repo: str
    kind: str
    files: Mapping[str, int]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    address: str = ""
    commit: str = ""
    pull_request: str = ""
    private: bool = True
    changed: bool = False
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bytes", sum(self.files.values()))


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the card and what belongs to it, each file whole or not at all; what is the same already is left alone."""
    for name, data in files.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            with whole(path) as file:
                file.write(data)


def sizes(folder: Path, written: Mapping[str, bytes], renewed: str = "") -> dict[str, int]:
    """The files of a folder as they will be once `written` is, and with it all of the folder `renewed` in it."""
    there = {name: size for name, size in files_in(folder).items() if name.partition("/")[0] != renewed}
    return dict(sorted({**there, **{name: len(data) for name, data in written.items()}}.items()))


def send(
    folder: Path,
    target: Target,
    kind: str,
    message: str,
    replaced: tuple[str, ...],
    warnings: tuple[str, ...],
    show: bool,
) -> Published:
    """Upload a folder that was checked."""
    files = files_in(folder)
    done = upload(folder, files, target, message, replaced, show)
    if done.private and not target.private:
        warnings += (f"{target.repo}: is private on the Hub; make it public in its settings there",)
    return Published(
        repo=target.repo,
        kind=kind,
        files=files,
        warnings=warnings,
        address=done.address,
        commit=done.commit,
        pull_request=done.pull_request,
        private=done.private,
        changed=done.changed,
    )
