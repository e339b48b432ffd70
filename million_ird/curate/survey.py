"""What the report is drawn from: arrays over all rows of a run, nothing of files or formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Bound = Literal["min", "max"]


class Thumbs(Protocol):
    """Thumbs by row."""

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        """(256,) uint8, 16x16 luma; zeros where there is none."""
        ...


@dataclass(frozen=True)
class Line:
    """One threshold: a row fails it where its value in `column` is < `value` (bound "min") or > it (bound "max").

    A null (NaN) value never fails; an infinite `value` is a bound that is not set. Both sides are compared as
    float32, so a measurement that prints like the threshold passes. `key` is the configuration key that sets it,
    for example "policy.blur.min". `enabled` is the rule's switch, `policy.<reason>.enabled`: the same for all lines
    of a reason.
    """

    reason: str
    column: str
    bound: Bound
    value: float
    key: str
    enabled: bool = True


@dataclass(frozen=True)
class Table:
    """A small table of the page, as text: columns from `numbers` on are numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 1


@dataclass(frozen=True)
class Survey:
    """All N rows of a run, as the report needs them.

    Attributes:
        title: of the page, for example the output folder's name.
        reasons: every reason in cascade order (statuses first).
        codes: (N,) int16, what was decided: 0 = kept, k = dropped for `reasons[k - 1]`.
        fixed: (N,) int16, a reason no threshold line can change (a status, exact_duplicate, pinned drop,
            unmeasured), coded as in `codes`; 0 = none; -1 = pinned to be kept, whatever the lines say. A status
            or a pin stands; the other fixed reasons give way to a `resolution` line that the row fails.
        columns: measurement name -> (N,) float32, NaN = null.
        help: measurement name -> unit, range, direction, in words.
        lines: the thresholds, in the order in which they were asked; several may share a reason (failing any of them
            is failing the rule).
        group: (N,) int32, near-duplicate cluster, -1 = in none; all -1 where that rule is off.
        order: (N,) int32, 0 = best; which member of a cluster is preferred among those that pass. It depends on no
            line: the page asks it again where lines are moved. Rows with a `fixed` reason take no part; one that is
            pinned to be kept leads its cluster.
        pixels: (N,) int64, width x height, 0 where unknown.
        thumbs: row index -> (256,) uint8; asked for a few hundred rows only.
        names: row index -> what to call the row on the page (its uri).
        picture: row index -> a small JPEG of the input (long side <= `report.thumb_px`), None where it cannot be read.
        config: the resolved configuration, as YAML.
        facts: short facts for the page's head, label -> text.
        tables: of what was fetched from the web; empty where nothing was.
    """

    title: str
    reasons: Sequence[str]
    codes: NDArray[np.int16]
    fixed: NDArray[np.int16]
    columns: Mapping[str, NDArray[np.float32]]
    help: Mapping[str, str]
    lines: Sequence[Line]
    group: NDArray[np.int32]
    order: NDArray[np.int32]
    pixels: NDArray[np.int64]
    thumbs: Thumbs
    names: Callable[[int], str]
    picture: Callable[[int], bytes | None]
    config: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
