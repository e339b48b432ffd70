"""What a crawler owes to sites and to the network it stands in: robots.txt, pauses, and public addresses only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
    UnsupportedURLSchemeError,
)
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from million_ird.sources.web.guard import TOKEN, Refused, canonical, host_of, origin, public
from million_ird.sources.web.places import check_host
from million_ird.sources.web.robots import Robots
from million_ird.sources.web.robotstxt import Got

if TYPE_CHECKING:
    from million_ird.sources.web.spider import SiteSpider

ROBOTS_REDIRECTS = 5
"""Redirects of a robots.txt that are followed (RFC 9309)."""
_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (CannotResolveHostError, "dns"),
    (DownloadTimeoutError, "timeout"),
    (DownloadConnectionRefusedError, "connect"),
    (DownloadCancelledError, "too_large"),
    (ResponseDataLossError, "truncated"),
    (UnsupportedURLSchemeError, "scheme"),
    (DownloadFailedError, "reset"),
    (IgnoreRequest, "too_large"),  # Scrapy's, where an answer unpacks to more than it may
    (OSError, "encoding"),
)
_NO_ROBOTS = tuple(kind for kind, _ in _FAILURES)


class Left(IgnoreRequest):
    """A request that isn't made; `kind` is the class of the reason."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(detail)
        self.kind = kind


def failure_class(error: BaseException, request: Request) -> str:
    """The class of a failure for the count: "robots", "blocked", "dns", "timeout", ..."""
    if isinstance(error, Left):
        return error.kind
    if isinstance(error, CannotResolveHostError) and host_of(request.url) in _private_names:
        return "blocked"
    return next((name for kind, name in _FAILURES if isinstance(error, kind)), "connect")


class Manners:
    """Scrapy's downloader middleware: every request passes here, those for robots.txt and second tries too."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._robots = Robots(None, TOKEN, self._get_robots)
        self._free: dict[str, float] = {}
        self._unreached: dict[str, str] = {}

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Manners:
        return cls(crawler)

    @property
    def _spider(self) -> SiteSpider:
        return self._crawler.spider  # type: ignore[return-value]

    async def process_request(self, request: Request) -> None:
        """Let a request go when it may, or not at all."""
        fetch = self._spider.fetch
        try:
            check_host(request.url, fetch.private_hosts)
        except Refused as error:
            raise Left(error.kind) from None
        delay = 0.0
        if fetch.obey and request.meta["kind"] != "robots":
            rules = await self._robots.rules(origin(request.url))
            if not rules.allowed(request.url):
                if why := self._unreached.get(origin(request.url)):
                    raise Left(why)
                raise Left("robots", rules.why(request.url).removeprefix("robots: "))
            request.meta["robots_signals"] = rules.signals(request.url)
            delay = rules.delay or 0.0
        await self._turn(host_of(request.url), delay)

    def process_response(self, request: Request, response: Response) -> Response:
        """Note how long a site asks us to wait."""
        if response.status == 429 or response.status >= 500:
            self._pause(request, _retry_after(response))
        return response

    def process_exception(self, request: Request, exception: Exception) -> None:
        """Wait before another try, or make none where it can't help."""
        if isinstance(exception, Left) or failure_class(exception, request) in ("blocked", "too_large"):
            request.meta["dont_retry"] = True
        else:
            self._pause(request, 0.0)

    def _pause(self, request: Request, asked: float) -> None:
        fetch = self._spider.fetch
        if asked > fetch.patience:
            request.meta["dont_retry"] = True
            return
        seconds = asked or fetch.backoff * 2 ** request.meta.get("retry_times", 0)
        host = host_of(request.url)
        self._free[host] = max(self._free.get(host, 0.0), time.monotonic() + min(seconds, fetch.patience))

    async def _turn(self, host: str, delay: float) -> None:
        now = time.monotonic()
        turn = max(now, self._free.get(host, 0.0))
        self._free[host] = turn + delay
        if turn > now:
            await asyncio.sleep(turn - now)

    async def _get_robots(self, url: str) -> Got:
        place = origin(url)
        if place in self._spider.robots:  # read for its sitemaps
            return self._spider.robots[place]
        assert self._crawler.engine
        for _ in range(ROBOTS_REDIRECTS + 1):
            request = Request(url, NO_CALLBACK, meta={"kind": "robots"}, dont_filter=True)
            try:
                response = await self._crawler.engine.download_async(request)
            except _NO_ROBOTS as error:
                self._unreached[place] = failure_class(error, request)
                return Got(0)
            location = response.headers.get(b"Location")
            if not (300 <= response.status < 400 and location):
                return Got(response.status, response.body)
            url = canonical(urljoin(response.url, location.decode("utf-8", "replace")))
        return Got(300)


def _retry_after(response: Response) -> float:
    """Seconds that a Retry-After asks for, 0 = none."""
    text = (response.headers.get(b"Retry-After") or b"").decode("latin-1").strip()
    if text.isdigit():
        return float(text[:9])
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0) if text else 0.0
    except (ValueError, TypeError):
        return 0.0


_private_names: set[str] = set()
"""Names that stand for private addresses alone, of this process' one crawl."""


@implementer(IHostnameResolver)
class Names:
    """Scrapy's name resolver: the names of `fetch.hosts`, then the system's; addresses that are not public don't come
    out of it, so that what was judged is what is connected to."""

    def __init__(self, reactor: Any, hosts: dict[str, str], private: bool) -> None:
        self._reactor, self._inner = reactor, reactor.nameResolver
        self._hosts = {name.lower(): address for name, address in hosts.items()}
        self._private = private

    @classmethod
    def from_crawler(cls, crawler: Any, reactor: Any) -> Names:
        """As Scrapy makes it."""
        return cls(reactor, crawler.settings.getdict("MIRD_HOSTS"), crawler.settings.getbool("MIRD_PRIVATE_HOSTS"))

    def install_on_reactor(self) -> None:
        """As Scrapy asks for."""
        self._reactor.installNameResolver(self)

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """As Twisted asks for."""
        name = hostName.lower().rstrip(".")
        receiver = resolutionReceiver if self._private else _PublicOnly(resolutionReceiver, name)
        if name not in self._hosts:
            return self._inner.resolveHostName(receiver, hostName, portNumber, addressTypes, transportSemantics)
        fixed = self._hosts[name]
        resolution = _Fixed(name)
        receiver.resolutionBegan(resolution)  # type: ignore[arg-type]
        kind = IPv6Address if ":" in fixed else IPv4Address
        receiver.addressResolved(kind("TCP", fixed, portNumber))
        receiver.resolutionComplete()
        return resolution  # type: ignore[return-value]


@implementer(IHostResolution)
class _Fixed:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Nothing is under way."""


@implementer(IResolutionReceiver)
class _PublicOnly:
    def __init__(self, inner: Any, name: str) -> None:
        self._inner, self._name, self._given, self._held = inner, name, 0, 0

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._inner.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: Any) -> None:
        if public(address.host):
            self._given += 1
            self._inner.addressResolved(address)
        else:
            self._held += 1

    def resolutionComplete(self) -> None:
        if self._held and not self._given:
            _private_names.add(self._name)
        self._inner.resolutionComplete()
