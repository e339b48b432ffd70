"""Scores to a table: means and spread over seeds, and which differences are resolved."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arms import Arm, Curated
from mixture import TESTS

DEVIATIONS = 2.0
"""Standard deviations over seeds that a difference has to exceed, the largest of the two rows' own and of their
difference's."""

BySeed = Mapping[int, Mapping[str, float]]
"""Seed -> test set -> PSNR, dB."""


@dataclass(frozen=True)
class Value:
    """A number over seeds.

    Attributes:
        mean: of them.
        sd: standard deviation (n - 1); None with one.
    """

    mean: float
    sd: float | None

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + ("" if self.sd is None else f" ± {self.sd:.2f}")


@dataclass(frozen=True)
class Gap:
    """What `kept` is above another row, the mean of both test sets.

    Attributes:
        value: dB; its sd is that of the differences seed by seed.
        sd: the largest of the two rows' and of their difference's; None with one seed.
        verdict: "yes", "the other way round", "not resolved".
    """

    value: Value
    sd: float | None
    verdict: str


def over(numbers: Sequence[float]) -> Value:
    """Mean and spread."""
    return Value(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None)


def verdict(gap: float, sd: float | None) -> str:
    """A difference is claimed only where it exceeds two standard deviations over seeds.

    Args:
        gap: of the means, dB.
        sd: to measure it by; None with one seed.
    """
    if sd is None:
        return "not resolved (one seed)"
    if abs(gap) <= DEVIATIONS * sd:
        return "not resolved"
    return "yes" if gap > 0 else "the other way round"


def means(row: BySeed) -> dict[int, float]:
    """Seed -> the mean of the test sets."""
    return {seed: statistics.fmean(found.values()) for seed, found in row.items()}


def gap(kept: BySeed, other: BySeed) -> Gap | None:
    """How far `kept` is above another row; None where they have no seed in common."""
    first, second = means(kept), means(other)
    shared = sorted(set(first) & set(second))
    if not shared:
        return None
    apart = over([first[seed] - second[seed] for seed in shared])
    spreads = [over([one[seed] for seed in shared]).sd for one in (first, second)]
    known = [sd for sd in (*spreads, apart.sd) if sd is not None]
    sd = max(known, default=None)
    return Gap(apart, sd, verdict(apart.mean, sd))


def markdown(
    curated: Curated, scores: Mapping[str, Mapping[str, BySeed]], inputs: Mapping[str, Mapping[str, float]], made: str
) -> str:
    """Everything, for people.

    Args:
        curated: what was compared.
        scores: task, in words -> arm -> its scores.
        inputs: task, in words -> test set -> PSNR of the degraded pictures themselves.
        made: a line on where and how.
    """
    parts = ["# Does curation help restoration?", made, "## What the build made of the mixture", _caught(curated)]
    parts.append(_contamination(curated))
    for task, rows in scores.items():
        parts += [f"## {task}", _table(curated.arms, rows, inputs[task])]
        parts += ["### What that says", _said(curated, rows)]
    return "\n\n".join(parts) + "\n"


def _caught(curated: Curated) -> str:
    lines = [["planted, or there by nature", "pictures", "kept", "dropped for"]]
    for label, (count, reasons) in curated.caught.items():
        why = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
        lines.append([label or "nothing: a clean photo", str(count), str(count - sum(reasons.values())), why or "-"])
    return grid(lines, right=(1, 2))


def _contamination(curated: Curated) -> str:
    total, found = curated.leaks
    text = f"Test pictures mixed in: {total}; the contamination check found {found} of them. No training set has any."
    if curated.innocent:
        text += f" It also took {len(curated.innocent)} other pictures for test pictures, which are left out as well."
    return text


def _table(arms: Sequence[Arm], rows: Mapping[str, BySeed], inputs: Mapping[str, float]) -> str:
    lines = [["trained on", "pictures", *TESTS, "mean", "kept is above it by", "largest sd", "resolved?"]]
    lines.append(["(degraded input)", "", *(f"{inputs[name]:.2f}" for name in TESTS), "", "", "", ""])
    kept = rows.get("kept", {})
    for arm in arms:
        row = rows.get(arm.name)
        if not row:
            continue
        cells = [str(over([found[name] for found in row.values()])) for name in TESTS]
        mean, apart = over(list(means(row).values())), None if arm.name == "kept" else gap(kept, row)
        tail = ["", "", ""]
        if apart:
            by = f"{apart.value.mean:+.3f}" + ("" if apart.value.sd is None else f" ± {apart.value.sd:.3f}")
            tail = [by, "-" if apart.sd is None else f"{apart.sd:.3f}", apart.verdict]
        lines.append([arm.text, str(arm.count), *cells, str(mean), *tail])
    return grid(lines, right=tuple(range(1, 7)))


def _said(curated: Curated, rows: Mapping[str, BySeed]) -> str:
    """A line for each question, in words; none says more than the table."""
    better = {"yes": "better", "the other way round": "worse"}
    pays = {"yes": "pays", "the other way round": "does not pay: it costs", "not resolved": "not shown to pay"}
    lines = [
        f"- kept against the raw mixture: {_outcome(rows, 'raw', better)}",
        f"- kept against a random part of it of the same size: {_outcome(rows, 'random', better)}",
        f"- kept against clean photos alone, told by their labels: {_outcome(rows, 'known', better)}",
    ]
    kept = next(arm.count for arm in curated.arms if arm.name == "kept")
    for arm in curated.arms:
        more, (kind, _, what) = len(arm.pictures) - kept, arm.name.partition("-")
        if kind == "without":
            lines.append(f"- `{what}`, which alone drops {more} pictures: {_outcome(rows, arm.name, pays)}")
        elif kind == "with":
            told = _outcome(rows, arm.name, pays)
            lines.append(f"- dropping what was planted {what}, {more} pictures, by any filter: {told}")
    if curated.small:
        listed = ", ".join(f"`{name}` ({count})" for name, count in curated.small.items())
        lines.append(f"- not trained, for they alone drop too few pictures to be seen in any score: {listed}")
    return "\n".join(lines)


def _outcome(rows: Mapping[str, BySeed], name: str, words: Mapping[str, str]) -> str:
    apart = gap(rows.get("kept", {}), rows.get(name, {}))
    if apart is None:
        return "not run"
    number = f"{apart.value.mean:+.3f} dB" + ("" if apart.sd is None else f", largest sd {apart.sd:.3f}")
    return f"{words.get(apart.verdict, apart.verdict)} ({number})"


def grid(lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A Markdown table, the head first.

    Args:
        lines: of cells.
        right: columns that are numbers.
    """
    rule = ["---:" if column in right else "---" for column in range(len(lines[0]))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def facts(settings: Any, seeds: Sequence[int], quick: bool) -> str:
    """Where and how the numbers were made, a line."""
    import os
    import platform
    from datetime import UTC, datetime

    import torch

    from million_ird import __version__

    text = (
        f"million-ird {__version__}, torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{datetime.now(UTC).date().isoformat()}. {len(seeds)} seed{'s' if len(seeds) > 1 else ''}, "
        f"{settings.steps:,} steps of {settings.batch} crops of {settings.size} px for every row; of all test pictures "
        f"the centre, {settings.centre} px in the square. PSNR in dB, the mean over seeds ± their standard deviation."
    )
    return f"**A smoke test: none of these numbers means anything.**\n\n{text}" if quick else text
