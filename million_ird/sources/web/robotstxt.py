"""What a robots.txt says to us (RFC 9309): its rules are matched by Protego.

Protego is given one set of paths at a time, in one spelling, because on its own it differs from the RFC and from
Google's parser, whose cases are the yardstick here (tests/sources/test_robots.py): it takes "bot" for "bot-two" and
misses "bot/1.0"; it counts a rule's length after escaping `?` and the like, so that `Disallow: /*?` beats `Allow: /p/`;
it takes %3F for `?`, and all bytes that are no UTF-8 for one another; it splits lines at more than CR and LF; `/x$`
also means a literal `$`.

As Google's parser, beyond the RFC: a line without a colon, misspelt names, /index.htm. As the RFC, unlike Google's
parser: escaped letters match plain ones (%62 = b). As Google's crawler, unlike both: 429 is taken like 5xx.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from protego import Protego

from million_ird.sources.web.signals import content_usage, usage_words

MOST_BYTES = 500 * 1024
"""Bytes of a robots.txt that are read; a line that is cut there is left out."""
LONGEST_DELAY = 60.0
"""Seconds between two requests that a robots.txt can ask for."""

_LINE = 2083 * 8 - 1  # bytes of a line that are read, as in Google's parser
_FIELDS = {
    **dict.fromkeys(("user-agent", "useragent", "user agent"), "user-agent"),
    **dict.fromkeys(("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"), "disallow"),
    **{name: name for name in ("allow", "crawl-delay", "request-rate", "content-usage")},
}
"""What a field's name starts with -> the field that is meant."""
_ODD = re.compile(rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9._~:/?\[\]@!&'()+,;=-]")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True)
class Got:
    """An answer to the request for a robots.txt, redirects followed; status 0 = none came."""

    status: int
    body: bytes = b""


class Paths:
    """Paths with `*` and `$` in them.

    Args:
        paths: as `spelt`.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(dict.fromkeys(paths))
        self._rules = Protego.parse("User-agent: *\n" + "".join(f"Disallow: {path}\n" for path in self.paths))

    def match(self, path: str) -> bool:
        """Whether one of them matches a URL's path (as `path_of`)."""
        return not self._rules.can_fetch("http://host" + path, "*")

    def which(self, path: str) -> list[str]:
        """Those of them that match."""
        plain = [one for one in self.paths if "*" not in one and not one.endswith("$")]
        special = [one for one in self.paths if "*" in one or one.endswith("$")]
        return [one for one in plain if path.startswith(one)] + [one for one in special if Paths((one,)).match(path)]


@dataclass(frozen=True)
class Rules:
    """What one origin's robots.txt says to us.

    Attributes:
        refusal: why nothing of the origin may be read ("answers 503"), "" = the paths decide.
        delay: least seconds between two requests, None = not said; at most LONGEST_DELAY.
        runs: (allow or not, paths), the longest first: the first that matches decides.
        usage: (paths of one length, [(path, its statement)]), the longest first.
    """

    refusal: str = ""
    delay: float | None = None
    runs: tuple[tuple[bool, Paths], ...] = ()
    usage: tuple[tuple[Paths, tuple[tuple[str, str], ...]], ...] = ()

    @property
    def size(self) -> int:
        """Paths held."""
        return 1 + sum(len(paths.paths) for _, paths in self.runs) + sum(len(rows) for _, rows in self.usage)

    def allowed(self, url: str) -> bool:
        """Whether a URL of this origin may be read; its robots.txt always may."""
        path = path_of(url)
        if self.refusal:
            return path == "/robots.txt"
        return next((allow for allow, paths in self.runs if paths.match(path)), True)

    def why(self, url: str) -> str:
        """Why a URL may not be read: "robots: answers 503", "robots: disallowed by /private/"; "" = it may."""
        if self.allowed(url):
            return ""
        if self.refusal:
            return f"robots: {self.refusal}"
        path = path_of(url)
        rule = max(next(paths.which(path) for _, paths in self.runs if paths.match(path)), key=_length)
        return f"robots: disallowed by {rule.replace('%25', '%')[:200]}"

    def signals(self, url: str) -> tuple[str, ...]:
        """What the Content-Usage lines say about a URL (draft-ietf-aipref-attach-05), in words for `refusing`: of the
        paths that match, the longest counts; where it comes with several statements, n goes before y."""
        path = path_of(url)
        for paths, rows in self.usage:
            if not paths.match(path):
                continue
            said: dict[str, str] = {}
            matching = set(paths.which(path))
            for statement in (statement for one, statement in rows if one in matching):
                for label, value in content_usage(statement).items():
                    said[label] = min(value, said.get(label, "y"))
            return usage_words(said)
        return ()


def rules_of(got: Got, token: str) -> Rules:
    """Read an answer: 2xx is parsed; 4xx and redirects without end mean that there is no robots.txt and everything may
    be read (RFC 9309, 2.3.1.2 and 2.3.1.3); 5xx, 429 and no answer at all forbid everything (2.3.1.4).

    Args:
        got: the answer.
        token: our product token, in any case.
    """
    if 200 <= got.status < 300:
        return _parsed(got.body, token)
    if got.status >= 500 or got.status == 429:
        return Rules(refusal=f"answers {got.status}")
    return Rules() if got.status >= 300 else Rules(refusal="cannot be reached")


def path_of(url: str) -> str:
    """The path and query of a URL in the spelling in which rules are compared; at least "/"."""
    rest = url.partition("#")[0]
    rest = rest.partition("://")[2] or rest
    start = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
    path = rest[start:]
    return _plain(path if path.startswith("/") else "/" + path)


def spelt(rule: str) -> str:
    """A rule's path in that spelling; `*`, and `$` at the end, keep their meaning."""
    anchor = "$" if rule.endswith("$") else ""
    return "*".join(_plain(part) for part in rule.removesuffix("$").split("*")) + anchor


def _plain(path: str) -> str:
    # Unreserved characters stand for themselves, reserved ones too where they are not escaped; anything else is escaped
    # (RFC 9309, 2.2.2). The "%" of an escape is escaped once more: Protego leaves %25 alone, and would undo others.
    return _ODD.sub(_escaped, path.encode("utf-8", "surrogateescape")).decode("ascii")


def _escaped(odd: re.Match[bytes]) -> bytes:
    byte = int(odd[1], 16) if odd[1] else odd[0][0]
    return bytes((byte,)) if byte in _UNRESERVED else b"%%25%02X" % byte


def _length(path: str) -> int:
    return len(path.replace("%25", "%"))


def _parsed(body: bytes, token: str) -> Rules:
    said = _said(body, token)
    rules = [(True, spelt(value)) for name, value in said if name == "allow" and value]
    # As in Google's parser: who allows /x/index.html (or .htm) allows /x/ too.
    rules += [(True, path[: path.rfind("/") + 1] + "$") for _, path in rules if "/index.htm" in path[path.rfind("/") :]]
    rules += [(False, spelt(value)) for name, value in said if name == "disallow" and value]
    rules.sort(key=lambda rule: (-_length(rule[1]), not rule[0]))
    runs = [(allow, Paths([path for _, path in run])) for allow, run in groupby(rules, key=lambda rule: rule[0])]
    usage = [_usage(value) for name, value in said if name == "content-usage"]
    usage.sort(key=_order)
    equal = [tuple(rows) for _, rows in groupby(usage, key=_order)]
    return Rules("", _delay(said), tuple(runs), tuple((Paths([path for path, _ in rows]), rows) for rows in equal))


def _usage(value: str) -> tuple[str, str]:
    """A Content-Usage line as (path, statement); without a path it is for all."""
    path, statement = [*value.split(None, 1), ""][:2] if value.startswith("/") else ("*", value)
    return spelt(path), statement


def _order(usage: tuple[str, str]) -> int:
    return 0 if usage[0] == "*" else -_length(usage[0])


def _delay(said: list[tuple[str, str]]) -> float | None:
    asked: list[float] = []
    for name, value in said:
        if name in ("crawl-delay", "request-rate"):
            line = Protego.parse(f"User-agent: *\n{name}: {value}")
            rate = line.request_rate("*")
            asked += [line.crawl_delay("*") or 0, min(rate.seconds, 86400) / rate.requests if rate else 0]
    return min(max(asked, default=0), LONGEST_DELAY) or None


def _said(body: bytes, token: str) -> list[tuple[str, str]]:
    """What all groups that are for us say; where there are none, those for `*`: (field, value)."""
    groups: dict[str, list[tuple[str, str]]] = {}
    current: set[str] = set()
    ruled = False
    for name, value in _lines(body):
        if name == "user-agent":
            if ruled:
                current, ruled = set(), False
            agent = "*" if re.match(r"\*(\s|$)", value) else _product(value)
            if agent in ("*", _product(token)):
                current.add(agent)
                groups.setdefault(agent, [])
            continue
        # Only a rule ends a list of user agents: a Crawl-delay, which is none to most parsers, splits no group in two.
        ruled = ruled or name in ("allow", "disallow", "content-usage")
        for agent in current:
            groups[agent].append((name, value))
    return groups.get(_product(token), groups.get("*", []))


def _product(agent: str) -> str:
    return (re.match(r"[a-z_-]*", agent.lower()) or [""])[0]


def _lines(body: bytes) -> Iterator[tuple[str, str]]:
    """The lines that mean something to us: (field, value)."""
    lines = re.split(rb"\r\n|\r|\n", re.sub(rb"\A\xef(\xbb\xbf?)?", b"", body[:MOST_BYTES]))
    if len(body) > MOST_BYTES:
        lines.pop()
    for line in lines:
        text = line[:_LINE].partition(b"#")[0].strip()
        name, colon, value = text.partition(b":")
        if not colon:
            words = text.split()
            if len(words) != 2:
                continue
            name, value = words
        called = name.strip().lower().decode("utf-8", "replace")
        known = next((meant for start, meant in _FIELDS.items() if called.startswith(start)), "")
        if known:
            yield known, value.strip().decode("utf-8", "surrogateescape")
