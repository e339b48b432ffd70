"""A web server for tests: every kind of answer, good, bad and hostile, each a path of a host; and a log of requests.

    with WebServer() as web:
        good = web.add("a.test", "/1.jpg", file(jpeg(1)))
        slow = web.add("b.test", "/2.jpg", slow(jpeg(2), rate=1000))
        ... Fetch(private_hosts=True, hosts=web.hosts) ...
        assert [asked.path for asked in web.log] == ["/robots.txt", "/1.jpg"]

It speaks HTTP itself, on asyncio's streams in a thread of its own, so that an answer can be wrong in any way; hosts are
told apart by the Host header. `python tests/sources/webserver.py --help` serves many small JPEGs for benchmarks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gzip
import io
import itertools
import socket
import sys
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import urlsplit

import numpy as np
from PIL import Image


@dataclass
class Asked:
    """One request, as the log keeps it. `sent` counts bytes of bodies handed to the socket, also while under way."""

    time: float
    address: str
    host: str
    path: str
    range: str = ""
    agent: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0
    sent: int = 0


@dataclass
class Call:
    """A request under way: what an answer works with."""

    asked: Asked
    method: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    close: bool = False

    async def head(self, status: int, body: bytes = b"", **headers: str | int) -> None:
        """The first lines, and what is to leave with them; `_` in a header's name stands for `-`.

        Without a Content_Length the connection closes.
        """
        self.asked.status = status
        self.close = self.close or "Content_Length" not in headers
        lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        if self.close:
            lines.append("Connection: close")
        self.writer.write("\r\n".join([*lines, "\r\n"]).encode("latin-1") + body)
        await self.writer.drain()

    async def send(self, data: bytes) -> None:
        """Part of a body."""
        if self.method != "HEAD":
            self.writer.write(data)
            await self.writer.drain()
            self.asked.sent += len(data)

    async def whole(self, status: int, data: bytes = b"", **headers: str | int) -> None:
        """A whole, well-formed answer."""
        await self.head(status, Content_Length=len(data), **headers)
        await self.send(data)

    async def stall(self) -> None:
        """Wait until the other side hangs up."""
        self.close = True
        await self.reader.read()


Answer = Callable[[Call], Awaitable[None]]


class WebServer:
    """The server: a context manager; `addresses` are loopback addresses, all on one port."""

    def __init__(self, addresses: Sequence[str] = ("127.0.0.1",), port: int = 0, logging: bool = True) -> None:
        self.addresses = addresses
        self.port = port
        self.log: list[Asked] = []
        self.hosts: dict[str, str] = {}
        """Every host's name that has an answer -> address, for Fetch.hosts."""
        self._logging = logging
        self._answers: dict[tuple[str, str], Answer] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> WebServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def url(self, host: str, path: str, scheme: str = "http") -> str:
        """The address of a path; the host becomes known to `hosts`."""
        self.hosts.setdefault(host, self.addresses[0])
        return f"{scheme}://{host}:{self.port}{path}"

    def add(self, host: str, path: str, answer: Answer) -> str:
        """Let a path give an answer; a path that ends in "*" stands for all that begin so. Gives the URL."""
        self._answers[host, path] = answer
        return self.url(host, path)

    def robots(self, host: str, text: str | bytes = "", status: int = 200, seconds: float = 0, to: str = "") -> str:
        """A host's robots.txt: a text, a status, after a while, or elsewhere (`to`). Without one it is 404."""
        body = text.encode() if isinstance(text, str) else text
        answer = redirect(to) if to else error(status) if status != 200 else file(body, "text/plain", ranges=False)
        return self.add(host, "/robots.txt", later(seconds, answer) if seconds else answer)

    def asked(self, host: str = "", path: str = "") -> list[Asked]:
        """The log, or the part of it for a host or a path."""
        return [a for a in list(self.log) if host in ("", a.host) and path in ("", a.path)]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> None:
        for address in self.addresses:
            self._servers.append(await asyncio.start_server(self._serve, address, self.port, backlog=4096))
            self.port = self._servers[0].sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError
            ):
                while await self._one(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        address = writer.get_extra_info("sockname")[0]
        asked = Asked(
            time.time(), address, host, target, headers.get("range", ""), headers.get("user-agent", ""), headers
        )
        if self._logging:
            self.log.append(asked)
        call = Call(asked, method, reader, writer, headers.get("connection", "").lower() == "close")
        await self._answer(host, target)(call)
        return not call.close

    def _answer(self, host: str, target: str) -> Answer:
        path = target.partition("?")[0]
        for known in (target, path, *(f"{path[:i]}*" for i in range(len(path), 0, -1))):
            if (host, known) in self._answers:
                return self._answers[host, known]
        return error(404)


class Trap:
    """A listening socket that answers nothing and counts who connects: proves that nothing went there."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self._socket = socket.create_server((address, port), backlog=128)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._count = 0

    def __enter__(self) -> Trap:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    @property
    def connections(self) -> int:
        """How many connected until now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.accept()[0].close()
                self._count += 1
        return self._count


@functools.lru_cache(maxsize=1024)
def jpeg(number: int = 0, width: int = 320, height: int = 240, quality: int = 85) -> bytes:
    """A picture of its own for each number: soft shapes and grain; about 25 kB as it stands, 640x480 is above 64 kB."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 8, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def numbered(data: bytes, number: int) -> bytes:
    """The same JPEG with a comment: other bytes, the same pixels."""
    note = f"number {number}".encode()
    return data[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + data[2:]


# Good answers


def file(
    data: bytes, kind: str = "image/jpeg", ranges: bool = True, headers: Mapping[str, str] | None = None
) -> Answer:
    """A file; with `ranges`: parts of it (206, 416), ETag and If-Range. `headers` come with it (noai and the like)."""
    tag = f'"{zlib.crc32(data):08x}"'
    extra = {name.replace("-", "_"): value for name, value in (headers or {}).items()}

    async def answer(call: Call) -> None:
        if not ranges:
            await call.whole(200, data, Content_Type=kind, **extra)
            return
        more = {"Content_Type": kind, "ETag": tag, "Accept_Ranges": "bytes", **extra}
        first, dash, last = call.asked.range.removeprefix("bytes=").partition("-")
        if not dash or call.asked.headers.get("if-range", tag) != tag:
            await call.whole(200, data, **more)
            return
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last), len(data) - 1) if first and last else len(data) - 1
        if start > end:
            await call.whole(416, b"", Content_Range=f"bytes */{len(data)}", **extra)
            return
        await call.whole(206, data[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(data)}", **more)

    return answer


def packed(data: bytes, kind: str = "image/jpeg") -> Answer:
    """A file with Content-Encoding: gzip."""
    return lambda call: call.whole(200, gzip.compress(data), Content_Type=kind, Content_Encoding="gzip")


def redirect(to: str, status: int = 302) -> Answer:
    """To any address: other hosts, private ones, file://, itself."""
    return lambda call: call.whole(status, b"", Location=to)


def chain(count: int, answer: Answer) -> Answer:
    """Redirects `count` times, to /path?1, /path?2, …, then the answer."""

    async def hop(call: Call) -> None:
        path, _, number = call.asked.path.partition("?")
        if int(number or 0) < count:
            await call.whole(302, b"", Location=f"{path}?{int(number or 0) + 1}")
        else:
            await answer(call)

    return hop


def page(html: str = "<!doctype html><title>Not found</title><p>Sorry.", kind: str = "text/html") -> Answer:
    """A page of HTML; as an image with another `kind`."""
    return file(html.encode(), kind, ranges=False)


def later(seconds: float, answer: Answer) -> Answer:
    """The answer after a while."""

    async def wait(call: Call) -> None:
        await asyncio.sleep(seconds)
        await answer(call)

    return wait


def first(times: int, instead: Answer, then: Answer) -> Answer:
    """The first `times` requests get one answer, all after them another: what heals."""
    count = itertools.count()
    return lambda call: (instead if next(count) < times else then)(call)


def strict(answer: Answer) -> Answer:
    """400 for who sends cookies, credentials or a referrer; a cookie for all others."""

    async def check(call: Call) -> None:
        told = {"cookie", "authorization", "referer"} & set(call.asked.headers)
        await (error(400)(call) if told else answer(call))

    return check


# Errors


def error(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """A status with a few bytes of text."""
    extra = {name.replace("-", "_"): value for name, value in (headers or {}).items()}
    return lambda call: call.whole(status, b"no\n", Content_Type="text/plain", **extra)


def busy(seconds: float = 1, date: bool = False, status: int = 429) -> Answer:
    """Too many requests: Retry-After in seconds or as a date."""

    async def answer(call: Call) -> None:
        after = formatdate(time.time() + seconds + 0.999, usegmt=True) if date else f"{seconds:g}"
        await call.whole(status, b"", Retry_After=after)

    return answer


def slow(data: bytes, rate: float, steps: float = 20) -> Answer:
    """A file at `rate` bytes a second, in `steps` pieces a second."""

    async def answer(call: Call) -> None:
        await call.head(200, Content_Type="image/jpeg", Content_Length=len(data))
        piece = max(1, round(rate / steps))
        for start in range(0, len(data), piece):
            await call.send(data[start : start + piece])
            await asyncio.sleep(piece / rate)

    return answer


def silent() -> Answer:
    """Not a byte."""
    return lambda call: call.stall()


def stalled(data: bytes, after: int) -> Answer:
    """The first `after` bytes of a file, then nothing."""

    async def answer(call: Call) -> None:
        await call.head(200, Content_Type="image/jpeg", Content_Length=len(data))
        await call.send(data[:after])
        await call.stall()

    return answer


def misjudged(data: bytes, by: int, pause: float = 0) -> Answer:
    """A Content-Length that is `by` bytes too long (the connection is closed), or too short (the rest still comes).

    Head and body come at once, or the body so many seconds later: a client that has begun to read an answer ends where
    its length says.
    """

    async def answer(call: Call) -> None:
        call.close = True
        kind = {"Content_Type": "image/jpeg", "Content_Length": len(data) + by}
        await call.head(200, b"" if pause else data, **kind)
        if pause:
            await asyncio.sleep(pause)
            await call.send(data)

    return answer


def reset(data: bytes = b"", after: int = 0) -> Answer:
    """The connection is reset: before anything, or after so many bytes of the file."""

    async def answer(call: Call) -> None:
        call.close = True
        if data:
            await call.head(200, Content_Type="image/jpeg", Content_Length=len(data))
            await call.send(data[:after])
            await asyncio.sleep(0.05)  # else what is on its way is lost too
        link = call.writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # RST instead of FIN
        call.writer.transport.abort()

    return answer


def endless(data: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """A body without end and without a length, beginning with `data`."""
    extra = {name.replace("-", "_"): value for name, value in (headers or {}).items()}

    async def answer(call: Call) -> None:
        await call.head(200, Content_Type="image/jpeg", **extra)
        await call.send(data)
        while True:
            await call.send(bytes(65536))
            await asyncio.sleep(0)

    return answer


def lying(data: bytes, other: bytes) -> Answer:
    """206 with the range that was asked for, but the bytes of another file; without Range the file."""

    async def answer(call: Call) -> None:
        await file(other if call.asked.range else data)(call)

    return answer


def bomb(gigabytes: int = 1) -> Answer:
    """A gzip that unpacks to zeros, a thousand times its size."""
    return lambda call: call.whole(200, _zeros(gigabytes), Content_Type="image/jpeg", Content_Encoding="gzip")


@functools.lru_cache(maxsize=2)
def _zeros(gigabytes: int) -> bytes:
    block = bytes(1 << 20)
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    pack.compress(block)
    pack.flush(zlib.Z_FULL_FLUSH)
    one = pack.compress(block) + pack.flush(zlib.Z_FULL_FLUSH)  # after a full flush every block is packed alike
    check = functools.reduce(lambda crc, _: zlib.crc32(block, crc), range(gigabytes << 10), 0)
    end = check.to_bytes(4, "little") + ((gigabytes << 30) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + one * (gigabytes << 10) + pack.flush() + end


# All of them


def menu(web: WebServer, host: str = "menu.test") -> dict[str, str]:
    """Every behaviour under a name of its own: name -> URL. Pictures are `jpeg(0)` (25 kB) unless it says otherwise."""
    data, other = jpeg(0), jpeg(1)
    here = f"http://127.0.0.1:{web.port}"
    good = file(data)
    answers = {
        "good": good,
        "big": file(jpeg(2, 800, 600, 90)),
        "no_ranges": file(data, ranges=False),
        "big_no_ranges": file(jpeg(2, 800, 600, 90), ranges=False),
        "lying_range": lying(jpeg(2, 800, 600, 90), jpeg(3, 800, 600, 90)),
        "gzip": packed(data),
        "slow": slow(data, 200),
        "silent": silent(),
        "stalled": stalled(data, 1000),
        "length_too_long": misjudged(data, 1000),
        "length_too_short": misjudged(data, -1000),
        "length_too_short_late": misjudged(data, -1000, pause=0.2),
        "reset": reset(data, 1000),
        "reset_at_once": reset(),
        "busy_heals": first(1, busy(1), good),
        "busy_date_heals": first(1, busy(1, date=True), good),
        "busy": busy(3600),
        "503_heals": first(2, error(503), good),
        "500": error(500),
        "404": error(404),
        "410": error(410),
        "403": error(403),
        "loop": redirect("/loop.jpg"),
        "chain_3": chain(3, good),
        "chain_20": chain(20, good),
        "to_other_host": redirect(web.url(f"other.{host}", "/good.jpg")),
        "to_loopback": redirect(f"{here}/good.jpg"),
        "to_odd_loopback": redirect(f"http://0x7f.1:{web.port}/good.jpg"),
        "to_decimal_loopback": redirect(f"http://2130706433:{web.port}/good.jpg"),
        "to_mapped_loopback": redirect(f"http://[::ffff:127.0.0.1]:{web.port}/good.jpg"),
        "to_file": redirect("file:///etc/hosts"),
        "to_private": redirect("http://10.0.0.1/good.jpg"),
        "to_metadata": redirect("http://169.254.169.254/latest/meta-data/"),
        "to_nowhere": redirect("http://"),
        "bomb": bomb(),
        "html": page(kind="image/jpeg"),
        "html_honest": page(),
        "empty": file(b"", ranges=False),
        "endless": endless(data),
        "noai": file(other, headers={"X-Robots-Tag": "noai, noimageai"}),
        "noai_for_others": file(other, headers={"X-Robots-Tag": "otherbot: noai"}),
        "tdm": file(other, headers={"TDM-Reservation": "1", "TDM-Policy": "https://rights.test/policy.json"}),
        "content_usage": file(other, headers={"Content-Usage": "train-ai=n"}),
        "cookie": strict(file(other, headers={"Set-Cookie": "id=1; Path=/"})),
    }
    web.add(f"other.{host}", "/good.jpg", good)
    web.add("127.0.0.1", "/good.jpg", good)
    return {name: web.add(host, f"/{name}.jpg", answer) for name, answer in answers.items()}


# For benchmarks


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve many small JPEGs of distinct bytes as fast as can be, until killed: http://h0.test:PORT/0.jpg, /1.jpg, …"""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--images", type=int, default=20_000, help="there are /0.jpg to /N-1.jpg, on every host")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--hosts", type=int, default=100, help="h0.test to hK-1.test")
    parser.add_argument(
        "--pictures", type=int, default=200, help="distinct pictures among them; the rest differ by a comment"
    )
    parser.add_argument(
        "--failing", type=float, default=0.0, help="share of hosts that fail: reset, 503 and stalled by turns"
    )
    options = parser.parse_args(arguments)
    pictures = [jpeg(number) for number in range(options.pictures)]
    bad = (reset(), error(503), stalled(pictures[0], 1000))

    async def image(call: Call) -> None:
        name = urlsplit(call.asked.path).path
        number = int(name[1:-4]) if name.endswith(".jpg") and name[1:-4].isdecimal() else options.images
        if number >= options.images:
            await call.whole(404)
        else:
            await call.whole(200, numbered(pictures[number % len(pictures)], number), Content_Type="image/jpeg")

    with WebServer(port=options.port, logging=False) as web:
        for host in range(options.hosts):
            fails = host < round(options.failing * options.hosts)
            web.add(f"h{host}.test", "/*", bad[host % 3] if fails else image)
            web.add(f"h{host}.test", "/robots.txt", error(404))
        web.add("127.0.0.1", "/*", image)
        web.add("127.0.0.1", "/robots.txt", error(404))
        sys.stdout.write(f"ready port {web.port} images {options.images} hosts {options.hosts}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
