"""Recipes: YAML to nodes, with every wrong field named by its path; includes, overrides, and a JSON Schema for editors.

    name: mine
    about: What it is for, and where its numbers come from.
    pipeline:
      - {op: GaussianBlur, sigma: [0.2, 3]}
      - op: OneOf
        steps:
          - {op: GaussianNoise, sigma: [1, 30]}
          - {op: PoissonNoise, peak: {log: [100, 10000]}}
      - include: dejpeg                  # another recipe's pipeline, as one step

or, to change a recipe in a few places,

    include: abair
    set: {pipeline.0.untouched: 0.2}
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from million_ird.config import merge, read_yaml, validate
from million_ird.degrade.combine import AnyNode, Compose
from million_ird.degrade.op import Key, Node, Shape, Step, check_classes
from million_ird.degrade.registry import COMBINATORS, find, names
from million_ird.errors import ConfigError

MAX_DEPTH = 8
"""Recipes that include each other at most; more is a circle."""


class Recipe(Node):
    """A named pipeline with its list of classes."""

    parts: ClassVar = ("pipeline",)

    name: str = ""
    """What it is called."""
    about: str = ""
    """What it does and where its numbers come from."""
    fixed: tuple[str, ...] | None = Field(default=None, alias="classes")
    """Class of each bit of the mask; None = in order of first appearance."""
    pipeline: AnyNode = Field(default_factory=Compose)
    """What is done."""

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        return self.pipeline.plan(key, shape)

    def labels(self) -> tuple[str, ...]:
        found = super().labels()
        if self.fixed is None:
            return found
        if missing := [name for name in found if name not in self.fixed]:
            raise ConfigError(f"classes: {', '.join(missing)} can be set by the pipeline but is not listed")
        return self.fixed


def builtin() -> tuple[str, ...]:
    """Names of the recipes in the package."""
    folder = files("million_ird.degrade") / "recipes"
    return tuple(sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml")))


def load(recipe: str | Path | Mapping[str, Any] | Node) -> Recipe:
    """A recipe by name, by file, or from its mapping.

    Raises:
        ConfigError: naming the file, the path within it, the value and what is allowed.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Node):
        return checked(Recipe(pipeline=recipe))
    if isinstance(recipe, Mapping):
        return checked(_recipe(recipe, 0))
    try:
        data = read(recipe)
        found = checked(_recipe(data, 0))
        if not resolved(data).get("pipeline"):
            raise ConfigError("pipeline: holds no degradation")
        return found
    except ConfigError as error:
        raise ConfigError(f"recipe {recipe}: {error}") from None


def checked(recipe: Recipe) -> Recipe:
    """The same recipe.

    Raises:
        ConfigError: it has too many classes.
    """
    check_classes(recipe.labels())
    return recipe


def read(recipe: str | Path) -> dict[str, Any]:
    """The mapping of a built-in recipe or of a file."""
    known = builtin()
    if str(recipe) in known:
        return read_yaml(str(files("million_ird.degrade") / "recipes" / f"{recipe}.yaml"))
    if not Path(recipe).exists() and Path(recipe).suffix not in (".yaml", ".yml", ".json"):
        near = difflib.get_close_matches(Path(recipe).name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"built in: {', '.join(known)}"
        raise ConfigError(f"no recipe of this name and no such file; {hint}")
    return _anchored(read_yaml(recipe), Path(recipe).parent)


def resolved(data: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A recipe's mapping with its `include` taken in and its `set` carried out."""
    if depth > MAX_DEPTH:
        raise ConfigError("include: recipes include each other in a circle")
    out = dict(data)
    if "include" in out:
        included = out.pop("include")
        if not isinstance(included, str):
            raise ConfigError(f"include: expected the name or file of a recipe, got {included!r}")
        out = merge(resolved(read(included), depth + 1), out)
    for path, value in dict(out.pop("set", None) or {}).items():
        _put(out, str(path), value)
    return out


def node_of(value: Any, path: str = "", depth: int = 0) -> Node:
    """A node from what a recipe says in its place: a mapping with `op`, an `include`, a list (a chain), or a node."""
    if isinstance(value, Node):
        return value
    where = path or "pipeline"
    if isinstance(value, (list, tuple)):
        return Compose([node_of(step, f"{where}.{index}", depth) for index, step in enumerate(value)])
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected a mapping with `op`, or a list of them, got {value!r}")
    if "include" in value:
        return _recipe(value, depth + 1).pipeline
    if "op" not in value:
        raise ConfigError(f"{where}: `op` is missing; give the name of a degradation (`mird degrade --list`)")
    fields = dict(value)
    name = fields.pop("op")
    try:
        kind = find(str(name))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    for part in kind.parts:
        inner = fields.get(part)
        if isinstance(inner, (list, tuple)) and part != "step":
            fields[part] = tuple(node_of(one, f"{where}.{part}.{i}", depth) for i, one in enumerate(inner))
        elif inner is not None:
            fields[part] = node_of(inner, f"{where}.{part}", depth)
    try:
        return validate(kind, fields)
    except ConfigError as error:
        raise ConfigError(f"{where} ({name}): {error}") from None


def dump(node: Node) -> Any:
    """A node as the plain mapping that a recipe file would hold, every field written out: a default that changes in a
    later version changes nothing here."""
    if isinstance(node, Recipe):
        head = {"name": node.name, "about": node.about, "classes": list(node.classes)}
        return {key: value for key, value in head.items() if value} | {"pipeline": dump(node.pipeline)}
    if isinstance(node, Compose):
        return [dump(step) for step in node.steps]
    plain = node.model_dump(mode="json", exclude=set(node.parts), exclude_none=True)
    for part in node.parts:
        value = getattr(node, part)
        plain[part] = dump(value) if isinstance(value, Node) else [dump(one) for one in value]
    return {"op": type(node).__name__, **plain}


def schema() -> dict[str, Any]:
    """JSON Schema of recipe files, for editors: every op with its fields, ranges and descriptions."""
    from pydantic.json_schema import models_json_schema

    kinds = [find(name) for name in (*names(), *COMBINATORS)]
    _, definitions = models_json_schema([(kind, "validation") for kind in kinds], ref_template="#/$defs/{model}")
    nodes: list[Any] = []
    defs: dict[str, Any] = {}
    step = {"$ref": "#/$defs/step"}
    for kind in kinds:
        body = definitions["$defs"][kind.__name__]
        properties = {"op": {"const": kind.__name__}, **body.get("properties", {})}
        for part in kind.parts:
            properties[part] = step if part == "step" else {"type": "array", "items": step}
        defs[kind.__name__] = {**body, "properties": properties, "required": ["op", *body.get("required", [])]}
        nodes.append({"$ref": f"#/$defs/{kind.__name__}"})
    include = {"type": "object", "required": ["include"], "properties": {"include": {"type": "string"}}}
    defs["step"] = {"anyOf": [*nodes, include, {"type": "array", "items": step}]}
    text = {"type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "million-ird degradation recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": text,
            "about": text,
            "include": text,
            "set": {"type": "object"},
            "classes": {"type": "array", "items": text, "maxItems": 16},
            "pipeline": {"type": "array", "items": step},
        },
        "$defs": defs,
    }


def _recipe(data: Mapping[str, Any], depth: int) -> Recipe:
    fields = resolved(data, depth)
    if "pipeline" in fields:
        fields["pipeline"] = node_of(fields["pipeline"], "pipeline", depth)
    return validate(Recipe, fields)


def _anchored(value: Any, folder: Path) -> Any:
    """What a file says, with the files that it includes named from its own folder: where it is read doesn't matter."""
    if isinstance(value, list):
        return [_anchored(one, folder) for one in value]
    if not isinstance(value, dict):
        return value
    out = {key: _anchored(one, folder) for key, one in value.items()}
    included = out.get("include")
    if isinstance(included, str) and included not in builtin():
        out["include"] = str(folder / included)
    return out


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set a value deep in mappings and lists, by a dotted path; the way to it must be there."""
    parts = path.split(".")
    at: Any = tree
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if isinstance(at, list):
            if not part.isdigit() or int(part) >= len(at):
                raise ConfigError(f"set {path}: '{part}' is no place in a list of {len(at)}")
            key: Any = int(part)
        elif isinstance(at, dict) and (last or part in at):
            key = part
        else:
            raise ConfigError(f"set {path}: there is no '{part}'")
        if last:
            at[key] = value
        else:
            at[key] = _copy(at[key])
            at = at[key]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
