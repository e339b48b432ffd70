"""`mird explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose, table

if TYPE_CHECKING:
    from million_ird.curate.explain import Explanation

EXAMPLE = "Example: mird explain DIR holiday/beach.jpg"


def command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Output folder of `mird build`.")],
    name: Annotated[str, typer.Argument(metavar="URI|ID", help="URI, id (sha256) or key of an input.")],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Print every measurement of an input, each rule's verdict, and the duplicate it lost to."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from dataclasses import asdict

        from million_ird.curate.explain import explain
        from million_ird.mirror import is_address

        if is_address(folder):
            from million_ird.curate.remote import read_only

            with read_only(folder) as here:
                found = explain(here, name)
        else:
            found = explain(folder, name)
        output.result({"inputs": [asdict(item) for item in found]}, "\n\n".join(_text(item) for item in found))


def _text(item: Explanation) -> str:
    decision = item.decision
    verdict = "kept" if decision["keep"] else f"dropped: {decision['reason']}"
    if decision["value"] is not None:
        verdict += f" ({decision['value']:.6g} against {decision['threshold']:.6g})"
    facts = [[f"  {name}", str(value)] for name, value in item.facts.items() if value is not None]
    numbers = [[f"  {name}", "-" if value is None else f"{value:.6g}"] for name, value in item.measurements.items()]
    rules = [
        [
            f"  {asked.reason}",
            asked.column,
            "-" if asked.value is None else f"{asked.value:.6g}",
            f"{'>=' if asked.bound == 'min' else '<='} {asked.threshold:.6g}",
            asked.verdict,
        ]
        for asked in item.asked
    ]
    lines = [
        f"{decision['uri']}: {verdict}",
        "facts",
        table(facts),
        "measurements",
        table(numbers),
        "rules",
        table(rules),
    ]
    if item.lost_to:
        lines.append(f"lost to: {item.lost_to['uri']} ({item.lost_to['key']})")
    if item.group:
        others = [[f"  {m['uri']}", "kept" if m["keep"] else str(m["reason"])] for m in item.group]
        lines += ["duplicates", table(others)]
    return "\n".join(lines)
