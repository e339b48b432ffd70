"""What there is to read: folders, single images, archives, datasets and globs, on disk or behind an fsspec address;
lists of URLs, sites and the Hub.

A source lists its inputs in a fixed order, once, when a run is planned; a `Reader` fetches their bytes afterwards, in
any process and any order. Sources know no policy.
"""

from million_ird.sources.open import Listing, Reader, Source, SourceSpec, Web
from million_ird.sources.resolve import resolve

__all__ = ["Listing", "Reader", "Source", "SourceSpec", "Web", "resolve"]
