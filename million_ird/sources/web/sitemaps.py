"""Sitemaps: the pages and images that a site lists itself."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import lxml.etree

from million_ird.sources.web.guard import SCHEMES, canonical
from million_ird.sources.web.pages import join, picture, words

SITEMAP_BYTES = 50_000_000
"""Largest sitemap, unpacked (the protocol's own bound)."""
SITEMAP_URLS = 50_000


@dataclass
class Sitemap:
    """What a sitemap lists: pages, images (as `Page.images`, with `page_url`), and more sitemaps."""

    pages: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)


def read_sitemap(url: str, data: bytes) -> Sitemap:
    """A sitemap or an index of sitemaps: XML, or one address a line; packed or not, never unpacked beyond
    `SITEMAP_BYTES`; a damaged one counts as far as it can be read."""
    found = Sitemap()
    if data[:2] == b"\x1f\x8b":
        try:
            data = zlib.decompressobj(31).decompress(data, SITEMAP_BYTES)
        except zlib.error:
            return found
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        lines = data.decode("utf-8-sig", "replace").splitlines()[:SITEMAP_URLS]
        found.pages = [address for line in lines if (address := join(url, line))]
        return found
    options: dict[str, Any] = {"resolve_entities": False, "no_network": True, "recover": True, "load_dtd": False}
    try:
        for _, node in lxml.etree.iterparse(io.BytesIO(data), events=("end",), **options):
            kind = _local(node)
            if kind not in ("url", "sitemap"):
                continue
            place = join(url, next((child.text or "" for child in node if _local(child) == "loc"), ""))
            if place:
                (found.pages if kind == "url" else found.sitemaps).append(place)
                found.images += _sitemap_images(url, place, node)
            node.clear()
            if len(found.pages) + len(found.images) >= SITEMAP_URLS:
                break
    except lxml.etree.XMLSyntaxError:  # so damaged that it can't be recovered; what came before it counts
        return found
    return found


def _sitemap_images(url: str, place: str, node: Any) -> Iterator[dict[str, str]]:
    names = {"loc": "url", "title": "title", "caption": "alt", "license": "licence"}
    for image in node:
        if _local(image) == "image":
            facts = {names[_local(child)]: child.text or "" for child in image if _local(child) in names}
            if address := picture(url, facts.pop("url", "")):
                yield {"url": address, "page_url": place, **{k: w for k, text in facts.items() if (w := words(text))}}


def _local(node: Any) -> str:
    return node.tag.rpartition("}")[2].lower() if isinstance(node.tag, str) else ""


def named_in(robots: bytes) -> list[str]:
    """The sitemaps that a robots.txt names."""
    lines = robots[:500_000].decode("utf-8-sig", "replace").splitlines()
    fields = [line.partition("#")[0].partition(":") for line in lines]
    found = [canonical(value) for name, _, value in fields if name.strip().lower() == "sitemap"]
    return [url for url in found if urlsplit(url).scheme in SCHEMES]
