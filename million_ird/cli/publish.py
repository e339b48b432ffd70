"""`mird publish dataset | model | index`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose, table

if TYPE_CHECKING:
    from million_ird.publish.outcome import Published
    from million_ird.publish.rot import Rot

SHOWN = 40
DATASET_EXAMPLE = "Example: mird publish dataset DIR --repo ORG/NAME --dry-run"
MODEL_EXAMPLE = "Example: mird publish model RUN --repo ORG/NAME --eval table.json --dry-run"
INDEX_EXAMPLE = "Example: mird publish index DIR --repo ORG/NAME --dry-run"

app = typer.Typer(
    no_args_is_help=True,
    help="Put a dataset, a network or an index without pixels on the Hugging Face Hub; private unless --public.",
)

Folder = Annotated[str, typer.Argument(metavar="DIR", help="Output folder of `mird build`.")]
Repo = Annotated[str, typer.Option("--repo", metavar="ORG/NAME", help="Repository; made where it does not exist.")]
Public = Annotated[bool, typer.Option("--public/--private", help="Whether everybody may read it.")]
Revision = Annotated[str, typer.Option("--revision", metavar="BRANCH", help="Branch; made where it does not exist.")]
CreatePr = Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead of writing to main.")]
Contact = Annotated[str, typer.Option("--contact", metavar="TEXT", help="For the card: an address for questions.")]
Unlicensed = Annotated[bool, typer.Option("--allow-unknown-licence", help="Publish rows that name no licence, too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, and list files and bytes; write and send nothing.")]


@app.command("dataset", epilog=DATASET_EXAMPLE)
def dataset(
    folder: Folder,
    repo: Repo,
    public: Public = False,
    revision: Revision = "",
    create_pr: CreatePr = False,
    contact: Contact = "",
    allow_unknown_licence: Unlicensed = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Upload the dataset of a build. After a kill the same command goes on."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from million_ird import publish

        with output.progress() as watch:
            found = publish.dataset(
                folder,
                repo,
                public=public,
                revision=revision,
                create_pr=create_pr,
                contact=contact,
                allow_unknown_licence=allow_unknown_licence,
                dry_run=dry_run,
                show=_show(quiet),
                watch=watch,
            )
        _say(output, found)


@app.command("model", epilog=MODEL_EXAMPLE)
def model(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of `mird train`, or its model/.")],
    repo: Repo,
    evals: Annotated[
        list[str] | None, typer.Option("--eval", metavar="FILE", help="JSON of `mird eval`, for the card; repeatable.")
    ] = None,
    licence: Annotated[
        str, typer.Option("--licence", metavar="NAME", help="Of the weights, as the Hub calls it: apache-2.0, …")
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Title of the card.")] = "",
    public: Public = False,
    revision: Revision = "",
    create_pr: CreatePr = False,
    contact: Contact = "",
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Upload a network; `models.load("ORG/NAME")` and `mird restore --model ORG/NAME` then find it."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from million_ird import publish

        with output.progress() as watch:
            found = publish.model(
                folder,
                repo,
                evals=evals or [],
                licence=licence,
                name=name,
                contact=contact,
                public=public,
                revision=revision,
                create_pr=create_pr,
                dry_run=dry_run,
                show=_show(quiet),
                watch=watch,
            )
        _say(output, found)


@app.command("index", epilog=INDEX_EXAMPLE)
def index(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Output of `mird build`; with --verify, an index.")],
    repo: Annotated[str, typer.Option("--repo", metavar="ORG/NAME", help="Repository; made if missing.")] = "",
    verify: Annotated[
        str, typer.Option("--verify", metavar="BUILD", help="Publish nothing: say what has rotted, by a build of DIR.")
    ] = "",
    public: Public = False,
    revision: Revision = "",
    create_pr: CreatePr = False,
    contact: Contact = "",
    allow_unknown_licence: Unlicensed = False,
    strict: Annotated[bool, typer.Option("--strict", help="With --verify: exit 3 where something has rotted.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Upload addresses, hashes, measurements and decisions of a build: a dataset without pixels."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from dataclasses import asdict

        from million_ird import publish
        from million_ird.errors import ConfigError

        if bool(verify) == bool(repo):
            raise ConfigError("give either --repo ORG/NAME, to publish, or --verify BUILD, to compare")
        if verify:
            rot = publish.compare(folder, verify)
            output.result(asdict(rot), _rot(rot))
            if strict and rot.same + rot.reencoded < rot.rows:
                output.warn(f"--strict: {rot.rows - rot.same - rot.reencoded} have rotted")
                raise typer.Exit(3)
            return
        with output.progress() as watch:
            found = publish.index(
                folder,
                repo,
                public=public,
                revision=revision,
                create_pr=create_pr,
                contact=contact,
                allow_unknown_licence=allow_unknown_licence,
                dry_run=dry_run,
                show=_show(quiet),
                watch=watch,
            )
        _say(output, found)


def _show(quiet: bool) -> bool:
    """Whether the Hub's client may draw on the terminal."""
    return not quiet and sys.stderr.isatty()


def _say(output: Output, found: Published) -> None:
    """What was published, or would be; exit 1 where a dry run found problems."""
    from dataclasses import asdict

    for warning in found.warnings:
        output.warn(warning)
    for problem in found.problems:
        print(f"mird: problem: {problem}", file=sys.stderr)
    output.result(asdict(found), _text(found))
    if found.problems:
        raise typer.Exit(1)


def _text(found: Published) -> str:
    who = "private" if found.private else "public"
    total = f"{len(found.files):,} files, {found.bytes / 1e6:,.1f} MB"
    if found.address:
        did = "published" if found.changed else "nothing had changed"
        lines = [f"{did}: {total}, {who}: {found.address} at {found.commit[:12]}"]
        return "\n".join([*lines, *([f"pull request: {found.pull_request}"] if found.pull_request else [])])
    rows = [[name, f"{size:,}" if size else ""] for name, size in list(found.files.items())[:SHOWN]]
    rows += [[f"… {len(found.files) - SHOWN:,} more", ""]] if len(found.files) > SHOWN else []
    state = "would be refused" if found.problems else f"would go to {found.repo}, {who}"
    return f"{table(rows, right=(1,))}\n{total} {state}; nothing was written or sent"


def _rot(rot: Rot) -> str:
    rows = [
        ["addresses", f"{rot.rows:,}"],
        ["  same bytes", f"{rot.same:,}"],
        ["  same picture, other file", f"{rot.reencoded:,}"],
        ["  another picture", f"{rot.changed:,}"],
        ["  gone", f"{rot.gone:,}"],
        ["  not asked", f"{rot.unasked:,}"],
    ]
    why = [f"gone: {', '.join(f'{name} {count:,}' for name, count in rot.why.items())}"] if rot.why else []
    return "\n".join([table(rows, right=(1,)), *why, *(f"{url}: {state}" for url, state in rot.examples)])
