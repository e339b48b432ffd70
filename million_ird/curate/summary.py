"""What a build came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from million_ird.records import STATUSES


@dataclass(frozen=True)
class BuildSummary:
    """What a build came to.

    Attributes:
        out: the run's folder.
        inputs: rows; = kept + the sum over `reasons`.
        kept: inputs kept.
        reasons: dropped inputs by reason, in cascade order.
        skipped: what sources passed over (hidden files, ...), by kind; no inputs.
        dataset: "images", "samples", "bytes", "files" of the dataset; empty where none was written.
        measured: inputs measured by this call (fewer than `inputs` where a former one had begun).
        seconds: wall time of this call.
        up_to_date: whether there was nothing left to do.
        warnings: what the user should know.
        remedy: the command that measures what is `unmeasured`, "" where nothing is.
    """

    out: str
    inputs: int
    kept: int
    reasons: dict[str, int]
    skipped: dict[str, int]
    dataset: dict[str, int] = field(default_factory=dict)
    measured: int = 0
    seconds: float = 0.0
    up_to_date: bool = False
    warnings: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def unusable(self) -> int:
        """Inputs that could not be used at all: neither kept nor dropped by a rule."""
        return sum(self.reasons.get(status, 0) for status in STATUSES)

    def as_dict(self) -> dict[str, Any]:
        """A plain mapping, as `--json` prints it."""
        return asdict(self)
