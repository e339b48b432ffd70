"""Scores as files: JSON and CSV with every picture, Markdown and LaTeX with the means."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from million_ird import __version__
from million_ird.evaluate.metrics import Metric, metric
from million_ird.evaluate.protocols import Protocol
from million_ird.evaluate.run import Row, Scores
from million_ird.tables import write_json, write_text

ARROWS = {False: "↑", True: "↓"}
AVERAGE = "average of the rows"


@dataclass(frozen=True)
class Table:
    """What was evaluated and how it did.

    Attributes:
        model: as it was named.
        protocol: of all rows.
        scores: one for each set, with the same metrics.
        facts: what else is worth knowing of the run ("device", "dtype", ...).
        sets: label -> facts of the set (layout, missing pairs, notes, contamination).
    """

    model: str
    protocol: Protocol
    scores: tuple[Scores, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names, the headline first."""
        return self.scores[0].metrics

    def average(self, side: str = "output") -> dict[str, float | None]:
        """Metric -> the mean of the sets' means, each set counting once; None where no set has it."""
        means = [scores.mean(side) for scores in self.scores]  # type: ignore[arg-type]
        found = {name: [mean[name] for mean in means if mean[name] is not None] for name in self.metrics}
        return {name: statistics.fmean(values) if values else None for name, values in found.items()}  # type: ignore[type-var]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; infinite scores (equal pictures) are the string "inf"."""
        sets = []
        for scores in self.scores:
            means = {side: _plain(scores.mean(side)) for side in ("output", "input")}
            rows = [_row(row) for row in scores.rows]
            facts = self.sets.get(scores.label, {})
            sets.append({"name": scores.label, "images": len(rows), "mean": means, **facts, "per_image": rows})
        return {
            "million_ird": __version__,
            "model": self.model,
            "protocol": {"name": self.protocol.name, "about": self.protocol.about},
            **self.facts,
            "metrics": list(self.metrics),
            "average": {side: _plain(self.average(side)) for side in ("output", "input")},
            "sets": sets,
        }

    def write(self, out: Path) -> list[Path]:
        """Write OUT (JSON) and, beside it, the same name with .csv, .md and .tex; each whole or not at all."""
        paths = [out, *(out.with_suffix(suffix) for suffix in (".csv", ".md", ".tex"))]
        write_json(out, self.as_dict())
        for path, text in zip(paths[1:], (self.csv(), self.markdown(), self.latex()), strict=True):
            write_text(path, text)
        return paths

    def csv(self) -> str:
        """One line for each picture: its set, name, size, and each metric of the output and of the input."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        columns = [f"{side}{name}" for name in self.metrics for side in ("", "input_")]
        writer.writerow(["set", "name", "width", "height", "seconds", *columns])
        for scores in self.scores:
            for row in scores.rows:
                values = [side[name] for name in self.metrics for side in (row.output, row.input)]
                cells = ["" if value is None else f"{value:.6f}" for value in values]
                writer.writerow([scores.label, row.name, row.width, row.height, f"{row.seconds:.3f}", *cells])
        return stream.getvalue()

    def markdown(self) -> str:
        """The means as a table, below it what the protocol does."""
        head, lines = self._cells()
        rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
        table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
        notes = [f"Model: {self.model}. Each cell: restored (degraded input).", f"Protocol: {self.protocol.about}"]
        warned = [f"Warning: {label}: {text}" for label, text in self.warnings()]
        return "\n\n".join([table, *notes, *warned]) + "\n"

    def latex(self) -> str:
        """The means as a tabular, in a comment above it what the protocol does."""
        head, lines = self._cells()
        rows = [" & ".join(map(_tex, row)) + r" \\" for row in [head, *lines]]
        columns = "l" + "r" * (len(head) - 1)
        rule = [rows[0], r"\hline", *rows[1:]]
        text = [f"% Model: {self.model}. Each cell: restored (degraded input).", f"% Protocol: {self.protocol.about}"]
        return "\n".join([*text, rf"\begin{{tabular}}{{{columns}}}", *rule, r"\end{tabular}"]) + "\n"

    def rows(self) -> list[list[str]]:
        """The means as cells for a terminal, the head first."""
        head, lines = self._cells()
        return [head, *lines]

    def warnings(self) -> list[tuple[str, str]]:
        """(label, text) of what makes a set's numbers doubtful."""
        return [(label, text) for label, facts in self.sets.items() for text in facts.get("warnings", ())]

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        found = [metric(name) for name in self.metrics]
        head = ["set", "images", *(f"{one.name} {ARROWS[one.lower_better]}" for one in found)]
        lines = [
            [one.label, f"{len(one.rows):,}", *_means(found, one.mean(), one.mean("input"))] for one in self.scores
        ]
        if len(lines) > 1:
            lines.append([AVERAGE, "", *_means(found, self.average(), self.average("input"))])
        return head, lines


def _means(found: Sequence[Metric], output: Mapping[str, float | None], given: Mapping[str, float | None]) -> list[str]:
    return [f"{number(one.name, output[one.name])} ({number(one.name, given[one.name])})" for one in found]


def number(name: str, value: float | None) -> str:
    """A score as the field prints it: dB with two places, the rest with four."""
    if value is None:
        return "-"
    return f"{value:.2f}" if name.startswith("psnr") else f"{value:.4f}"


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "width": row.width,
        "height": row.height,
        "output": _plain(row.output),
        "input": _plain(row.input),
        "seconds": round(row.seconds, 4),
    }


def _plain(values: Mapping[str, float | None]) -> dict[str, float | str | None]:
    """Numbers that JSON has; what is infinite as text that `float` reads."""
    return {name: value if value is None or math.isfinite(value) else str(value) for name, value in values.items()}


def _tex(text: str) -> str:
    for plain, escaped in (("_", r"\_"), ("%", r"\%"), ("&", r"\&"), ("#", r"\#")):
        text = text.replace(plain, escaped)
    return text.replace("↑", r"$\uparrow$").replace("↓", r"$\downarrow$")
