"""A lock on an address, for machines that share nothing but the store: a lease that its holder renews.

.mirror/lease-00007 is held by the one who created it, and the highest number counts: creating a file that is not there
yet is the one thing that a store can give to one of two. A holder that was killed is known by a lease that stands still
for `seconds` on the clock of the one who waits, so that clocks need not agree; then the next number is taken.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from million_ird.errors import OutputError
from million_ird.mirror.mirror import Mirror

FOLDER = ".mirror"
_NAME = f"{FOLDER}/lease-"


class Lease:
    """A held lease, renewed by a thread until `release`. Make one with `take`."""

    def __init__(self, mirror: Mirror, number: int, facts: dict[str, Any], seconds: float) -> None:
        self._mirror, self._number, self._facts, self._seconds = mirror, number, facts, seconds
        self._good = time.monotonic()
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")
        self._thread.start()

    def check(self) -> None:
        """Whether it is held still.

        Raises:
            OutputError: another run has taken the address, or the store has not answered for too long.
        """
        if self._lost:
            raise OutputError(
                f"--out {self._mirror.address}: another mird run has taken over, because this one gave no sign for "
                f"{self._seconds:g} s (run.lease_seconds); run the same command again to go on"
            )
        if time.monotonic() - self._good > 4 * self._seconds:
            raise OutputError(
                f"--out {self._mirror.address}: the store has not answered for {4 * self._seconds:g} s; "
                "run the same command again to go on"
            )

    def release(self) -> None:
        """Let it go."""
        self._ended.set()
        self._thread.join()
        with suppress(OutputError):  # it runs out by itself
            if not self._lost:
                self._mirror.drop([_name(self._number)])

    def _renew(self) -> None:
        beat = 0
        while not self._ended.wait(self._seconds / 4):
            beat += 1
            with suppress(OutputError, FileNotFoundError):  # said by `check`, where it lasts
                if max(_numbers(self._mirror), default=0) > self._number:
                    self._lost = True
                    return
                self._mirror.put(_name(self._number), _bytes({**self._facts, "beat": beat}))
                self._good = time.monotonic()


def take(mirror: Mirror, owner: str, seconds: float, waiting: Callable[[], None]) -> Lease:
    """Take the lease of an address, waiting for one that stands still to run out.

    Args:
        mirror: of the address.
        owner: whose lease needs no waiting: that of a process which can no longer be alive.
        seconds: how long a lease stands without a sign of its holder.
        waiting: called once where there is something to wait for.

    Raises:
        OutputError: another run holds it.
    """
    numbers = _numbers(mirror)
    top = max(numbers, default=0)
    if top and (held := _read(mirror, top)) is not None and held.get("owner") != owner:
        waiting()
        _outwait(mirror, top, held, seconds)
    facts = {"owner": owner, "since": datetime.now(UTC).isoformat(timespec="seconds"), "run": uuid.uuid4().hex}
    if not mirror.create(_name(top + 1), _bytes({**facts, "beat": 0})):
        raise _busy(mirror, None)
    later = [number for number in _numbers(mirror) if number not in numbers and number != top + 1]
    if later:  # begun anew at 1 while we waited
        mirror.drop([_name(top + 1)])
        raise _busy(mirror, None)
    mirror.drop([_name(number) for number in numbers])
    return Lease(mirror, top + 1, facts, seconds)


def _outwait(mirror: Mirror, number: int, held: dict[str, Any], seconds: float) -> None:
    """Until a lease has stood still for so long, or is gone."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(1.0, seconds / 10))
        now = _read(mirror, number)
        if now is None:
            return
        if now != held:
            raise _busy(mirror, now)


def _busy(mirror: Mirror, held: dict[str, Any] | None) -> OutputError:
    since = f" since {held['since']}" if held and "since" in held else ""
    return OutputError(f"--out {mirror.address}: another mird run works here{since}; wait for it or choose another")


def _numbers(mirror: Mirror) -> list[int]:
    names = mirror.listed(FOLDER)
    return [int(name.removeprefix(_NAME)) for name in names if name.startswith(_NAME)]


def _read(mirror: Mirror, number: int) -> dict[str, Any] | None:
    try:
        return json.loads(mirror.read(_name(number)))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def _name(number: int) -> str:
    return f"{_NAME}{number:05d}"


def _bytes(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts).encode()
