"""The robots.txt of many origins: each is fetched once, and kept for a day."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path

from million_ird.errors import OutputError
from million_ird.sources.web.robotstxt import MOST_BYTES, Got, Rules, rules_of

RETRY_HOURS = 1.0
"""After which a robots.txt that could not be had is asked for again; it is not remembered beyond the run."""

_ORIGINS, _PATHS = 20_000, 1_000_000  # kept in memory at most


class Robots:
    """The robots.txt of many origins: each is asked for once in `hours`, however many ask.

    To be used within one event loop at a time. What could not be had (5xx, no answer) is remembered in memory alone,
    for an hour, so that a resumed run asks again.

    Args:
        path: an SQLite file to keep answers in, made if it is not there and anew if it is damaged; None = memory alone.
        token: our product token.
        get: fetches a URL, up to 5 redirects followed, size and time bounded.
        hours: for which an answer holds.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path | None, token: str, get: Callable[[str], Awaitable[Got]], hours: float = 24) -> None:
        self._token, self._get, self._seconds = token, get, hours * 3600
        self._path = path
        self._held: OrderedDict[str, tuple[float, Rules]] = OrderedDict()
        self._size = 0
        self._asked: dict[str, asyncio.Task[Rules]] = {}
        self._file = _opened(path) if path else None

    async def rules(self, origin: str) -> Rules:
        """What the robots.txt of an origin ("https://host:port") says to us."""
        held = self._held.get(origin)
        if held and held[0] > time.time():
            self._held.move_to_end(origin)
            return held[1]
        task = self._asked.get(origin)
        if task is None:
            task = asyncio.ensure_future(self._ask(origin))
            self._asked[origin] = task
            task.add_done_callback(lambda done: self._answered(origin, done))
        return await asyncio.shield(task)  # who is cancelled leaves the request to the others

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None

    def _answered(self, origin: str, task: asyncio.Task[Rules]) -> None:
        self._asked.pop(origin, None)
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits any more

    async def _ask(self, origin: str) -> Rules:
        at, kept = self._kept(origin)
        got = kept or await self._get(f"{origin}/robots.txt")
        rules = rules_of(got, self._token)
        if not kept and not rules.refusal:
            self._keep(origin, at, got)
        self._hold(origin, at + (min(self._seconds, RETRY_HOURS * 3600) if rules.refusal else self._seconds), rules)
        return rules

    def _hold(self, origin: str, until: float, rules: Rules) -> None:
        old = self._held.pop(origin, None)
        self._size += rules.size - (old[1].size if old else 0)
        self._held[origin] = until, rules
        while len(self._held) > 1 and (len(self._held) > _ORIGINS or self._size > _PATHS):
            self._size -= self._held.popitem(last=False)[1][1].size

    def _kept(self, origin: str) -> tuple[float, Got | None]:
        """An answer that still holds and when it came, or now and None."""
        now = time.time()
        query = "SELECT at, status, body FROM robots WHERE origin = ? AND at > ? AND at <= ?"
        row = self._file and self._file.execute(query, (origin, now - self._seconds, now)).fetchone()
        return (row[0], Got(row[1], row[2])) if row else (now, None)

    def _keep(self, origin: str, now: float, got: Got) -> None:
        if not self._file:
            return
        body = got.body[: MOST_BYTES + 1] if 200 <= got.status < 300 else b""
        try:
            with self._file:
                self._file.execute("INSERT OR REPLACE INTO robots VALUES (?, ?, ?, ?)", (origin, now, got.status, body))
        except sqlite3.Error as error:
            raise OutputError(f"{self._path}: cannot be written: {error}") from error


def _opened(path: Path) -> sqlite3.Connection:
    for last in (False, True):
        file = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = sqlite3.connect(path, timeout=30, check_same_thread=False)
            file.execute("PRAGMA synchronous = OFF")  # a killed process harms nothing; after a power cut it starts anew
            file.execute(
                "CREATE TABLE IF NOT EXISTS robots (origin TEXT PRIMARY KEY, at REAL, status INTEGER, body BLOB)"
            )
            file.execute("SELECT origin, at, status, body FROM robots LIMIT 1").fetchone()
            return file
        except (sqlite3.Error, OSError) as error:
            if file:
                file.close()
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            if last or not damaged:
                raise OutputError(f"{path}: cannot be used: {error}; delete it, or make its folder writable") from error
            for suffix in ("", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
    raise AssertionError
