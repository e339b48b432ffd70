"""The order of a crawl: breadth-first, within its site and its budgets, and the same again from what was read before.

What is fetched when depends on the network; what the crawl finds doesn't: results are taken in the order in which their
pages were listed, so that budgets cut the same pages off however often the crawl was stopped and begun again.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from million_ird.sources.web.guard import origin
from million_ird.sources.web.journal import Journal, Result
from million_ird.sources.web.places import LONGEST, Site, is_winding, page_key, same_path
from million_ird.sources.web.settings import Crawl

SITEMAPS = 50
"""Most sitemaps read."""
QUERIES = 200
"""Most pages of one path that differ in their query."""
_UNREQUESTED = ("robots", "blocked", "scheme", "bad_url")


@dataclass(frozen=True)
class Entry:
    """One address to ask for.

    Attributes:
        url: the address.
        kind: "page", "robots" or "sitemap".
        depth: links from the first page.
        hops: redirects on the way to it.
    """

    url: str
    kind: str = "page"
    depth: int = 0
    hops: int = 0


class Walk:
    """A breadth-first walk: `next` says what to ask for, `advance` takes what came of it from the journal.

    Attributes:
        images: what was found, address -> facts, in the order in which it was found.
        skipped: what was passed over, by kind.
        first: why the first page can't be had, "" = it was had, or isn't known yet.
        finished: nothing is left to ask for.
    """

    def __init__(self, site: Site, crawl: Crawl, redirects: int, journal: Journal) -> None:
        self._site, self._crawl, self._redirects, self._journal = site, crawl, redirects, journal
        self._include = [re.compile(pattern) for pattern in crawl.include]
        self._exclude = [re.compile(pattern) for pattern in crawl.exclude]
        self._seen: set[str] = set()
        self._left: set[str] = set()
        self._queries: Counter[str] = Counter()
        self._level: list[Entry] = []
        self._later: list[Entry] = []
        self._seeds: list[str] = []
        self._sent = self._at = self._pages = self._bytes = self._sitemaps = self._had = 0
        self.images: dict[str, dict[str, str]] = {}
        self.skipped: Counter[str] = Counter()
        self.first = ""
        self.finished = False
        start = Entry(site.start)
        self._seen.add(page_key(site.start))
        if crawl.sitemaps and crawl.depth > 0:
            self._level = [Entry(f"{origin(site.start)}/robots.txt", "robots")]
            self._later = [start]
        else:
            self._level = [start]

    def next(self) -> Entry | None:
        """What to ask for now; None = nothing, until what is under way is in the journal, or the walk is finished."""
        self.advance()
        while self._sent < len(self._level) and not self.finished:
            entry = self._level[self._sent]
            if entry.kind == "page" and self._pages + self._sent - self._at >= self._crawl.pages:
                return None
            self._sent += 1
            if entry.url not in self._journal:
                return entry
            self.advance()
        return None

    def advance(self) -> None:
        """Take what is known of the next addresses in order."""
        while not self.finished:
            if self._at == len(self._level):
                self._next_level()
            elif self._at < self._sent and self._level[self._at].url in self._journal:
                entry = self._level[self._at]
                self._at += 1
                self._take(entry, self._journal.read(entry.url))
                self._check_budgets()
            else:
                return

    def _next_level(self) -> None:
        if self._level and self._level[-1].kind == "page" and self._had == 0:
            self.finished = True  # the first page failed, with all that it redirects to
            return
        self._level, self._later, self._sent, self._at = self._later, [], 0, 0
        self.finished = not self._level

    def _check_budgets(self) -> None:
        crawl = self._crawl
        full = self._pages >= crawl.pages or len(self.images) >= crawl.images or self._bytes >= crawl.bytes
        if full and not self.finished:
            self.finished = True
            if left := len(self._level) - self._at + len(self._later):
                self.skipped["page: over budget"] += left

    def _take(self, entry: Entry, result: Result) -> None:
        self.skipped.update(result.skipped)
        self._bytes += result.size
        if entry.kind == "page":
            self._take_page(entry, result)
        elif result.why == "redirect":
            self._redirect(entry, result.links[0])
        else:
            for url in result.sitemaps or (
                [f"{origin(self._site.start)}/sitemap.xml"] if entry.kind == "robots" else []
            ):
                self._add_sitemap(Entry(url, "sitemap"))
            room = max(10 * self._crawl.pages, 10_000) - len(self._seeds)
            self._seeds += [url for url in result.links if self._site.holds(url)][: max(room, 0)]
            self._take_images(result)

    def _take_page(self, entry: Entry, result: Result) -> None:
        self._pages += result.why not in _UNREQUESTED
        if result.why == "redirect":
            self._redirect(entry, result.links[0])
            return
        if result.why:
            self.skipped[f"page: {result.why}"] += 1
            if not self._had:
                self.first = f"{result.why}: {result.detail}" if result.detail else result.why
            return
        self._had += 1
        self.first = ""
        if result.canonical and same_path(result.canonical, entry.url):
            self._seen.add(page_key(result.canonical))
        self._take_images(result)
        if entry.depth < self._crawl.depth:
            for url in (*result.links, *self._seeds):
                self._add_page(Entry(url, depth=entry.depth + 1), self._later)
            self._seeds = []

    def _redirect(self, entry: Entry, target: str) -> None:
        onward = Entry(target, entry.kind, entry.depth, entry.hops + 1)
        why = ""
        if not self._had:
            self.first = "redirects in a circle"
        if onward.hops > self._redirects:
            why = "redirects"
        elif not self._site.holds(target):
            why = "redirect to another host"
        elif entry.kind != "page":
            self._add_sitemap(onward)
        elif page_key(target) == page_key(entry.url) and target != entry.url:
            self._level.append(onward)  # only its session differs
        else:
            self._add_page(onward, self._level)
        if why and entry.kind == "page":
            self.skipped[f"page: {why}"] += 1
            if not self._had:
                self.first = "redirects without end" if why == "redirects" else f"{why}, {origin(target)}"

    def _add_sitemap(self, entry: Entry) -> None:
        if entry.url not in self._seen and self._site.holds(entry.url) and self._sitemaps < SITEMAPS:
            self._seen.add(entry.url)
            self._sitemaps += 1
            self._level.append(entry)

    def _add_page(self, entry: Entry, level: list[Entry]) -> None:
        key = page_key(entry.url)
        if key in self._seen or not self._site.holds(entry.url):
            return
        self._seen.add(key)
        if entry.depth and not self._wanted(entry.url):
            self.skipped["page: excluded"] += 1
        elif self._is_trap(entry.url):
            self.skipped["page: trap"] += 1
        else:
            level.append(entry)

    def _wanted(self, url: str) -> bool:
        included = not self._include or any(pattern.search(url) for pattern in self._include)
        return included and not any(pattern.search(url) for pattern in self._exclude)

    def _is_trap(self, url: str) -> bool:
        parts = urlsplit(url)
        if len(url) > LONGEST or is_winding(parts.path):
            return True
        if parts.query:
            place = f"{parts.netloc}{parts.path}"
            self._queries[place] += 1
            return self._queries[place] > QUERIES
        return False

    def _take_images(self, result: Result) -> None:
        for facts in result.images:
            url = facts["url"]
            if url in self._left or url in self.images:
                continue
            if any(pattern.search(url) for pattern in self._exclude):
                why = "image: excluded"
            elif not self._site.may_hold(url):
                why = "image: another host"
            elif len(self.images) >= self._crawl.images:
                why = "image: over budget"
            else:
                page = result.canonical if self._site.holds(result.canonical) else result.url
                self.images[url] = {"page_url": page, **facts}
                continue
            self._left.add(url)
            self.skipped[why] += 1
