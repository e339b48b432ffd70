"""`mird verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose

if TYPE_CHECKING:
    from million_ird.pairs.check import VerifyReport

EXAMPLE = "Example: mird verify DIR --samples 100"


def command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Output folder of `mird degrade`.")],
    samples: Annotated[int, typer.Option(min=1, metavar="N", help="How many samples to render again.")] = 32,
    seed: Annotated[int, typer.Option(metavar="N", help="Chooses them.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Render a sample of a degraded set again and compare with what was written; exit 1 where it differs."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from million_ird.pairs.check import verify

        found = verify(folder, samples, seed)
        output.result(found.as_dict(), _text(found))
        if not found.ok:
            raise typer.Exit(1)


def _text(found: VerifyReport) -> str:
    tiers = ", ".join(f"{count} {tier}" for tier, count in sorted(found.tiers.items()))
    lines = [f"{found.checked:,} of {found.samples:,} samples rendered again" + (f" (tier: {tiers})" if tiers else "")]
    if not found.same_versions:
        changed = "; ".join(found.changed_versions)
        lines.append(f"made with other versions ({changed}): compared as far as each tier promises")
    lines += [f"{one.name or 'set'}: {one.what}: {one.detail}" for one in found.differences]
    lines.append("all as written" if found.ok else f"{len(found.differences)} differences")
    return "\n".join(lines)
