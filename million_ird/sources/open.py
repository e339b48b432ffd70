"""From sources to items, and from an item to its bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from million_ird.records import Item
from million_ird.sources.archive import TarSource, ZipSource
from million_ird.sources.files import Files, FolderSource, LocalFiles, RemoteFiles
from million_ird.sources.seen import Seen
from million_ird.sources.web.settings import Crawl, Fetch
from million_ird.sources.web.store import StoreSource

Kind = Literal["folder", "files", "tar", "zip", "rows", "list", "url", "site", "brought"]


class Source(Protocol):
    """What there is to read in one place."""

    label: str

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """All inputs, in an order that is the same every time; what is passed over is counted in `skipped`, by kind."""
        ...

    def read(self, item: Item, count: int = -1) -> bytes:
        """The first `count` bytes of an input, or all of it.

        Raises:
            BadImage: where it cannot be read, or ends too early.
        """
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...


@dataclass(frozen=True)
class Listing:
    """How lists of URLs are read.

    Attributes:
        url_column: the column that holds them; "" = the first that is called like one.
        where: a condition on the columns, "" = none.
    """

    url_column: str = ""
    where: str = ""


@dataclass(frozen=True)
class Web:
    """What listing sources of the web takes.

    Attributes:
        fetch: limits and manners.
        crawl: how far sites are followed.
        folder: what is remembered of crawls.
        seen: URLs of all lists of a plan.
    """

    fetch: Fetch
    crawl: Crawl
    folder: str
    seen: Seen = field(default_factory=Seen)


@dataclass(frozen=True)
class SourceSpec:
    """One source, resolved: enough for any process to list or read it.

    Attributes:
        label: short name, unique within a run; the `source` column.
        kind: "folder" = everything below root; "files" = the listed paths; "tar", "zip" = the one archive in paths;
            "rows" = tables that hold images; "list" = tables that hold URLs; "url" = images on the web; "site" = to be
            crawled; "brought" = a list or an archive on the web, which is fetched before it is read.
        protocol: "" for the local file system, else fsspec's name for it.
        root: absolute folder that paths are relative to; of a site its first page, of what is brought its address.
        paths: for all kinds but "folder" and "site": paths relative to root, os.fsdecode'd; of "url" the addresses.
        listing: how a list is read.
        licence: of all that does not name its own; "" = unknown.
    """

    label: str
    kind: Kind
    protocol: str
    root: str
    paths: tuple[str, ...] = ()
    listing: Listing = Listing()
    licence: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> SourceSpec:
        """From what `dataclasses.asdict` made of one."""
        listing = Listing(**data.get("listing", {}))
        return cls(**{**data, "paths": tuple(data["paths"]), "listing": listing})

    @property
    def web(self) -> bool:
        """Whether its bytes are fetched from the web, into the run's store."""
        return self.kind in ("list", "url", "site")

    @property
    def public(self) -> str:
        """What others may know of where it lies: an address where it has one, else the label."""
        if self.kind in ("site", "brought"):
            return self.root
        return f"hf://{self.root}" if self.protocol == "hf" else self.label

    def open(self, leave_out: str = "", web: Web | None = None) -> Source:
        """The source itself.

        Args:
            leave_out: absolute path of a folder that is no part of it (the output of the run).
            web: what listing a source of the web takes.
        """
        if self.web:
            return self._on_web(leave_out, web or Web(Fetch(), Crawl(), ""))
        files = self._files(leave_out)
        if self.kind == "rows":
            from million_ird.sources.rowfiles import RowSource

            return RowSource(self.label, files, self.paths)
        if self.kind == "tar":
            return TarSource(self.label, files, self.paths[0])
        if self.kind == "zip":
            return ZipSource(self.label, files, self.paths[0])
        return FolderSource(self.label, files, self.paths if self.kind == "files" else None)

    def _files(self, leave_out: str) -> Files:
        return RemoteFiles(self.protocol, self.root) if self.protocol else LocalFiles(self.root, leave_out)

    def _on_web(self, leave_out: str, web: Web) -> Source:
        from million_ird.sources.lists import ListSource

        if self.kind == "site":
            from million_ird.sources.web.site import SiteSource

            return SiteSource(self.label, self.root, web.fetch, web.crawl, Path(web.folder))
        if self.kind == "url":
            return AddressSource(self.label, self.paths)
        column, where = self.listing.url_column, self.listing.where
        return ListSource(self.label, self._files(leave_out), self.paths, column, where, web.seen)


class AddressSource:
    """Single images on the web.

    Args:
        label: of the source.
        urls: canonical addresses.
    """

    def __init__(self, label: str, urls: Sequence[str]) -> None:
        self.label = label
        self._urls = urls

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """One for each address."""
        for url in self._urls:
            yield Item(self.label, url, b"")

    def read(self, item: Item, count: int = -1) -> bytes:
        """There is nothing to read: an address is fetched."""
        raise NotImplementedError("the bytes of a URL are fetched, not read")

    def close(self) -> None:
        """Nothing is held open."""


class Reader:
    """Bytes of items of several sources, in any order; keeps the source it read last open. One per process.

    Args:
        specs: the sources.
        store: folder of what was fetched from the web; None where no source is there.
    """

    def __init__(self, specs: Sequence[SourceSpec], store: Path | None = None) -> None:
        self._specs = {spec.label: spec for spec in specs}
        self._store = store
        self._open: Source | None = None

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read` of the item's source."""
        if self._open is None or self._open.label != item.source:
            self.close()
            spec = self._specs[item.source]
            self._open = StoreSource(spec.label, self._store) if spec.web and self._store else spec.open()
        return self._open.read(item, count)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the source that is open, if one is."""
        if self._open is not None:
            self._open.close()
            self._open = None
