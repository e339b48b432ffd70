"""What responses and exceptions of the network mean."""

from __future__ import annotations

import email.utils
import time
import zlib
from collections.abc import Callable

import aiohttp

from million_ird.sources.web.answer import Answer
from million_ird.sources.web.guard import Refused


class Failed(Exception):
    """A request came to nothing; `answer` says how."""

    def __init__(self, error: str, detail: str = "", wait: float = 0.0) -> None:
        super().__init__(error)
        self.answer = Answer(error, detail, wait=wait)


def failure(error: Exception) -> Answer:
    """What an exception of the network means."""
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, Refused):
        return Answer(inner.kind, str(inner))
    words = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, aiohttp.InvalidUrlClientError):
        return Answer("bad_url", words)
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)):
        return Answer("tls", words)
    if isinstance(error, (TimeoutError, aiohttp.ServerTimeoutError)):
        return Answer("timeout", words)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Answer("dns", words)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Answer("connect", words)
    if isinstance(error, aiohttp.ClientPayloadError):
        return Answer("truncated", words)
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError)):
        return Answer("reset", words)
    if isinstance(error, (ValueError, aiohttp.InvalidURL)):
        return Answer("bad_url", words)
    return Answer("bad_http", words)


def response_words(response: aiohttp.ClientResponse) -> str:
    """The reason phrase, on one line and in measure."""
    return " ".join((response.reason or "").split())[:80]


def retry_after(response: aiohttp.ClientResponse) -> float:
    """Seconds that a Retry-After asks for (a number or a date), 0 = none."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    when = email.utils.parsedate_tz(value) if value else None
    return max(0.0, email.utils.mktime_tz(when) - time.time()) if when else 0.0


def byte_range(response: aiohttp.ClientResponse) -> tuple[int, int] | None:
    """First byte and size of the whole file (-1 = unknown) by Content-Range."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, size = rest.partition("/")
    first = span.partition("-")[0]
    if unit.lower() != "bytes" or not first.isdigit():
        return None
    return int(first), int(size) if size.isdigit() else -1


def unpacker(response: aiohttp.ClientResponse) -> Callable[[bytes, int], bytes]:
    """From packed bytes to at most so many unpacked ones (0 = all): a little more than a limit is enough to know."""
    kind = response.headers.get("Content-Encoding", "").strip().lower()
    if kind in ("", "identity"):
        return lambda data, most: data
    if kind not in ("gzip", "x-gzip", "deflate"):
        raise Failed("encoding", f"Content-Encoding {kind[:40]!r}")
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def unpack(data: bytes, most: int) -> bytes:
        try:
            return unpacking.decompress(data, max(0, most))
        except zlib.error as error:
            raise Failed("encoding", f"{kind}: {error}") from None

    return unpack


def beginning(parts: list[bytes]) -> str:
    """How a file begins, in words."""
    return f"begins with {b''.join(parts)[:16]!r}" if any(parts) else "empty"
