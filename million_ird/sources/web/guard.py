"""Where a request may go: http and https, to public addresses; and how a URL is written down."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit, urlunsplit

from million_ird import __version__

TOKEN = "million-ird"
"""Product token: the name that robots.txt and X-Robots-Tag call us by."""

SCHEMES = ("http", "https")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_EMBEDDING = (ipaddress.ip_network("64:ff9b:1::/48"), ipaddress.ip_network("::/96"))
"""Addresses that stand for others in ways of their own (RFC 8215 local NAT64, deprecated IPv4-compatible)."""


class Refused(OSError):
    """A request that must not be made; `kind` is the class for the ledger."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: not loopback, private, link-local (cloud metadata), shared,
    multicast, reserved or unspecified, nor one that carries such an IPv4 address within it."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in network for network in _EMBEDDING):
            return False
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def check_url(url: str) -> None:
    """Refuse what is not a plain web address, whatever it would resolve to.

    Raises:
        Refused: "scheme", "bad_url" or "blocked" (a port of another service).
    """
    parts = urlsplit(url)
    if parts.scheme.lower() not in SCHEMES:
        raise Refused("scheme", f"{parts.scheme or 'no'} scheme; only http and https are fetched")
    try:
        port = parts.port
    except ValueError:
        raise Refused("bad_url", "port out of range") from None
    if not parts.hostname:
        raise Refused("bad_url", "no host")
    if port is not None and port < 1024 and port not in (80, 443):
        raise Refused("blocked", f"port {port} belongs to another service")


def canonical(url: str) -> str:
    """A URL as it is written down: without fragment, user name and password, surrounding space or control characters;
    scheme and host in small letters. What is no URL comes back cleaned of control characters alone."""
    text = "".join(c for c in url.strip() if c.isprintable())
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2].lower()
    except ValueError:
        return text
    return urlunsplit((parts.scheme.lower(), host, parts.path, parts.query, "")) if host else text


def origin(url: str) -> str:
    """Scheme, host and port: what robots.txt is about."""
    parts = urlsplit(url)
    return f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2].lower()}"


def host_of(url: str) -> str:
    """The host's name in small letters, "" where there is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def user_agent(contact: str) -> str:
    """What we say we are: name, version, purpose, and how to reach who runs it.

    Args:
        contact: a mail or web address, "" = none is known.
    """
    where = "".join(c for c in contact if c.isprintable()).strip()
    return f"{TOKEN}/{__version__} (image dataset builder{'; ' if where else ''}{where})"
