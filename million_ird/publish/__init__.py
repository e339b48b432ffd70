"""`mird publish` and `mird card`: what was built or trained, described, checked, and put on the Hugging Face Hub.

    publish.dataset("DIR", "ORG/NAME")          the dataset of a build
    publish.model("RUN", "ORG/NAME")            a network
    publish.index("DIR", "ORG/NAME")            addresses, hashes, measurements, decisions: a dataset without pixels
    publish.compare("INDEX", "DIR")             what of an index has rotted since

Private unless asked otherwise, nothing is sent before all checks are passed, and the same call goes on after a kill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from million_ird.publish.builds import card, dataset
    from million_ird.publish.indexes import index
    from million_ird.publish.networks import model
    from million_ird.publish.rot import compare

_HOMES = {"card": "builds", "dataset": "builds", "index": "indexes", "model": "networks", "compare": "rot"}
"""Name -> module; modules have other names than what they offer, so that neither hides the other."""

__all__ = ["card", "compare", "dataset", "index", "model"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"million_ird.publish has no {name}")
    from importlib import import_module

    return getattr(import_module(f"million_ird.publish.{_HOMES[name]}"), name)
