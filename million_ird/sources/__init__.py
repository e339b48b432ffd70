"""What there is to read: folders, single images, archives and globs, on disk or behind an fsspec address.

A source lists its inputs in a fixed order, once, when a run is planned; a `Reader` fetches their bytes afterwards, in
any process and any order. Sources know no policy.
"""

from million_ird.sources.open import Reader, Source, SourceSpec, resolve

__all__ = ["Reader", "Source", "SourceSpec", "resolve"]
