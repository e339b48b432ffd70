"""A list or an archive that lies on the web: fetched before it is read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from million_ird.errors import InputError
from million_ird.sources.web.settings import Fetch

if TYPE_CHECKING:
    from million_ird.sources.open import SourceSpec


def brought(spec: SourceSpec, folder: Path, fetch: Fetch) -> SourceSpec:
    """The same source as a file of this machine.

    Args:
        spec: of the kind "brought".
        folder: where it is put, under its label.
        fetch: limits and manners.

    Raises:
        InputError: it could not be fetched.
    """
    from million_ird.sources.resolve import resolve
    from million_ird.sources.web.fetcher import Fetcher

    path = folder / spec.label

    async def save() -> None:
        async with Fetcher(fetch, None, lambda url, data: "", None) as fetcher:
            answer = await fetcher.save(spec.root, path)
            if answer.error:
                raise InputError(f"{spec.root}: cannot be fetched: {answer.error} ({answer.detail})")

    if not path.exists():
        asyncio.run(save())
    (local,) = resolve([str(path)], spec.listing)
    return replace(local, label=spec.label)
