"""`mird publish dataset` and `mird card`: the dataset of a build, with its card."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from million_ird.cards import PICTURES, Stored, dataset_card
from million_ird.curate.workspace import opened
from million_ird.errors import InputError
from million_ird.publish import checks
from million_ird.publish.contents import stored
from million_ird.publish.facts import Build, described
from million_ird.publish.hub import Target
from million_ird.publish.outcome import Published, Unfit, Watch, send, sizes, write_files
from million_ird.publish.places import own_folders

CARD = "README.md"
CONFIG = "build.yaml"
REPLACED = ("data/*", f"{PICTURES}/*")
"""What an upload takes out of a repository where the dataset has it no more."""


@dataclass(frozen=True)
class Described:
    """A build with its card.

    Attributes:
        build: as it was read.
        files: the card and what belongs to it, relative to dataset/.
        stored: what the dataset's files hold.
    """

    build: Build
    files: dict[str, bytes]
    stored: Stored

    @property
    def folder(self) -> Path:
        """The dataset."""
        return self.build.out / "dataset"


def card(folder: str | Path, repo: str = "", contact: str = "") -> Path:
    """Write the card of a build, with histograms and build.yaml, into its dataset; returns its path.

    Args:
        folder: DIR of `mird build`.
        repo: ORG/NAME that it is to be loaded from, "" = not said.
        contact: whom to write to, "" = the discussions on the Hub.

    Raises:
        MirdError: there is no finished build.
    """
    _existing(folder)
    with opened(Path(folder)):
        found = _described(folder, repo, contact)
        _write(found)
        return found.folder / CARD


def dataset(
    folder: str | Path,
    repo: str,
    *,
    public: bool = False,
    revision: str = "",
    create_pr: bool = False,
    contact: str = "",
    allow_unknown_licence: bool = False,
    dry_run: bool = False,
    show: bool = False,
    watch: Watch = lambda *progress: None,
) -> Published:
    """Put the dataset of a build on the Hub. After a kill the same call goes on; what has not changed is not sent.

    Args:
        folder: DIR of `mird build`.
        repo: ORG/NAME.
        public: let everybody read it; else a repository that is public is refused.
        revision: branch, "" = main.
        create_pr: open a pull request.
        contact: for the card, "" = the discussions on the Hub.
        allow_unknown_licence: publish rows that name no licence, too.
        dry_run: check, and tell what would be sent; write and send nothing.
        show: let the Hub's client draw its progress.
        watch: told of progress.

    Raises:
        Unfit: a check failed; nothing was sent, nor was the Hub asked anything.
        MirdError: there is no finished build; the Hub refuses.
    """
    target = Target(repo, "dataset", not public, revision, create_pr)
    _existing(folder)
    with opened(Path(folder)):
        watch("card", 0, 1)
        found = _described(folder, repo, contact)
        files = sizes(found.folder, found.files, PICTURES)
        watch("check", 0, found.stored.samples)
        if not dry_run:
            _write(found)
        problems = tuple(_problems(found, files, allow_unknown_licence))
        watch("check", found.stored.samples, found.stored.samples)
        warnings = (*checks.size_warnings(files, not public), *checks.removal_warnings(found.build.out, repo))
        if dry_run:
            return Published(repo, "dataset", files, problems, warnings, private=not public)
        if problems:
            raise Unfit(str(found.folder), problems)
        watch("upload", 0, len(files))
        kept = int(found.build.keep.sum())
        message = f"mird publish dataset: {kept:,} images, configuration {found.build.commit}"
        done = send(found.folder, target, "dataset", message, REPLACED, warnings, show)
        watch("upload", len(files), len(files))
        return done


def _existing(folder: str | Path) -> None:
    if not (Path(folder) / CONFIG).is_file():
        raise InputError(f"{folder}: no build here (build.yaml is missing); DIR is the --out of `mird build`")


def _described(folder: str | Path, repo: str, contact: str) -> Described:
    build = Build.of(folder)
    if not (build.out / "dataset" / CARD).is_file():
        raise InputError(f"{build.out}: this build has no dataset yet; run the same `mird build` again")
    facts, pictures = described(build, repo, contact)
    held = stored(build.out / "dataset", facts.format, facts.samples)
    text = dataset_card(replace(facts, stored=held))
    return Described(build, {CARD: text.encode(), CONFIG: build.recipe.encode(), **pictures}, held)


def _write(found: Described) -> None:
    """Write the card; pictures that a former one had and this one has not are deleted."""
    for path in (found.folder / PICTURES).glob("*.png"):
        if path.relative_to(found.folder).as_posix() not in found.files:
            path.unlink()
    write_files(found.folder, found.files)
    if not any(name.startswith(f"{PICTURES}/") for name in found.files):
        shutil.rmtree(found.folder / PICTURES, ignore_errors=True)


def _problems(found: Described, files: dict[str, int], allow_unknown_licence: bool) -> list[str]:
    texts = {name: found.files[name].decode() for name in (CARD, CONFIG)}
    return [
        *checks.card_problems(CARD, texts[CARD], files),
        *checks.text_problems(texts, own_folders(found.build.out)),
        *checks.size_problems(files),
        *checks.dataset_problems(found.build, found.stored, allow_unknown_licence),
    ]
