"""Networks that restore images: Restormer, PromptIR, DyNet, ABAIR.

from million_ird import models

net = models.create("dynet-s")           # names(): all of them
net = models.load("folder or ORG/NAME")  # what save_pretrained wrote
net.variant = "l"                        # DyNet: one set of weights, several depths
models.dynet.from_reference(state_dict)  # weights of the published code
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from million_ird.models.registry import FAMILIES, create, names

_MODULES = (*FAMILIES, "adapters", "blocks", "estimator", "spandrel", "weights")

__all__ = ["create", "load", "names"]


def load(source: Any, revision: str | None = None) -> Any:
    """A network with its weights; see `weights.load`."""
    from million_ird.models import weights

    return weights.load(source, revision)


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: torch is nobody's business until then."""
    if name in _MODULES:
        return import_module(f"million_ird.models.{name}")
    raise AttributeError(f"million_ird.models has no {name}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])


if TYPE_CHECKING:
    from million_ird.models import abair as abair
    from million_ird.models import adapters as adapters
    from million_ird.models import blocks as blocks
    from million_ird.models import dynet as dynet
    from million_ird.models import estimator as estimator
    from million_ird.models import promptir as promptir
    from million_ird.models import restormer as restormer
    from million_ird.models import spandrel as spandrel
    from million_ird.models import weights as weights
