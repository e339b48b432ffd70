"""Lists of URLs, read in small batches: `.txt`, `.csv`, `.tsv`, `.jsonl` and `.parquet`. Their other columns become
metadata."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from million_ird.errors import InputError
from million_ird.records import Item
from million_ird.sources.batches import Columns, batches, columns_of, is_image_table, is_list
from million_ird.sources.columns import URL_NAMES, fixed_names, pc, plain, url_column
from million_ird.sources.files import Files, printable
from million_ird.sources.linefiles import Batch
from million_ird.sources.prefilter import Prefilter, parse
from million_ird.sources.seen import Seen, hashes_of
from million_ird.sources.web.answer import status_of
from million_ird.sources.web.guard import Refused, canonical, check_url

__all__ = ["Columns", "ListSource", "columns_of", "is_image_table", "is_list"]

_CLEAN = r"^https?://[a-z0-9.-]*[a-z0-9](:([2-9][0-9]{3}|[1-5][0-9]{4}))?/[!\"$->@-~]*(\?[!\"$-~]+)?$"
"""URLs that `canonical` and `check_url` leave as they are: nearly all, told apart without a call for each."""
_LONGEST = 8000
"""Characters of a URL: what is longer is no address, and would be carried through all tables."""


class ListSource:
    """URLs of lists. Its items have no bytes to read here: they are fetched.

    Args:
        label: of the source.
        files: the folder the lists lie in.
        paths: the lists, os.fsdecode'd and relative to it.
        url_column: which column holds the URL; "" = the first that is called like one (`url`, `image_url`, ...).
        where: a condition on the columns (`prefilter.parse`) that rows must fulfil; "" = none.
        seen: URLs that were listed before, here or elsewhere; None = those of this source alone.

    Raises:
        ConfigError: `where` is no condition.
    """

    def __init__(
        self,
        label: str,
        files: Files,
        paths: Sequence[str],
        url_column: str = "",
        where: str = "",
        seen: Seen | None = None,
    ) -> None:
        self.label = label
        self._files = files
        self._paths = paths
        self._column = url_column
        self._where = parse(where) if where.strip() else None
        self._seen = seen

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """The URLs in the order of the lists, each once; what cannot be requested has a status, a row without URL the
        URI "LIST::ROW".

        Raises:
            InputError: a list that is empty, of an unknown kind, or without a column of URLs.
            ConfigError: `where` names a column that a list does not have.
        """
        seen = Seen() if self._seen is None else self._seen
        for name in self._paths:
            path = printable(os.fsencode(name))
            column = ""
            for batch in batches(self._files, name, skipped):
                if batch.damage:
                    uri = f"{path}::?"
                    yield Item(self.label, uri, os.fsencode(name), status="unreadable", detail=batch.damage)
                    continue
                # The rows of a JSON list need not all have all keys: the first ones decide which column is meant.
                column = column or self._url_column(path, batch)
                yield from self._of_batch(batch, column, path, seen, skipped)

    def read(self, item: Item, count: int = -1) -> bytes:
        """There is nothing to read: what a list names is on the web."""
        raise NotImplementedError("the bytes of a URL are fetched, not read")

    def close(self) -> None:
        """Nothing is held open."""

    def _url_column(self, path: str, batch: Batch) -> str:
        names = batch.names
        if self._column:
            if self._column in names:
                return self._column
            raise InputError(f"{path}: no column '{self._column}' (sources.url_column); columns: {_listed(names)}")
        if found := url_column(names):
            return found
        if any("://" in name for name in names):
            raise InputError(f"{path}: its first line must name the columns, one of them url; it is {_listed(names)}")
        raise InputError(
            f"{path}: no column is called {', '.join(URL_NAMES[:3])} or alike; columns: {_listed(names)}; name it by "
            f"--set sources.url_column=NAME"
        )

    def _of_batch(self, batch: Batch, column: str, path: str, seen: Seen, skipped: Counter[str]) -> Iterator[Item]:
        rows = np.arange(batch.rows)
        if self._where is not None:
            rows = np.flatnonzero(self._where.mask(_condition_table(batch, self._where)))
            skipped[f"where: {self._where.text}"] += batch.rows - len(rows)
        try:
            texts, odd = _canonical(batch.column(column), rows)
        except pa.ArrowException:
            raise InputError(f"{path}: column '{column}' holds no text, so no URLs") from None
        hashes = hashes_of(texts)
        # Rows without a URL are told apart by their place, and never "again".
        fresh = np.fromiter(map(bool, texts), dtype=bool, count=len(texts))
        fresh[fresh] = seen.new(hashes[fresh])
        empty = [number for number in odd if not texts[number]]
        if again := len(texts) - int(fresh.sum()) - len(empty):
            skipped["URL again"] += again
        fresh[empty] = True
        kept = np.flatnonzero(fresh)
        for number, meta in zip(kept.tolist(), batch.metas(rows[kept], column), strict=True):
            if number not in odd:
                yield Item(self.label, texts[number], b"", meta=meta)
                continue
            uri, status, detail = _checked(texts[number])
            uri = uri or f"{path}::{batch.first + int(rows[number])}"
            yield Item(self.label, uri, b"", status=status, detail=detail, meta=meta)


def _condition_table(batch: Batch, where: Prefilter) -> pa.Table:
    """The columns a condition asks for, also under the names that metadata have."""
    table = batch.table(where.columns)
    for name, fixed in fixed_names(table.column_names).items():
        table = table.append_column(fixed, table.column(table.column_names.index(name)))
    return table


def _canonical(column: pa.Array | pa.ChunkedArray, rows: np.ndarray) -> tuple[list[str], set[int]]:
    """URLs of some rows as they are written down ("" for none), and the numbers of those that need a closer look."""
    array = pc.fill_null(pc.cast(plain(column), pa.string()).take(pa.array(rows)), "")
    clean = pc.and_(pc.match_substring_regex(array, _CLEAN), pc.less_equal(pc.binary_length(array), _LONGEST))
    odd = np.flatnonzero(~clean.to_numpy(zero_copy_only=False)).tolist()
    texts = array.to_pylist()
    for number in odd:
        texts[number] = canonical(texts[number])
    return texts, set(odd)


def _checked(url: str) -> tuple[str, str, str]:
    """A URL as an item's URI, status and class of failure."""
    if not url:
        return "", "fetch_failed", "bad_url"
    uri = url
    if len(url) > _LONGEST:
        uri = f"{url[:200]}…{blake2b(url.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"
    try:
        if not urlsplit(url).scheme or len(url) > _LONGEST:
            return uri, "fetch_failed", "bad_url"
        check_url(url)
    except Refused as refused:
        return uri, status_of(refused.kind), refused.kind
    except ValueError:
        return uri, "fetch_failed", "bad_url"
    return uri, "", ""


def _listed(names: Sequence[str]) -> str:
    shown = [name[:60] for name in names[:40]]
    return (", ".join(shown) or "none") + (", …" if len(names) > 40 else "")
