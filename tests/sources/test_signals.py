"""What headers, pages and robots.txt say about the use of pictures is heard, and what is meant for others is not."""

from __future__ import annotations

import time

import pytest
from multidict import CIMultiDict

from million_ird.sources.web.signals import content_usage, header_signals, html_signals, refusing

TOKEN = "million-ird"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("noai", ["noai"]),
        ("NoAI, noImageAI", ["noai", "noimageai"]),
        ("noindex,nofollow", ["noindex", "nofollow"]),
        ("none", ["noindex", "nofollow"]),
        ("noarchive; noml", ["noarchive", "noml"]),
        ("all", []),
        ("max-image-preview: large, noimageindex", ["noimageindex"]),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST, noai", ["noai"]),
        ("unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT, noai", ["noai"]),
        ("otherbot: noindex, noai", []),
        ("otherbot: noai, million-ird: noml", ["noml"]),
        ("Million-IRD: noai", ["noai"]),
        ("million-ird/0.5: noai", ["noai"]),
        ("million: noai", []),
        ("*: noai", ["noai"]),
        ("googlebot: nofollow, *: noindex", ["noindex"]),
        ("noai, otherbot: noindex", ["noai"]),
        ("", []),
        (":::,,:", []),
    ],
)
def test_x_robots_tag_is_heard_where_it_is_meant_for_all_or_for_us(value, words):
    assert header_signals({"X-Robots-Tag": value}, TOKEN) == tuple(f"x-robots-tag: {word}" for word in words)


def test_a_header_may_come_several_times_and_each_line_names_its_own_agent():
    pairs = [("X-Robots-Tag", "otherbot: noindex"), ("x-robots-tag", "noai"), ("X-ROBOTS-TAG", "noai, noml")]
    assert header_signals(pairs, TOKEN) == ("x-robots-tag: noai", "x-robots-tag: noml")
    assert header_signals(CIMultiDict(pairs), TOKEN) == ("x-robots-tag: noai", "x-robots-tag: noml")


def test_a_tdm_reservation_is_heard_with_its_policy():
    headers = {
        "TDM-Reservation": " 1 ",
        "tdm-policy": "https://a.test/\x1b[31mpolicy.json",
        "Content-Type": "image/jpeg",
    }
    assert header_signals(headers, TOKEN) == ("tdm-reservation: 1", "tdm-policy: https://a.test/[31mpolicy.json")
    assert header_signals({"tdm-reservation": "0"}, TOKEN) == ("tdm-reservation: 0",)
    assert header_signals({"tdm-reservation": "perhaps"}, TOKEN) == ()
    assert len(header_signals({"tdm-policy": "x" * 10_000}, TOKEN)[0]) < 250


@pytest.mark.parametrize(
    ("statement", "usage"),
    [
        ("train-ai=n", {"train-ai": "n"}),
        ("train-ai=y, search=n", {"train-ai": "y", "search": "n"}),
        ('train-ai;has;parameters="?,";x=1, train-ai=n;allow=y', {"train-ai": "n"}),
        ("train-ai=n, train-ai=y", {"train-ai": "y"}),
        ("train-ai=y, train-ai", {}),
        ('Train-AI="n" ,  bots = ?0', {"train-ai": "n", "bots": "n"}),
        ("train-ai=maybe, colour=n", {}),
        ('search="n, train-ai=n', {}),
        ("", {}),
        (",,=,;;", {}),
    ],
)
def test_content_usage_is_read_as_a_dictionary_and_never_fails(statement, usage):
    assert content_usage(statement) == usage


def test_lines_of_content_usage_are_one_statement():
    pairs = [("Content-Usage", "train-ai=n"), ("Content-Usage", "search=y")]
    assert header_signals(pairs, TOKEN) == ("content-usage: train-ai=n", "content-usage: search=y")


@pytest.mark.parametrize(
    ("html", "signals"),
    [
        ('<meta name="robots" content="noai, noimageai">', ["meta robots: noai", "meta robots: noimageai"]),
        ("<META CONTENT=NoIndex NAME=Robots />", ["meta robots: noindex"]),
        ('<meta name="robots" content="none">', ["meta robots: noindex", "meta robots: nofollow"]),
        ('<meta name="Million-IRD" content="noml">', ["meta robots: noml"]),
        ('<meta name="otherbot" content="noai">', []),
        ('<meta name="tdm-reservation" content="1">', ["tdm-reservation: 1"]),
        ('<meta name="tdm-policy" content="/p?a&amp;b">', ["tdm-policy: /p?a&b"]),
        ('<meta name="robots" name="x" content="noai">', ["meta robots: noai"]),
        ('<!-- <meta name="robots" content="noai"> -->', []),
        ('<script>"<meta name=robots content=noai>"</script>', []),
        ('<meta property="robots" content="noai"><meta name="robots"><meta content="noai">', []),
        ('<![broken[ <p>\n<meta name="robots" content="noai">', ["meta robots: noai"]),
        ('<!doctype [<!x> <meta name="robots" content="noai">', ["meta robots: noai"]),
        ('<p <b <<meta name="robots" content="noai"', []),
        ('\x00<meta name="robots" content="no&#x61;i">', ["meta robots: noai"]),
        ("<![", []),
        ("<!", []),
        ("<?", []),
        ("", []),
    ],
)
def test_meta_elements_are_heard_in_any_html(html, signals):
    assert html_signals(html, TOKEN) == tuple(signals)


@pytest.mark.parametrize("piece", ["<!--", "<![", "<", "<a b='", "</", "<meta ", "&a", "<!doctype "])
def test_hostile_html_costs_little_time(piece):
    start = time.process_time()
    assert html_signals("<meta name=robots content=noai>" + piece * (100_000 // len(piece)), TOKEN) == (
        "meta robots: noai",
    )
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("signals", "first"),
    [
        ([], ""),
        (["x-robots-tag: nofollow", "x-robots-tag: noarchive", "tdm-reservation: 0"], ""),
        (["x-robots-tag: nofollow", "x-robots-tag: noimageai", "tdm-reservation: 1"], "x-robots-tag: noimageai"),
        (["meta robots: noml"], "meta robots: noml"),
        (["tdm-policy: https://a.test", "tdm-reservation: 1"], "tdm-reservation: 1"),
        (["content-usage: train-ai=n"], "content-usage: train-ai=n"),
        (["content-usage: search=n", "content-usage: ai-use=n"], ""),
        (["content-usage: search=y", "content-usage: train-ai=n"], "content-usage: train-ai=n"),
        (["content-usage: bots=n"], "content-usage: bots=n"),
        (["content-usage: bots=n", "content-usage: train-ai=y"], ""),
        (["content-usage: bots=n", "content-usage: search=y"], "content-usage: bots=n"),
        (["content-usage: train-ai=y", "content-usage: train-genai=n"], "content-usage: train-genai=n"),
        (["content-usage: train-ai=y", "content-usage: train-ai=n"], "content-usage: train-ai=n"),
        (["content-usage: tdm=n"], "content-usage: tdm=n"),
        (["content-usage: train-ai=y"], ""),
    ],
)
def test_the_first_signal_that_refuses_is_named(signals, first):
    assert refusing(signals) == first
