"""`mird review`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from million_ird.cli.output import Output, Quiet, Verbose

EXAMPLE = "Example: mird review DIR --meter blur"


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of `mird build`.")],
    meter: Annotated[
        str | None, typer.Option("--meter", metavar="COLUMN", help="Measurement to begin with, for example blur.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 = any free one.")] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Don't open the page in a browser.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Look at the pictures around a threshold, keep or drop each by a key, and see how well the threshold does.

    Answers go to DIR/labels.parquet, each as it is given. Ctrl-C ends the review.
    """
    output = Output(quiet, verbose)
    with output.guarded():
        import webbrowser

        from million_ird.curate.review.server import Review

        review = Review(folder, meter, port)
        print(review.url, flush=True)
        output.say("answers are written as they are given; Ctrl-C ends the review")
        if not no_open:
            webbrowser.open(review.url)
        try:
            review.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            labels = review.desk.labels
            if labels.rows:
                output.say(f"\n{len(labels.rows)} answers in {labels.path}; they count with")
                output.say(f"  mird decide {folder} --set policy.pins.file={labels.path.absolute()}")
        finally:
            review.server_close()
