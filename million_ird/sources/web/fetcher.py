"""One URL to its bytes, or to the reason why not: guarded, bounded and polite at every hop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urljoin

import aiohttp

from million_ird.errors import BadImage
from million_ird.images import read_header
from million_ird.images.header import sniff
from million_ird.records import Header
from million_ird.sources.web.answer import KEPT_HEADERS, Answer
from million_ird.sources.web.guard import TOKEN, canonical, check_url, origin, user_agent
from million_ird.sources.web.resolver import Resolver, guarded_socket
from million_ird.sources.web.responses import (
    Failed,
    beginning,
    byte_range,
    failure,
    response_words,
    retry_after,
    unpacker,
)
from million_ird.sources.web.robots import Robots
from million_ird.sources.web.robotstxt import Got
from million_ird.sources.web.settings import Fetch
from million_ird.sources.web.signals import header_signals, refusing
from million_ird.tables import whole

HEAD_BYTES = 64 * 1024
"""Of a file, asked for first where its header can decide."""
_SNIFFED = 32
_CHUNK = 64 * 1024
_LARGE = 4_000_000
_LARGE_AT_A_TIME = 16
_ROBOTS_BYTES = 512_000
_UNREACHED = 50_000
_MOVED = (301, 302, 303, 307, 308)

Judge = Callable[[Header], bool]
"""Whether a file is worth fetching, by its header."""


class Refuse(Protocol):
    """What must not be kept: asked with the URL before any request, and with the bytes before they are stored."""

    def __call__(self, url: str, data: bytes | None) -> str:
        """Why not, "" = nothing against it."""
        ...


class Fetcher:
    """Use as an async context manager, one per event loop.

    Args:
        rules: limits and manners.
        judge: by the header; None = everything is fetched whole.
        refuse: what must not be kept.
        robots: file that remembers robots.txt of sites; None = only for as long as this lives.
    """

    def __init__(self, rules: Fetch, judge: Judge | None, refuse: Refuse, robots: Path | None) -> None:
        self.rules = rules
        self._judge, self._refuse = judge, refuse
        self._robots = Robots(robots, TOKEN, self._robots_txt)
        self._large = asyncio.Semaphore(_LARGE_AT_A_TIME)
        self._unreached: dict[str, Answer] = {}

    async def __aenter__(self) -> Fetcher:
        rules = self.rules
        connector = aiohttp.TCPConnector(
            limit=0,
            use_dns_cache=False,
            resolver=Resolver(rules.hosts, rules.private_hosts),
            socket_factory=None if rules.private_hosts else guarded_socket,
            keepalive_timeout=15,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": user_agent(rules.contact), "Accept": "image/*,*/*;q=0.5"},
            skip_auto_headers=["Accept-Encoding"],
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=rules.connect_seconds, sock_read=rules.read_seconds
            ),
            read_bufsize=_CHUNK,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None):
        await self._session.close()
        self._robots.close()

    async def fetch(self, url: str, judged: bool = True) -> Answer:
        """Fetch a URL; whatever goes wrong is in the answer.

        Args:
            url: canonical.
            judged: whether the judge may refuse it by its head.
        """
        visit = _Visit(url)
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.rules.total_seconds):
                answer = await self._followed(visit, self._judge if judged else None)
        except Failed as failed:
            answer = failed.answer
        except TimeoutError:
            answer = Answer("timeout", "connect, read or total time ran out")
        except (OSError, ValueError, aiohttp.ClientError) as error:
            answer = failure(error)
        return replace(
            answer,
            url=visit.url,
            received=visit.received,
            requests=visit.requests,
            signals=tuple(dict.fromkeys(visit.signals)),
            obeyed=self.rules.obey,
            delay=visit.delay,
            headers=visit.headers,
            size=answer.size if answer.size >= 0 else visit.size,
            seconds=round(time.monotonic() - began, 3),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    async def save(self, url: str, path: Path) -> Answer:
        """Fetch a file of any kind and size to disk, whole or not at all; only the time without a byte is bounded."""
        visit = _Visit(url)
        try:
            for _ in range(self.rules.redirects + 1):
                check_url(visit.url)
                if self.rules.obey:
                    await self._ask_robots(visit)
                async with self._get(visit, {}) as response:
                    if response.status in _MOVED and "Location" in response.headers:
                        visit.url = canonical(urljoin(visit.url, response.headers["Location"]))
                        continue
                    if response.status != 200:
                        raise Failed(f"http_{response.status}", response_words(response))
                    unpack = unpacker(response)
                    with whole(path) as file:
                        while chunk := await response.content.read(_CHUNK):
                            file.write(unpack(chunk, 0))
                    return Answer(url=visit.url)
            return Answer("redirects", f"more than {self.rules.redirects}")
        except Failed as failed:
            return failed.answer
        except (OSError, ValueError, aiohttp.ClientError) as error:
            return failure(error)

    async def _followed(self, visit: _Visit, judge: Judge | None) -> Answer:
        for _ in range(self.rules.redirects + 1):
            check_url(visit.url)
            if why := self._refuse(visit.url, None):
                raise Failed("blocklist", why)
            if self.rules.obey:
                await self._ask_robots(visit)
            moved = await self._request(visit, judge)
            if isinstance(moved, Answer):
                return moved
            visit.url = canonical(urljoin(visit.url, moved))
        raise Failed("redirects", f"more than {self.rules.redirects}")

    async def _ask_robots(self, visit: _Visit) -> None:
        place = origin(visit.url)
        found = await self._robots.rules(place)
        visit.delay = max(visit.delay, found.delay or 0.0)
        told = found.signals(visit.url)
        visit.signals += told
        if not found.allowed(visit.url):
            # Where nothing of the host can be reached, that is what went wrong, and not its robots.txt.
            why = self._unreached.get(place)
            raise Failed(why.error, why.detail) if why else Failed("robots", found.why(visit.url))
        self._heed(told)

    def _heed(self, told: tuple[str, ...]) -> None:
        """What one place says; together, a permission in one would undo a refusal in another."""
        if self.rules.obey and (word := refusing(told)):
            raise Failed("opt_out", word)

    async def _request(self, visit: _Visit, judge: Judge | None) -> Answer | str:
        """The answer, or where to go instead."""
        headers = {"Range": f"bytes=0-{HEAD_BYTES - 1}"} if judge else {}
        async with self._get(visit, headers) as response:
            if response.status in _MOVED and "Location" in response.headers:
                return response.headers["Location"]
            if response.status == 416 and judge:
                return await self._request(visit, None)
            self._check(visit, response)
            part = byte_range(response)
            if response.status != 206:
                return await self._read(visit, response, judge, b"")
            if part is None or part[0] != 0:
                raise Failed("truncated", "a part of the file that was not asked for")
            visit.size = part[1]
            head = await self._body(visit, response, None)
        assert isinstance(head, bytes)
        if visit.size in (-1, len(head)):
            return self._taken(visit, head)
        if judge and (header := self._judged(head, judge)):
            return Answer(header=header, size=visit.size)
        return await self._rest(visit, response, head)

    async def _rest(self, visit: _Visit, first: aiohttp.ClientResponse, head: bytes) -> Answer:
        """The file behind its head; whole, where it has changed in between or the server doesn't do it."""
        headers = {"Range": f"bytes={len(head)}-"}
        tag = first.headers.get("ETag", "")
        if tag and not tag.startswith("W/"):
            headers["If-Range"] = tag
        elif when := first.headers.get("Last-Modified"):
            headers["If-Range"] = when
        async with self._get(visit, headers) as response:
            if response.status in (206, 200):
                self._check(visit, response)
                part = byte_range(response)
                if response.status == 200:
                    return await self._read(visit, response, None, b"")
                if part == (len(head), visit.size):
                    return await self._read(visit, response, None, head)
        visit.size = -1
        async with self._get(visit, {}) as response:
            self._check(visit, response)
            return await self._read(visit, response, None, b"")

    def _get(self, visit: _Visit, headers: Mapping[str, str]) -> Any:
        visit.requests += 1
        # Identity: what is packed needs a limit of its own, and images don't shrink.
        return self._session.get(visit.url, allow_redirects=False, headers={"Accept-Encoding": "identity", **headers})

    def _check(self, visit: _Visit, response: aiohttp.ClientResponse) -> None:
        told = header_signals(list(response.headers.items()), TOKEN)
        visit.signals += told
        visit.headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        if response.status not in (200, 206):
            raise Failed(f"http_{response.status}", response_words(response), retry_after(response))
        self._heed(told)
        if response.status == 200:
            visit.size = int(response.headers.get("Content-Length") or -1)
        if visit.size > self.rules.max_bytes:
            raise Failed("too_large", f"{visit.size} bytes, fetch.max_bytes is {self.rules.max_bytes}")

    async def _read(self, visit: _Visit, response: Any, judge: Judge | None, head: bytes) -> Answer:
        body = await self._body(visit, response, judge, head)
        return self._taken(visit, body) if isinstance(body, bytes) else Answer(header=body, size=visit.size)

    async def _body(
        self, visit: _Visit, response: aiohttp.ClientResponse, judge: Judge | None, head: bytes = b""
    ) -> bytes | Header:
        """The body behind `head`; or the header that the judge refused, and the rest is not read."""
        unpack = unpacker(response)
        parts, total, sniffed, asked, large = [head], len(head), bool(head), bool(head), False
        began, grace = time.monotonic(), min(10.0, self.rules.total_seconds / 10)
        read = 0
        try:
            while packed := await response.content.read(_CHUNK):
                visit.received += len(packed)
                read += len(packed)
                chunk = unpack(packed, max(1, self.rules.max_bytes + 1 - total))
                parts.append(chunk)
                total += len(chunk)
                if total > self.rules.max_bytes:
                    raise Failed("too_large", f"more than fetch.max_bytes, {self.rules.max_bytes}")
                if not sniffed and total >= _SNIFFED:
                    sniffed = True
                    if sniff(b"".join(parts)) is None:
                        raise Failed("not_image", beginning(parts))
                if judge and not asked and total >= HEAD_BYTES:
                    asked = True
                    if header := self._judged(b"".join(parts), judge):
                        response.close()
                        return header
                if total > _LARGE and not large:
                    await self._large.acquire()
                    large = True
                elapsed = time.monotonic() - began
                if elapsed > grace and read < self.rules.min_speed * elapsed:
                    raise Failed("slow", f"{read / elapsed:.0f} bytes/s, fetch.min_speed is {self.rules.min_speed:g}")
        finally:
            if large:
                self._large.release()
        data = b"".join(parts)
        if not sniffed and sniff(data) is None:
            raise Failed("not_image", beginning(parts))
        return data

    def _taken(self, visit: _Visit, data: bytes) -> Answer:
        if why := self._refuse(visit.url, data):
            raise Failed("blocklist", why)
        return Answer(data=data, size=len(data))

    def _judged(self, head: bytes, judge: Judge) -> Header | None:
        """The header, where the judge refuses it; None also where the head doesn't hold it all."""
        try:
            header = read_header(head)
        except BadImage:
            return None
        return None if judge(header) else header

    async def _robots_txt(self, url: str) -> Got:
        """robots.txt for `Robots`, through the same gates; up to five redirects (RFC 9309, 2.3.1.2)."""
        place = origin(url)
        try:
            async with asyncio.timeout(self.rules.connect_seconds + self.rules.read_seconds):
                for _ in range(6):
                    check_url(url)
                    async with self._session.get(url, allow_redirects=False) as response:
                        if response.status in _MOVED and "Location" in response.headers:
                            url = canonical(urljoin(url, response.headers["Location"]))
                            continue
                        unpack = unpacker(response)
                        body = b""
                        while len(body) < _ROBOTS_BYTES and (chunk := await response.content.read(_CHUNK)):
                            body += unpack(chunk, _ROBOTS_BYTES)
                        return Got(response.status, body)
                return Got(404, b"")
        except Failed as failed:
            why = failed.answer
        except (OSError, ValueError, aiohttp.ClientError) as error:  # TimeoutError is an OSError
            why = failure(error)
        if len(self._unreached) >= _UNREACHED:
            self._unreached.clear()
        self._unreached[place] = why
        return Got(0, b"")


class _Visit:
    """What is gathered on the way of one URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests = 0
        self.received = 0
        self.size = -1
        self.delay = 0.0
        self.signals: tuple[str, ...] = ()
        self.headers: dict[str, str] = {}
