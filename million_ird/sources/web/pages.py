"""What a page says: its links, its images in their largest variant, whose they are, and whether they may be taken."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import lxml.etree
import lxml.html
from w3lib.url import safe_url_string

from million_ird.sources.web.guard import SCHEMES, TOKEN, canonical
from million_ird.sources.web.signals import header_signals, html_signals, refusing

LINKS = 5000
"""Most links, and most images, taken from one page."""
WORDS = 500
"""Longest text kept of an alt, a title or a name, characters."""

_IMAGE = re.compile(r"\.(jpe?g|jpe|jfif|png|webp|tiff?|bmp|avif|hei[cf])$", re.IGNORECASE)
_DRAWN = re.compile(r"\.(svgz?|ico|gif)$", re.IGNORECASE)
_NO_PAGE = re.compile(
    r"\.(css|js|mjs|json|xml|rss|atom|pdf|ps|docx?|xlsx?|pptx?|odt|epub|zip|gz|tgz|bz2|xz|7z|rar|tar|exe|msi|dmg|iso|apk|"
    r"mp[34]|m4[av]|avi|mov|mkv|webm|og[agv]|wav|flac|ttf|woff2?|eot|svgz?|ico|gif)$",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[\s,]*(\S+)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([wx])")
_LARGE_IMAGES = ("og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src")
_DEEPEST = 30
"""Levels of JSON-LD that are looked into."""


@dataclass
class Page:
    """What was found on one page.

    Attributes:
        links: absolute URLs it leads to, in order.
        images: one dict each: url, and what is known of alt, title, licence, author; the largest variant of each.
        canonical: the address that it gives itself, "" = none.
        skipped: what was passed over, by kind.
    """

    links: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    canonical: str = ""
    skipped: Counter[str] = field(default_factory=Counter)


def read_page(
    url: str, html: str, headers: Sequence[tuple[str, str]], robots: Sequence[str] = (), obey: bool = True
) -> Page:
    """Links and images of an HTML page.

    Args:
        url: where it was found.
        html: its text.
        headers: of the response, name and value.
        robots: what robots.txt says about the use of this page, as words (`robots.Rules.signals`).
        obey: take no images where a signal forbids it, follow no link that is marked nofollow.
    """
    page = Page()
    try:
        parser = lxml.html.HTMLParser(encoding="utf-8")
        root = lxml.html.document_fromstring(html.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.ParserError, lxml.etree.XMLSyntaxError):  # nothing in it
        return page
    reading = _Reading(url, root, obey)
    page.canonical = reading.canonical()
    metas = "".join(str(lxml.html.tostring(meta, encoding="unicode", with_tail=False)) for meta in root.iter("meta"))
    said = (header_signals(headers, TOKEN), html_signals(metas, TOKEN), tuple(robots))
    if not (obey and any(signal.endswith(": nofollow") for one in said for signal in one)):
        page.links = list(dict.fromkeys(reading.links()))[:LINKS]
    if obey and any(refusing(one) for one in said):
        page.skipped["page: opt_out"] += 1
    else:
        page.images = reading.images(page.skipped)[:LINKS]
    return page


class _Reading:
    """One page while it is read."""

    def __init__(self, url: str, root: Any, obey: bool) -> None:
        self.root = root
        self.obey = obey
        bases = root.xpath("//base/@href")
        self.base = join(url, str(bases[0])) or url if bases else url

    def canonical(self) -> str:
        for link in self.root.iter("link"):
            if "canonical" in _rel(link):
                return join(self.base, link.get("href", ""))
        return ""

    def links(self) -> Iterator[str]:
        for node in self.root.iter("a", "area", "link"):
            if node.tag == "link" and not _rel(node) & {"next", "prev"}:
                continue
            address = self._followed(node)
            if address and not _NO_PAGE.search(urlsplit(address).path) and not is_image(address):
                yield address
        for meta in self.root.iter("meta"):
            if meta.get("http-equiv", "").lower() == "refresh":
                _, _, target = meta.get("content", "").partition("=")
                if address := join(self.base, target.strip(" '\"")):
                    yield address

    def images(self, skipped: Counter[str]) -> list[dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        smaller: set[str] = set()
        heading = next(iter(self.root.xpath("//title/text()")), "")
        licence = next((u for node in self.root.iter("a", "link") if (u := self._licence(node))), "")

        def add(url: str, **facts: str) -> None:
            entry = found.setdefault(url, {"url": url})
            for name, text in facts.items():
                if not entry.get(name) and (text := words(text)):
                    entry[name] = text

        for image in self.root.iter("img"):
            best, others = self._variants(image, skipped)
            smaller.update(others)
            if best:
                add(best, alt=image.get("alt", ""), title=image.get("title", ""))
        for node in self.root.iter("a", "link"):
            address = self._followed(node)
            if address and (is_image(address) if node.tag == "a" else "image_src" in _rel(node)):
                add(address, title=node.get("title", "") or _text(node))
        for address, alt in self._social():
            add(address, alt=alt)
        for facts in self._json_ld():
            if address := picture(self.base, facts.pop("url")):
                add(address, **facts)
        kept = [entry for url, entry in found.items() if url not in smaller]
        for entry in kept:
            entry.setdefault("title", words(heading))
            if licence:
                entry.setdefault("licence", licence)
        return [{name: text for name, text in entry.items() if text} for entry in kept]

    def _followed(self, node: Any) -> str:
        if self.obey and "nofollow" in _rel(node):
            return ""
        return join(self.base, node.get("href", ""))

    def _licence(self, node: Any) -> str:
        return words(join(self.base, node.get("href", ""))) if "license" in _rel(node) else ""

    def _variants(self, image: Any, skipped: Counter[str]) -> tuple[str, set[str]]:
        """The largest of what is the same picture, and the others."""
        ranked: dict[str, tuple[int, float, int]] = {}

        def offer(address: str, *rank: float) -> None:
            url = picture(self.base, address)
            if url:
                ranked[url] = max(ranked.get(url, (0, 0.0, 0)), rank)  # type: ignore[arg-type]
            elif address and not address.startswith("data:"):
                skipped["image: not a photo's format"] += 1

        for name, rank in (("src", 1.0), ("data-src", 1.1), ("data-original", 1.2)):
            offer(image.get(name, "").strip(), 1, rank, 1)
        sets = [(image.get(name, ""), 1) for name in ("srcset", "data-srcset")]
        for above in image.iterancestors("picture"):  # the parser takes what follows a <source> for a part of it
            for source in above.iter("source"):
                sets += [(source.get(name, ""), 0) for name in ("srcset", "data-srcset")]
        for text, own in sets:
            for address, kind, size in srcset(text):
                offer(address, 2 if kind == "w" else 1, size, own)
        link = next(image.iterancestors("a"), None)
        original = self._followed(link) if link is not None else ""
        if original and is_image(original):
            ranked[original] = (3, 0.0, 0)
        best = max(ranked, key=lambda url: ranked[url], default="")
        return best, ranked.keys() - {best}

    def _social(self) -> Iterator[tuple[str, str]]:
        pending = ""
        alt = ""
        for meta in self.root.iter("meta"):
            name = (meta.get("property") or meta.get("name") or "").lower()
            if name in _LARGE_IMAGES:
                if pending:
                    yield pending, alt
                pending, alt = picture(self.base, meta.get("content", "")), ""
            elif name in ("og:image:alt", "twitter:image:alt"):
                alt = meta.get("content", "")
        if pending:
            yield pending, alt

    def _json_ld(self) -> Iterator[dict[str, str]]:
        for script in self.root.iter("script"):
            if script.get("type", "").strip().lower() == "application/ld+json":
                try:
                    value = json.loads(script.text or "")
                except (ValueError, RecursionError):
                    continue
                yield from _image_objects(value, 0)


def _image_objects(value: Any, depth: int) -> Iterator[dict[str, str]]:
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in value:
            yield from _image_objects(one, depth + 1)
    elif isinstance(value, dict):
        kinds = value.get("@type")
        if "ImageObject" in (kinds if isinstance(kinds, list) else [kinds]):
            address = value.get("contentUrl") or value.get("url")
            if isinstance(address, str):
                yield {
                    "url": address,
                    "licence": _name(value.get("license")),
                    "author": _name(value.get("creator"))
                    or _name(value.get("author"))
                    or _name(value.get("creditText")),
                    "title": _name(value.get("name")),
                    "alt": _name(value.get("caption")),
                }
        for key, one in value.items():
            if key == "image":
                for address in one if isinstance(one, list) else [one]:
                    if isinstance(address, str):
                        yield {"url": address}
            yield from _image_objects(one, depth + 1)


def _name(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_name, value)))
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("url") or value.get("@id") or ""
    return value if isinstance(value, str) else ""


def srcset(text: str) -> Iterator[tuple[str, str, float]]:
    """The candidates of a srcset: address, kind of descriptor ("w" px or "x" density) and its number."""
    at = 0
    while match := _ADDRESS.match(text, at):
        address, at = match[1], match.end()
        size = None
        if not address.endswith(","):
            comma = text.find(",", at)
            end = comma if comma >= 0 else len(text)
            size = _SIZE.search(text[at:end])
            at = end
        if address := address.rstrip(","):
            yield address, size[2] if size else "x", float(size[1]) if size else 1.0


def is_image(url: str) -> bool:
    """Whether an address looks like a photo's file (a wiki's page about a file, `File:a.jpg`, doesn't)."""
    path = urlsplit(url).path
    return bool(_IMAGE.search(path)) and ":" not in path.rpartition("/")[2]


def _rel(node: Any) -> set[str]:
    return set(node.get("rel", "").lower().split())


def _text(node: Any) -> str:
    return "".join(node.itertext()) if node.tag == "a" else ""


def words(text: str) -> str:
    """Text on one line, `WORDS` characters of it at most."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:WORDS]


def join(base: str, address: str) -> str:
    """An absolute web address, its odd characters escaped; "" where it is none."""
    try:
        url = safe_url_string(canonical(urljoin(base, address.strip()))) if address.strip() else ""
        return url if urlsplit(url).scheme in SCHEMES and urlsplit(url).hostname else ""
    except ValueError:
        return ""


def picture(base: str, address: str) -> str:
    """As `join`; "" where the file is a drawing or an animation."""
    url = join(base, address)
    return "" if not url or _DRAWN.search(urlsplit(url).path) else url
