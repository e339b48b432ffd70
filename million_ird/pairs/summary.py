"""What a run of `mird degrade` came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class DegradeSummary:
    """What a run came to.

    Attributes:
        out: the run's folder.
        recipe: name of the recipe.
        inputs: images found; = images + the sum over `skipped`.
        images: those that could be used.
        samples: pairs written, `per_image` of each.
        labels: samples in which a class is present, by class, in the order of the mask's bits.
        skipped: images that could not be used, by status; each is named in skipped.jsonl.
        passed_over: what is no input at all (hidden files, ...), by kind.
        bytes: of the images written.
        rendered: samples made by this call (fewer than `samples` where a former one had begun).
        seconds: wall time of this call.
        up_to_date: whether there was nothing left to do.
        warnings: what the user should know.
    """

    out: str
    recipe: str
    inputs: int
    images: int
    samples: int
    labels: dict[str, int]
    skipped: dict[str, int]
    passed_over: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    rendered: int = 0
    seconds: float = 0.0
    up_to_date: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def unusable(self) -> int:
        """Images of which nothing was made."""
        return sum(self.skipped.values())

    def as_dict(self) -> dict[str, Any]:
        """A plain mapping, as `--json` prints it."""
        return asdict(self)
