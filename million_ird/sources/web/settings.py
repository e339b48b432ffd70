"""How the web is read."""

from __future__ import annotations

from pydantic import Field

from million_ird.config import Config


class Fetch(Config):
    """How bytes are fetched from the web. It may change on resume: what is fetched already is not fetched again."""

    contact: str = ""
    """A mail or web address for the User-Agent, so that owners of sites can reach you."""
    obey: bool = True
    """Obey robots.txt and opt-out signals (X-Robots-Tag, meta tags, tdm-reservation, Content-Usage). False is written
    onto the dataset card."""
    private_hosts: bool = False
    """Also connect to loopback, private and link-local addresses."""
    hosts: dict[str, str] = Field(default_factory=dict)
    """Host name -> IP address, instead of asking DNS."""
    connections: int = Field(default=256, ge=1)
    """Requests under way at a time."""
    per_host: int = Field(default=4, ge=1)
    """Of these, to one host; of a site that is crawled 2 at most."""
    host_rate: float = Field(default=10.0, ge=0)
    """Requests to one host in a second; 0 = any; a Crawl-delay of robots.txt goes first."""
    connect_seconds: float = Field(default=10.0, gt=0)
    """Longest time until a connection stands."""
    read_seconds: float = Field(default=20.0, gt=0)
    """Longest time without a byte."""
    total_seconds: float = Field(default=90.0, gt=0)
    """Longest time for one request with all that belongs to it."""
    min_speed: float = Field(default=2000.0, ge=0)
    """Fewest bytes per second, asked after the first ten seconds (a tenth of total_seconds, where that is less)."""
    max_bytes: int = Field(default=50_000_000, ge=1)
    """Largest file, bytes, unpacked."""
    redirects: int = Field(default=5, ge=0)
    """Redirects followed, each checked like a URL of its own."""
    retries: int = Field(default=2, ge=0)
    """More tries, where another can help."""
    backoff: float = Field(default=1.0, gt=0)
    """Seconds before the second try, doubled for each one after it; a Retry-After goes first."""
    patience: float = Field(default=120.0, ge=0)
    """Longest Retry-After that is waited for, s; beyond it the URL is left to --retry-failed."""
    give_up: int = Field(default=20, ge=1)
    """So many failures of one host in a row (no answer, 429 or 5xx), and the rest of it waits for --retry-failed."""
    shards: int = Field(default=32, ge=1)
    """Most shards under way: the next one is begun when few inputs are left of those, so that slow hosts at the end of
    one do not hold up the others."""
    stall_seconds: float = Field(default=600.0, gt=0)
    """A shard of which nothing is finished for so long is closed; what is missing waits for --retry-failed."""
    blocklist: str | None = None
    """A file of what must not be kept: lines of `url ADDRESS`, `host NAME`, `sha256 HEX` or `phash HEX`."""


class Crawl(Config):
    """How sites are crawled for images."""

    depth: int = Field(default=3, ge=0)
    """Links from the first page."""
    pages: int = Field(default=1000, ge=1)
    """Most pages read."""
    images: int = Field(default=10_000, ge=1)
    """Most images listed."""
    bytes: int = Field(default=500_000_000, ge=1)
    """Most bytes of pages."""
    include: tuple[str, ...] = ()
    """Regular expressions; only pages whose URL matches one are followed; empty = all."""
    exclude: tuple[str, ...] = ()
    """Regular expressions; pages and images whose URL matches one are left out."""
    sitemaps: bool = True
    """Read the site's sitemaps."""
    delay: float = Field(default=0.5, ge=0)
    """Seconds between two pages of a host, at the least; it grows with the site's own slowness."""
    image_hosts: tuple[str, ...] = ()
    """Other hosts that images may lie on, with their subdomains; "*" = any; empty = the site's own domain."""
