"""Scores to tables: means and spread over seeds, which orderings are resolved, which targets are reached."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobs import Job, score
from rows import CLAIMS, SETS, TABLES, TARGETS, Claim, Row, Target
from trainings import TRAININGS, Scope, seed_of, steps_of

METRIC = "psnr"
DEVIATIONS = 2.0
"""Standard deviations over seeds that a difference has to exceed."""


@dataclass(frozen=True)
class Value:
    """A number over seeds.

    Attributes:
        mean: of them.
        sd: standard deviation (n - 1); None with one.
        count: seeds that have it.
    """

    mean: float
    sd: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + ("" if self.sd is None else f" ± {self.sd:.2f}")


def over(numbers: Sequence[float]) -> Value | None:
    """Mean and spread; None of nothing."""
    if not numbers:
        return None
    return Value(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None, len(numbers))


class Scores:
    """All scores that are there, read when they are asked for.

    Args:
        scope: where they lie.
        seeds: how many are looked at, as for `Row.drawn`.
    """

    def __init__(self, scope: Scope, seeds: int | None) -> None:
        self.scope, self.seeds = scope, seeds
        self._known: dict[Job, dict[str, Any] | None] = {}

    def one(self, training: str, seed: int, name: str, view: str) -> dict[str, Any] | None:
        """A score file."""
        job = Job(training, seed_of(training, seed), name, view)
        if job not in self._known:
            self._known[job] = score(job, self.scope)
        return self._known[job]

    def by_seed(self, row: Row, name: str, metric: str = METRIC) -> dict[int, float]:
        """Seed -> a row's score on a set; a training that is shared counts once."""
        cell = next(cell for cell in row.cells() if cell[0] == name)
        found = {}
        for seed in dict.fromkeys(seed_of(cell[1], seed) for seed in row.drawn(self.seeds)):
            if value := self.one(cell[1], seed, name, cell[2]):
                found[seed] = float(value["output"][metric])
        return found

    def given(self, row: Row, name: str, metric: str = METRIC) -> float | None:
        """The degraded input's own score."""
        cell = next(cell for cell in row.cells() if cell[0] == name)
        for seed in row.drawn(self.seeds):
            if value := self.one(cell[1], seed, name, cell[2]):
                return float(value["input"][metric])
        return None

    def means(self, row: Row, sets: Sequence[str]) -> dict[int, float]:
        """Seed -> the mean over sets, where all of them are there."""
        found = [self.by_seed(row, name) for name in sets]
        return {
            seed: statistics.fmean(one[seed] for one in found) for seed in found[0] if all(seed in f for f in found)
        }

    def shared(self, row: Row) -> bool:
        """Whether no seed changes the row."""
        return all(TRAININGS[training].shared for _, training, _ in row.cells())


def judged(claim: Claim, rows: dict[str, Row], scores: Scores) -> dict[str, Any] | None:
    """What became of a claim; None where one of its rows is not made.

    A row that all seeds share stands beside each seed of the other.
    """
    if claim.higher not in rows or claim.lower not in rows:
        return None
    high, low = rows[claim.higher], rows[claim.lower]
    sets = [name for name in high.sets if name in low.sets]
    first, second = scores.means(high, sets), scores.means(low, sets)
    if not first or not second:
        return None
    if scores.shared(high):
        first = dict.fromkeys(second, *first.values())
    elif scores.shared(low):
        second = dict.fromkeys(first, *second.values())
    gaps = over([first[seed] - second[seed] for seed in first if seed in second])
    if gaps is None:
        return None
    spreads = [value.sd for value in (over(list(first.values())), over(list(second.values())), gaps) if value]
    largest = max((sd for sd in spreads if sd is not None), default=None)
    return {
        "higher": high.text,
        "lower": low.text,
        "table": claim.table,
        "paper": claim.paper,
        "gap": gaps.mean,
        "sd": largest,
        "seeds": gaps.count,
        "verdict": verdict(gaps.mean, largest),
    }


def verdict(gap: float, sd: float | None) -> str:
    """An ordering is claimed only where it exceeds two standard deviations over seeds.

    Args:
        gap: of the means, dB.
        sd: the largest of the two rows' and of their difference's; None with one seed.
    """
    if sd is None:
        return "not resolved (one seed)"
    if abs(gap) <= DEVIATIONS * sd:
        return "not resolved"
    return "holds" if gap > 0 else "the other way round"


def reached(target: Target, rows: dict[str, Row], scores: Scores) -> dict[str, Any] | None:
    """What became of a target; None where its row is not made."""
    if target.row not in rows or not (found := over(list(scores.by_seed(rows[target.row], target.set).values()))):
        return None
    given = scores.given(rows[target.row], target.set) or 0.0
    value = found.mean - given if target.gain else found.mean
    what = f"{target.set}: {'gain over the input' if target.gain else 'PSNR'} of {target.least:g} dB or more"
    return {"target": what, "value": value, "input": given, "reached": value >= target.least}


def collected(rows: Sequence[Row], scores: Scores) -> dict[str, Any]:
    """Everything, for JSON."""
    by_name = {row.name: row for row in rows}
    tables = {}
    for table, title in TABLES.items():
        mine = [_row(row, scores) for row in rows if row.table == table]
        if mine:
            claims = [judged(claim, by_name, scores) for claim in CLAIMS if claim.table == table]
            seeds = max(len(row.drawn(scores.seeds)) for row in rows if row.table == table)
            claims = [claim for claim in claims if claim]
            tables[table] = {"title": title, "seeds": seeds, "rows": mine, "claims": claims}
    targets = [reached(target, by_name, scores) for target in TARGETS]
    names = sorted({training for row in rows for _, training, _ in row.cells()})
    return {
        "made": facts(scores),
        "targets": [target for target in targets if target],
        "tables": tables,
        "steps": {name: steps_of(TRAININGS[name], scores.scope) for name in names},
    }


def _row(row: Row, scores: Scores) -> dict[str, Any]:
    sets = {}
    for name in row.sets:
        cell: dict[str, Any] = {"declared": SETS[name].folder}
        for metric in (METRIC, "ssim_gaussian11"):
            found = scores.by_seed(row, name, metric)
            value = over(list(found.values()))
            cell[metric] = vars(value) if value else None
            cell[f"{metric}_by_seed"] = {str(seed): number for seed, number in found.items()}
            cell[f"{metric}_input"] = scores.given(row, name, metric)
        sets[name] = cell
    mean = over(list(scores.means(row, row.sets).values()))
    return {"name": row.name, "text": row.text, "mean": vars(mean) if mean else None, "sets": sets}


def facts(scores: Scores) -> dict[str, Any]:
    """Where and how the numbers were made."""
    import os
    import platform
    from datetime import UTC, datetime

    import torch

    from million_ird import __version__

    scope = scores.scope
    card = torch.cuda.get_device_name() if scope.device.startswith("cuda") else None
    return {
        "million_ird": __version__,
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": card or f"{platform.machine()}, {os.cpu_count()} cores",
        "scale": scope.scale,
        "smoke": scope.smoke,
        "protocol": "strict",
    }


def markdown(found: dict[str, Any]) -> str:
    """Everything, for people."""
    made = found["made"]
    head = (
        f"million-ird {made['million_ird']}, torch {made['torch']}, {made['machine']}, {made['date']}; "
        f"steps x {made['scale']:g}, protocol {made['protocol']}. PSNR in dB, the mean over seeds ± their standard "
        "deviation; one number alone is one run."
    )
    if made["smoke"]:
        head = (
            f"**A smoke test: two steps each, one small picture each. None of these numbers means anything.**\n\n{head}"
        )
    parts = ["# Small-scale reproduction", head]
    if found["targets"]:
        cells = [[one["target"], f"{one['value']:.2f}", "yes" if one["reached"] else "no"] for one in found["targets"]]
        parts += ["## Targets", grid([["target", "here", "reached"], *cells])]
    for table in found["tables"].values():
        seeds = f"{table['seeds']} seed{'s' if table['seeds'] > 1 else ''}"
        parts += [f"## {table['title']}", f"{seeds}.", _table(table)]
        if table["claims"]:
            parts.append(_claims(table["claims"]))
    return "\n\n".join(parts) + "\n"


def _table(table: dict[str, Any]) -> str:
    """A grid for each group of rows on the same sets."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in table["rows"]:
        groups.setdefault(tuple(row["sets"]), []).append(row)
    return "\n\n".join(_group(names, rows) for names, rows in groups.items())


def _group(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    given = [[row["sets"][name]["psnr_input"] for row in rows] for name in names]
    inputs = [next((f"{value:.2f}" for value in values if value is not None), "-") for values in given]
    lines = [["", *names, "mean"], ["degraded input", *inputs, ""]]
    for row in rows:
        lines.append([row["text"], *(_number(row["sets"][name]["psnr"]) for name in names), _number(row["mean"])])
    return grid(lines)


def _claims(claims: Sequence[dict[str, Any]]) -> str:
    lines = [["is it better?", "than", "the paper", "here, dB", "largest sd", "so it"]]
    for one in claims:
        sd = "-" if one["sd"] is None else f"{one['sd']:.2f}"
        lines.append([one["higher"], one["lower"], one["paper"], f"{one['gap']:+.2f}", sd, one["verdict"]])
    return grid(lines)


def _number(value: dict[str, Any] | None) -> str:
    return "-" if value is None or math.isnan(value["mean"]) else str(Value(**value))


def grid(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the head first."""
    rule = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
