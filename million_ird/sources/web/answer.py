"""What came of a URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from million_ird.records import Header

BLOCKED = frozenset(["robots", "opt_out", "blocked", "scheme", "blocklist", "removed"])
"""Classes that are refusals, ours or theirs: status `blocked`; all others are `fetch_failed`."""

_HEALING = frozenset(["timeout", "slow", "connect", "reset", "truncated", "http_408", "http_425", "http_429"])
_LATER = frozenset(["dns", "host_down", "stalled"])

KEPT_HEADERS = ("content-type", "last-modified", "etag", "content-language", "link", "x-robots-tag", "tdm-reservation")
"""Of a response, for the ledger; `tdm-policy`, `content-usage` and licence headers stand among the signals."""


@dataclass(frozen=True)
class Answer:
    """What came of a URL.

    Attributes:
        error: "" = the bytes are here, or its head was enough; else the class of failure: `dns`, `timeout`, `slow`,
            `connect`, `tls`, `reset`, `truncated`, `http_404`, `too_large`, `not_image`, `redirects`, `encoding`,
            `robots`, `opt_out`, `blocked`, `scheme`, `bad_url`, `blocklist`, `host_down`, `stalled`, ...
        detail: in words.
        data: the file's bytes; None where there are none, or the head was enough.
        header: what the head said, where it failed a rule.
        url: where the bytes came from in the end.
        size: bytes of the whole file, -1 where unknown.
        received: bytes of bodies that were read.
        requests: that were made for it, robots.txt not counted.
        seconds: that it took.
        at: when, UTC, ISO 8601.
        headers: of the response, those of interest.
        signals: what was said about use, obeyed or not.
        obeyed: whether robots.txt and signals decided with.
        wait: seconds that a Retry-After asks for, 0 = none.
        delay: seconds between requests that robots.txt asks for, 0 = none.
    """

    error: str = ""
    detail: str = ""
    data: bytes | None = field(default=None, repr=False)
    header: Header | None = None
    url: str = ""
    size: int = -1
    received: int = 0
    requests: int = 0
    seconds: float = 0.0
    at: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    signals: tuple[str, ...] = ()
    obeyed: bool = True
    wait: float = 0.0
    delay: float = 0.0

    @property
    def status(self) -> str:
        """The ledger's status: ok, blocked or fetch_failed."""
        return status_of(self.error)


def status_of(error: str) -> str:
    """The ledger's status of a class of failure ("" = ok)."""
    if not error:
        return "ok"
    return "blocked" if error in BLOCKED else "fetch_failed"


def heals(error: str) -> bool:
    """Whether another try soon may end otherwise."""
    if error.startswith("http_5"):
        return error not in ("http_501", "http_505")
    return error in _HEALING


def heals_later(error: str, detail: str) -> bool:
    """Whether --retry-failed takes it up: what may heal by itself, sooner or later (robots.txt that could not be had,
    but no rule in it)."""
    return heals(error) or error in _LATER or (error == "robots" and "disallowed" not in detail)
