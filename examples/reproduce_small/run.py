"""The papers' ablations at small scale, from real photos, in one command:

    python examples/reproduce_small/run.py --data DIR --out DIR [--all] [--seeds N] [--rows NAME,...] [--smoke]

Prints the table and writes OUT/table.md and OUT/table.json. What is finished is not done again, what was cut off
goes on. README.md beside this file says what the rows are.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rows import ROWS, TABLES, Row, chosen, headline
from trainings import Scope

CORES = 2
"""That budgets are planned for."""


def main(words: Sequence[str] | None = None) -> int:
    """Do it; 0, or 1 where a job failed, 2 where the call is wrong, 130 where it was interrupted."""
    from million_ird.errors import MirdError

    asked = parser().parse_args(words)
    try:
        if asked.list:
            print("\n".join(f"{row.table:18} {row.name:20} {row.text}" for row in ROWS.values()))
            return 0
        return work(asked)
    except MirdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    about = "The papers' ablations at small scale: trains, scores, and prints what holds."
    out = argparse.ArgumentParser(prog="run.py", description=about)
    out.add_argument("--data", type=Path, default=Path("data"), help="holds bsds500/train, cid22, cbsd68, kodak24")
    out.add_argument("--out", type=Path, default=Path("reproduced"), help="everything is written below it")
    out.add_argument("--all", action="store_true", help="every table, not only the headline")
    out.add_argument("--seeds", type=int, help="how many (2; with --all 3 for DyNet, 2 for ABAIR; with --smoke 1)")
    out.add_argument("--rows", default="", help=f"tables or rows alone, with commas: {', '.join(TABLES)}; see --list")
    out.add_argument("--budget", type=float, help="minutes on 2 cores that all steps are scaled to fit into")
    out.add_argument("--smoke", action="store_true", help="two steps and small pictures, to see that it runs")
    out.add_argument("--jobs", type=int, help="at a time (one per core; one on a GPU)")
    out.add_argument("--device", default="auto", help="cpu, cuda, mps; auto: the best there is")
    out.add_argument("--dry-run", action="store_true", help="say what would be done, and how long it would take")
    out.add_argument("--list", action="store_true", help="say what rows there are")
    return out


def rows_asked(asked: argparse.Namespace) -> list[Row]:
    """The rows that are meant."""
    if asked.rows:
        return chosen([name.strip() for name in asked.rows.split(",")])
    return list(ROWS.values()) if asked.all or asked.smoke else headline()


def work(asked: argparse.Namespace) -> int:
    """Train, score, report.

    Raises:
        MirdError: the call or the data is wrong.
    """
    from jobs import lay_ready
    from report import Scores, collected, markdown
    from schedule import jobs_of, minutes, run_all, scale_for

    from million_ird.errors import ConfigError
    from million_ird.tables import locked, write_json, write_text

    rows = rows_asked(asked)
    seeds = asked.seeds if asked.seeds is not None else 1 if asked.smoke else None if asked.all else 2
    given = [number for number in (asked.seeds, asked.jobs, asked.budget) if number is not None]
    if any(number <= 0 for number in given):
        raise ConfigError("--seeds and --jobs have to be 1 or more, --budget more than 0")
    jobs = jobs_of(rows, seeds)
    scale = 1.0 if asked.budget is None or asked.smoke else scale_for(jobs, asked.budget, CORES)
    device = best_device() if asked.device == "auto" else asked.device
    cores = os.cpu_count() or 1
    count = asked.jobs or (cores if device == "cpu" else 1)
    threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, cores // count))
    scope = Scope(asked.data.resolve(), asked.out.resolve(), scale, asked.smoke, threads, device)
    drawn = seeds or "3 for DyNet, 2 for ABAIR"
    say(f"{len(rows)} rows, seeds: {drawn}, {len(jobs)} jobs, steps x {scale:g}, {count} at a time on {device}")
    if not asked.smoke:
        say(f"about {minutes(jobs, scale, CORES):.0f} minutes on {CORES} cores of the kind that README.md names")
    if asked.dry_run:
        return 0
    with locked(scope.out, leave=("runs",)):
        scope = lay_ready(scope, jobs, say)
        faults: list[str] = []
        try:
            faults = run_all(jobs, scope, count, say)
        finally:
            found = collected(rows, Scores(scope, seeds))
            write_json(scope.out / "table.json", {**found, "faults": faults})
            write_text(scope.out / "table.md", markdown(found))
    print(markdown(found))
    say(f"written: {asked.out / 'table.md'}, {asked.out / 'table.json'}")
    for fault in faults:
        say(f"failed: {fault}")
    return 1 if faults else 0


def best_device() -> str:
    """A card, where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def say(text: str) -> None:
    """To people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
