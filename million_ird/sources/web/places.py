"""What belongs to a site, which addresses are one page, and where no request may go."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from million_ird.sources.web.guard import Refused, canonical, check_url, host_of, public

LONGEST = 2000
"""Longest address of a page, characters."""
DEEPEST = 20
"""Most parts of a page's path."""

_SESSION = re.compile(
    r"(utm_\w+|gclid|fbclid|msclkid|mc_[ce]id|phpsessid|jsessionid|aspsessionid\w*|sid|session_?id|cfid|cftoken)(=.*)?",
    re.IGNORECASE,
)
_SESSION_PATH = re.compile(r";jsessionid=[^/?;]*", re.IGNORECASE)


@dataclass(frozen=True)
class Site:
    """What belongs to a site.

    Attributes:
        start: its first page.
        image_hosts: other hosts that its images may lie on, with their subdomains; "*" = any.
    """

    start: str
    image_hosts: tuple[str, ...] = ()

    def holds(self, url: str) -> bool:
        """Whether a page is of this site: its host, with or without www., at its port."""
        return _bare(host_of(url)) == _bare(host_of(self.start)) and _port(url) == _port(self.start)

    def may_hold(self, url: str) -> bool:
        """Whether an image may be taken from where it lies."""
        host = host_of(url)
        domains = (domain_of(host_of(self.start)), *(name.lower().strip(".") for name in self.image_hosts))
        return any(name == "*" or host == name or host.endswith("." + name) for name in domains)


@functools.cache
def domain_of(host: str) -> str:
    """The domain that was registered (`example.co.uk` of `cdn.example.co.uk`), by the list of public suffixes that
    comes with tldextract; a host of no known suffix is its own, without www."""
    import tldextract  # it comes with Scrapy

    extract = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)
    found = extract(host)
    return f"{found.domain}.{found.suffix}" if found.domain and found.suffix else _bare(host)


def check_host(url: str, private: bool) -> None:
    """Refuse an address that is no plain web address, or names a host by an address that is not public, in whatever
    notation (`127.1`, `0x7f.1`, `2130706433`, `[::ffff:127.0.0.1]`).

    Raises:
        Refused: as `guard.check_url`; "blocked" for such a host.
    """
    check_url(url)
    host = host_of(url).strip("[]")
    try:
        address = str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        try:
            address = socket.inet_ntoa(socket.inet_aton(host))
        except (OSError, UnicodeError):  # a name; the resolver judges what it stands for
            return
    if not private and not public(address):
        raise Refused("blocked", "the address is private")


def page_key(url: str) -> str:
    """What two addresses of the same page share: without what only names the visit (session ids, campaigns)."""
    parts = urlsplit(canonical(url))
    query = "&".join(one for one in parts.query.split("&") if one and not _SESSION.fullmatch(one))
    path = _SESSION_PATH.sub("", parts.path) or "/"
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def is_winding(path: str) -> bool:
    """Whether a path has too many parts, or says the same parts three times over: `/a/b/a/b/a/b`."""
    parts = [part for part in path.split("/") if part]
    if len(parts) > DEEPEST:
        return True
    for length in range(1, len(parts) // 3 + 1):
        for at in range(len(parts) - 3 * length + 1):
            one = parts[at : at + length]
            if one == parts[at + length : at + 2 * length] == parts[at + 2 * length : at + 3 * length]:
                return True
    return False


def same_path(one: str, other: str) -> bool:
    """Whether two addresses differ in nothing but www., query and a slash at the end."""
    a, b = urlsplit(one), urlsplit(other)
    return _bare(a.hostname or "") == _bare(b.hostname or "") and a.path.rstrip("/") == b.path.rstrip("/")


def _bare(host: str) -> str:
    return host.removeprefix("www.")


def _port(url: str) -> int | None:
    """The port where it is said; 80 and 443 are one, so that a site may go over to https."""
    try:
        port = urlsplit(url).port
    except ValueError:
        return -1
    return None if port in (80, 443) else port
