"""The rules, as a table: which column, which bound, which reason, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from million_ird.curate import contaminated
from million_ird.curate.ledger import Column, numbers
from million_ird.curate.policy import Policy, Rule
from million_ird.curate.survey import Bound, Line
from million_ird.errors import ConfigError
from million_ird.records import STATUSES, Header

# reason -> the (column, bound, key) triples of its rule; `key` is the field of policy.<reason> that holds the number.
_RULES: dict[str, tuple[tuple[str, Bound, str], ...]] = {
    "resolution": (
        ("short_side", "min", "min_side"),
        ("pixels", "min", "min_pixels"),
        ("aspect", "max", "max_aspect"),
    ),
    "contaminated": (("contaminated", "max", "max"),),
    "blur": (("blur", "min", "min"), ("blur_ratio", "min", "min_ratio")),
    "flat": (("flat", "max", "max"),),
    "noise": (("noise", "max", "max"),),
    "compression": (("jpeg_quality", "min", "min"), ("blockiness", "max", "max")),
    "exposure": (("exposure_low", "max", "max"), ("exposure_high", "max", "max"), ("contrast", "min", "min")),
    "greyscale": (("colourfulness", "min", "min"),),
    "border": (("border", "max", "max"),),
    "product": (("background", "max", "max"),),
    "upscaled": (("upscale", "min", "min"),),
    "watermark": (("watermark", "max", "max"),),
    "iqa": (("iqa", "max", "max"),),
}
_DUPLICATES = ("exact_duplicate", "near_duplicate")
SEMANTIC = "semantic_duplicate"
"""Reason of what shows the same thing as a better picture; there only where the rule is on."""

DERIVED: Mapping[str, Column] = {
    "short_side": Column("", "short side, px; higher = larger"),
    "pixels": Column("", "width x height, px; higher = larger"),
    "aspect": Column("", "long side over short side, >= 1; 1 = square"),
}
"""Columns made from width and height, not stored."""

HEADER_COLUMNS = frozenset({*DERIVED, "jpeg_quality"})
"""What is known before a pixel is decoded."""


def lines(policy: Policy, triage: bool | None = False) -> list[Line]:
    """Every threshold of a policy in the order of asking, those of disabled rules too (but `contaminated`); unset ones
    are left out.

    The order is the cascade's; with triage the lines on the header come first, as they did when it was decided what to
    decode.
    """
    found = []
    for reason, bounds in _RULES.items():
        rule: Rule = getattr(policy, reason)
        if reason == contaminated.COLUMN and not rule.enabled:
            continue  # its column is there only where the rule is on
        for column, bound, key in bounds:
            value = getattr(rule, key)
            if value is not None:
                found.append(Line(reason, column, bound, float(value), f"policy.{reason}.{key}", rule.enabled))
    for column, limits in policy.meters.items():
        found += [Line(column, column, _bound(b), value, f"policy.meters.{column}.{b}") for b, value in limits.items()]
    return sorted(found, key=lambda line: not comes_early(line, triage))


def places(column: str) -> list[tuple[Bound, str]]:
    """The bounds that a policy can set on a column, and the configuration key of each."""
    found: list[tuple[Bound, str]] = [
        (bound, f"policy.{reason}.{key}")
        for reason, bounds in _RULES.items()
        for name, bound, key in bounds
        if name == column
    ]
    return found or [(_bound(name), f"policy.meters.{column}.{name}") for name in ("max", "min")]


def _bound(name: str) -> Bound:
    return "min" if name == "min" else "max"


def comes_early(line: Line, triage: bool | None) -> bool:
    """Whether a line is asked before the duplicates: resolution, and with triage whatever the header tells."""
    return line.reason == "resolution" or (bool(triage) and line.column in HEADER_COLUMNS)


def reasons(policy: Policy) -> list[str]:
    """Every reason a row can be dropped for, in the order of asking; code k of a decision is `reasons[k - 1]`."""
    first, *rest = _RULES
    return [*STATUSES[1:], "pinned", first, *_DUPLICATES, *rest, *policy.meters, *_of_passes(policy), "unmeasured"]


def _of_passes(policy: Policy) -> list[str]:
    """Reasons of the passes, which are asked last."""
    alike = [SEMANTIC] if policy.semantic_duplicate.enabled else []
    clip, pyiqa = ([f"{name}_{key}" for key in getattr(policy, name)] for name in ("clip", "pyiqa"))
    return [*clip, *alike, *pyiqa]


def check(policy: Policy, columns: Mapping[str, Column]) -> None:
    """Refuse a policy that asks for what no meter measures.

    Raises:
        ConfigError: naming the key.
    """
    for reason, bounds in _RULES.items():
        rule = getattr(policy, reason)
        if rule.enabled and all(getattr(rule, key) is None for _, _, key in bounds):
            keys = " or ".join(f"policy.{reason}.{key}" for _, _, key in bounds)
            raise ConfigError(f"policy.{reason}.enabled: true, but no bound is set; set {keys}")
    for line in lines(policy):
        if not line.enabled or line.column in DERIVED:
            continue
        if line.column not in columns:
            rule = line.key.rsplit(".", 1)[0]
            if line.reason in policy.meters:
                raise ConfigError(f"{line.key}: no meter measures '{line.column}'; known: {', '.join(sorted(columns))}")
            raise ConfigError(f"{line.key}: no meter measures '{line.column}'; set {rule}.enabled=false")


def values(table: pa.Table, column: str) -> NDArray[np.float64]:
    """A stored or derived column as float64, null = NaN."""
    if column not in DERIVED:
        return numbers(table, column)
    width, height = numbers(table, "width"), numbers(table, "height")
    if column == "pixels":
        return width * height
    short = np.minimum(width, height)
    return short if column == "short_side" else np.maximum(width, height) / np.maximum(short, 1)


def fails(line: Line, found: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values fail a line; NaN never does. Both sides as float32: what prints like the threshold passes."""
    single, bound = found.astype(np.float32), np.float32(line.value)
    return single < bound if line.bound == "min" else single > bound


def header_judge(policy: Policy) -> Callable[[Header], bool]:
    """A function that tells from the header alone whether an image may still pass: size, shape, JPEG quality."""
    asked = [line for line in lines(policy) if line.enabled and line.column in HEADER_COLUMNS]

    def judge(header: Header) -> bool:
        short = min(header.width, header.height)
        facts = {
            "short_side": short,
            "pixels": header.width * header.height,
            "aspect": max(header.width, header.height) / max(short, 1),
            "jpeg_quality": header.jpeg_quality,
        }
        return not any(fails_one(line, facts[line.column]) for line in asked)

    return judge


def fails_one(line: Line, value: float | None) -> bool:
    """Whether one value fails a line; None never does."""
    return value is not None and bool(fails(line, np.array([value]))[0])
