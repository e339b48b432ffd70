"""The fetcher against a server that does everything wrong that servers do."""

from __future__ import annotations

import asyncio
import time

import pytest

from million_ird.records import Header
from million_ird.sources.web import fetcher
from million_ird.sources.web.answer import Answer, heals, heals_later, status_of
from million_ird.sources.web.fetcher import HEAD_BYTES, Fetcher
from million_ird.sources.web.guard import Refused, canonical, check_url, host_of, public, user_agent
from million_ird.sources.web.lanes import Lanes
from million_ird.sources.web.settings import Fetch
from tests.sources.test_robots import GOOGLE
from tests.sources.webserver import Trap, WebServer, file, first, jpeg, later, menu, numbered, redirect

SMALL, BIG = jpeg(0), jpeg(2, 800, 600, 90)
OUTCOMES = {
    "good": "",
    "big": "",
    "no_ranges": "",
    "big_no_ranges": "",
    "gzip": "",
    "slow": "slow",
    "silent": "timeout",
    "stalled": "timeout",
    "length_too_long": "truncated",
    "length_too_short": "bad_http",
    "length_too_short_late": "",
    "reset": "truncated",
    "reset_at_once": "reset",
    "busy": "http_429",
    "500": "http_500",
    "404": "http_404",
    "410": "http_410",
    "loop": "redirects",
    "chain_3": "",
    "chain_20": "redirects",
    "to_other_host": "",
    "to_file": "scheme",
    "to_nowhere": "redirects",
    "bomb": "too_large",
    "html": "not_image",
    "html_honest": "not_image",
    "empty": "not_image",
    "endless": "too_large",
    "noai": "opt_out",
    "noai_for_others": "",
    "tdm": "opt_out",
    "content_usage": "opt_out",
    "cookie": "",
}


def rules(web: WebServer, **changes) -> Fetch:
    quick = {"connect_seconds": 1, "read_seconds": 0.7, "total_seconds": 4, "max_bytes": 2_000_000}
    return Fetch(**{"private_hosts": True, "hosts": web.hosts, "min_speed": 2000, **quick, **changes})


def fetch(rules: Fetch, *urls: str, judge=None, refuse=lambda url, data: "") -> list[Answer]:
    async def all_of_them() -> list[Answer]:
        async with Fetcher(rules, judge, refuse, None) as fetcher:
            return await asyncio.gather(*(fetcher.fetch(url) for url in urls))

    return asyncio.run(all_of_them())


@pytest.fixture(scope="module")
def served():
    with WebServer() as web:
        urls = menu(web)
        began = time.monotonic()
        answers = dict(zip(urls, fetch(rules(web), *urls.values()), strict=True))
        yield web, answers, time.monotonic() - began


@pytest.mark.parametrize(("name", "error"), OUTCOMES.items())
def test_everything_that_a_server_can_do_has_its_class(served, name, error):
    _, answers, _ = served
    assert answers[name].error == error, answers[name]
    assert (answers[name].data is not None) == (not error)
    assert status_of(error) == ("ok" if not error else "blocked" if error in ("opt_out", "scheme") else "fetch_failed")


def test_bytes_come_as_they_are(served):
    _, answers, _ = served
    assert answers["good"].data == answers["gzip"].data == answers["chain_3"].data == SMALL
    assert answers["big"].data == answers["big_no_ranges"].data == BIG
    assert answers["to_other_host"].url.endswith("/good.jpg")
    assert answers["length_too_short_late"].data == SMALL[:-1000]


def test_nothing_takes_longer_than_its_deadline(served):
    _, answers, seconds = served
    assert seconds < 12
    assert max(answer.seconds for answer in answers.values()) < 4.9


def test_what_owners_say_is_kept_obeyed_or_not(served):
    web, answers, _ = served
    assert answers["noai"].signals == ("x-robots-tag: noai", "x-robots-tag: noimageai")
    assert answers["noai_for_others"].signals == ()
    (answer,) = fetch(rules(web, obey=False), web.url("menu.test", "/noai.jpg"))
    assert answer.data is not None
    assert answer.signals == ("x-robots-tag: noai", "x-robots-tag: noimageai")


def test_a_permission_in_one_place_does_not_undo_a_refusal_in_another():
    with WebServer() as web:
        web.robots("a.test", "User-agent: *\nAllow: /\nContent-Usage: train-ai=y")
        url = web.add("a.test", "/1.jpg", file(SMALL, headers={"Content-Usage": "bots=n"}))
        (answer,) = fetch(rules(web), url)
        assert answer.error == "opt_out"
        assert answer.signals == ("content-usage: train-ai=y", "content-usage: bots=n")


def test_no_cookie_password_or_referrer_is_sent_and_the_agent_is_truthful():
    with WebServer() as web:
        from tests.sources.webserver import strict

        url = web.add("a.test", "/1.jpg", strict(file(SMALL, headers={"Set-Cookie": "id=1; Path=/"})))
        moved = web.add("a.test", "/2.jpg", redirect(url))
        assert [answer.error for answer in fetch(rules(web, contact="me@a.test"), url, moved)] == ["", ""]
        (again,) = fetch(rules(web), canonical(url.replace("http://", "http://user:secret@")))
        assert again.error == ""
        assert web.log[0].agent == user_agent("me@a.test")
        assert web.log[0].agent.startswith("million-ird/")
        assert "me@a.test" in web.log[0].agent
        assert not any("secret" in str(asked) for asked in web.log)


PRIVATE = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://0x7f.1:{port}/",
    "http://2130706433:{port}/",
    "http://127.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://mapped.test:{port}/",
    "http://inner.test:{port}/",
]


def test_no_notation_reaches_a_private_address():
    hosts = {"mapped.test": "::ffff:127.0.0.1", "inner.test": "127.0.0.1"}
    with Trap() as trap:
        urls = [url.format(port=trap.port) for url in PRIVATE]
        for answer, url in zip(fetch(Fetch(hosts=hosts, connect_seconds=2), *urls), urls, strict=True):
            assert (answer.error, status_of(answer.error)) in (("blocked", "blocked"), ("bad_url", "fetch_failed")), url
        assert trap.connections == 0


def test_redirects_are_checked_like_urls_of_their_own():
    """The first server is reached through a hook that says it is public; where it sends us to is not."""
    with WebServer() as web, Trap() as trap:
        names = [f"http://127.0.0.1:{trap.port}/", f"http://[::1]:{trap.port}/", f"http://0x7f.1:{trap.port}/"]
        urls = [web.add("outer.test", f"/{n}.jpg", redirect(to)) for n, to in enumerate(names)]

        async def go() -> list[Answer]:
            async with Fetcher(Fetch(private_hosts=False, obey=False), None, lambda url, data: "", None) as fetcher:
                # The only way to a loopback server with the guard up: this name alone may stand for it.
                real = fetcher._session.connector._resolver.resolve

                async def resolve(host, port=0, family=0):
                    if host == "outer.test":
                        return [
                            {"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}
                        ]
                    return await real(host, port, family)

                def socket_of(info):
                    import socket

                    from million_ird.sources.web.resolver import guarded_socket

                    if info[4][1] == web.port:
                        return socket.socket(*info[:3])
                    return guarded_socket(info)

                fetcher._session.connector._resolver.resolve = resolve
                fetcher._session.connector._socket_factory = socket_of
                return await asyncio.gather(*(fetcher.fetch(url) for url in urls))

        answers = asyncio.run(go())
        assert {answer.error for answer in answers} <= {"blocked", "bad_url"}
        assert len(web.asked("outer.test")) == 3
        assert trap.connections == 0


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::8.8.8.8", True),
        ("64:ff9b:1::8.8.8.8", False),
        ("2002:7f00:1::", False),
        ("::127.0.0.1", False),
        ("not an address", False),
    ],
)
def test_public_addresses_are_told_from_all_others(address, expected):
    assert public(address) is expected


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file:///etc/passwd", "scheme"),
        ("ftp://a.test/x.jpg", "scheme"),
        ("data:image/png;base64,AA", "scheme"),
        ("http://", "bad_url"),
        ("http://a.test:99999/", "bad_url"),
        ("http://a.test:25/x.jpg", "blocked"),
    ],
)
def test_what_is_no_plain_web_address_is_refused(url, kind):
    with pytest.raises(Refused) as refused:
        check_url(url)
    assert refused.value.kind == kind


def test_urls_are_written_down_without_secrets_fragments_or_control_characters():
    assert canonical(" HTTP://User:Pass@A.Test:80/x y.jpg?q=1#part\n") == "http://a.test:80/x y.jpg?q=1"
    assert canonical("http://a.test/x\r\nERROR forged line.jpg") == "http://a.test/xERROR forged line.jpg"
    assert host_of("http://A.test.:8080/x") == "a.test"


def small(header: Header) -> bool:
    return min(header.width, header.height) >= 700


def test_a_head_that_fails_a_rule_saves_the_rest_of_the_file():
    with WebServer() as web:
        ranged = web.add("a.test", "/ranged.jpg", file(BIG))
        whole = web.add("a.test", "/whole.jpg", file(numbered(BIG, 1) + bytes(3_000_000), ranges=False))
        answers = fetch(rules(web, max_bytes=9_000_000), ranged, whole, judge=small)
        for answer in answers:
            assert (answer.error, answer.data) == ("", None)
            assert answer.header is not None
            assert (answer.header.width, answer.header.height) == (800, 600)
        assert [answer.requests for answer in answers] == [1, 1]
        assert answers[0].received == HEAD_BYTES
        assert answers[0].size == len(BIG)
        assert answers[1].received < 1_000_000
        assert answers[1].size > 3_000_000


def test_a_head_that_passes_is_followed_by_the_rest_alone():
    with WebServer() as web:
        url = web.add("a.test", "/1.jpg", file(BIG))
        (answer,) = fetch(rules(web), url, judge=lambda header: True)
        assert answer.data == BIG
        assert (answer.requests, answer.received) == (2, len(BIG))
        assert [asked.range for asked in web.asked("a.test", "/1.jpg")] == ["bytes=0-65535", "bytes=65536-"]
        assert web.log[-1].headers["if-range"]


def test_a_file_that_changes_between_its_head_and_its_rest_is_fetched_whole():
    other = numbered(BIG, 7)
    with WebServer() as web:
        url = web.add("a.test", "/1.jpg", first(1, file(BIG), file(other)))
        (answer,) = fetch(rules(web), url, judge=lambda header: True)
        assert answer.data == other


def test_what_must_not_be_kept_is_asked_before_the_request_and_before_the_bytes_are_handed_on():
    def refuse(url: str, data: bytes | None) -> str:
        return "not this" if url.endswith("/1.jpg") or data == SMALL else ""

    with WebServer() as web:
        urls = [web.add("a.test", f"/{n}.jpg", file(SMALL if n < 3 else BIG)) for n in (1, 2, 3)]
        assert [answer.error for answer in fetch(rules(web), *urls, refuse=refuse)] == ["blocklist", "blocklist", ""]
        assert not web.asked("a.test", "/1.jpg")


def test_robots_txt_goes_first_is_asked_once_and_counts_at_redirects_too():
    with WebServer() as web:
        web.robots("a.test", "User-agent: million-ird\nDisallow: /no/\nCrawl-delay: 2\n\nUser-agent: *\nDisallow: /")
        web.robots("b.test", "User-agent: *\nDisallow: /")
        web.robots("c.test", status=503)
        urls = [web.add("a.test", path, file(SMALL)) for path in ("/yes/1.jpg", "/yes/2.jpg", "/no/3.jpg")]
        urls += [web.add("a.test", "/yes/4.jpg", redirect(web.add("b.test", "/1.jpg", file(SMALL))))]
        urls += [web.add("c.test", "/1.jpg", file(SMALL))]
        answers = fetch(rules(web), *urls)
        assert [answer.error for answer in answers] == ["", "", "robots", "robots", "robots"]
        assert answers[0].delay == 2
        assert "503" in answers[4].detail
        assert not heals_later(answers[2].error, answers[2].detail)
        assert heals_later(answers[4].error, answers[4].detail)
        assert len(web.asked("a.test", "/robots.txt")) == 1
        assert not web.asked("b.test", "/1.jpg")
        (answer,) = fetch(rules(web, obey=False), urls[2])
        assert answer.error == ""


def test_google_s_cases_hold_end_to_end(monkeypatch):
    """Each file on a host of its own, each URL fetched for real, under the agent that the case is about."""
    with WebServer() as web:
        wrong, expected = [], {}
        for number, (promise, text, agent, verdicts) in enumerate(GOOGLE):
            web.robots(f"case{number}.test", text)
            web.add(f"case{number}.test", "/*", file(SMALL))
            for verdict in verdicts.split():
                url = canonical(web.url(f"case{number}.test", verdict[1:]))
                expected[agent, url] = (promise, "" if verdict[0] == "+" else "robots")
        for agent in {agent for agent, _ in expected}:
            monkeypatch.setattr(fetcher, "TOKEN", agent)
            urls = [url for name, url in expected if name == agent]
            for url, answer in zip(urls, fetch(rules(web), *urls), strict=True):
                if answer.error != expected[agent, url][1]:
                    wrong.append((*expected[agent, url], url, answer.error))
        assert not wrong
        assert len(expected) > 150


def test_hosts_that_cannot_be_reached_are_called_so_and_not_robots():
    with WebServer() as web:
        web.url("a.test", "/")
        closed = Trap()
        port = closed.port
        closed.__exit__()
        found = fetch(rules(web), f"http://a.test:{port}/1.jpg", "http://no-such-host.invalid/1.jpg")
        assert [answer.error for answer in found] == ["connect", "dns"]


def test_who_gives_up_waiting_for_a_name_does_not_take_it_from_others():
    with WebServer() as web:
        url = web.add("a.test", "/1.jpg", later(0.3, file(SMALL)))

        async def go() -> Answer:
            async with Fetcher(rules(web), None, lambda url, data: "", None) as fetcher:
                first_task = asyncio.create_task(fetcher.fetch(url))
                second = asyncio.create_task(fetcher.fetch(url))
                await asyncio.sleep(0.01)
                first_task.cancel()
                return await second

        assert asyncio.run(go()).error == ""


@pytest.mark.parametrize(
    ("error", "soon"),
    [("http_503", True), ("timeout", True), ("http_404", False), ("dns", False), ("robots", False), ("", False)],
)
def test_another_try_is_made_only_where_it_can_help(error, soon):
    assert heals(error) is soon


def test_hosts_take_turns_and_none_gets_more_than_its_share():
    async def go() -> tuple[list[str], list[float]]:
        lanes: Lanes[int] = Lanes(per_host=2, gap=0.05)
        for number in range(4):
            lanes.put("many.test", number)
        lanes.put("one.test", 0)
        order, times, began = [], [], time.monotonic()
        for _ in range(5):
            lane, _ = await lanes.take()
            order.append(lane.host)
            times.append(time.monotonic() - began)
            asyncio.get_running_loop().call_later(0.01, lanes.release, lane)
        return order, times

    order, times = asyncio.run(go())
    assert order[:2] == ["many.test", "one.test"]
    assert order.count("many.test") == 4
    assert times[-1] >= 0.14


def test_a_host_is_given_no_more_requests_at_a_time_than_allowed():
    async def go() -> bool:
        lanes: Lanes[int] = Lanes(per_host=2, gap=0)
        for number in range(3):
            lanes.put("a.test", number)
        lane, _ = await lanes.take()
        await lanes.take()
        try:
            async with asyncio.timeout(0.05):
                await lanes.take()
        except TimeoutError:
            lanes.release(lane)
            await lanes.take()
            return True
        return False

    assert asyncio.run(go())
