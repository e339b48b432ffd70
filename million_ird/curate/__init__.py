"""`mird build|decide|report|explain`: plan, measure, decide, export, report.

from million_ird.curate import build
summary = build(["photos/"], "out/", {"policy": {"resolution": {"min_side": 512}}})
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from million_ird.curate.settings import BuildConfig, load_config
    from million_ird.curate.stages import build
    from million_ird.curate.summary import BuildSummary

_WHERE = {"build": "stages", "BuildSummary": "summary", "BuildConfig": "settings", "load_config": "settings"}

__all__ = ["BuildConfig", "BuildSummary", "build", "load_config"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
