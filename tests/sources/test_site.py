"""Sites: breadth-first within the host, the largest of each image, politely, never to a private address, and after a
kill again without fetching a page twice."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

pytest.importorskip("scrapy")

from million_ird.errors import ConfigError, InputError
from million_ird.sources.web.guard import Refused
from million_ird.sources.web.journal import Journal, Result
from million_ird.sources.web.pages import read_page, srcset
from million_ird.sources.web.places import Site, check_host, is_winding, page_key
from million_ird.sources.web.settings import Crawl, Fetch
from million_ird.sources.web.site import SiteSource, open_journal
from million_ird.sources.web.sitemaps import read_sitemap
from million_ird.sources.web.walk import Walk

Reply = tuple[int, dict[str, str], bytes]


class Server:
    """A real web server on loopback: path -> answer, and a log of (path, host, user agent, time)."""

    def __init__(self) -> None:
        self.answers: dict[str, Reply | Callable[[str], Reply]] = {}
        self.log: list[tuple[str, str, str, float]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = self.headers
                outer.log.append((self.path, headers["Host"], headers["User-Agent"], time.monotonic()))
                if headers["Cookie"] or headers["Referer"] or headers["Authorization"]:
                    outer.log.append(("leak", "", "", 0.0))
                known = outer.answers.get(f"{headers['Host']}{self.path}") or outer.answers.get(self.path)
                known = known or outer.answers.get(self.path.partition("?")[0])
                status, extra, body = (known(self.path) if callable(known) else known) or (404, {}, b"no such page")
                self.send_response(status)
                for name, value in {"Content-Type": "text/html; charset=utf-8", "Set-Cookie": "a=b", **extra}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str = "/", host: str = "site.test") -> str:
        return f"http://{host}:{self.port}{path}"

    def html(self, path: str, body: str, head: str = "", **headers: str) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = 200, names, f"<html><head>{head}</head><body>{body}</body></html>".encode()

    def paths(self) -> list[str]:
        return [path for path, *_ in self.log]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


HOSTS = dict.fromkeys(("site.test", "www.site.test", "other.test", "cdn.site.test"), "127.0.0.1")


def fetch(**changes) -> Fetch:
    return Fetch(
        **{"private_hosts": True, "hosts": HOSTS, "backoff": 0.01, "retries": 1, "total_seconds": 5, **changes}
    )


def crawl(url: str, folder: Path, how: Fetch | None = None, **limits):
    skipped: Counter[str] = Counter()
    source = SiteSource("site.test", url, how or fetch(), Crawl(**{"delay": 0.0, **limits}), folder)
    return list(source.items(skipped)), skipped


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """One crawl, 3 links deep, of a site with everything on it."""
    server = Server()
    other = server.url("/elsewhere", "other.test")
    server.answers["/robots.txt"] = (
        200,
        {"Content-Type": "text/plain"},
        f"User-agent: *\nCrawl-delay: 0.1\nDisallow: /private/\nSitemap: {server.url('/map.xml.gz')}\n".encode(),
    )
    listed = (
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="http://www.google.com/schemas/'
        f'sitemap-image/1.1"><url><loc>{server.url("/unlinked")}</loc><image:image><image:loc>/img/from-map.jpg'
        "</image:loc><image:license>https://creativecommons.org/licenses/by/4.0/</image:license></image:image></url>"
        f"<url><loc>{other}</loc></url></urlset>"
    )
    server.answers["/map.xml.gz"] = 200, {"Content-Type": "application/gzip"}, gzip.compress(listed.encode())
    links = (
        "/a /b /private/x /skip/me /moved /off /loop1 /noai /header-noai /gone /sick /file.pdf /photo-page "
        "/a?utm_source=x /a#part"
    )
    server.html(
        "/",
        "".join(f'<a href="{link}">x</a>' for link in links.split())
        + f'<a href="{other}">other</a><a href="{server.url("/w", "www.site.test")}">w</a>'
        + '<a rel="nofollow" href="/hidden">h</a>'
        + '<img src="/img/front.jpg" alt="The  front"><img src="/img/banner-ads.jpg">'
        + '<img src="http://cdn.site.test/x.jpg"><img src="http://else.test/y.jpg"><img src="icon.svg">',
        "<title>Home</title>",
    )
    server.html("/a", '<a href="/a/b">x</a><img src="/img/a.jpg"><img src="/img/front.jpg">')
    server.html("/a/b", '<a href="/a/b/c">x</a><img src="/img/b.jpg">')
    server.html("/a/b/c", '<a href="/a/b/c/d">x</a><img src="/img/c.jpg">')
    server.html("/a/b/c/d", '<img src="/img/too-deep.jpg">')
    server.html("/b", '<img src="rel.jpg">', '<base href="/base/"><link rel="license" href="/licence">')
    server.html("/skip/me", '<img src="/img/skipped.jpg">')
    server.html("/noai", '<a href="/behind">x</a><img src="/img/no.jpg">', '<meta name="robots" content="noai">')
    server.html("/header-noai", '<img src="/img/no2.jpg">', X_Robots_Tag="noimageai")
    server.html("/behind", '<img src="/img/behind.jpg">')
    server.html("/target", '<img src="/img/target.jpg">')
    server.html("/unlinked", '<img src="/img/unlinked.jpg">')
    server.answers[f"www.site.test:{server.port}/robots.txt"] = 503, {}, b""
    server.answers["/moved"] = 301, {"Location": "/target"}, b""
    server.answers["/off"] = 302, {"Location": other}, b""
    server.answers["/loop1"] = 302, {"Location": "/loop2"}, b""
    server.answers["/loop2"] = 302, {"Location": "/loop1"}, b""
    server.answers["/photo-page"] = 200, {"Content-Type": "image/jpeg"}, b"\xff\xd8\xff"
    tries: list[str] = []

    def sick(path: str) -> Reply:
        tries.append(path)
        return (503, {"Retry-After": "1"}, b"") if len(tries) == 1 else (200, {}, b'<img src="/img/healed.jpg">')

    server.answers["/sick"] = sick
    items, skipped = crawl(
        server.url(),
        tmp_path_factory.mktemp("crawl"),
        fetch(contact="me@example.org"),
        depth=3,
        exclude=("skip", "-ads"),
    )
    yield server, items, skipped
    server.close()


def test_a_site_gives_its_images_sorted_by_address_each_once(explored):
    server, items, _ = explored
    names = ["a", "b", "behind", "c", "from-map", "front", "healed", "target", "unlinked"]
    local = [server.url(f"/img/{name}.jpg") for name in names]
    expected = sorted([*local, "http://cdn.site.test/x.jpg", server.url("/base/rel.jpg"), server.url("/photo-page")])
    assert [item.uri for item in items] == expected
    assert all(item.source == "site.test" and item.path == b"" and not item.status for item in items)


def test_an_image_comes_with_what_its_page_says_of_it(explored):
    server, items, _ = explored
    facts = {item.uri.partition(".test")[2].partition("/")[2]: json.loads(item.meta) for item in items}
    assert facts["img/front.jpg"] == {"page_url": server.url(), "alt": "The front", "title": "Home"}
    assert facts["base/rel.jpg"]["licence"] == server.url("/licence")
    assert facts["img/from-map.jpg"]["licence"] == "https://creativecommons.org/licenses/by/4.0/"
    assert facts["img/from-map.jpg"]["page_url"] == server.url("/unlinked")


def test_pages_are_read_breadth_first_within_the_host_and_the_depth(explored):
    server, _, _ = explored
    paths = server.paths()
    assert paths.index("/a/b") > max(paths.index(path) for path in ("/a", "/b", "/noai", "/unlinked"))
    assert "/a/b/c" in paths
    assert "/a/b/c/d" not in paths
    asked = Counter((host.partition(":")[0], path) for path, host, *_ in server.log)
    assert {host for host, _ in asked} == {"site.test", "www.site.test"}
    twice = [key for key, count in asked.items() if count > 1]
    assert twice == [("site.test", "/sick"), ("www.site.test", "/robots.txt")]


def test_what_is_passed_over_is_counted_by_its_reason(explored):
    _, _, skipped = explored
    assert skipped == {
        "page: robots": 2,
        "page: opt_out": 2,
        "page: http_404": 1,
        "page: excluded": 1,
        "page: redirect to another host": 1,
        "image: excluded": 1,
        "image: another host": 1,
        "image: not a photo's format": 1,
    }


def test_robots_nofollow_and_file_links_are_never_asked_for(explored):
    server, _, _ = explored
    assert not {"/private/x", "/hidden", "/skip/me", "/file.pdf", "/elsewhere"} & set(server.paths())


def test_the_crawler_says_who_it_is_and_sends_no_cookies_or_referrers(explored):
    server, _, _ = explored
    assert all(re.match(r"million-ird/\S+ .*me@example\.org", agent) for path, _, agent, _ in server.log)
    assert "leak" not in server.paths()


def test_a_finished_crawl_is_not_made_again_and_a_larger_one_goes_on(server, tmp_path):
    for number in range(12):
        server.html(f"/{number}" if number else "/", f'<a href="/{number + 1}">n</a><img src="/{number}.jpg">')
    first, skipped = crawl(server.url(), tmp_path, depth=50, pages=4, sitemaps=False)
    assert [item.uri for item in first] == [server.url(f"/{number}.jpg") for number in range(4)]
    assert skipped == {"page: over budget": 1}
    asked = len(server.log)
    assert crawl(server.url(), tmp_path, depth=50, pages=4, sitemaps=False) == (first, skipped)
    assert len(server.log) == asked
    larger, _ = crawl(server.url(), tmp_path, depth=50, pages=6, sitemaps=False)
    assert len(larger) == 6
    assert Counter(server.paths()) == {"/robots.txt": 2, "/": 1, **{f"/{number}": 1 for number in range(1, 6)}}


def test_a_crawl_delay_and_a_retry_after_are_kept(explored):
    server, _, _ = explored
    times = [at for path, host, _, at in server.log if host.startswith("site.test") and path != "/robots.txt"]
    # On the way a request may be held up, and come sooner before the next: the mean of the gaps is what was kept.
    assert (times[-1] - times[0]) / (len(times) - 1) > 0.09
    first, again = (at for path, *_, at in server.log if path == "/sick")
    assert again - first > 0.95


def test_robots_that_cannot_be_had_forbids_its_host(explored):
    server, _, _ = explored
    assert {path for path, host, *_ in server.log if host.startswith("www.")} == {"/robots.txt"}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (
            {"why": "redirect", "links": ("http://o.test/x",)},
            r"another host \(http://o\.test\); name that .*",
        ),
        ({"why": "http_403"}, "http_403"),
        ({"why": "dns"}, "its host has no address"),
        ({"why": "robots", "detail": "disallowed by /"}, r"robots\.txt disallowed by /"),
    ],
)
def test_a_first_page_that_cannot_be_had_is_one_clear_line_and_not_remembered(tmp_path, result, words):
    crawl = Crawl(sitemaps=False)
    source = SiteSource("s", "http://s.test", fetch(), crawl, tmp_path)
    journal = open_journal(source.folder, "http://s.test/", fetch())
    journal.append(Result("http://s.test/", **result))
    journal.close()
    with pytest.raises(InputError, match=rf"^http://s\.test/: the first page cannot be had: .*{words}$"):
        list(source.items(Counter()))
    assert not list(tmp_path.glob("*/journal.jsonl"))


@pytest.mark.parametrize(
    "host", ["site.test", "127.0.0.1", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "[::1]"]
)
def test_no_connection_is_made_to_a_private_address_in_any_notation(tmp_path, host):
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        url = f"http://{host}:{trap.getsockname()[1]}/"
        with pytest.raises(InputError, match="private"):
            crawl(url, tmp_path, fetch(private_hosts=False))
        with pytest.raises(TimeoutError):
            trap.accept()


def test_every_request_is_checked_so_that_a_redirect_leads_nowhere_private():
    for url in ("http://127.0.0.1/", "http://[::ffff:169.254.169.254]/", "http://0/", "http://017700000001:8080/"):
        with pytest.raises(Refused) as caught:
            check_host(url, private=False)
        assert caught.value.kind == "blocked"
        check_host(url, private=True)
    check_host("http://93.184.216.34/", private=False)
    for url in ("file:///etc/hosts", "ftp://site.test/", "http://site.test:22/"):
        with pytest.raises(Refused):
            check_host(url, private=True)


DRIVER = """
import sys
from collections import Counter
from pathlib import Path
from million_ird.sources.web.settings import Crawl, Fetch
from million_ird.sources.web.site import SiteSource
fetch = Fetch(private_hosts=True, hosts={"site.test": "127.0.0.1"})
source = SiteSource("site.test", sys.argv[1], fetch, Crawl(delay=0, depth=9, sitemaps=False), Path(sys.argv[2]))
list(source.items(Counter()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_after_kill_9_a_crawl_goes_on_and_asks_for_no_page_twice_but_those_in_flight(server, tmp_path):
    def page(path: str) -> Reply:
        time.sleep(0.03)
        number = int(path.strip("/") or 1)
        links = "".join(f'<a href="/{n}">x</a>' for n in (2 * number, 2 * number + 1) if n < 60)
        return 200, {}, f'{links}<img src="/{number}.jpg">'.encode()

    server.answers |= {f"/{number}" if number > 1 else "/": page for number in range(1, 60)}

    def until_asked(count: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", DRIVER, server.url(), str(tmp_path)]
        driver = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while len(server.log) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert driver.poll() is None
        return driver

    driver = until_asked(15)
    (crawler,) = psutil.Process(driver.pid).children()
    crawler.send_signal(signal.SIGKILL)
    assert b"killed by signal 9; run the same command to go on" in driver.communicate(timeout=20)[1]

    driver = until_asked(len(server.log) + 15)
    (crawler,) = psutil.Process(driver.pid).children()
    driver.kill()
    driver.communicate(timeout=20)
    crawler.wait(timeout=5)  # it ends with who started it
    assert len(server.log) < 55

    journal = next(tmp_path.glob("*/journal.jsonl"))
    with journal.open("ab") as file:
        file.write(b'{"url": "http://site.test/cut o')
    items, skipped = crawl(server.url(), tmp_path, depth=9, sitemaps=False)
    assert sorted(item.uri for item in items) == sorted(server.url(f"/{number}.jpg") for number in range(1, 60))
    assert not skipped
    counts = Counter(path for path in server.paths() if path != "/robots.txt")
    assert len(counts) == 59
    assert sum(counts.values()) - 59 <= 4


class Paper:
    """A site on paper, for the walk alone: path -> (links, images)."""

    def __init__(self, folder: Path, answer: Callable[[str], Result], **limits) -> None:
        self.journal = Journal(folder / "journal.jsonl", {"url": "http://s.test/"})
        limits = {"sitemaps": False, **limits}
        self.walk = Walk(Site("http://s.test/"), Crawl(**limits), 5, self.journal)
        self.asked: list[str] = []
        self._answer = answer

    def run(self, at_a_time: int = 1) -> Walk:
        under_way: list[str] = []
        while True:
            while len(under_way) < at_a_time and (entry := self.walk.next()):
                under_way.append(entry.url)
            if not under_way:
                self.journal.close()
                return self.walk
            self.asked.append(under_way.pop())  # the newest first: out of order
            self.journal.append(self._answer(self.asked[-1]))
            self.walk.advance()


def test_budgets_cut_the_same_pages_off_in_whatever_order_answers_come(tmp_path):
    def answer(url: str) -> Result:
        number = int(url.rpartition("/")[2] or 1)
        links = tuple(f"http://s.test/{number * 3 + n}" for n in range(3))
        images = tuple({"url": f"http://s.test/{number}-{n}.jpg"} for n in range(3))
        return Result(url, "http_404" if number % 5 == 0 else "", 1000, links, images)

    for limits in ({"pages": 20}, {"images": 25}, {"bytes": 9500}):
        walks = [Paper(tmp_path / f"{limits}-{n}", answer, depth=99, **limits).run(at_a_time=n) for n in (1, 2, 7)]
        assert all(walk.finished and list(walk.images) == list(walks[0].images) for walk in walks)
        assert all(walk.skipped == walks[0].skipped for walk in walks)
        assert walks[0].skipped["page: over budget"]
    assert len(Paper(tmp_path / "i", answer, depth=99, images=25).run().images) == 25


def test_an_endless_calendar_and_winding_paths_end(tmp_path):
    def calendar(url: str) -> Result:
        day = int(url.partition("day=")[2] or 0)
        return Result(url, links=(f"http://s.test/calendar?day={day + 1}",))

    paper = Paper(tmp_path / "calendar", calendar, depth=10_000, pages=100_000)
    assert paper.run().skipped == {"page: trap": 1}
    assert len(paper.asked) == 201

    paper = Paper(tmp_path / "winding", lambda url: Result(url, links=(f"{url}a/b/",)), depth=10_000, pages=100_000)
    assert paper.run().skipped == {"page: trap": 1}
    assert len(paper.asked) == 3
    assert is_winding("/x/a/b/a/b/a/b")
    assert is_winding("/".join("abcdefghijklmnopqrstuvw"))
    assert not is_winding("/2024/11/11/photo")


def test_redirects_end_and_only_those_within_the_site_are_followed(tmp_path):
    def answer(url: str) -> Result:
        if url == "http://s.test/":
            return Result(url, links=("http://s.test/hop0", "http://s.test/p;jsessionid=1"))
        if ";jsessionid" in url:
            return Result(url, "redirect", links=("http://s.test/p",))
        number = url.partition("hop")[2]
        return Result(url, "redirect", links=(f"http://s.test/hop{int(number) + 1}",)) if number else Result(url)

    paper = Paper(tmp_path, answer)
    assert paper.run().skipped == {"page: redirects": 1}
    assert paper.asked[-1] == "http://s.test/hop5"
    assert "http://s.test/p" in paper.asked


def test_one_page_has_one_key_and_a_site_its_hosts(tmp_path):
    keys = ("http://s.test/a?b=2&a=1", "http://s.test/a?b=2&utm_source=x&a=1#f", "http://S.test/a;jsessionid=3?b=2&a=1")
    assert len({page_key(url) for url in keys}) == 1
    assert (
        len({page_key(url) for url in ("http://s.test/a?a=1&b=2", "http://s.test/a?b=2&a=1", "http://s.test/a")}) == 3
    )
    site = Site("http://www.example.co.uk/", ("images.example.net",))
    assert site.holds("https://example.co.uk/x")
    assert not site.holds("http://www.example.co.uk:8080/")
    assert not site.holds("http://shop.example.co.uk/")
    assert site.may_hold("http://cdn.example.co.uk/a.jpg")
    assert site.may_hold("http://a.images.example.net/a.jpg")
    assert not site.may_hold("http://other.co.uk/a.jpg")
    assert Site("http://example.com/", ("*",)).may_hold("http://anything.test/a.jpg")
    with pytest.raises(ConfigError, match=r"crawl\.include: \("):
        SiteSource("s", "http://s.test/", Fetch(), Crawl(include=("(",)), tmp_path)


def found(html: str, **how) -> dict[str, dict[str, str]]:
    images = read_page("http://s.test/dir/page", html, how.pop("headers", ()), **how).images
    return {image["url"].removeprefix("http://s.test"): image for image in images}


@pytest.mark.parametrize(
    ("html", "best"),
    [
        ('<img src="s.jpg" srcset="m.jpg 800w, l.jpg 1600w, s.jpg 400w">', "/dir/l.jpg"),
        ('<img src="s.jpg" srcset="s.jpg, l.jpg 2x">', "/dir/l.jpg"),
        ('<img src="data:image/gif;base64,xx" data-src="/real.jpg">', "/real.jpg"),
        ('<img src="wait.jpg" data-original="/real.jpg">', "/real.jpg"),
        ('<img src="wait.jpg" data-srcset="/a.jpg 1x,/b.jpg 1.5x">', "/b.jpg"),
        ('<picture><source srcset="/a.webp 900w, /b.webp 1800w"><img srcset="/c.jpg 900w"></picture>', "/b.webp"),
        ('<picture><source type="image/avif" srcset="/a.avif 900w"><img srcset="/a.jpg 900w"></picture>', "/a.jpg"),
        ('<a href="/full.JPG"><img src="/thumb.jpg" srcset="/t2.jpg 2000w"></a>', "/full.JPG"),
        ('<a href="/view/1"><img src="/thumb.jpg"></a>', "/thumb.jpg"),
        ('<a href="/wiki/File:Photo.jpg"><img src="/thumb.jpg"></a>', "/thumb.jpg"),
        ('<a href="/original.tif">download</a>', "/original.tif"),
        ('<meta property="og:image" content="/og.jpg">', "/og.jpg"),
        ('<meta name="twitter:image" content="/tw.jpg">', "/tw.jpg"),
        ('<link rel="image_src" href="/src.jpg">', "/src.jpg"),
        ('<img srcset="/l.jpg 900w, /s.jpg 300w"><meta property="og:image" content="/s.jpg">', "/l.jpg"),
        ('<script type="application/ld+json">{"@type": "Article", "image": "/ld.jpg"}</script>', "/ld.jpg"),
        ('<video poster="/p.jpg"></video><style>a{background:url(/c.jpg)}</style><img src="/x?a b">', "/x?a%20b"),
    ],
)  # fmt: skip
def test_of_one_picture_only_the_largest_variant_is_listed(html, best):
    assert list(found(html)) == [best]


def test_json_ld_says_whose_an_image_is():
    data = {"@graph": [{"@type": ["ImageObject"], "contentUrl": "/a.jpg", "license": {"@id": "https://l.test/by"},
                        "creator": [{"name": "Ann"}, {"name": "Bob"}], "name": "A  view"}]}  # fmt: skip
    html = f'<script type="application/ld+json">{json.dumps(data)}</script><img src="/a.jpg" alt="alt">'
    expected = {"alt": "alt", "title": "A view", "licence": "https://l.test/by", "author": "Ann, Bob"}
    assert found(html) == {"/a.jpg": {"url": "http://s.test/a.jpg", **expected}}
    assert not found('<script type="application/ld+json">{"@type": "ImageObject", "contentUrl":</script>')
    assert not found(f'<script type="application/ld+json">{"[" * 100_000}</script>')


@pytest.mark.parametrize(
    ("head", "headers"),
    [
        ('<meta name="tdm-reservation" content="1">', ()),
        ('<META NAME="million-ird" CONTENT="NoImageIndex">', ()),
        ("", [("x-robots-tag", "noml")]),
        ("", [("Content-Usage", "train-ai=n")]),
    ],
)
def test_a_page_that_opts_out_gives_no_images_unless_that_is_overridden(head, headers):
    html = f'<head>{head}</head><a href="/next">x</a><img src="/a.jpg">'
    page = read_page("http://s.test/", html, headers)
    assert (page.images, page.skipped) == ([], {"page: opt_out": 1})
    assert page.links == ["http://s.test/next"]
    assert found(html, headers=headers, obey=False)
    assert not found(html, robots=("content-usage: train-ai=n",))


def test_nofollow_is_kept_and_damaged_pages_are_read_as_far_as_they_go():
    page = read_page(
        "http://s.test/", '<meta name="robots" content="nofollow"><a href="/x">x</a><img src="/a.jpg">', ()
    )
    assert (page.links, len(page.images)) == ([], 1)
    assert read_page("http://s.test/", "", ()).images == []
    assert found('<p><img src="/a.jpg"<table><a href="http://[bad"><img src=/b.jpg>')["/b.jpg"]
    assert list(srcset(" , a.jpg ,b.jpg 2x, c.jpg junk,, d.jpg 3w")) == [
        ("a.jpg", "x", 1.0),
        ("b.jpg", "x", 2.0),
        ("c.jpg", "x", 1.0),
        ("d.jpg", "w", 3.0),
    ]


def test_sitemaps_are_bounded_and_damage_costs_only_what_is_damaged():
    bomb = gzip.compress(b"<urlset><url><loc>http://s.test/1</loc></url>" + b" " * 80_000_000)
    assert read_sitemap("http://s.test/m", bomb).pages == ["http://s.test/1"]
    laughs = (
        '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;">]><urlset><url><loc>http://s.test/&c;</loc></url>'
    )
    assert len("".join(read_sitemap("http://s.test/m", laughs.encode()).pages)) < 30
    assert read_sitemap("http://s.test/m", b"\xef\xbb\xbfhttp://s.test/1\n\nhttp://s.test/2\n").pages == [
        "http://s.test/1",
        "http://s.test/2",
    ]
    index = b"<sitemapindex><sitemap><loc>http://s.test/n.xml</loc></sitemap></sitemapindex>"
    assert read_sitemap("http://s.test/m", index).sitemaps == ["http://s.test/n.xml"]
