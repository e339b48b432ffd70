"""Where everything that a command says goes: results to standard output, the rest to standard error."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer

from million_ird.errors import MirdError

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More detail; tracebacks of errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object on standard output.")]
ConfigFile = Annotated[str | None, typer.Option("--config", metavar="FILE", help="YAML laid over the preset.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key, for example policy.blur.min=80.")
]
RayAddress = Annotated[
    str | None, typer.Option(metavar="A", help="Ray cluster: auto, ray://HOST:PORT; default: one of this machine.")
]
EVERY_SECONDS = 5.0


class ExecutorName(StrEnum):
    """Where the work is done."""

    local = "local"
    ray = "ray"


Executor = Annotated[ExecutorName | None, typer.Option(help="Where the work is done.", show_default="local")]


class Output:
    """What a command prints.

    Args:
        quiet: errors only.
        verbose: tracebacks too.
        as_json: one JSON object on standard output in place of text.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.as_json = as_json

    def say(self, text: str) -> None:
        """A line for the user, on standard error."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def warn(self, text: str) -> None:
        """A line the user should see, on standard error."""
        print(f"mird: warning: {text}", file=sys.stderr)

    def result(self, value: Mapping[str, Any], text: str) -> None:
        """The result: JSON or text on standard output."""
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False))
        elif not self.quiet:
            print(text)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn a `MirdError` into one line and its exit code, and Ctrl-C into 130."""
        try:
            yield
        except MirdError as error:
            if self.verbose:
                raise
            print(f"mird: error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("mird: interrupted; run the same command again to go on", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader of our output is gone; Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None

    @contextmanager
    def progress(self) -> Iterator[Any]:
        """A `watch(stage, done, total, note, each)` callback: a bar on a terminal, a line every few seconds elsewhere.

        `note` stands behind the rate, which counts `each` for one done.
        """
        if self.quiet:
            yield lambda stage, done, total, note="", each=1: None
        elif sys.stderr.isatty():
            with _bars() as watch:
                yield watch
        else:
            yield _Lines()


class _Lines:
    """Progress as plain lines: each stage's begin and end, and one every few seconds between."""

    def __init__(self) -> None:
        self.stage = ""
        self.began = self.last = 0.0
        self.first = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "", each: int = 1) -> None:
        now = time.monotonic()
        if stage != self.stage:
            self.stage, self.began, self.last, self.first = stage, now, now, done
            print(f"{stage}: {total:,} to do" if total > 1 else stage, file=sys.stderr, flush=True)
        elif total > 1 and (done >= total or now - self.last >= EVERY_SECONDS):
            self.last = now
            rate = (done - self.first) * each / max(now - self.began, 1e-9)
            print(
                f"{stage}: {done:,} of {total:,} ({_rate(rate, each)}) {note}".rstrip(),
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def _bars() -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = [TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}
        began: dict[str, tuple[float, int]] = {}

        def watch(stage: str, done: int, total: int, note: str = "", each: int = 1) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total or None, rate="")
                began[stage] = time.monotonic(), done if each > 1 else 0
            begin, first = began[stage]
            rate = (done - first) * each / max(time.monotonic() - begin, 1e-9)
            words = f"{_rate(rate, each)} {note}"
            progress.update(tasks[stage], completed=done, total=total or None, rate=words)

        yield watch


def _rate(rate: float, each: int) -> str:
    """Per second, with its unit where that is another than of what is done."""
    return f"{rate:,.{_digits(rate)}f}{' images' if each > 1 else ''}/s"


def _digits(rate: float) -> int:
    """Decimals of a rate: those of a slow one matter."""
    return 0 if rate >= 10 else 1


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows as aligned columns of plain text; columns in `right` are right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
