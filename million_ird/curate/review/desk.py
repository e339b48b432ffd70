"""What is asked next: the undecided pictures nearest to a threshold, from a build's ledger and decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain, islice, zip_longest
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from million_ird.curate.ledger import measurement_columns
from million_ird.curate.passes.ledger import all_pass_lines, enabled, pass_places, read_passes
from million_ird.curate.plan import STORE, load_plan, shard_items
from million_ird.curate.review.labels import Labels
from million_ird.curate.review.scores import Score, beyond, interval, score, threshold_for
from million_ird.curate.rules import DERIVED, fails, lines, places, values
from million_ird.curate.survey import Bound
from million_ird.curate.workspace import stored_config
from million_ird.errors import ConfigError, OutputError
from million_ird.images import decode, preview, read_header, thumbnail
from million_ird.sources import Reader
from million_ird.tables import read_parts

AHEAD = 12
"""Pictures named in advance, so that the page can fetch them."""
LARGEST = 16_000
"""Long side of a picture at full size, px; what is larger is shown at that."""
_FACTS = ("key", "id", "uri", "status", "width", "height")


@dataclass(frozen=True)
class Choice:
    """One bound of one measurement, as the page offers it.

    Attributes:
        column: of the ledger.
        bound: which side of it is dropped: below a "min", above a "max".
        key: of the configuration, that sets it.
        threshold: what it is set to; None = not set.
        enabled: whether its rule drops anything.
        help: unit, range, direction.
    """

    column: str
    bound: Bound
    key: str
    threshold: float | None
    enabled: bool
    help: str


class Desk:
    """A decided build, its labels, and what was skipped since it was opened. Not for two threads at once, but for
    `picture`.

    Args:
        out: folder of the build.

    Raises:
        OutputError: nothing is decided there, or its labels cannot be read.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.config, plan = out, stored_config(out), load_plan(out)
        if plan is None or not (out / "decisions.parquet").exists():
            raise OutputError(f"{out}: nothing is decided here yet; run `mird build` first")
        self.plan = plan
        self.labels = Labels(out)
        self.table = read_parts(out / "ledger" / "base", plan.shards, list(_FACTS)).combine_chunks()
        with (out / "decisions.parquet").open("rb") as file:
            self.reasons = pq.read_table(file, columns=["reason"]).column("reason").combine_chunks()
        self._lines = [*lines(self.config.policy), *all_pass_lines(self.config.policy)]
        self.choices = self._choices()
        self.skipped: set[str] = set()
        self.history = list(self.labels.rows)
        self._reader, self._reading = Reader(plan.sources, out / STORE), Lock()
        self._items = lru_cache(maxsize=8)(lambda shard: shard_items(out, shard))
        self._sorted = lru_cache(maxsize=8)(self._sort)

    def close(self) -> None:
        """Let go of the sources."""
        with self._reading:
            self._reader.close()

    def choice(self, column: str, bound: str | None = None) -> Choice:
        """The offered bound of a column, by its name and "min" or "max".

        Raises:
            ConfigError: there is none.
        """
        for choice in self.choices:
            if choice.column == column and bound in (None, choice.bound):
                return choice
        known = ", ".join(dict.fromkeys(choice.column for choice in self.choices))
        raise ConfigError(f"--meter {column}: nothing of that name was measured here; known: {known}")

    def view(
        self, choice: Choice, threshold: float | None, precision: float, first: str | None = None
    ) -> dict[str, Any]:
        """What the page shows.

        Args:
            choice: the bound that is reviewed.
            threshold: where it lies; None = as configured, else at the twentieth of the pictures nearest to its side.
            precision: 0..1, wanted.
            first: key of a picture to ask about first.
        """
        rows, found = self._sorted(choice)
        if threshold is None:
            threshold = choice.threshold if choice.threshold is not None else self._guess(choice, found)
        labelled, keep = self._labelled(choice.column)
        dropped = int(beyond(found, threshold, choice.bound).sum())
        wanted = threshold_for(labelled, keep, choice.bound, precision)
        answered = [{"uri": row["uri"], "keep": row["keep"]} for row in islice(reversed(self.labels.rows.values()), 1)]
        return {
            "column": choice.column,
            "bound": choice.bound,
            "threshold": threshold,
            "dropped": dropped,
            "passing": len(rows) - dropped,
            "labels": len(self.labels.rows),
            "score": _as_dict(score(labelled, keep, threshold, choice.bound)),
            "wanted": None if wanted is None else _as_dict(wanted),
            "last": answered[0] if answered else None,
            "undo": bool(self.history),
            "next": list(islice(self._next(choice, threshold, first), AHEAD)),
        }

    def answer(self, choice: Choice, key: str, keep: bool) -> None:
        """Write what was answered.

        Raises:
            ConfigError: no input has this key.
            OutputError: it could not be written.
        """
        row = self._row(key)
        name, uri = self.table["id"][row].as_py(), str(self.table["uri"][row])
        self.labels.add(key, name, uri, keep, choice.column, self._value(choice, row))
        self.history.append(key)

    def skip(self, key: str) -> None:
        """Don't ask about an input again, as long as this desk is open or until it is undone."""
        self._row(key)
        self.skipped.add(key)
        self.history.append(key)

    def undo(self) -> str | None:
        """Take the last answer or skip back; the key that it was about, None where there is nothing to take back.

        Raises:
            OutputError: the labels could not be written.
        """
        if not self.history:
            return None
        key = self.history[-1]
        if key in self.skipped:
            self.skipped.discard(key)
        else:
            self.labels.remove(key)
        return self.history.pop()

    def picture(self, key: str, side: int) -> bytes:
        """A picture as JPEG, at most `side` px on its long side; 0 = as large as it is. Threads may call it.

        Raises:
            BadImage: it can no longer be read.
            ConfigError: no input has this key.
        """
        row = self._row(key)
        with self._reading:
            shard, within = self.plan.place(row)
            item = self._items(shard)[within]
            data = self._reader.read(item)
        limits = self.config.limits
        if side:
            return thumbnail(preview(data, side, limits), side, 90)
        return thumbnail(decode(data, read_header(data, limits), limits).rgb, LARGEST, 95)

    def _choices(self) -> list[Choice]:
        columns = measurement_columns(self.config)
        asked = {(line.column, line.bound): line for line in self._lines}
        derived = {name: column for name, column in DERIVED.items() if any(name == column for column, _ in asked)}
        offered = [(name, column.help, places(name)) for name, column in {**columns, **derived}.items()]
        for name, one in enabled(self.config).items():
            offered += [(column, help, pass_places(name, column)) for column, help in one.columns().items()]
        found = []
        for name, help, bounds in offered:
            for bound, key in bounds:
                line = asked.get((name, bound))
                found.append(Choice(name, bound, key, line and line.value, line is not None and line.enabled, help))
        return sorted(found, key=lambda choice: (not choice.enabled, choice.threshold is None))

    def _sort(self, choice: Choice) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows that this bound decides about, and their values, ascending: what is kept, and what it alone dropped.

        Of what an earlier rule dropped there is nothing to learn about this one.
        """
        found = self._measured(choice.column)
        kept = self.reasons.is_null().to_numpy(zero_copy_only=False)
        for line in self._lines:
            if (line.column, line.bound) == (choice.column, choice.bound):
                reason = _equal(self.reasons, line.reason)
                kept = kept | (reason & fails(line, found))
        readable = self.table["id"].is_valid().to_numpy() & _equal(self.table["status"], "ok")
        rows = np.flatnonzero(kept & readable & ~np.isnan(found))
        order = np.argsort(found[rows], kind="stable")
        return rows[order], found[rows][order]

    def _measured(self, column: str) -> NDArray[np.float64]:
        """(N,) values of a column of the base pass, of a model pass, or made from width and height; NaN = none."""
        if column in DERIVED:
            return values(self.table, column)
        if column in measurement_columns(self.config):
            return values(read_parts(self.out / "ledger" / "base", self.plan.shards, [column]), column)
        passed = read_passes(self.out, self.plan.shards, self.config, self.table["key"])
        return next(one.values[column] for one in passed if column in one.values)

    def _guess(self, choice: Choice, found: NDArray[np.float64]) -> float:
        share = 0.05 if choice.bound == "min" else 0.95
        return float(f"{np.quantile(found, share):.3g}") if len(found) else 0.0

    def _next(self, choice: Choice, threshold: float, first: str | None) -> Iterator[dict[str, Any]]:
        """The nearest undecided picture of each side in turn, outwards: precision needs the one, recall the other."""
        rows, found = self._sorted(choice)
        below = beyond(found, threshold, "min") if choice.bound == "min" else ~beyond(found, threshold, "max")
        split = int(below.sum())
        outwards = zip_longest(range(split - 1, -1, -1), range(split, len(rows)))
        places = (place for place in chain.from_iterable(outwards) if place is not None)
        if first is not None:
            row = self._row(first)
            yield self._question(choice, threshold, row, self._value(choice, row))
        for place in places:
            key = str(self.table["key"][int(rows[place])])
            if key not in self.labels.rows and key not in self.skipped and key != first:
                yield self._question(choice, threshold, int(rows[place]), float(found[place]))

    def _question(self, choice: Choice, threshold: float, row: int, value: float | None) -> dict[str, Any]:
        facts = {name: self.table[name][row].as_py() for name in ("key", "uri", "width", "height")}
        fails = value is not None and bool(beyond(np.array([value]), threshold, choice.bound)[0])
        return {**facts, "value": value, "dropped": fails}

    def _value(self, choice: Choice, row: int) -> float | None:
        rows, found = self._sorted(choice)
        place = np.flatnonzero(rows == row)
        return float(found[place[0]]) if len(place) else None

    def _row(self, key: str) -> int:
        row = pc.call_function("index", [self.table["key"]], pc.IndexOptions(pa.scalar(key))).as_py()
        if row < 0:
            raise ConfigError(f"no input has the key '{key[:64]}'")
        return row

    def _labelled(self, column: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Values and answers given about a column. Answers about another say nothing of this one: what was dropped for
        its noise need not be blurred."""
        rows = [row for row in self.labels.rows.values() if row["meter"] == column and row["value"] is not None]
        return np.array([row["value"] for row in rows], float), np.array([row["keep"] for row in rows], bool)


def _equal(column: pa.Array | pa.ChunkedArray, text: str) -> NDArray[np.bool_]:
    """(N,) which entries are `text`; null is not."""
    found = pc.call_function("equal", [column, pa.scalar(text)])
    return np.asarray(pc.fill_null(found, False)).astype(bool, copy=False)


def _as_dict(found: Score) -> dict[str, Any]:
    """A score as the page takes it, with 95 % intervals."""
    return {
        **asdict(found),
        "precision": found.precision,
        "precision_range": interval(found.right, found.right + found.wrong),
        "recall": found.recall,
        "recall_range": interval(found.right, found.right + found.missed),
    }
