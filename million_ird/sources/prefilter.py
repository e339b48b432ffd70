"""Conditions on the columns of a list, for rows that are not worth a request:

    width >= 1024 and pwatermark < 0.3 and not nsfw and lang in ("en", "de") and licence == "CC0"

Python's words and signs: `and or not`, `== != < <= > >=` (chained too), `in` and `not in` (values in brackets),
`is None`, numbers, text, True and False; a name is a column, and `col("my column")` is one of any name. A row whose
value is missing fails, whichever way it is compared; `is None` asks for it. Text that is a number counts as one beside
a number (all cells of a CSV are text), and beside text that is one too.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from million_ird.errors import ConfigError
from million_ird.sources.columns import is_text, pc, plain

Value = Any
"""An array, or a scalar of pyarrow."""

_NUMBER = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"
_TRUE, _FALSE = pa.array(["true", "t", "yes", "y"]), pa.array(["false", "f", "no", "n"])
_SIGNS: dict[type[ast.cmpop], tuple[str, Callable[..., Any]]] = {
    ast.Eq: ("==", pc.equal),
    ast.NotEq: ("!=", pc.not_equal),
    ast.Lt: ("<", pc.less),
    ast.LtE: ("<=", pc.less_equal),
    ast.Gt: (">", pc.greater),
    ast.GtE: (">=", pc.greater_equal),
}
_LONGEST = 10_000
_MOST = 10**300


@dataclass(frozen=True)
class Prefilter:
    """A condition on rows.

    Attributes:
        text: as it was written.
        tree: the same, checked.
        columns: the names it asks for, in order.
    """

    text: str
    tree: ast.expr
    columns: tuple[str, ...]

    def mask(self, table: pa.Table) -> NDArray[np.bool_]:
        """(N,) which rows fulfil it; one that cannot be told does not.

        Columns are found in any case of letters, where that is not ambiguous.

        Raises:
            ConfigError: a column is missing, or holds what cannot be compared.
        """
        found = {name: plain(table.column(column_of(name, table.column_names, self.text))) for name in self.columns}
        result = _Rows(self.text, found).truth(self.tree)
        return np.asarray(pc.fill_null(result, False).to_numpy(zero_copy_only=False), dtype=bool)


def column_of(name: str, names: Sequence[str], text: str) -> int:
    """Where a column of a condition lies among those of a table.

    Raises:
        ConfigError: it isn't there; says what is.
    """
    if name in names:
        return list(names).index(name)
    lower = [other.lower() for other in names]
    if lower.count(name.lower()) == 1:
        return lower.index(name.lower())
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    hint = f"did you mean '{names[lower.index(near[0])]}'? " if near else ""
    raise ConfigError(f"where '{text}': no column '{name}'; {hint}columns: {', '.join(names) or 'none'}")


def parse(text: str) -> Prefilter:
    """A condition from its text.

    Raises:
        ConfigError: it is no condition of the kind above; names the place.
    """
    line = " ".join(text.split("\n")).strip()
    if len(line) > _LONGEST:
        raise ConfigError(f"where: longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line, mode="eval").body
    except SyntaxError as error:
        raise ConfigError(f"where '{line}': {error.msg} at character {error.offset or 1}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ConfigError(f"where '{line[:80]}': no condition that can be read") from None
    try:
        columns = _Check(line).condition(tree)
    except RecursionError:
        raise ConfigError(f"where '{line[:80]}': nested too deeply") from None
    if not columns:
        raise ConfigError(f"where '{line}': names no column")
    return Prefilter(line, tree, tuple(dict.fromkeys(columns)))


class _Check:
    """Goes through a condition once, before any row: what may stand where. Each method gives the columns named."""

    def __init__(self, text: str) -> None:
        self.text = text

    def condition(self, node: ast.expr) -> list[str]:
        if isinstance(node, ast.BoolOp):
            return [name for part in node.values for name in self.condition(part)]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.condition(node.operand)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            return []
        if (name := _column(node)) is not None:
            return [name]
        raise self._wrong(node, "expected a comparison or a column")

    def _comparison(self, node: ast.Compare) -> list[str]:
        sides = [node.left, *node.comparators]
        names = self._side(node.left)
        for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
            if isinstance(sign, (ast.Is, ast.IsNot)):
                if not (isinstance(right, ast.Constant) and right.value is None) or _column(left) is None:
                    raise self._wrong(node, "`is` goes with a column and None only")
            elif isinstance(sign, (ast.In, ast.NotIn)):
                if not isinstance(right, (ast.Tuple, ast.List, ast.Set)):
                    raise self._wrong(right, '`in` takes values in brackets, like ("en", "de")')
                for value in right.elts:
                    self._literal(value)
                if right is not sides[-1]:
                    raise self._wrong(node, "a chain cannot go on after `in`")
            else:
                names += self._side(right)
        return names

    def _side(self, node: ast.expr) -> list[str]:
        if (name := _column(node)) is not None:
            return [name]
        self._literal(node)
        return []

    def _literal(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant) and node.value is None:
            raise self._wrong(node, "compare with None by `is None` or `is not None`")
        if _constant(node) is None:
            raise self._wrong(node, "expected a column, a number, text, True or False")

    def _wrong(self, node: ast.expr, why: str) -> ConfigError:
        # ast counts bytes of UTF-8; people count characters.
        place = len(self.text.encode()[: node.col_offset].decode("utf-8", "ignore")) + 1
        part = ast.get_source_segment(self.text, node) or ""
        return ConfigError(f"where '{self.text}': '{part}' at character {place}: {why}")


def _column(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "col" and not node.keywords:
        first = node.args[0] if len(node.args) == 1 else None
        return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
    return None


def _constant(node: ast.expr) -> bool | float | str | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _constant(node.operand)
        if isinstance(inner, (bool, str)) or inner is None:
            return None
        return -inner if isinstance(node.op, ast.USub) else inner
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, (bool, float)):
        return value
    return float(max(min(value, _MOST), -_MOST)) if isinstance(value, int) else None


@dataclass(frozen=True)
class _Rows:
    """The columns of some rows, and what a checked condition says of each: true, false or (null) unknown."""

    text: str
    columns: dict[str, pa.Array]

    def truth(self, node: ast.expr) -> Value:
        if isinstance(node, ast.BoolOp):
            join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
            return reduce(join, map(self.truth, node.values))
        if isinstance(node, ast.UnaryOp):
            return pc.invert(self.truth(node.operand))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            steps = zip(sides, node.ops, sides[1:], strict=False)
            return reduce(pc.and_kleene, (self._compared(left, sign, right) for left, sign, right in steps))
        if isinstance(node, ast.Constant):
            return pa.scalar(node.value, pa.bool_())
        return _as_truth(self._value(node))

    def _compared(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Value:
        if isinstance(sign, (ast.Is, ast.IsNot)):
            column = self.columns[cast(str, _column(left))]
            return pc.is_null(column, nan_is_null=True) if isinstance(sign, ast.Is) else self._there(column)
        value = self._value(left)
        if isinstance(sign, (ast.In, ast.NotIn)):
            choices = cast(ast.Tuple, right).elts
            # The first term says nothing but whether the value is there at all: `x in ()` is false, not unknown.
            one = reduce(pc.or_kleene, (_relation(pc.equal, value, self._value(c)) for c in choices), self._none(value))
            return pc.invert(one) if isinstance(sign, ast.NotIn) else one
        return _relation(_SIGNS[type(sign)][1], value, self._value(right))

    def _value(self, node: ast.expr) -> Value:
        name = _column(node)
        if name is None:
            return pa.scalar(_constant(node))
        column = self.columns[name]
        kind = column.type
        if pa.types.is_null(kind):
            return pc.cast(column, pa.string())
        if is_text(kind) or pa.types.is_boolean(kind):
            return column
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers = pc.cast(column, pa.float64(), safe=False)
            return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
        if pa.types.is_temporal(kind):
            return pc.cast(column, pa.string())  # ISO order is the order of time
        raise ConfigError(f"where '{self.text}': column '{name}' holds {kind}, which cannot be compared")

    @staticmethod
    def _there(column: pa.Array) -> Value:
        return pc.invert(pc.is_null(column, nan_is_null=True))

    @staticmethod
    def _none(value: Value) -> Value:
        return pc.if_else(pc.is_null(value), pa.scalar(None, pa.bool_()), False)


def _relation(sign: Callable[..., Any], left: Value, right: Value) -> Value:
    """Two values compared, as truth values or numbers where one of them is, else as text."""
    kinds = (left.type, right.type)
    if any(pa.types.is_boolean(kind) for kind in kinds):
        # True and False ask for the truth of what they stand beside; a column of them beside numbers counts 0 and 1.
        asked = any(isinstance(value, pa.BooleanScalar) for value in (left, right))
        if asked or all(pa.types.is_boolean(kind) or is_text(kind) for kind in kinds):
            left, right = _as_truth(left), _as_truth(right)
        return sign(_as_number(left), _as_number(right))
    if any(pa.types.is_floating(kind) for kind in kinds):
        return sign(_as_number(left), _as_number(right))
    numbers = sign(_as_number(left), _as_number(right))
    return pc.if_else(pc.is_valid(numbers), numbers, sign(left, right))


def _as_number(value: Value) -> Value:
    if pa.types.is_boolean(value.type):
        return pc.cast(pc.cast(value, pa.uint8()), pa.float64())
    if not is_text(value.type):
        return value
    fits = pc.match_substring_regex(value, _NUMBER)
    digits = pc.utf8_ltrim(pc.utf8_trim_whitespace(value), "+")
    return pc.cast(pc.if_else(fits, digits, pa.scalar(None, pa.string())), pa.float64())


def _as_truth(value: Value) -> Value:
    """Bare columns: true and false, numbers other than 0, and text that says so ("yes", "True", "0.0")."""
    if pa.types.is_boolean(value.type):
        return value
    numbers = pc.not_equal(_as_number(value), 0.0)
    if not is_text(value.type):
        return numbers
    words = pc.utf8_lower(pc.utf8_trim_whitespace(value))
    unknown = pc.if_else(pc.is_in(words, value_set=_FALSE), False, numbers)
    return pc.if_else(pc.is_in(words, value_set=_TRUE), True, unknown)
