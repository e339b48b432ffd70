"""The networks by name: a name is resolved when it is used, and listing names imports nothing."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any

from million_ird.config import validate
from million_ird.errors import ConfigError, InputError

FAMILIES = {
    "restormer": "restormer:Restormer",
    "promptir": "promptir:PromptIR",
    "dynet": "dynet:DyNet",
    "abair": "abair:Abair",
}
"""Family -> "module:class" in this package. The class has `Config`, a frozen config with `presets`, and takes one."""

MODELS = {
    "restormer": "restormer",
    "promptir": "promptir",
    "dynet-s": "dynet",
    "dynet-l": "dynet",
    "dynet-tiny": "dynet",
    "abair": "abair",
    "abair-tiny": "abair",
}
"""Model -> family; the sizes are in `Config.presets` of the family's class."""


def names() -> tuple[str, ...]:
    """Every model that `create` makes."""
    return tuple(MODELS)


def family(name: str) -> Any:
    """The class of a family.

    Raises:
        InputError: there is none of this name.
    """
    target = FAMILIES.get(name)
    if target is None:
        raise InputError(f"model family {name!r}: unknown; known: {', '.join(FAMILIES)}")
    module, _, attribute = target.partition(":")
    return getattr(import_module(f"million_ird.models.{module}"), attribute)


def family_of(name: str) -> str:
    """The family of a model.

    Raises:
        ConfigError: there is no model of this name.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(MODELS)}"
        raise ConfigError(f"model {name}: unknown; {hint}")
    return MODELS[name]


def create(name: str, **sizes: Any) -> Any:
    """A network with fresh weights.

    Args:
        name: one of `names()`.
        sizes: fields of its config that are to differ (`dim=32`).

    Raises:
        ConfigError: unknown name, unknown field or a value that does not go.
    """
    cls = family(family_of(name))
    return cls(validate(cls.Config, {**cls.Config.presets[name], **sizes}))
