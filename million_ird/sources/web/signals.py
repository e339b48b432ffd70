"""What a site says about the use of its pictures, in headers and in HTML: read into a few fixed words.

Words: `x-robots-tag: noai`, `meta robots: noindex`, `tdm-reservation: 1`, `tdm-policy: URL`,
`content-usage: train-ai=n`. Only words of a known vocabulary come out, so that what is kept per image is short whatever
a server sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html.parser import HTMLParser

ROBOTS_WORDS = ("noai", "noimageai", "noml", "noindex", "noimageindex", "nofollow", "noarchive", "nocache")
"""Words of X-Robots-Tag and meta robots that are kept; `none` is written as noindex and nofollow."""

_REFUSING_WORDS = frozenset(("noai", "noimageai", "noindex", "noimageindex", "noml", "none"))
_TRAINING = (("train-genai", "genai"), ("train-ai", "ai"), ("bots", "all", "tdm"))
"""Labels of Content-Usage that speak about training a model, the most specific first; in a row: of the same meaning."""
_LABELS = frozenset(label for row in _TRAINING for label in row) | {"ai-use", "ai-output", "inference", "search"}

_VALUED = frozenset(("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"))
_AGENT = re.compile(r"(\*|[a-z][a-z_-]*)[^\s:]*")
_MEMBER = re.compile(r"""\s*([a-z*][a-z0-9_.*-]*)\s*(?:=\s*("[^"]*"|[^,;"\s]*))?""", re.IGNORECASE)
_WORDS = re.compile(r"[,;\s]+")
_YES_NO = {"y": "y", "n": "n", "yes": "y", "no": "n", "?1": "y", "?0": "n"}
_POLICY = 200  # characters of a policy's address that are kept


def header_signals(headers: Mapping[str, str] | Sequence[tuple[str, str]], token: str) -> tuple[str, ...]:
    """What the headers of a response say about use.

    Args:
        headers: names in any case; one name may come several times (a multidict, or pairs).
        token: our product token; what is addressed to another user agent is left out.

    Returns:
        Words as above, each once, in the order they came; Content-Usage as one statement, at the end.
    """
    words: list[str] = []
    usage: list[str] = []
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        match name.lower():
            case "x-robots-tag":
                words += [f"x-robots-tag: {word}" for word in _tags(value, token)]
            case "tdm-reservation" | "tdm-policy" as field:
                words += _tdm(field, value)
            case "content-usage":
                usage.append(value)
    # Lines of one structured field are one dictionary (RFC 9651, 4.2): the last value of a label is the one that holds.
    return tuple(dict.fromkeys([*words, *usage_words(content_usage(", ".join(usage)))]))


def html_signals(html_head: str, token: str) -> tuple[str, ...]:
    """What the meta elements of a page say about use: `robots` and our token's own name, tdm-reservation, tdm-policy.

    Args:
        html_head: the page or its first part; it may be damaged or cut off anywhere.
        token: our product token.
    """
    page = _Metas()
    page.feed(html_head)  # not closed: what is open at the end says nothing, and to search it costs time without bound
    words: list[str] = []
    for name, content in page.found:
        if name in ("robots", token.lower()):
            words += [f"meta robots: {word}" for word in _known(_WORDS.split(content.lower()))]
        elif name in ("tdm-reservation", "tdm-policy"):
            words += _tdm(name, content)
    return tuple(dict.fromkeys(words))


def refusing(signals: Sequence[str]) -> str:
    """The first signal by which we must not take a picture, "" where there is none.

    noai, noimageai, noindex, noimageindex, noml and none refuse, and a reservation of text and data mining (TDMRep).
    Content-Usage is read by draft-ietf-aipref-vocab-08, where train-ai=n alone speaks about training, and by its
    earlier drafts (-01 to -04), whose labels form a tree: train-genai is a part of train-ai, that of bots (all, tdm).
    The most specific label of this branch that a statement gives decides: `bots=n` refuses, `bots=n, train-ai=y` does
    not, `train-ai=y, train-genai=n` does. Of one label given twice, n counts. ai-use, ai-output, inference and search
    say nothing about training.

    Args:
        signals: of one statement, in the sense of the draft: ask for headers, page and robots.txt one by one, as what
            one of them allows takes nothing back of what another forbids.
    """
    training = _training(signals)
    for signal in signals:
        name, _, word = signal.partition(": ")
        if name in ("x-robots-tag", "meta robots") and word in _REFUSING_WORDS:
            return signal
        if signal in ("tdm-reservation: 1", training):
            return signal
    return ""


def content_usage(statement: str) -> dict[str, str]:
    """A statement of preference (a structured-field dictionary, draft-ietf-aipref-vocab) as label -> "y" or "n".

    More is understood than the draft asks for, where the meaning is plain (capitals, "n" in quotes, ?0, no); labels
    that are not known and values that are neither yes nor no are left out, as are parameters.
    """
    found: dict[str, str] = {}
    for member in re.findall(r'(?:[^,"]|"[^"]*"?)+', statement):
        match = _MEMBER.match(member)
        if not match or match[1].lower() not in _LABELS:
            continue
        found.pop(match[1].lower(), None)  # the last value of a label counts, even one that says nothing
        value = _YES_NO.get((match[2] or "").strip('"').lower())
        if value:
            found[match[1].lower()] = value
    return found


def usage_words(usage: Mapping[str, str]) -> tuple[str, ...]:
    """Preferences as words."""
    return tuple(f"content-usage: {label}={value}" for label, value in usage.items())


def _training(signals: Sequence[str]) -> str | None:
    """The word of Content-Usage that forbids training."""
    for labels in _TRAINING:
        said = [s for s in signals if any(s.startswith(f"content-usage: {label}=") for label in labels)]
        if said:
            return next((s for s in said if s.endswith("=n")), None)
    return None


def _tags(value: str, token: str) -> list[str]:
    """The words of one X-Robots-Tag that are meant for all or for us.

    A user agent's name counts for all words after it, up to the next name; a directive that takes a value is no name,
    nor are parts of a date.
    """
    meant, words = True, []
    for part in value.lower().split(","):
        name, colon, rest = part.partition(":")
        agent = _AGENT.fullmatch(name.strip())
        if colon and agent and name.strip() not in _VALUED:
            meant, part = agent[1] in ("*", token.lower()), rest
        if meant:
            words += _known(_WORDS.split(part))
    return words


def _known(words: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for word in words:
        kept += ["noindex", "nofollow"] if word == "none" else [word] if word in ROBOTS_WORDS else []
    return kept


def _tdm(field: str, value: str) -> list[str]:
    """TDMRep: a reservation is 0 or 1; the policy's address is only kept."""
    text = "".join(c for c in value if c.isprintable()).strip()
    if field == "tdm-policy":
        return [f"tdm-policy: {text[:_POLICY]}"] if text else []
    number = text.partition(",")[0].strip().strip('"')
    return [f"tdm-reservation: {number}"] if number in ("0", "1") else []


class _Metas(HTMLParser):
    """Collects the named meta elements of a page: (name in small letters, content)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta":
            values = dict(reversed(attrs))  # of an attribute given twice the first counts
            name = (values.get("name") or "").strip().lower()
            if name:
                self.found.append((name, values.get("content") or ""))

    def parse_marked_section(self, i: int, report: bool = True) -> int:  # type: ignore[override]
        # The library stops with an AssertionError at `<![anything`; to a browser it is a comment up to the next ">".
        end = self.rawdata.find(">", i)
        return end + 1 if end >= 0 else -1
