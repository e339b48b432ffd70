"""What a field of a degradation may hold: a constant, a range, a log-uniform range, or a weighted choice.

    25                            always 25
    [5, 50]  (5, 50)              uniform between the two; whole numbers where the field is whole, both ends included
    {log: [0.1, 10]}              uniform in the logarithm
    {choice: [15, 25, 50]}        one of these; {choice: [...], p: [.5, .3, .2]} with weights

These forms are at once what YAML says, what Python takes, and what a model holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from million_ird.config import Config
from million_ird.rng import Chance

DIGITS = 6
"""Significant digits of a drawn number: what is applied is what the trace says, and traces stay small."""


class Log(Config):
    """Log-uniform between two positive ends."""

    log: tuple[float, float]


class Choice(Config):
    """One of several values, with weights where they are not alike."""

    choice: tuple[Any, ...]
    p: tuple[float, ...] | None = None


Spec = float | tuple[float, float] | Log | Choice
"""A distribution over numbers."""

Names = str | Choice
"""A distribution over names."""


@dataclass(frozen=True)
class Between:
    """Annotates a `Spec`: every value it can give lies in [lo, hi]; `whole` = integers only."""

    lo: float = -math.inf
    hi: float = math.inf
    whole: bool = False

    def check(self, value: Any) -> Spec:
        """Raises:
        ValueError: naming what is wrong and what is allowed.
        """
        if _is_number(value):
            return self._number(value)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return self._ends(value, "a range")
        if (isinstance(value, Mapping) and "log" in value) or isinstance(value, Log):
            ends = _only(value, "log")["log"]
            lo, hi = self._ends(ends, "log")
            if lo <= 0:
                raise ValueError("log needs ends above 0")
            return Log(log=(lo, hi))
        if (isinstance(value, Mapping) and "choice" in value) or isinstance(value, Choice):
            choice = _choice(value)
            return choice.model_copy(update={"choice": tuple(self._number(v) for v in choice.choice)})
        raise ValueError("expected a number, [lo, hi], {log: [lo, hi]} or {choice: [...], p: [...]}")

    def _number(self, value: Any) -> float:
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError("expected a finite number")
        if not self.lo <= value <= self.hi:
            raise ValueError(f"{value:g} is outside {self.lo:g} to {self.hi:g}")
        if self.whole and value != int(value):
            raise ValueError(f"{value:g} is not a whole number")
        return int(value) if self.whole else value

    def _ends(self, value: Any, name: str) -> tuple[float, float]:
        if not isinstance(value, Sequence) or len(value) != 2:
            raise ValueError(f"{name} has two ends, [lo, hi]")
        lo, hi = self._number(value[0]), self._number(value[1])
        if lo > hi:
            raise ValueError(f"empty range: {lo:g} is above {hi:g}")
        return lo, hi

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check, serialization=_PLAIN)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        number: dict[str, Any] = {"type": "integer" if self.whole else "number"}
        number |= {name: end for name, end in (("minimum", self.lo), ("maximum", self.hi)) if math.isfinite(end)}
        ends = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
        log = {"type": "object", "properties": {"log": ends}, "required": ["log"], "additionalProperties": False}
        return {"anyOf": [number, ends, log, _choice_schema(number)]}


@dataclass(frozen=True)
class Among:
    """Annotates `Names`: every name it can give is one of these."""

    names: tuple[str, ...]

    def check(self, value: Any) -> Names:
        """Raises:
        ValueError: naming what is allowed.
        """
        if (isinstance(value, Mapping) and "choice" in value) or isinstance(value, Choice):
            choice = _choice(value)
            for name in choice.choice:
                self._name(name)
            return choice
        return self._name(value)

    def _name(self, value: Any) -> str:
        if value not in self.names:
            raise ValueError(f"expected one of {', '.join(self.names)}, or {{choice: [...]}} of them")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check, serialization=_PLAIN)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        name = {"enum": list(self.names)}
        return {"anyOf": [name, _choice_schema(name)]}


def draw(spec: Spec, rng: Chance) -> float:
    """One value of a distribution, of at most `DIGITS` significant digits."""
    if isinstance(spec, tuple):
        lo, hi = spec
        return _rounded(lo + (hi - lo) * rng.random(), lo, hi)
    if isinstance(spec, Log):
        lo, hi = spec.log
        return _rounded(lo * (hi / lo) ** rng.random(), lo, hi)
    if isinstance(spec, Choice):
        return spec.choice[pick(rng, len(spec.choice), spec.p)]
    return spec


def draw_whole(spec: Spec, rng: Chance) -> int:
    """One whole number of a distribution; both ends of a range are as likely as any other value."""
    if isinstance(spec, tuple):
        lo, hi = int(spec[0]), int(spec[1])
        return lo + int((hi - lo + 1) * rng.random())
    if isinstance(spec, Log):
        lo, hi = spec.log
        return min(int(lo * ((hi + 1) / lo) ** rng.random()), int(hi))
    return int(draw(spec, rng))


def draw_name(names: Names, rng: Chance) -> str:
    """One name of a distribution."""
    return names.choice[pick(rng, len(names.choice), names.p)] if isinstance(names, Choice) else names


def draw_seed(rng: Chance) -> int:
    """A seed for what is too large to be drawn as parameters (noise, masks, streaks): 53 bits, exact in any JSON."""
    return int(rng.random() * (1 << 53))


def pick(rng: Chance, count: int, weights: Sequence[float] | None = None) -> int:
    """An index below `count`, with these weights (all alike where None)."""
    at = rng.random()
    if weights is None:
        return int(at * count)
    at *= sum(weights)
    for index, weight in enumerate(weights):
        at -= weight
        if at < 0:
            return index
    return max(index for index, weight in enumerate(weights) if weight > 0)


def ends_of(spec: Spec) -> tuple[float, float]:
    """The least and the greatest value that a distribution can give."""
    if isinstance(spec, tuple):
        return spec
    if isinstance(spec, Log):
        return spec.log
    if isinstance(spec, Choice):
        return min(spec.choice), max(spec.choice)
    return spec, spec


def check_weights(p: Sequence[float] | None, count: int) -> None:
    """Raises:
    ValueError: weights that are not one per value, negative, or all zero.
    """
    if p is None:
        return
    if len(p) != count:
        raise ValueError(f"p has {len(p)} weights for {count} values")
    if any(not math.isfinite(w) or w < 0 for w in p) or sum(p) <= 0:
        raise ValueError("p needs weights of 0 or more, not all 0")


def _rounded(value: float, lo: float, hi: float) -> float:
    return min(max(float(f"{value:.{DIGITS}g}"), lo), hi)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _only(value: Any, *keys: str) -> dict[str, Any]:
    found = dict(value) if isinstance(value, Mapping) else value.model_dump()
    if extra := found.keys() - set(keys):
        raise ValueError(f"unknown {', '.join(sorted(map(str, extra)))} beside {keys[0]}")
    return found


def _choice(value: Any) -> Choice:
    found = _only(value, "choice", "p")
    values, p = found["choice"], found.get("p")
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ValueError("choice needs a list of values")
    if p is not None and (not isinstance(p, Sequence) or not all(map(_is_number, p))):
        raise ValueError("p needs a list of weights")
    check_weights(p, len(values))
    return Choice(choice=tuple(values), p=tuple(p) if p is not None else None)


def _choice_schema(value: dict[str, Any]) -> dict[str, Any]:
    properties = {
        "choice": {"type": "array", "items": value, "minItems": 1},
        "p": {"type": "array", "items": {"type": "number", "minimum": 0}},
    }
    return {"type": "object", "properties": properties, "required": ["choice"], "additionalProperties": False}


def _plain(value: Any) -> Any:
    if isinstance(value, Log):
        return {"log": list(value.log)}
    if isinstance(value, Choice):
        return {"choice": list(value.choice)} | ({"p": list(value.p)} if value.p is not None else {})
    return list(value) if isinstance(value, tuple) else value


_PLAIN = core_schema.plain_serializer_function_ser_schema(_plain)
