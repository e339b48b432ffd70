"""Strict YAML to frozen pydantic models, and back as commented YAML.

Order of precedence: built-in defaults, preset, `--config` file, `--set a.b=value`. An unknown key is an error that
names the nearest known one.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from million_ird.errors import ConfigError

C = TypeVar("C", bound=BaseModel)


class Config(BaseModel):
    """Base of everything that is configured: frozen, no unknown keys, a docstring under each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


class _Twice(yaml.constructor.ConstructorError):
    """A key stands twice in a mapping."""


class _Strict(yaml.SafeLoader):
    """YAML, where a key that stands twice is a mistake: PyYAML would take the last one without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise _Twice(None, None, f"'{name}' stands twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping; errors name the file and the line."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error}") from None
    try:
        data = yaml.load(text, _Strict)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        why = getattr(error, "problem", None) if isinstance(error, _Twice) else "not valid YAML"
        raise ConfigError(f"configuration file {path}{line}: {why}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"configuration file {path}: expected a mapping of sections, found {type(data).__name__}")
    return data


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, mapping by mapping; lists and scalars are replaced whole."""
    out = dict(under)
    for key, value in over.items():
        known = out.get(key)
        out[key] = merge(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return out


def parse_sets(assignments: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1", ...]` as a nested mapping; values are read as YAML (`true`, `null`, `[1, 2]`, `text`)."""
    out: dict[str, Any] = {}
    nested: Any
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path.strip(". "):
            raise ConfigError(f"--set {assignment}: expected a.b.c=value")
        try:
            value = yaml.safe_load(text) if text else None
        except yaml.YAMLError:
            raise ConfigError(f"--set {assignment}: the value is not valid YAML") from None
        nested = value
        for part in reversed(path.strip().split(".")):
            nested = {part: nested}
        out = merge(out, nested)
    return out


def load(
    model: type[C],
    *,
    preset: Mapping[str, Any] | None = None,
    file: str | Path | None = None,
    sets: Sequence[str] = (),
) -> C:
    """Defaults, preset, file and `--set` merged and checked.

    Raises:
        ConfigError: naming the field, the value and what is allowed.
    """
    data = merge({}, preset or {})
    if file is not None:
        data = merge(data, read_yaml(file))
    return validate(model, merge(data, parse_sets(sets)))


def validate(model: type[C], data: Mapping[str, Any], prefix: str = "") -> C:
    """Check a mapping against a model; a failure is one `ConfigError` line, each name in it with the prefix."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("; ".join(dict.fromkeys(prefix + _describe(model, e) for e in error.errors()))) from None


def _describe(model: type[BaseModel], error: Any) -> str:
    path = [str(part) for part in error["loc"]]
    name = ".".join(path) or "configuration"
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
        return f"{name}: unknown key; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    got = "" if isinstance(error["input"], Mapping) else f", got {error['input']!r}"  # a whole section says nothing
    return f"{name}: {message[:1].lower()}{message[1:]}{got}"


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        inner = _model_of(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def to_yaml(config: BaseModel, *, comments: bool = False, leave_out: Collection[str] = ()) -> str:
    """A configuration as YAML that `load` reads back to an equal object.

    Args:
        config: what to write.
        comments: put each field's docstring above it.
        leave_out: sections not to write.
    """
    return "\n".join(_yaml_lines(config, comments, 0, leave_out)) + "\n"


def _yaml_lines(config: BaseModel, comments: bool, indent: int, leave_out: Collection[str] = ()) -> list[str]:
    lines: list[str] = []
    pad = "  " * indent
    for name, field in type(config).model_fields.items():
        if name in leave_out:
            continue
        value = getattr(config, name)
        if comments and field.description:
            text = " ".join(field.description.split())
            lines += textwrap.wrap(text, 112, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ")
        if isinstance(value, BaseModel):
            lines += [f"{pad}{name}:", *_yaml_lines(value, comments, indent + 1)]
        else:
            plain = config.model_dump(mode="json", include={name})[name]
            dumped = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
            lines.append(f"{pad}{name}: {dumped.removesuffix('...' + chr(10)).rstrip()}")
    return lines


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names at which two plain mappings differ, as `a.b: 1 -> 2`."""
    out: list[str] = []
    for key in dict.fromkeys([*old, *new]):
        left, right = old.get(key), new.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            out += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            out.append(f"{prefix}{key}: {left!r} -> {right!r}")
    return out
