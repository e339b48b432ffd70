"""Clean images to labelled pairs on disk, and the check that what lies there is what the recipe says.

    from million_ird.pairs import degrade_dataset, verify

    summary = degrade_dataset("photos/", "pairs/", {"recipe": "abair", "size": 256, "per_image": 4})
    report = verify("pairs/")

A sample is a clean picture and a number, its index. All chance comes from (seed, the picture's id, index), so that a
sample is the same whatever the order, the number of workers, or how often the run was killed on the way.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from million_ird.pairs.check import VerifyReport, verify
    from million_ird.pairs.settings import DegradeConfig, load_config
    from million_ird.pairs.stages import degrade_dataset
    from million_ird.pairs.summary import DegradeSummary

_WHERE = {
    "DegradeConfig": "settings",
    "DegradeSummary": "summary",
    "VerifyReport": "check",
    "degrade_dataset": "stages",
    "load_config": "settings",
    "verify": "check",
}

__all__ = ["DegradeConfig", "DegradeSummary", "VerifyReport", "degrade_dataset", "load_config", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
