"""The review: what is asked, written and counted, and who may ask; over real HTTP and in a real browser."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from million_ird.curate import build
from million_ird.curate.review.desk import Desk
from million_ird.curate.review.scores import between, interval, score, threshold_for
from million_ird.curate.review.server import Review
from million_ird.curate.settings import load_config
from million_ird.curate.stages import decide
from million_ird.errors import ConfigError, InputError, OutputError

SETTINGS = {
    "measure": {"meters": ["blur", "noise", "exposure"]},
    "policy": {
        "resolution": {"enabled": False},
        "near_duplicate": {"enabled": False},
        **{
            name: {"enabled": False}
            for name in (
                "flat",
                "noise",
                "compression",
                "exposure",
                "greyscale",
                "border",
                "product",
                "upscaled",
                "iqa",
            )
        },
        "blur": {"enabled": True, "min": 150.0, "min_ratio": None},
    },
    "run": {"workers": 0, "shard_size": 5},
    "report": {"samples": 0},
}


@pytest.fixture(scope="module")
def built(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of twelve pictures from sharp to blurred; some fail the rule on `blur`."""
    folder, out = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("built") / "out"
    for number in range(12):
        crop = Image.fromarray(photo[20 * number : 20 * number + 160, 100:300])
        small = crop.resize((max(8, 200 - 16 * number), max(8, 160 - 13 * number)), Image.Resampling.LANCZOS)
        small.resize((200, 160), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")
    build([folder], out, SETTINGS)
    return out


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    """A copy of the build, to answer about."""
    return Path(shutil.copytree(built, tmp_path / "my build"))


def labels(out: Path) -> list[dict[str, Any]]:
    path = out / "labels.parquet"
    return pq.ParquetFile(path).read().to_pylist() if path.exists() else []


# -- what a threshold scores


def test_score_counts_what_the_rule_would_drop() -> None:
    values = np.array([1.0, 2, 3, 4, 5, np.nan])
    keep = np.array([False, True, False, True, True, False])
    low = score(values, keep, 3.5, "min")
    assert (low.right, low.wrong, low.missed, low.agreed) == (2, 1, 0, 2)
    assert low.precision == pytest.approx(2 / 3) and low.recall == 1
    high = score(values, keep, 3.5, "max")
    assert (high.right, high.wrong, high.missed, high.agreed) == (0, 2, 2, 1)
    assert score(values, keep, 1.0, "min").precision is None, "it drops nothing: a value on the threshold passes"
    assert score(np.array([0.1]), np.array([False]), float(np.float32(0.1)), "max").right == 0, "compared as float32"


@pytest.mark.parametrize("bound", ["min", "max"])
def test_threshold_for_a_precision_is_the_best_of_all_thresholds(bound: Any) -> None:
    rng = np.random.default_rng(3)
    for count in (1, 2, 7, 40):
        values = rng.normal(0, 10, count).round(rng.integers(0, 3))
        keep = rng.random(count) < 0.4
        for wanted in (0.0, 0.5, 0.8, 1.0):
            found = threshold_for(values, keep, bound, wanted)
            edges = np.unique(values)
            tried = [
                score(values, keep, t, bound) for t in (*(edges[1:] + edges[:-1]) / 2, edges[0] - 1, edges[-1] + 1)
            ]
            fit = [one for one in tried if one.right and (one.precision or 0) >= wanted]
            if not fit:
                assert found is None
                continue
            assert found is not None and (found.precision or 0) >= wanted
            assert (found.right, found.precision) == max((one.right, one.precision) for one in fit)


def test_threshold_parts_two_values_with_few_digits() -> None:
    assert between(41.37, 58.2) == 50
    assert between(0.12345, 0.12349) == 0.12347
    assert between(-3.0, -1.0) == -2
    low, high = float(np.float32(1)), float(np.nextafter(np.float32(1), np.float32(2)))
    assert np.float32(between(low, high)) == np.float32(high)


def test_interval_is_wilsons() -> None:
    assert interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert interval(0, 0) == (0, 1)
    assert interval(10, 10)[1] == 1 and interval(0, 10)[0] == 0


# -- what is asked


def test_asks_the_nearest_of_both_sides_in_turn(out: Path) -> None:
    desk = Desk(out)
    asked = desk.view(desk.choice("blur"), None, 0.9)
    assert asked["threshold"] == 150 and asked["dropped"] > 1 and asked["passing"] > 1
    assert asked["dropped"] + asked["passing"] == 12
    for side in (True, False):
        away = [abs(one["value"] - 150) for one in asked["next"] if one["dropped"] is side]
        assert away == sorted(away) and len(away) == (asked["dropped"] if side else asked["passing"])
    assert {one["dropped"] for one in asked["next"][:2]} == {True, False}
    elsewhere = desk.view(desk.choice("blur"), 1e9, 0.9)
    assert elsewhere["dropped"] == 12 and elsewhere["next"][0]["value"] == max(x["value"] for x in elsewhere["next"])
    desk.close()


def test_what_another_rule_dropped_is_not_asked_about(out: Path) -> None:
    desk = Desk(out)
    blurred = {one["key"] for one in desk.view(desk.choice("blur"), None, 0.9)["next"] if one["dropped"]}
    noise = desk.view(desk.choice("noise"), None, 0.9)
    assert blurred.isdisjoint(one["key"] for one in noise["next"])
    assert noise["dropped"] + noise["passing"] == 12 - len(blurred)
    assert desk.choices[0].column == "blur", "what has a rule that is on comes first"
    desk.close()


def test_answers_skips_and_undo(out: Path) -> None:
    desk = Desk(out)
    choice = desk.choice("blur")
    first, second, third = (one["key"] for one in desk.view(choice, None, 0.9)["next"][:3])
    desk.answer(choice, first, False)
    desk.skip(second)
    desk.answer(choice, third, True)
    left = [one["key"] for one in desk.view(choice, None, 0.9)["next"]]
    assert len(left) == 9 and not {first, second, third} & set(left)
    assert [(row["key"], row["keep"], row["meter"]) for row in labels(out)] == [
        (first, False, "blur"),
        (third, True, "blur"),
    ]
    assert [desk.undo(), desk.undo()] == [third, second]
    assert desk.view(choice, None, 0.9, first=second)["next"][0]["key"] == second
    desk.close()
    again = Desk(out)
    assert [again.undo(), again.undo()] == [first, None] and labels(out) == []
    again.close()


def test_labels_are_pins(out: Path) -> None:
    desk = Desk(out)
    choice = desk.choice("blur")
    asked = desk.view(choice, None, 0.9)["next"]
    rescued = next(one for one in asked if one["dropped"])
    dismissed = next(one for one in asked if not one["dropped"])
    desk.answer(choice, rescued["key"], True)
    desk.answer(choice, dismissed["key"], False)
    desk.close()
    decide(out, lambda config: load_config(config.model_dump(), sets=[f"policy.pins.file={out / 'labels.parquet'}"]))
    decided = {row["key"]: row for row in pq.ParquetFile(out / "decisions.parquet").read().to_pylist()}
    assert decided[rescued["key"]]["keep"] and decided[dismissed["key"]]["reason"] == "pinned"
    again = Desk(out)
    assert again.view(choice, None, 0.9)["score"]["wrong"] == 1, "the answers count after they were pinned, too"
    again.close()


def test_a_review_needs_a_decided_build_a_known_meter_and_its_own_labels(out: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no build here"):
        Review(tmp_path / "empty")
    with pytest.raises(ConfigError, match=r"--meter blurr: .*known: blur"):
        Review(out, "blurr")
    with Review(out, "blur"), pytest.raises(OutputError, match="another `mird review`"):
        Review(out, "blur")
    shutil.copy(out / "decisions.parquet", out / "labels.parquet")
    with pytest.raises(OutputError, match=r"labels\.parquet: not from `mird review`"):
        Review(out)


# -- over HTTP


class Client:
    """Talks to a review as a page would."""

    def __init__(self, review: Review) -> None:
        self.review = review
        self.parts = urlsplit(review.url)

    def __call__(self, name: str, body: Any = None, path: str | None = None, **headers: str) -> tuple[int, bytes, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.review.server_port, timeout=20)
        sent = None if body is None else json.dumps(body).encode()
        if body is not None:
            headers = {"Content-Type": "application/json", **headers}
        connection.request("GET" if body is None else "POST", (path or self.parts.path) + name, sent, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data, answer.headers

    def view(self, **asked: Any) -> dict[str, Any]:
        status, data, _ = self("view?" + urlencode({"column": "blur", "bound": "min", **asked}))
        assert status == 200, data
        return json.loads(data)


@pytest.fixture
def review(out: Path) -> Iterator[Review]:
    with Review(out, "blur") as review:
        thread = Thread(target=review.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield review
        review.shutdown()
        thread.join()


@pytest.fixture
def client(review: Review) -> Client:
    return Client(review)


def test_an_answer_lies_on_disk_before_it_is_said_to(client: Client, out: Path) -> None:
    first = client.view()["next"][0]
    status, data, _ = client("answer", {"column": "blur", "bound": "min", "key": first["key"], "keep": False})
    said = json.loads(data)
    assert status == 200 and said["labels"] == 1 and said["last"] == {"uri": first["uri"], "keep": False}
    (row,) = labels(out)
    assert list(row) == ["key", "id", "uri", "keep", "meter", "value", "at"]
    assert (row["key"], row["uri"], row["keep"]) == (first["key"], first["uri"], False)
    assert row["value"] == first["value"] and len(row["id"]) == 64 and row["at"].tzinfo is not None
    assert said["score"]["right"] + said["score"]["missed"] == 1
    assert json.loads(client("undo", {"column": "blur"})[1])["next"][0]["key"] == first["key"]
    assert labels(out) == []


def test_pictures_come_small_and_whole(client: Client) -> None:
    key = client.view()["next"][0]["key"]
    for side, size in ((480, (200, 160)), (0, (200, 160))):
        status, data, headers = client(f"picture?key={key}&side={side}")
        assert status == 200 and headers["Content-Type"] == "image/jpeg"
        assert Image.open(io.BytesIO(data)).size == size
    assert client("picture?key=nothing")[0] == 400


def test_only_the_page_itself_may_ask(client: Client, out: Path) -> None:
    key = client.view()["next"][0]["key"]
    answer = {"column": "blur", "key": key, "keep": False}
    host = client.review.host
    for refused in (
        client("answer", answer, path="/"),
        client("answer", answer, path="/" + "x" * len(client.review.token) + "/"),
        client("answer", answer, Origin="http://elsewhere.example"),
        client("answer", answer, Host="elsewhere.example"),
        client("", path="/"),
        client(f"picture?key={key}", path="/"),
        client("", Host=f"localhost:{client.review.server_port}"),
    ):
        assert refused[0] == 403 and refused[1] == b""
    assert client("answer", answer, **{"Content-Type": "text/plain"})[0] == 400, "a form of another page can send that"
    assert labels(out) == []
    assert client("answer", answer, Origin=f"http://{host}")[0] == 200
    status, page, headers = client("")
    assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"] and headers["Referrer-Policy"] == "no-referrer"
    assert b"http://" not in page.replace(b"http://www.w3.org", b"") and b"https://" not in page
    assert client.review.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "asked",
    [
        {"column": "blur", "key": "k", "keep": True},
        {"column": "nothing", "key": "k", "keep": True},
        {"column": "blur", "keep": "yes"},
        {"column": "blur", "threshold": "wide"},
        ["no object"],
    ],
)
def test_a_wrong_answer_is_refused_in_words(client: Client, out: Path, asked: Any) -> None:
    status, words, _ = client("answer", asked)
    assert status == 400 and words
    assert labels(out) == []


def test_a_disk_that_fails_is_said_and_the_answer_not_counted(client: Client, out: Path) -> None:
    key = client.view()["next"][0]["key"]
    (out / "labels.parquet").mkdir()
    status, words, _ = client("answer", {"column": "blur", "key": key, "keep": False})
    assert status == 503 and b"labels.parquet" in words
    (out / "labels.parquet").rmdir()
    assert client.view()["labels"] == 0 and client.view()["next"][0]["key"] == key


# -- the command, killed


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_review_goes_on_where_it_was(out: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], Any, Any]:
        command = [sys.executable, "-m", "million_ird", "review", str(out), "--no-open"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        url = urlsplit(process.stdout.readline().strip())
        connection = http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=20)

        def ask(name: str, body: Any = None) -> dict[str, Any]:
            sent = None if body is None else json.dumps(body)
            method = "GET" if body is None else "POST"
            connection.request(method, url.path + name, sent, {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())

        return process, ask, connection

    process, ask, connection = start()
    answered = []
    for keep in (True, False, True):
        key = ask("view?column=blur")["next"][0]["key"]
        ask("answer", {"column": "blur", "key": key, "keep": keep})
        answered.append(key)
    process.kill()
    process.communicate()
    connection.close()
    process, ask, connection = start()
    shown = ask("view?column=blur")
    assert shown["labels"] == 3 and not set(answered) & {one["key"] for one in shown["next"]}
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    connection.close()
    assert process.returncode == 0 and "3 answers" in said and "policy.pins.file=" in said
    assert [row["key"] for row in labels(out)] == answered


# -- in a browser


def test_a_person_reviews_with_the_keyboard(review: Review, out: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tested through playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the page is tested in Chromium: no `chromium` on the path")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1100, "height": 760})
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith((review.url, "data:")) else troubles.append(request.url),
        )
        page.goto(review.url)
        page.wait_for_selector("html[data-ready]")

        def text(name: str) -> str:
            return page.locator(f"#{name}").text_content() or ""

        def until(what: str) -> None:
            """Wait; the page's policy lets nothing be evaluated in it, so it is asked from outside."""
            for _ in range(200):
                if page.evaluate(what):
                    return
                page.wait_for_timeout(50)
            raise AssertionError(f"never came: {what}; {page.evaluate('JSON.stringify(view)')}")

        def press(key: str) -> str:
            """What was shown; then the key, and the next picture."""
            shown = text("uri")
            before = page.evaluate("JSON.stringify(view)")
            page.keyboard.press(key)
            until("!busy && JSON.stringify(view) !== " + json.dumps(before))
            return shown

        order = [one["uri"] for one in Client(review).view()["next"]]
        assert text("uri") == order[0] and page.locator("#undo").is_disabled()
        until("document.getElementById('picture').naturalWidth === 200")
        assert "would be dropped" in text("side") or "passes" in text("side")
        assert press("d") == order[0] and press("ArrowRight") == order[1] and press("s") == order[2]
        assert [(row["uri"], row["keep"]) for row in labels(out)] == [(order[0], False), (order[1], True)]
        assert "2 answers" in text("labels")
        press("u")
        assert text("uri") == order[2]
        press("u")
        assert text("uri") == order[1] and len(labels(out)) == 1
        page.locator("#keep").click()
        until("view.labels === 2 && !busy")
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert "2 answers" in text("labels") and text("uri") == order[2]

        page.locator("#threshold").fill("1000000")
        page.keyboard.press("d")
        assert len(labels(out)) == 2, "a key in a box is no answer"
        page.keyboard.press("Enter")
        until("view.threshold === 1000000")
        assert "12 of 12" in text("counts") and "50.0 %" in text("score")
        assert "policy.blur.min=1000000" in text("command") and "'" in text("command"), "a folder with a space"
        page.locator("#precision").fill("1")
        page.locator("#precision").dispatch_event("change")
        until("view.wanted && view.wanted.precision === 1 || view.wanted === null")
        page.locator("#choice").select_option(
            label=page.locator("#choice option", has_text="noise").first.text_content()
        )
        until("view.column === 'noise'")
        assert "policy.noise.max" in text("command")
        page.keyboard.press("z")
        page.locator("#zoom").click()
        page.screenshot(path=str(out / "page.png"))
        while page.evaluate("view.next.length"):
            count = page.evaluate("view.labels")
            page.locator("#keep").click()
            until(f"!busy && view.labels > {count}")
        assert page.locator("#none").is_visible() and page.locator("#keep").is_disabled()
        browser.close()
    assert troubles == []
