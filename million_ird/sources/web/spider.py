"""The crawler: Scrapy, in a process of its own (`python -m million_ird.sources.web.spider JOB.json`).

Scrapy asks and waits; `walk` says what to ask for, `pages` reads what comes, the journal remembers it. Scrapy's own
JOBDIR isn't used: it is whole only after a clean end.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.crawler import AsyncCrawlerProcess, Crawler
from scrapy.exceptions import CloseSpider, StopDownload
from scrapy.http import Response, TextResponse
from scrapy.http.headers import Headers
from twisted.python.failure import Failure

from million_ird.sources.web.guard import canonical, origin, user_agent
from million_ird.sources.web.journal import Result
from million_ird.sources.web.manners import Manners, Names, failure_class
from million_ird.sources.web.pages import join, read_page
from million_ird.sources.web.places import Site
from million_ird.sources.web.robotstxt import Got
from million_ird.sources.web.settings import Crawl, Fetch
from million_ird.sources.web.site import open_journal
from million_ird.sources.web.sitemaps import named_in, read_sitemap
from million_ird.sources.web.walk import Entry, Walk

PAGE_BYTES = 10_000_000
"""Largest page, bytes, unpacked."""
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_ANSWER = ("dns", "timeout", "connect", "reset")


class SiteSpider(Spider):
    """One crawl."""

    name = "site"

    def __init__(self, url: str, fetch: Fetch, crawl: Crawl, folder: Path) -> None:
        super().__init__()
        self.fetch = fetch
        self.journal = open_journal(folder, url, fetch)
        self.walk = Walk(Site(url, crawl.image_hosts), crawl, fetch.redirects, self.journal)
        self.robots: dict[str, Got] = {}
        self._unanswered = 0

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> SiteSpider:
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.judge_headers, signals.headers_received)
        crawler.signals.connect(spider.crashed, signals.spider_error)
        return spider

    async def start(self) -> AsyncIterator[Any]:
        """Nothing: all requests come from the scheduler."""
        for nothing in ():
            yield nothing

    def request(self, entry: Entry) -> Request:
        """The request for an address."""
        meta = {"url": entry.url, "kind": entry.kind}
        return Request(entry.url, self.parse, errback=self.failed, meta=meta, dont_filter=True)

    def judge_headers(self, headers: Headers, body_length: int, request: Request, spider: Spider) -> None:
        """Don't read the body of what is no page."""
        kind = _kind(headers)
        if request.meta.get("kind") == "page" and kind and not _is_html(kind):
            raise StopDownload(fail=False)

    def parse(self, response: Response, **kwargs: Any) -> None:
        """Read an answer."""
        self._unanswered = 0
        self._done(self._read(response, response.meta["url"], response.meta["kind"]))

    def failed(self, failure: Failure) -> None:
        """Note why there is no answer."""
        request: Request = failure.request  # type: ignore[attr-defined]
        assert failure.value
        why = failure_class(failure.value, request)
        self._unanswered = self._unanswered + 1 if why in _NO_ANSWER else 0
        self._done(Result(request.meta["url"], why, detail=str(failure.value)[:200] if why == "robots" else ""))
        if self._unanswered >= self.fetch.give_up:
            self.logger.error("the site no longer answers (%s, %d times in a row)", why, self._unanswered)
            raise CloseSpider("no answers")

    def crashed(self, failure: Failure, response: Response, spider: Spider) -> None:
        """A page that our reading fails on is passed over; its traceback is in the log."""
        if response is not None and not isinstance(failure.value, CloseSpider):
            self._done(Result(response.meta["url"], "crashed"))

    def _done(self, result: Result) -> None:
        self.journal.append(result)
        self.walk.advance()

    def _read(self, response: Response, url: str, kind: str) -> Result:
        size = len(response.body)
        if response.status in _REDIRECTS and (location := response.headers.get(b"Location")):
            target = join(response.url, location.decode("utf-8", "replace"))
            if not target:
                return Result(url, "scheme", size)
            return Result(url, "redirect", size, (target,))
        if kind == "robots":  # kept, so that `Manners` doesn't ask again
            self.robots[origin(url)] = Got(response.status, response.body)
        if response.status != 200:
            return Result(url, f"http_{response.status}", size)
        if kind == "robots":
            return Result(url, size=size, sitemaps=tuple(named_in(response.body)))
        if kind == "sitemap":
            listed = read_sitemap(response.url, response.body)
            return Result(url, "", size, tuple(listed.pages), tuple(listed.images), tuple(listed.sitemaps))
        return self._read_page(response, url, size)

    def _read_page(self, response: Response, url: str, size: int) -> Result:
        kind = _kind(response.headers)
        if kind.startswith("image/"):
            return Result(url, images=({"url": canonical(response.url)},))
        if not isinstance(response, TextResponse) or (kind and not _is_html(kind)):
            return Result(url, "not_html")
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, values in response.headers.items()
            for value in values
        ]
        robots = response.meta.get("robots_signals", ())
        page = read_page(response.url, response.text, headers, robots, self.fetch.obey)
        return Result(
            url, "", size, tuple(page.links), tuple(page.images), canonical=page.canonical, skipped=dict(page.skipped)
        )


class Order(BaseScheduler):
    """What Scrapy asks for next: tries that are made again first, then the walk's order."""

    def open(self, spider: Spider) -> None:
        assert isinstance(spider, SiteSpider)
        self._spider = spider
        self._again: deque[Request] = deque()

    def enqueue_request(self, request: Request) -> bool:
        self._again.append(request)
        return True

    def next_request(self) -> Request | None:
        if self._again:
            return self._again.popleft()
        entry = self._spider.walk.next()
        return self._spider.request(entry) if entry else None

    def has_pending_requests(self) -> bool:
        if not self._again and (entry := self._spider.walk.next()):
            self._again.append(self._spider.request(entry))
        return bool(self._again)


def settings(fetch: Fetch, crawl: Crawl) -> dict[str, Any]:
    """What Scrapy is told; what it would do on its own that we don't want is off."""
    at_a_time = min(2, fetch.per_host)
    return {
        "AUTOTHROTTLE_ENABLED": True,
        "AUTOTHROTTLE_START_DELAY": crawl.delay,
        "AUTOTHROTTLE_TARGET_CONCURRENCY": float(at_a_time),
        "CONCURRENT_REQUESTS": at_a_time,
        "CONCURRENT_REQUESTS_PER_DOMAIN": at_a_time,
        "COOKIES_ENABLED": False,
        "DEFAULT_REQUEST_HEADERS": {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.5"},
        "DOWNLOADER_MIDDLEWARES": {Manners: 560},
        "DOWNLOAD_DELAY": crawl.delay,
        "DOWNLOAD_DELAY_JITTER": 0.0,  # it would go below the delay that was asked for
        "DOWNLOAD_MAXSIZE": PAGE_BYTES,
        "DOWNLOAD_TIMEOUT": fetch.total_seconds,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "DOWNLOAD_WARNSIZE": 0,
        "HTTPERROR_ALLOW_ALL": True,
        "HTTPPROXY_ENABLED": False,  # a proxy would go where the guard doesn't see
        "LOG_LEVEL": "INFO",
        "LOG_VERSIONS": [],
        "METAREFRESH_ENABLED": False,  # both are links to the walk, judged like any other
        "REDIRECT_ENABLED": False,
        "REFERER_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "RETRY_GIVE_UP_LOG_LEVEL": "INFO",
        "RETRY_TIMES": fetch.retries,
        "ROBOTSTXT_OBEY": False,  # `Manners` does
        "SCHEDULER": Order,
        "STATS_DUMP": False,
        "TELNETCONSOLE_ENABLED": False,
        "TWISTED_DNS_RESOLVER": Names,
        "URLLENGTH_LIMIT": 0,
        "USER_AGENT": user_agent(fetch.contact),
        "MIRD_HOSTS": fetch.hosts,
        "MIRD_PRIVATE_HOSTS": fetch.private_hosts,
    }


def _kind(headers: Headers) -> str:
    """The media type, "" where it isn't said."""
    return (headers.get(b"Content-Type") or b"").decode("latin-1").partition(";")[0].strip().lower()


def _is_html(kind: str) -> bool:
    return kind in ("text/html", "application/xhtml+xml")


def _end_with_parent() -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock would outlive the interpreter
        pass
    os._exit(3)  # the journal is whole at any time


def main(path: Path) -> int:
    """Do a job; 0 = the crawl is finished."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = json.loads(path.read_text(encoding="utf-8"))
    fetch, crawl = Fetch.model_validate(job["fetch"]), Crawl.model_validate(job["crawl"])
    process = AsyncCrawlerProcess(settings(fetch, crawl))
    crawler = process.create_crawler(SiteSpider)
    task = process.crawl(crawler, url=job["url"], fetch=fetch, crawl=crawl, folder=path.parent)
    process.start()
    task.result()
    return 0 if isinstance(crawler.spider, SiteSpider) and crawler.spider.walk.finished else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
