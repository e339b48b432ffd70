"""Sites as sources: a crawl in a process of its own, whose finds are read from its journal."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from million_ird.errors import ConfigError, InputError
from million_ird.records import Item
from million_ird.sources.web.guard import Refused, canonical
from million_ird.sources.web.journal import Journal
from million_ird.sources.web.places import Site, check_host
from million_ird.sources.web.settings import Crawl, Fetch
from million_ird.sources.web.walk import Walk
from million_ird.tables import output_error, write_json

VERSION = 1
"""Of what a journal holds; one of another version is begun anew."""

_WORDS = {
    "blocked": "its host stands for a private address (see --allow-private-hosts)",
    "connect": "no connection",
    "dns": "its host has no address",
    "not_html": "it is neither HTML nor an image",
    "timeout": "no answer in time",
    "too_large": "it is too large for a page",
}


class SiteSource:
    """The images of a site.

    Args:
        label: of the source.
        url: the page to begin with.
        fetch: how the web is read.
        crawl: how far to go; a crawl whose budgets were raised goes on from where it stopped.
        folder: where crawls keep what they found; one of this site's own is made in it.
    """

    def __init__(self, label: str, url: str, fetch: Fetch, crawl: Crawl, folder: Path) -> None:
        self.label = label
        self._url = canonical(url)
        if not urlsplit(self._url).path:
            self._url = urljoin(self._url, "/")
        self._fetch, self._crawl = fetch, crawl
        name = re.sub(r"[^\w.-]+", "_", label).strip("._")[:60]
        self.folder = folder / f"{name}-{hashlib.blake2b(self._url.encode(), digest_size=4).hexdigest()}"
        for key in ("include", "exclude"):
            for pattern in getattr(crawl, key):
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ConfigError(f"crawl.{key}: {pattern}: not a regular expression ({error})") from None

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """One item per image, sorted by address; crawls first, where that isn't done.

        Raises:
            InputError: the first page can't be had, or the crawler isn't installed or died.
        """
        try:
            check_host(self._url, self._fetch.private_hosts)
        except Refused as error:
            raise InputError(f"{self._url}: not a site that may be crawled: {error}") from None
        if importlib.util.find_spec("scrapy") is None:
            raise InputError(f'{self._url}: crawling needs Scrapy; pip install "million-ird[web]"')
        walk, code = self._walk(), 0
        if not walk.finished:
            code = self._run()
            walk = self._walk()
        if not walk.finished:
            why = f"its process was killed by signal {-code}" if code < 0 else self._last_error()
            raise InputError(f"{self._url}: the crawl stopped: {why}; run the same command to go on")
        if walk.first:
            self._journal_path.unlink()  # so that the next run asks again
            raise InputError(f"{self._url}: the first page cannot be had: {_explained(walk.first)}")
        skipped.update(walk.skipped)
        for url in sorted(walk.images):
            facts = {name: text for name, text in walk.images[url].items() if name != "url"}
            yield Item(self.label, url, b"", meta=json.dumps(facts, sort_keys=True, ensure_ascii=False))

    def _walk(self) -> Walk:
        """The crawl, as far as the journal knows it."""
        try:
            with contextlib.closing(open_journal(self.folder, self._url, self._fetch)) as journal:
                walk = Walk(Site(self._url, self._crawl.image_hosts), self._crawl, self._fetch.redirects, journal)
                walk.next()
        except OSError as error:
            raise output_error(error, self.folder) from error
        return walk

    def _run(self) -> int:
        """Crawl, in a process that ends with this one: it stops where its input does."""
        job = self.folder / "job.json"
        write_json(job, {"url": self._url, "fetch": self._fetch.model_dump(), "crawl": self._crawl.model_dump()})
        command = [sys.executable, "-m", "million_ird.sources.web.spider", str(job)]
        with self._log_path.open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=sys.platform != "win32"
            )
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()

    @property
    def _journal_path(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def _log_path(self) -> Path:
        return self.folder / "log.txt"

    def _last_error(self) -> str:
        """The last line of the log that tells of an error, else the last of all, without time and name."""
        lines = [line for line in self._log_path.read_text("utf-8", "replace").split("\n") if line.strip()]
        errors = [line for line in lines if " ERROR: " in line] or lines or ["no word in its log"]
        return "".join(c for c in errors[-1].rpartition(" ERROR: ")[2] if c.isprintable())[:300]

    def read(self, item: Item, count: int = -1) -> bytes:
        """There is nothing to read: what a site shows is fetched."""
        raise NotImplementedError("the bytes of a URL are fetched, not read")

    def close(self) -> None:
        """Nothing is held open."""


def open_journal(folder: Path, url: str, fetch: Fetch) -> Journal:
    """The journal of a site's crawl."""
    return Journal(folder / "journal.jsonl", {"url": url, "obey": fetch.obey, "version": VERSION})


def _explained(why: str) -> str:
    if why.startswith("robots: "):
        return f"robots.txt {why.removeprefix('robots: ')}"
    if why.startswith("redirect to another host"):
        return f"it leads to another host ({why.partition(', ')[2]}); name that as the source"
    return _WORDS.get(why, why)
