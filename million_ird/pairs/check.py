"""`mird verify`: some of what was written, rendered again and compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.op import Tier
from million_ird.degrade.recipe import Recipe
from million_ird.degrade.run import Degraded, perform, tier_of, trace_of
from million_ird.errors import BadImage, MirdError, OutputError
from million_ird.images.png import decode_mask, decode_picture
from million_ird.pairs.folder import STATE, changed_versions, stored_config
from million_ird.pairs.render import Sample, Trace, classes_of
from million_ird.pairs.stored import stored
from million_ird.rng import rng_for
from million_ird.tables import read_json

LEVELS = 1
"""Grey levels by which "versions" may differ between versions."""
PSNR = 40.0
"""dB that "codec" must reach between builds of a codec."""
BORDER = 0.001
"""Share of a mask's pixels that may differ between versions: those on the edges of regions."""


@dataclass(frozen=True)
class Difference:
    """Something that is not as it should be.

    Attributes:
        name: of the sample; "" = of the whole set.
        what: "lq", "hq", "mask", "labels", "trace" or "files".
        detail: how it differs.
    """

    name: str
    what: str
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
        out: the folder.
        samples: that it holds.
        checked: how many of them were rendered again.
        tiers: how far those repeat, by tier.
        same_versions: whether the packages are those that it was made with. If not, "versions" may differ by 1 level,
            and "codec" down to 40 dB.
        changed_versions: those that are not, as "numpy 2.1.0 -> 2.2.0".
        differences: all that were found; empty = the set is what its recipe says.
    """

    out: str
    samples: int
    checked: int
    tiers: dict[str, int]
    same_versions: bool
    changed_versions: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """A plain mapping, as `--json` prints it."""
        return {**asdict(self), "ok": self.ok}


def verify(out: str | Path, samples: int = 32, seed: int = 0) -> VerifyReport:
    """Render some samples again from their stored clean picture and trace, and compare with what is stored; and draw
    them again from the recipe, and compare with the stored trace.

    Args:
        out: folder of a finished run.
        samples: how many to check; all where there are no more.
        seed: chooses them.

    Raises:
        OutputError: no finished run there, or a file of it cannot be read.
    """
    folder = Path(out)
    config = stored_config(folder)
    state = read_json(folder / STATE)
    if state is None:
        raise OutputError(f"{folder}: this run is not finished; run the same `mird degrade` again")
    changed = tuple(changed_versions(folder).values())
    found = stored(folder, config)
    differences = [Difference("", "files", gap) for gap in found.gaps()]
    if len(found) != (wanted := state["summary"]["samples"]):
        differences.append(Difference("", "files", f"{len(found)} of {wanted} samples are there"))
    order = np.argsort(rng_for(seed, "verify").random(len(found)), kind="stable")
    chosen = sorted(order[:samples].tolist())
    tiers: Counter[str] = Counter()
    for sample in found.read(chosen):
        tier, differing = _checked(sample, config.pipeline, config.virtual, not changed)
        tiers[tier] += 1
        differences += differing
    return VerifyReport(str(folder), len(found), len(chosen), dict(tiers), not changed, changed, tuple(differences))


def _checked(sample: Sample, recipe: Recipe, virtual: bool, same: bool) -> tuple[Tier, list[Difference]]:
    try:
        tier = tier_of(sample.trace["steps"])
        found = [("trace", detail) for detail in _trace(sample, recipe)]
        found += _labels(sample) if virtual else list(_pixels(sample, tier, same))
    except (MirdError, KeyError) as error:  # an op that is gone, or of another version
        tier, found = "exact", [("trace", f"cannot be rendered again: {error}")]
    return tier, [Difference(sample.name, what, detail) for what, detail in found]


def _trace(sample: Sample, recipe: Recipe) -> Iterator[str]:
    """Draw again."""
    trace = {name: value for name, value in sample.trace.items() if name != "crop"}
    height, width = trace["size"]
    again: Trace = json.loads(json.dumps(trace_of(recipe, (height, width), sample.seed, sample.id, sample.index)))
    if trace != again:
        names = [name for name in {**trace, **again} if trace.get(name) != again.get(name)]
        yield f"the recipe draws otherwise now ({', '.join(names)})"


def _labels(sample: Sample) -> list[tuple[str, str]]:
    drawn = classes_of(sample.trace["steps"])
    wanted = [name for name in sample.trace["classes"] if name in drawn]
    return [] if sample.labels == wanted else [("labels", f"stored {sample.labels}, drawn {wanted}")]


def _pixels(sample: Sample, tier: Tier, same: bool) -> Iterator[tuple[str, str]]:
    """Render again and compare."""
    try:
        again: Degraded = perform(decode_picture(sample.hq), sample.trace)
    except BadImage as bad:
        yield "hq", bad.detail
        return
    if sample.labels != list(again.labels) and (same or tier == "exact"):
        yield "labels", f"stored {sample.labels}, rendered {list(again.labels)}"
    strict = same or tier == "exact"
    try:
        lq = decode_picture(sample.lq)
        if detail := _shapes(lq, again.lq) or _levels(lq, again.lq, tier, strict):
            yield "lq", detail
    except BadImage as bad:
        yield "lq", bad.detail
    try:
        mask = decode_mask(sample.mask)
        if detail := _shapes(mask, again.mask) or _bits(mask, again.mask, strict):
            yield "mask", detail
    except BadImage as bad:
        yield "mask", bad.detail


def _shapes(stored: NDArray[Any], again: NDArray[Any]) -> str:
    if stored.shape == again.shape:
        return ""
    return f"{stored.shape[1]}x{stored.shape[0]} px, rendered {again.shape[1]}x{again.shape[0]}"


def _levels(stored: NDArray[np.uint8], again: NDArray[Any], tier: Tier, strict: bool) -> str:
    """How two pictures of one size differ; "" = not more than the tier allows."""
    gap = np.abs(stored.astype(np.int16) - again)
    if not gap.any():
        return ""
    if not strict:
        if tier == "versions" and gap.max() <= LEVELS:
            return ""
        if tier == "codec" and 10 * np.log10(255**2 / np.mean(gap.astype(np.float64) ** 2)) > PSNR:
            return ""
    return f"{np.count_nonzero(gap.any(axis=2))} px differ, by up to {gap.max()} levels (tier {tier})"


def _bits(stored: NDArray[np.uint16], again: NDArray[np.uint16], strict: bool) -> str:
    count = np.count_nonzero(stored != again)
    return "" if count <= (0 if strict else BORDER * stored.size) else f"{count} px differ"
