"""Whose a picture is, and under which licence, by its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LICENCES = {
    "cc0": "cc0-1.0",
    "cc0-1.0": "cc0-1.0",
    "publicdomain/zero/1.0": "cc0-1.0",
    **{
        spelling: f"{kind}-{version}"
        for kind in ("cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nd", "cc-by-nc-sa", "cc-by-nc-nd")
        for version in ("2.0", "3.0", "4.0")
        for spelling in (f"{kind}-{version}", f"licenses/{kind.removeprefix('cc-')}/{version}")
    },
}
"""How licences are written -> what the Hub calls them."""


def parsed(meta: str | None) -> Mapping[str, Any]:
    """The `meta` column's JSON; empty where it is null or no object."""
    try:
        found = json.loads(meta) if meta else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def licence_of(meta: Mapping[str, Any]) -> str:
    """The licence that is stated of an image, "" = none; a notice of rights counts where it names a known licence."""
    stated = str(meta.get("licence") or meta.get("license") or "").strip()
    rights = str(meta.get("rights") or "").strip()
    return stated or (rights if hub_licence(rights) else "")


def credit_of(meta: Mapping[str, Any]) -> str:
    """What is stated of licence, rights or maker, "" = nothing."""
    return licence_of(meta) or str(meta.get("rights") or meta.get("creator") or meta.get("author") or "")


def hub_licence(stated: str) -> str:
    """The Hub's name of a licence as it was stated, "" = it has none."""
    plain = "-".join(stated.lower().replace("_", " ").replace("creative commons", "cc").split())
    if plain in LICENCES:
        return LICENCES[plain]
    return next((name for spelling, name in LICENCES.items() if "/" in spelling and spelling in plain), "")
