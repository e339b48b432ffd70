"""`mird degrade --list`: the degradations with what can be set and how far, and the recipes in the package."""

from __future__ import annotations

from typing import Any

from million_ird.config import Config
from million_ird.degrade.dist import Among, Between
from million_ird.degrade.recipe import builtin, load
from million_ird.degrade.registry import COMBINATORS, find, names


def catalogue() -> dict[str, Any]:
    """All there is.

    Returns:
        "degradations": [{"name", "family", "tier", "version", "about", "parameters": [{"name", "default", "range",
        "about"}]}]; "combinators": the same without family, tier and version; "recipes": [{"name", "about",
        "classes"}].
    """
    return {
        "degradations": [_op(name) for name in names()],
        "combinators": [_node(name) for name in COMBINATORS],
        "recipes": [_recipe(name) for name in builtin()],
    }


def _op(name: str) -> dict[str, Any]:
    kind = find(name)
    return {"name": name, "family": kind.family, "tier": kind.tier, "version": kind.version, **_node(name)}


def _node(name: str) -> dict[str, Any]:
    kind = find(name)
    fields = [_parameter(field, spec) for field, spec in kind.model_fields.items() if field != "label"]
    return {"name": name, "about": (kind.__doc__ or "").strip().partition("\n\n")[0], "parameters": fields}


def _parameter(name: str, field: Any) -> dict[str, Any]:
    default = None if field.is_required() else plain(field.get_default(call_default_factory=True))
    about = " ".join((field.description or "").split())
    return {"name": name, "default": default, "range": _range(field), "about": about}


def _range(field: Any) -> str:
    """What a parameter may be, in words; "" where its type says it all."""
    for mark in field.metadata:
        if isinstance(mark, Between):
            return f"{mark.lo:g} to {mark.hi:g}" + (", whole" if mark.whole else "")
        if isinstance(mark, Among):
            return ", ".join(mark.names)
    bounds = {kind: getattr(mark, kind) for mark in field.metadata for kind in ("ge", "le") if hasattr(mark, kind)}
    return f"{bounds['ge']:g} to {bounds['le']:g}" if bounds.keys() == {"ge", "le"} else ""


def _recipe(name: str) -> dict[str, Any]:
    recipe = load(name)
    return {"name": name, "about": " ".join(recipe.about.split()), "classes": list(recipe.classes)}


def plain(value: Any) -> Any:
    """A default as YAML has it."""
    if isinstance(value, Config):
        return value.model_dump(mode="json", exclude_none=True)
    return [plain(inner) for inner in value] if isinstance(value, (tuple, list)) else value
