"""Names to addresses: cached, failures too, and never an address that must not be reached."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from million_ird.sources.web.guard import Refused, public

KEPT = 100_000
"""Names remembered at a time."""
GOOD_SECONDS = 300.0
BAD_SECONDS = 60.0
LOOKUPS = 64
"""Questions to DNS at a time: more of them make resolvers drop some."""


class Resolver(AbstractResolver):
    """The system's resolver in threads of its own, with a cache.

    Args:
        hosts: name -> address, instead of asking.
        private: whether addresses that are not public may be given out.
    """

    def __init__(self, hosts: Mapping[str, str], private: bool) -> None:
        self._hosts = {name.lower(): address for name, address in hosts.items()}
        self._private = private
        self._threads = ThreadPoolExecutor(LOOKUPS, "dns")
        self._known: OrderedDict[str, tuple[float, list[str] | OSError]] = OrderedDict()
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """As aiohttp asks for.

        Raises:
            Refused: "dns" where there is no address, "blocked" where none of them is public.
        """
        addresses = await self._addresses(host.lower().rstrip("."))
        if not self._private:
            addresses = [one for one in addresses if public(one)]
            if not addresses:
                raise Refused("blocked", "the name stands for a private address")
        return [_result(host, port, address) for address in addresses]

    async def _addresses(self, host: str) -> list[str]:
        fixed = self._hosts.get(host)
        if fixed is not None:
            return [fixed]
        until, found = self._known.get(host, (0.0, []))
        if until <= time.monotonic():
            # One question for all who ask at the same time; one who gives up waiting doesn't take it from the others.
            future = self._asked.get(host)
            if future is None:
                future = self._asked[host] = asyncio.ensure_future(self._look_up(host))
                future.add_done_callback(lambda done: self._answered(host, done))
            return await asyncio.shield(future)
        if isinstance(found, OSError):
            raise found
        return found

    def _answered(self, host: str, done: asyncio.Future[list[str]]) -> None:
        self._asked.pop(host, None)
        if not done.cancelled():
            done.exception()  # looked at here, for the case that nobody waits any more

    async def _look_up(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._threads, _ask, host)
        except OSError as error:
            refused = Refused("dns", f"no address: {error.strerror or error}")
            self._remember(host, BAD_SECONDS, refused)
            raise refused from error
        self._remember(host, GOOD_SECONDS, answers)
        return answers

    def _remember(self, host: str, seconds: float, found: list[str] | OSError) -> None:
        self._known[host] = (time.monotonic() + seconds, found)
        self._known.move_to_end(host)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _ask(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:  # labels too long or empty
        raise OSError("not a host name") from None
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": flags}


def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for a public address: the last gate, which no notation gets round.

    Raises:
        Refused: "blocked".
    """
    family, kind, protocol, _, address = info
    if not public(str(address[0])):
        raise Refused("blocked", "the address is private")
    return socket.socket(family, kind, protocol)
