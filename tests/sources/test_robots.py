"""robots.txt is obeyed as RFC 9309 and Google's parser read it, and asked for once a day; who fails is left alone."""

from __future__ import annotations

import asyncio
import gzip
import io
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import pytest
from PIL import Image

from million_ird.errors import OutputError
from million_ird.sources.web.robots import Robots
from million_ird.sources.web.robotstxt import MOST_BYTES, Got, rules_of
from tests.sources import webserver
from tests.sources.webserver import Trap, WebServer, jpeg

TOKEN = "million-ird"


def rules(text: str | bytes, token: str = "FooBot"):
    return rules_of(Got(200, text.encode() if isinstance(text, str) else text), token)


def verdicts(text: str | bytes, urls: str, token: str = "FooBot") -> str:
    """The URLs, each with + (allowed) or - before it."""
    said = rules(text, token)
    return " ".join(("+" if said.allowed("http://foo.bar" + url[1:]) else "-") + url[1:] for url in urls.split())


# What Google's own tests of its parser promise, in words of ours: (promise, file, agent, verdicts).
GROUPS = (
    "allow: /foo/bar/\n\nuser-agent: FooBot\ndisallow: /\nallow: /x/\nuser-agent: BarBot\ndisallow: /\nallow: /y/\n\n\n"
)
GROUPS += "allow: /w/\nuser-agent: BazBot\n\nuser-agent: FooBot\nallow: /z/\ndisallow: /\n"
STAR = "user-agent: *\nallow: /\nuser-agent: FooBot\ndisallow: /\n"
SPACE = "User-Agent: *\nDisallow: /\nUser-Agent: Foo Bar\nAllow: /x/\nDisallow: /\n"
FISH = "user-agent: FooBot\ndisallow: /\nallow: "
GOOGLE = [
    ("an empty file allows all", "", "FooBot", "+/ +/x"),
    ("a plain group", "user-agent: FooBot\ndisallow: /\n", "FooBot", "-/ -/x/y"),
    ("unknown fields mean nothing", "foo: FooBot\nbar: /\n", "FooBot", "+/x/y"),
    ("a missing colon is forgiven", "user-agent FooBot\ndisallow /\n", "FooBot", "-/x/y"),
    ("but not in more than two words", "user-agent Foo Bot\ndisallow / x\n", "Foo", "+/x/y"),
    ("groups of one agent are one group", GROUPS, "FooBot", "+/x/b +/z/d -/y/c -/foo/bar/"),
    ("each agent has its own", GROUPS, "BarBot", "+/y/c +/w/a -/z/d -/foo/bar/"),
    ("agents in a row share their rules", GROUPS, "BazBot", "+/z/d -/foo/bar/"),
    ("and who is not named is free", GROUPS, "QuxBot", "+/x +/foo/bar/"),
    ("field names in capitals", "USER-AGENT: FooBot\nALLOW: /x/\nDISALLOW: /\n", "FooBot", "+/x/y -/a/b"),
    ("field names in both", "uSeR-aGeNt: FooBot\nAlLoW: /x/\ndIsAlLoW: /\n", "FooBot", "+/x/y -/a/b"),
    ("agents in any case", "User-Agent: FOO BAR\nAllow: /x/\nDisallow: /\n", "foo", "+/x/y -/a/b"),
    ("agents the other way round", "User-Agent: foo\nAllow: /x/\nDisallow: /\n", "FOO", "+/x/y -/a/b"),
    ("an agent ends at the first space", SPACE, "Foo", "+/x/y -/a"),
    ("an agent ends at its version", "User-agent: FooBot/2.1\nDisallow: /\n", "FooBot", "-/x"),
    ("a part of a name is another name", "User-agent: Foo\nDisallow: /\n", "FooBot", "+/x"),
    ("nor is a longer one ours", "User-agent: FooBot-News\nDisallow: /\n", "FooBot", "+/x"),
    ("nor one with a star in it", "User-agent: Foo*\nDisallow: /\n", "FooBot", "+/x"),
    ("* is for who is not named", STAR, "BarBot", "+/x/y"),
    ("a named group goes before *", STAR, "FooBot", "-/x/y"),
    ("* with words after it is *", "User-agent: * baz\nDisallow: /x\n", "FooBot", "-/x"),
    ("named without rules = free", "user-agent: *\ndisallow: /\n\nuser-agent: FooBot\n", "FooBot", "+/x"),
    (
        "* after the named group",
        "user-agent: FooBot\ndisallow: /y/\nuser-agent: *\ndisallow: /x/\n",
        "FooBot",
        "+/x/p -/y/p",
    ),
    ("paths keep their case", "user-agent: FooBot\ndisallow: /X/\n", "FooBot", "+/x/y -/X/y"),
    (
        "longest disallow wins",
        "user-agent: FooBot\ndisallow: /x/page.html\nallow: /x/\n",
        "FooBot",
        "-/x/page.html +/x/y",
    ),
    ("longest allow wins", "user-agent: FooBot\nallow: /x/page.html\ndisallow: /x/\n", "FooBot", "+/x/page.html -/x/"),
    ("empty rules mean nothing", "user-agent: FooBot\ndisallow: \nallow: \n", "FooBot", "+/x/page.html"),
    ("allow wins a tie", "user-agent: FooBot\ndisallow: /\nallow: /\n", "FooBot", "+/x/page.html"),
    ("allow wins a longer tie", "user-agent: FooBot\ndisallow: /x/p\nallow: /x/p\n", "FooBot", "+/x/p"),
    ("a slash makes it longer", "user-agent: FooBot\ndisallow: /x\nallow: /x/\n", "FooBot", "-/x +/x/"),
    ("stars count", "user-agent: FooBot\nallow: /page\ndisallow: /*.html\n", "FooBot", "-/page.html +/page"),
    (
        "stars count again",
        "user-agent: FooBot\nallow: /x/page.\ndisallow: /*.html\n",
        "FooBot",
        "+/x/page.html -/x/y.html",
    ),
    (
        "a query may hold a URL",
        "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar?qux=taz&baz=http://foo.bar?tar&par\n",
        "FooBot",
        "+/foo/bar?qux=taz&baz=http://foo.bar?tar&par -/foo/bar?qux=taz",
    ),
    ("letters beyond ASCII are escaped", FISH + "/foo/bar/ツ\n", "FooBot", "+/foo/bar/%E3%83%84 +/foo/bar/%e3%83%84"),
    ("escaped ones are the same", FISH + "/foo/bar/%E3%83%84\n", "FooBot", "+/foo/bar/%E3%83%84 -/foo/bar/%E3%83%85"),
    ("escaped ones in small letters", FISH + "/foo/bar/%e3%83%84\n", "FooBot", "+/foo/bar/%E3%83%84"),
    (
        "a star in the middle",
        "User-agent: FooBot\nDisallow: /foo/bar/quz\nAllow: /foo/*/qux\n",
        "FooBot",
        "-/foo/bar/quz +/foo/quz",
    ),
    (
        "$ is the end",
        "User-agent: FooBot\nDisallow: /foo/bar$\nAllow: /foo/bar/qux\n",
        "FooBot",
        "-/foo/bar +/foo/bar/ +/foo/bar/baz",
    ),
    (
        "# begins a comment",
        "User-agent: FooBot\n# Disallow: /\nDisallow: /foo/quz#qux\nAllow: /\n",
        "FooBot",
        "+/foo/bar -/foo/quz",
    ),
    (
        "index.html stands for its folder",
        "User-Agent: *\nAllow: /allowed-slash/index.html\nDisallow: /\n",
        "FooBot",
        "+/allowed-slash/ -/allowed-slash/index.htm +/allowed-slash/index.html -/anyother-url",
    ),
    ("index.htm too", "User-Agent: *\nAllow: /a/index.htm\nDisallow: /\n", "FooBot", "+/a/ +/a/index.html -/a/b -/a"),
    (
        "/fish",
        FISH + "/fish\n",
        "FooBot",
        "-/bar +/fish +/fish.html +/fish/salmon.html +/fishheads +/fish.html?id=a -/Fish.asp",
    ),
    ("/fish not elsewhere", FISH + "/fish\n", "FooBot", "-/catfish -/?id=fish"),
    (
        "/fish* = /fish",
        FISH + "/fish*\n",
        "FooBot",
        "-/bar +/fish +/fish.html +/fish/salmon.html +/fishheads -/Fish.bar -/catfish",
    ),
    (
        "/fish/",
        FISH + "/fish/\n",
        "FooBot",
        "-/bar +/fish/ +/fish/salmon +/fish/?salmon +/fish/?id=a -/fish -/fish.html",
    ),
    (
        "/*.php",
        FISH + "/*.php\n",
        "FooBot",
        "-/bar +/filename.php +/folder/filename.php?parameters +//folder/any.php.file.html +/filename.php/ "
        "+/index?f=filename.php/ -/php/ -/index?php -/windows.PHP",
    ),
    (
        "/*.php$",
        FISH + "/*.php$\n",
        "FooBot",
        "-/bar +/filename.php +/folder/filename.php -/filename.php?parameters -/filename.php/ -/filename.php5 -/php/ "
        "-/filename?php -/aaaphpaaa -//windows.PHP",
    ),
    ("/fish*.php", FISH + "/fish*.php\n", "FooBot", "-/bar +/fish.php +/fishheads/catfish.php?parameters -/Fish.PHP"),
    ("/page against /*.htm", "user-agent: FooBot\nallow: /page\ndisallow: /*.htm\n", "FooBot", "-/page.htm"),
    ("/$ is the first page", "user-agent: FooBot\nallow: /$\ndisallow: /\n", "FooBot", "+/ -/page.html"),
    ("CRLF", "User-Agent: foo\r\nAllow: /a\r\nUser-Agent: bar\r\n\r\n\r\nDisallow: /\r\n", "bar", "-/x -/a"),
    ("CR", "User-Agent: foo\rAllow: /a\rUser-Agent: bar\r\r\rDisallow: /\r", "bar", "-/x -/a"),
    ("mixed, and no end of line", "User-Agent: foo\nAllow: /a\r\nUser-Agent: bar\n\r\n\nDisallow: /", "bar", "-/x -/a"),
    ("a mark of UTF-8", b"\xef\xbb\xbfUser-Agent: foo\nDisallow: /x\n", "foo", "-/x"),
    ("a part of it", b"\xef\xbbUser-Agent: foo\nDisallow: /x\n", "foo", "-/x"),
    ("a smaller part", b"\xefUser-Agent: foo\nDisallow: /x\n", "foo", "-/x"),
    ("a broken one spoils its line", b"\xef\x11\xbfUser-Agent: foo\nDisallow: /x\n", "foo", "+/x"),
    ("one in the middle does too", b"User-Agent: foo\n\xef\xbb\xbfDisallow: /x\nDisallow: /y\n", "foo", "+/x -/y"),
    ("a sitemap splits no group", "User-agent: a\nSitemap: http://foo.bar/s\nUser-agent: *\nDisallow: /\n", "a", "-/x"),
    ("nor any unknown line", "User-agent: a\nUnknown: x\nUser-agent: *\nDisallow: /\n", "a", "-/x"),
    ("unknown lines amid rules", "User-agent: a\nDisallow: /x\nHost: b\nDisallow: /y\n", "a", "-/x -/y +/z"),
    (
        "misspelt names",
        "useragent: foo\ndissallow: /a\ndisalow: /b\ndiasllow: /c\ndisallaw: /d\n",
        "foo",
        "-/a -/b -/c -/d +/e",
    ),
    ("spaces about the colon", "  User-agent  :   foo\t\n\tDisallow \t:  /x  \n", "foo", "-/x"),
    ("a fragment is no part of a URL", "User-agent: foo\nDisallow: /a\n", "foo", "-/a/b?c=d&e=f#fragment +/#/a"),
    ("a URL without a path", "User-agent: foo\nDisallow: /?a\nDisallow: /$\n", "foo", "-?a - +/b"),
]

# Where Protego alone reads it otherwise, or the RFC says more than Google's tests.
BEYOND = [
    ("escaped letters are letters (RFC 9309, 2.2.2)", FISH + "/foo/%62%61%7A\n", "FooBot", "+/foo/baz +/foo/%62az"),
    ("an escaped ? is none", FISH + "/a?b\n", "FooBot", "+/a?b -/a%3Fb"),
    ("an escaped / is none", FISH + "/a/b\n", "FooBot", "+/a/b -/a%2Fb -/a%2fb"),
    ("an escaped star is a star", FISH + "/a-%2A.html\n", "FooBot", "+/a-*.html +/a-%2a.html -/a-b.html"),
    ("$ in the middle is itself", FISH + "/a$b\n", "FooBot", "+/a$b +/a%24b -/a"),
    ("$ at the end is no $", FISH + "/a$\n", "FooBot", "+/a -/a$ -/a$b -/a%24"),
    ("lengths are as written", "User-agent: *\nDisallow: /*?\nAllow: /p/\n", "FooBot", "+/p/x?a -/q/x?a +/q/x"),
    (
        "lengths are as written, the other way",
        "User-agent: *\nAllow: /*?x\nDisallow: /shop\n",
        "FooBot",
        "-/shop?x +/other?x",
    ),
    (
        "bytes that are no UTF-8 differ",
        b"User-agent: *\nDisallow: /caf\xe9\n",
        "FooBot",
        "-/caf%E9 -/caf%e9s +/caf%E8 +/caf%C3%A9",
    ),
    (
        "a form feed ends no line",
        "User-agent: *\nDisallow: /a\x0cAllow: /\nDisallow: /b\u2028x\n",
        "FooBot",
        "+/a -/b%E2%80%A8x",
    ),
    ("a Crawl-delay splits no group", "User-agent: a\nCrawl-delay: 3\nUser-agent: b\nDisallow: /x\n", "a", "-/x"),
    (
        "a Content-Usage is a rule and does",
        "User-agent: a\nContent-Usage: bots=n\nUser-agent: b\nDisallow: /x\n",
        "a",
        "+/x",
    ),
    ("robots.txt may always be read", "User-agent: *\nDisallow: /\n", "FooBot", "+/robots.txt -/x"),
    ("a page is no robots.txt", "<!doctype html><title>Disallow: /</title>\n<p>User-agent: *", "FooBot", "+/x"),
    ("nor is a picture", jpeg(0), "FooBot", "+/x"),
    ("a percent sign of its own", FISH + "/100%\n", "FooBot", "+/100% +/100%25 -/100"),
]


@pytest.mark.parametrize(
    ("promise", "text", "agent", "expected"), GOOGLE + BEYOND, ids=[row[0] for row in GOOGLE + BEYOND]
)
def test_rules_are_read_as_google_and_the_rfc_read_them(promise, text, agent, expected):
    assert verdicts(text, expected, agent) == expected


def test_a_line_is_read_up_to_google_s_length():
    long = "/x/" + "a" * (2083 * 8 - len("disallow: /x/") - 1)
    assert verdicts(f"user-agent: FooBot\ndisallow: {long}/qux\n", "+/fux") == "+/fux"
    assert not rules(f"user-agent: FooBot\ndisallow: {long}/qux\n").allowed(f"http://foo.bar{long}/fux")
    both = f"user-agent: FooBot\ndisallow: /\nallow: {long[:-7]}/qux\nallow: {long}aaa/qux\n"
    assert rules(both).allowed(f"http://foo.bar{long[:-7]}/qux")
    assert rules(both).allowed(f"http://foo.bar{long}aaa/fux")
    assert not rules(both).allowed("http://foo.bar/")


def test_a_file_is_read_up_to_500_kib_and_never_half_a_line():
    head = b"User-agent: *\nDisallow: /\n"
    cut = head + b"#" * (MOST_BYTES - len(head) - len(b"\nAllow: /")) + b"\nAllow: /x\nAllow: /y\n"
    assert verdicts(cut, "-/x -/y -/z") == "-/x -/y -/z"
    whole = head + b"#" * (MOST_BYTES - len(head) - len(b"\nAllow: /x")) + b"\nAllow: /x"
    assert verdicts(whole, "+/x -/y") == "+/x -/y"


def test_the_reason_names_the_rule_and_no_line_can_be_forged():
    said = rules("User-agent: *\nDisallow: /a\nDisallow: /private/\x1b[31m\u2028caf\u00e9\nAllow: /b\n")
    assert said.why("http://foo.bar/a/b") == "robots: disallowed by /a"
    assert said.why("http://foo.bar/private/%1B[31m%E2%80%A8caf%C3%A9/1.jpg") == (
        "robots: disallowed by /private/%1B[31m%E2%80%A8caf%C3%A9"
    )
    assert said.why("http://foo.bar/b") == ""
    assert len(rules("User-agent: *\nDisallow: /" + "a" * 9000).why("http://foo.bar/" + "a" * 9000)) < 300


@pytest.mark.parametrize(
    ("status", "allowed", "why"),
    [
        (200, True, ""),
        (204, True, ""),
        (301, True, ""),
        (401, True, ""),
        (403, True, ""),
        (404, True, ""),
        (410, True, ""),
        (429, False, "robots: answers 429"),
        (500, False, "robots: answers 500"),
        (503, False, "robots: answers 503"),
        (0, False, "robots: cannot be reached"),
    ],
)
def test_a_site_without_robots_txt_is_free_and_one_that_fails_is_not(status, allowed, why):
    said = rules_of(Got(status, b""), TOKEN)
    assert said.allowed("https://foo.bar/1.jpg") is allowed
    assert said.why("https://foo.bar/1.jpg") == why
    assert said.allowed("https://foo.bar/robots.txt")


@pytest.mark.parametrize(
    ("lines", "delay"),
    [
        ("Disallow: /x", None),
        ("Crawl-delay: 2.5", 2.5),
        ("crawl-delay:10\nCrawl-delay: 2", 10.0),
        ("Crawl-delay: 86400", 60.0),
        ("Crawl-delay: 0", None),
        ("Crawl-delay: -1", None),
        ("Crawl-delay: soon", None),
        ("Crawl-delay: inf", None),
        ("Request-rate: 1/5", 5.0),
        ("Request-rate: 10/1m", 6.0),
        ("Request-rate: 1/5\nCrawl-delay: 2", 5.0),
        ("Request-rate: 1/" + "9" * 400, 60.0),
        ("Request-rate: " + "9" * 400 + "/1", None),
        ("Request-rate: 0/0", None),
    ],
)
def test_a_delay_is_heard_and_bounded(lines, delay):
    assert rules(f"User-agent: *\n{lines}\n").delay == delay
    assert rules(f"User-agent: *\n{lines}\nUser-agent: FooBot\nDisallow: /a\n").delay is None


def test_content_usage_holds_for_the_longest_path_of_our_group():
    text = "User-Agent: *\nAllow: /\nDisallow: /never/\nContent-Usage: train-ai=n\n"
    text += "Content-Usage: /ai-ok/ train-ai=y # ok\n"
    text += "Content-usage : /ai-ok/*.png$\ttrain-ai=n, search=y\n"
    text += "Content-Usage: /x train-ai=y\nContent-Usage: /x train-ai=n\n"
    text += "\nUser-Agent: ExampleBot\nAllow: /\nContent-Usage: train-ai=y\n"
    said = rules(text)
    for path, signals in {
        "/test": ["train-ai=n"],
        "/ai-ok/test": ["train-ai=y"],
        "/ai-ok/test.png": ["train-ai=n", "search=y"],
        "/ai-ok/test.png?1": ["train-ai=y"],
        "/x": ["train-ai=n"],
    }.items():
        assert said.signals("http://foo.bar" + path) == tuple(f"content-usage: {word}" for word in signals)
    assert rules(text, "examplebot").signals("http://foo.bar/test") == ("content-usage: train-ai=y",)
    empty = rules("User-agent: *\nContent-Usage: \nContent-Usage: /x\nContent-Usage: /y ???\n")
    assert empty.signals("http://foo.bar/x") == empty.signals("http://foo.bar/y") == ()
    assert rules("User-agent: *\nContent-Usage: bots=n\nContent-Usage: / bots=y\n").signals("http://foo.bar/") == (
        "content-usage: bots=y",
    )


class Site:
    """Answers like a site would, and counts."""

    def __init__(self, *answers: Got, seconds: float = 0) -> None:
        self.answers, self.seconds, self.asked = list(answers), seconds, []

    async def __call__(self, url: str) -> Got:
        self.asked.append(url)
        await asyncio.sleep(self.seconds)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


CLOSED = Got(200, b"User-agent: *\nDisallow: /\n")


def test_an_origin_is_asked_once_and_again_when_its_time_is_over(tmp_path, monkeypatch):
    later, clock = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: clock() + later[0])

    async def run() -> None:
        site = Site(CLOSED, Got(503), Got(404))
        robots = Robots(tmp_path / "robots.sqlite", TOKEN, site)
        for hours, asked in ((0, 1), (23.9, 1)):
            later[0] = hours * 3600
            assert not (await robots.rules("http://a.test")).allowed("http://a.test/x")
            assert site.asked == ["http://a.test/robots.txt"] * asked
        for hours, why, asked in ((24.1, "robots: answers 503", 2), (25, "robots: answers 503", 2), (25.2, "", 3)):
            later[0] = hours * 3600
            assert (await robots.rules("http://a.test")).why("http://a.test/x") == why
            assert len(site.asked) == asked
        await robots.rules("https://a.test")
        assert site.asked[3:] == ["https://a.test/robots.txt"]
        robots.close()

    asyncio.run(run())


def test_answers_outlive_the_run_but_failures_do_not(tmp_path):
    async def run(site: Site, *origins: str) -> list[bool]:
        robots = Robots(tmp_path / "deep" / "robots.sqlite", TOKEN, site)
        said = [(await robots.rules(origin)).allowed(f"{origin}/x") for origin in origins]
        said += [(await robots.rules(origin)).allowed(f"{origin}/x") for origin in origins]
        robots.close()
        return said

    first = Site(CLOSED, Got(404, b"page"), Got(503), Got(0))
    origins = ["http://closed.test", "http://open.test", "http://ill.test", "http://gone.test"]
    assert asyncio.run(run(first, *origins)) == [False, True, False, False] * 2
    assert len(first.asked) == 4
    second = Site(Got(404))
    assert asyncio.run(run(second, *origins)) == [False, True, True, True] * 2
    assert second.asked == ["http://ill.test/robots.txt", "http://gone.test/robots.txt"]


def test_askers_share_one_request_and_a_cancelled_one_takes_nothing_from_the_others():
    async def run() -> None:
        site = Site(CLOSED, seconds=0.1)
        robots = Robots(None, TOKEN, site)
        askers = [asyncio.ensure_future(robots.rules("http://a.test")) for _ in range(20)]
        await asyncio.sleep(0.02)
        for asker in askers[:10]:
            asker.cancel()
        answers = await asyncio.gather(*askers, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[:10])
        assert all(not answer.allowed("http://a.test/x") for answer in answers[10:])  # type: ignore[union-attr]
        assert len(site.asked) == 1

        alone = asyncio.ensure_future(robots.rules("http://b.test"))
        await asyncio.sleep(0.02)
        alone.cancel()
        await asyncio.gather(alone, return_exceptions=True)
        await robots.rules("http://b.test")
        assert len(site.asked) == 2

    asyncio.run(run())


def test_an_error_of_the_fetcher_reaches_all_askers_and_is_not_kept():
    async def run() -> None:
        async def broken(url: str) -> Got:
            raise KeyError(url)

        robots = Robots(None, TOKEN, broken)
        answers = await asyncio.gather(*(robots.rules("http://a.test") for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [KeyError] * 3
        robots._get = Site(Got(404))
        assert (await robots.rules("http://a.test")).allowed("http://a.test/x")

    asyncio.run(run())


def test_a_damaged_file_is_made_anew_and_one_that_cannot_be_written_is_a_clear_error(tmp_path):
    path = tmp_path / "robots.sqlite"
    for damage in (b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 5000):
        path.write_bytes(damage)
        robots = Robots(path, TOKEN, Site(CLOSED))
        assert not asyncio.run(robots.rules("http://a.test")).allowed("http://a.test/x")
        robots.close()
        with sqlite3.connect(path) as file:
            assert file.execute("SELECT origin, status FROM robots").fetchall() == [("http://a.test", 200)]
        file.close()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"folder.*cannot be used"):
        Robots(tmp_path / "folder", TOKEN, Site(CLOSED))


KILLED = """
import asyncio, pathlib, sys
from million_ird.sources.web.robots import Robots
from million_ird.sources.web.robotstxt import Got

async def get(url):
    return Got(200, b"User-agent: *\\nDisallow: /\\n#" + b"x" * 50_000)

async def run():
    robots = Robots(pathlib.Path(sys.argv[1]), "million-ird", get)
    for number in range(1_000_000):
        await robots.rules(f"http://{number}.test")
        print(number, flush=True)

asyncio.run(run())
"""


def test_what_a_killed_run_had_answered_is_kept(tmp_path):
    path = tmp_path / "robots.sqlite"
    with subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        last = [int(process.stdout.readline()) for _ in range(50)][-1]
        process.kill()
    site = Site(Got(404))
    robots = Robots(path, TOKEN, site)
    for number in range(last + 1):
        assert not asyncio.run(robots.rules(f"http://{number}.test")).allowed(f"http://{number}.test/x")
    assert site.asked == []
    robots.close()


def test_memory_holds_no_more_than_it_should(monkeypatch):
    monkeypatch.setattr("million_ird.sources.web.robots._ORIGINS", 10)
    monkeypatch.setattr("million_ird.sources.web.robots._PATHS", 100)

    async def run() -> None:
        site = Site(CLOSED)
        robots = Robots(None, TOKEN, site)
        for number in range(30):
            await robots.rules(f"http://{number}.test")
        assert len(robots._held) == 10
        await robots.rules("http://29.test")
        assert len(site.asked) == 30
        await robots.rules("http://0.test")
        assert len(site.asked) == 31
        site.answers = [Got(200, b"User-agent: *\n" + b"".join(b"Disallow: /%d\n" % n for n in range(95)))]
        await robots.rules("http://long.test")
        assert len(robots._held) < 5
        assert robots._size <= 100

    asyncio.run(run())


# The server of the tests itself


@pytest.fixture(scope="module")
def web():
    with WebServer(("127.0.0.1", "127.0.0.2")) as web:
        yield web


def get(web: WebServer, url: str, address: str = "127.0.0.1", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    host, _, path = url.removeprefix("http://").partition("/")
    request = urllib.request.Request(f"http://{address}:{web.port}/{path}", headers={"Host": host, **headers})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_robots_txt_of_a_real_server_is_obeyed_per_host(web, tmp_path):
    web.robots("closed.test", "User-agent: million-ird\nDisallow: /private/\nCrawl-delay: 3\n")
    web.robots("ill.test", status=500)
    web.robots("slow.test", "User-agent: *\nDisallow: /\n", seconds=0.2)

    async def fetch(url: str) -> Got:
        status, body, _ = await asyncio.to_thread(get, web, url)
        return Got(status, body)

    async def run() -> None:
        robots = Robots(tmp_path / "robots.sqlite", TOKEN, fetch)
        names = ["closed.test", "ill.test", "slow.test", "open.test"]
        closed, ill, slow, free = await asyncio.gather(
            *(robots.rules(web.url(name, "").removesuffix("/")) for name in names)
        )
        assert (closed.allowed(web.url("closed.test", "/private/1.jpg")), closed.delay) == (False, 3.0)
        assert closed.allowed(web.url("closed.test", "/1.jpg"))
        assert ill.why(web.url("ill.test", "/1.jpg")) == "robots: answers 500"
        assert not slow.allowed(web.url("slow.test", "/1.jpg"))
        assert free.allowed(web.url("open.test", "/1.jpg"))
        robots.close()

    asyncio.run(run())
    assert {asked.path for asked in web.asked("closed.test")} == {"/robots.txt"}


def test_the_server_serves_parts_of_good_images_and_logs_them(web):
    menu = webserver.menu(web)
    status, data, headers = get(web, menu["big"])
    assert (status, len(data) > 65536, headers["Accept-Ranges"]) == (200, True, "bytes")
    assert Image.open(io.BytesIO(data)).size == (800, 600)
    status, part, headers = get(web, menu["big"], "127.0.0.2", Range="bytes=0-999", **{"If-Range": headers["ETag"]})
    assert (status, part, headers["Content-Range"]) == (206, data[:1000], f"bytes 0-999/{len(data)}")
    assert get(web, menu["big"], Range="bytes=-10")[:2] == (206, data[-10:])
    assert get(web, menu["big"], Range=f"bytes={len(data)}-")[0] == 416
    assert get(web, menu["big"], Range="bytes=0-9", **{"If-Range": '"old"'})[:2] == (200, data)
    assert get(web, menu["big_no_ranges"], Range="bytes=0-9")[:2] == (200, data)
    status, lie, _ = get(web, menu["lying_range"], Range="bytes=500-999")
    assert (status, len(lie), lie == data[500:1000]) == (206, 500, False)
    asked = web.asked("menu.test", "/big.jpg")[1]
    assert (asked.address, asked.range, asked.status, asked.sent) == ("127.0.0.2", "bytes=0-999", 206, 1000)
    assert "Python-urllib" in asked.agent
    assert len(webserver.jpeg(0)) < 32_000
    assert web.hosts["menu.test"] == "127.0.0.1"


def test_the_server_misbehaves_as_it_says(web):
    menu = webserver.menu(web)
    data = webserver.jpeg(0)

    async def raw(name: str, most: int = 100_000) -> tuple[bytes, float]:
        """What comes, how it ends, and how long it takes; one second without a byte is a stall."""
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(f"GET /{name}.jpg HTTP/1.1\r\nHost: menu.test:{web.port}\r\nConnection: close\r\n\r\n".encode())
        got, start = b"", time.monotonic()
        try:
            while len(got) < most and (part := await asyncio.wait_for(reader.read(1 << 16), 1)):
                got += part
            end = b"" if len(got) >= most else b"<closed>"
        except TimeoutError:
            end = b"<stalled>"
        except ConnectionResetError:
            end = b"<reset>"
        writer.close()
        return got + end, time.monotonic() - start

    async def run(*names: str) -> list[bytes]:
        return [got for got, _ in await asyncio.gather(*(raw(name) for name in names))]

    silent, stalled, reset, at_once = asyncio.run(run("silent", "stalled", "reset", "reset_at_once"))
    long, short = asyncio.run(run("length_too_long", "length_too_short"))
    assert silent == b"<stalled>"
    assert stalled.endswith(data[:1000] + b"<stalled>")
    assert reset.endswith(data[:1000] + b"<reset>")
    assert at_once == b"<reset>"
    assert f"Content-Length: {len(data) + 1000}\r\n".encode() in long
    assert long.endswith(data + b"<closed>")
    assert f"Content-Length: {len(data) - 1000}\r\n".encode() in short
    assert short.endswith(data + b"<closed>")
    slow, seconds = asyncio.run(raw("slow", most=200))
    assert slow.partition(b"\r\n\r\n")[2] == data[: len(slow.partition(b"\r\n\r\n")[2])]
    assert seconds > 0.3
    assert len(asyncio.run(raw("endless", most=4_000_000))[0]) >= 4_000_000

    assert [get(web, menu["503_heals"])[0] for _ in range(3)] == [503, 503, 200]
    assert [get(web, menu["busy_heals"])[0] for _ in range(2)] == [429, 200]
    assert get(web, menu["busy"])[2]["Retry-After"] == "3600"
    assert get(web, menu["busy_date_heals"])[2]["Retry-After"].endswith("GMT")
    assert get(web, menu["noai"])[2]["X-Robots-Tag"] == "noai, noimageai"
    assert get(web, menu["cookie"], Cookie="id=1")[0] == 400
    assert get(web, menu["cookie"])[2]["Set-Cookie"].startswith("id=1")
    assert gzip.decompress(get(web, menu["gzip"])[1]) == data
    bomb = get(web, menu["bomb"])[1]
    unpack = zlib.decompressobj(31)
    assert len(bomb) < 2_000_000
    assert unpack.decompress(bomb, 5_000_000) == bytes(5_000_000)
    assert Image.open(io.BytesIO(webserver.numbered(data, 7))).tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_a_trap_counts_who_connects(tmp_path: Path):
    with Trap() as trap:
        assert trap.connections == 0

        async def knock() -> None:
            for _ in range(3):
                _, writer = await asyncio.open_connection("127.0.0.1", trap.port)
                writer.close()

        asyncio.run(knock())
        assert trap.connections == 3
