"""The report's page, driven in a real browser and held against a plain-Python decision."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from million_ird.config import parse_sets
from million_ird.curate.report import render
from million_ird.curate.survey import Line, Survey

REASONS = [
    "unreadable",
    "too_small",
    "resolution",
    "exact_duplicate",
    "near_duplicate",
    "contaminated",
    "blur",
    "noise",
    "compression",
    "exposure",
    "iqa",
    "pinned",
]
CODE = {reason: code for code, reason in enumerate(REASONS, start=1)}
LINES = [
    Line("resolution", "min_side", "min", 256, "policy.resolution.min_side"),
    Line("resolution", "aspect", "max", 3.0, "policy.resolution.max_aspect"),
    Line("blur", "blur", "min", 80.0, "policy.blur.min"),
    Line("noise", "noise", "max", 0.1, "policy.noise.max"),
    Line("compression", "jpeg_quality", "min", 75, "policy.compression.min_quality"),
    Line("compression", "blockiness", "max", 1.5, "policy.compression.max_blockiness"),
    Line("exposure", "exposure", "min", 0.05, "policy.exposure.min"),
    Line("exposure", "exposure", "max", 0.95, "policy.exposure.max"),
    Line("iqa", "iqa", "min", 0.3, "policy.iqa.min", enabled=False),
]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


def reference(survey: Survey, limits: Mapping[str, float] | None = None, switched: Set[str] = frozenset()) -> list[int]:
    """The code of each row by the words of the specification, a row at a time; `switched` rules are turned over."""
    limits = limits or {}
    near_on = "near_duplicate" not in switched
    own: list[list[str]] = [[] for _ in survey.codes]
    for line in survey.lines:
        if line.enabled == (line.reason in switched):
            continue
        with np.errstate(over="ignore"):
            limit = float(np.float32(limits.get(line.key, line.value)))
        for i, value in enumerate(survey.columns[line.column].tolist()):
            if value < limit if line.bound == "min" else value > limit:
                own[i].append(line.reason)
    clusters: dict[int, list[int]] = {}
    for i in np.argsort(survey.order).tolist():
        if survey.group[i] >= 0 and survey.fixed[i] in (0, -1):
            clusters.setdefault(int(survey.group[i]), []).append(i)
    keeper = {}
    for group, members in clusters.items():
        pinned = [i for i in members if survey.fixed[i] == -1]
        passing = [i for i in members if not own[i]]
        keeper[group] = [*pinned, *passing, *members][0]
    return [_code(survey, i, own[i], keeper if near_on else {}) for i in range(len(own))]


def _code(survey: Survey, i: int, own: list[str], keeper: Mapping[int, int]) -> int:
    fixed = int(survey.fixed[i])
    if fixed == -1:
        return 0
    if 0 < fixed < CODE["resolution"] or fixed == CODE["pinned"]:
        return fixed
    if "resolution" in own:
        return CODE["resolution"]
    if fixed:
        return fixed
    best = keeper.get(int(survey.group[i]), i)
    if best != i and not (survey.pixels[i] >= survey.pixels[best] and own):
        return CODE["near_duplicate"]
    return CODE[own[0]] if own else 0


def jpeg(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def make_survey(n: int, seed: int = 0, **changes: Any) -> Survey:
    """A run with statuses, pins, exact and near duplicates, nulls and values that lie on their threshold."""
    rng = np.random.default_rng(seed)
    side = rng.integers(100, 3000, n)
    columns = {
        "min_side": side,
        "aspect": 1 + rng.exponential(0.5, n),
        "blur": rng.lognormal(5.5, 1.2, n),
        "noise": rng.choice([0.02, 0.05, 0.1, 0.1, 0.15], n) + rng.choice([0, 0.001], n),
        "jpeg_quality": rng.choice([40, 74, 75, 76, 90, 95], n, p=[0.02, 0.1, 0.2, 0.2, 0.28, 0.2]),
        "blockiness": rng.gamma(4, 0.2, n),
        "exposure": rng.uniform(0, 1, n),
        "iqa": rng.beta(4, 3, n),
        "contrast": rng.normal(0, 1, n),
    }
    columns = {name: np.asarray(values, np.float32) for name, values in columns.items()}
    for values in columns.values():
        values[rng.random(n) < 0.03] = np.nan
    fixed = np.zeros(n, np.int16)
    for reason, share in {"unreadable": 0.02, "exact_duplicate": 0.05, "contaminated": 0.01, "pinned": 0.01}.items():
        fixed[rng.random(n) < share] = CODE[reason]
    fixed[rng.random(n) < 0.01] = -1
    for values in columns.values():
        values[fixed == CODE["unreadable"]] = np.nan
    group = np.where(rng.random(n) < 0.4, rng.integers(0, max(1, n // 8), n), -1)
    survey = Survey(
        title="photos",
        reasons=REASONS,
        codes=np.zeros(n, np.int16),
        fixed=fixed,
        columns=columns,
        help={name: f"what {name} is" for name in columns},
        lines=LINES,
        group=group.astype(np.int32),
        order=rng.permutation(n).astype(np.int32),
        pixels=(side // 100 * 100) ** 2,
        thumbs=rng.integers(0, 256, (n, 256), np.uint8),
        names=lambda i: f"folder/picture-{i:05d}.jpg",
        picture=lambda i: None if i % 5 == 0 else jpeg((i % 256, i // 256 % 256, 90)),
        config="policy:\n  blur:\n    min: 80.0\n",
        facts={"Source": "photos", "When": "2024-05-01"},
    )
    survey = dataclasses.replace(survey, **changes)
    return (
        dataclasses.replace(survey, codes=np.array(reference(survey), np.int16)) if "codes" not in changes else survey
    )


def by_reason(codes: list[int]) -> dict[str, int]:
    count = Counter(codes)
    return {"kept": count[0]} | {reason: count[code] for reason, code in CODE.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the report's page is tested through playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the report's page is tested in Chromium: no `chromium` on the path")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


class Report:
    """One report open in a tab; `troubles` are errors, warnings and requests that it should not have."""

    def __init__(self, page: Any, folder: Path, html: str) -> None:
        folder.joinpath("report.html").write_text(html, encoding="ascii")
        self.page = page
        self.troubles: list[str] = []
        self.page.on("console", self._message)
        self.page.on("pageerror", self._message)
        self.page.on("request", self._request)
        self.page.goto(folder.joinpath("report.html").as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def leave(self) -> None:
        """The tab is free for another report."""
        self.page.remove_listener("console", self._message)
        self.page.remove_listener("pageerror", self._message)
        self.page.remove_listener("request", self._request)
        assert self.troubles == []

    def _message(self, message: Any) -> None:
        self.troubles.append(getattr(message, "text", str(message)))

    def _request(self, request: Any) -> None:
        if not re.match(r"file:.*/report\.html$|data:", request.url):
            self.troubles.append(request.url)

    def counts(self) -> dict[str, int]:
        """What the page shows, once it has drawn."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self.page.evaluate("""() => Object.fromEntries(
            [["kept", Number(document.querySelector("#now data").value)]].concat(
              [...document.querySelectorAll("tr[data-reason]")].map(
                (row) => [row.dataset.reason, Number(row.querySelector(".dropped").value)])))""")

    def reset(self) -> None:
        self.page.evaluate("document.getElementById('reset').click()")

    def move(self, limits: Mapping[str, float], switched: Set[str] = frozenset()) -> None:
        """Many boxes and switches at once, faster than by the keyboard."""
        self.page.evaluate(
            """([limits, switched]) => {
                for (const [key, value] of Object.entries(limits)) {
                    const box = document.querySelector(`input[type=number][aria-label="${key}"]`);
                    box.value = value;
                    box.dispatchEvent(new Event("input"));
                }
                for (const code of switched) document.querySelector(`[data-switch="${code}"]`).click();
            }""",
            [dict(limits), [CODE[reason] for reason in switched]],
        )

    def box(self, key: str) -> Any:
        return self.page.locator(f'input[type=number][aria-label="{key}"]')

    def slider(self, key: str) -> Any:
        return self.page.locator(f'[role=slider][aria-label="{key}"]')

    def switch(self, reason: str) -> Any:
        return self.page.locator(f'.card [data-switch="{CODE[reason]}"], #funnel [data-switch="{CODE[reason]}"]').last

    def text(self, selector: str) -> str:
        return self.page.locator(selector).text_content()


@pytest.fixture(scope="module")
def tab(browser: Any) -> Any:
    return browser.new_page(reduced_motion="reduce")


@pytest.fixture
def opened(browser: Any, tab: Any, tmp_path: Path) -> Iterator[Callable[..., Report]]:
    """Opens a report; with options in a window of its own."""
    reports: list[Report] = []

    def open_report(html: str, **options: Any) -> Report:
        if reports:
            reports.pop().leave()
        page = browser.new_page(reduced_motion="reduce", **options) if options else tab
        reports.append(Report(page, tmp_path, html))
        return reports[-1]

    yield open_report
    report = reports.pop()
    report.leave()
    if report.page is not tab:
        report.page.close()


@pytest.fixture(scope="module")
def survey() -> Survey:
    return make_survey(400)


@pytest.fixture(scope="module")
def html(survey: Survey) -> str:
    return render(survey)


@pytest.fixture
def report(opened: Callable[..., Report], html: str) -> Report:
    """The report of `survey`."""
    return opened(html)


def test_page_shows_the_counts_that_were_decided(report: Report, survey: Survey) -> None:
    expected = by_reason(survey.codes.tolist())
    assert report.counts() == expected
    assert report.page.locator("[data-total]").evaluate_all("(nodes) => nodes.map((node) => Number(node.value))") == [
        400,
        expected["kept"],
        400 - expected["kept"],
    ]
    numbers = [int(number.replace(",", "")) for number in re.findall(r"(?<!\S)[\d,]+", report.text("#sum"))]
    assert numbers[0] == sum(numbers[1:]) == 400
    assert report.text("#unexplained") == "" and report.text("#sampled") == ""
    assert report.page.locator("#dock").is_hidden()
    assert expected["too_small"] == 0 and report.page.locator('tr[data-reason="too_small"]').is_hidden()
    report.page.locator("#more").click()
    assert report.page.locator('tr[data-reason="too_small"]').is_visible()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("policy.resolution.min_side", 900),
        ("policy.resolution.max_aspect", 1.5),
        ("policy.blur.min", 300.5),
        ("policy.blur.min", 0),
        ("policy.noise.max", 0.099),
        ("policy.noise.max", 1e9),
        ("policy.compression.min_quality", 76),
        ("policy.compression.max_blockiness", 0.7),
        ("policy.exposure.min", 0.5),
        ("policy.iqa.min", 0.9),
    ],
)
def test_typed_limit_gives_the_counts_of_that_decision(report: Report, survey: Survey, key: str, value: float) -> None:
    report.box(key).fill(str(value))
    assert report.counts() == by_reason(reference(survey, {key: value}))


def test_keys_step_a_line_and_the_page_decides_again(report: Report, survey: Survey) -> None:
    for key in ("policy.blur.min", "policy.resolution.min_side", "policy.exposure.max"):
        slider = report.slider(key)
        slider.focus()
        seen = [float(slider.get_attribute("aria-valuenow"))]
        for press in ("ArrowRight", "ArrowUp", "PageUp", "ArrowLeft", "PageDown", "Home", "End"):
            report.page.keyboard.press(press)
            counts = report.counts()
            seen.append(float(report.box(key).input_value()))
            assert float(slider.get_attribute("aria-valuenow")) == seen[-1]
            assert counts == by_reason(reference(survey, {key: seen[-1]}))
        assert seen[0] < seen[1] < seen[2] < seen[3] > seen[4] > seen[5] > seen[6] < seen[7]
        report.page.locator("#reset").click()
        assert report.counts() == by_reason(survey.codes.tolist())


def test_mouse_and_finger_drag_a_line(opened: Any, html: str, survey: Survey) -> None:
    report = opened(html, has_touch=True, viewport={"width": 400, "height": 800})
    session = report.page.context.new_cdp_session(report.page)
    key, moved = "policy.blur.min", [80.0]

    def middle() -> tuple[float, float]:
        report.slider(key).scroll_into_view_if_needed()
        area = report.slider(key).bounding_box()
        return area["x"] + area["width"] / 2, area["y"] + area["height"] / 2

    def landed() -> None:
        counts = report.counts()
        moved.append(float(report.box(key).input_value()))
        assert counts == by_reason(reference(survey, {key: moved[-1]}))

    x, y = middle()
    report.page.mouse.move(x, y)
    report.page.mouse.down()
    report.page.mouse.move(x + 60, y, steps=4)
    report.page.mouse.up()
    report.page.mouse.move(x + 90, y)
    landed()
    x, y = middle()
    path = [(x, y), (x, y + 40), (x - 30, y + 90), (x - 100, y + 90)]  # a finger strays; the page must not scroll
    for kind, points in [("touchStart", path[:1]), *(("touchMove", [p]) for p in path[1:]), ("touchEnd", [])]:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]})
    landed()
    assert moved[2] < moved[0] < moved[1]


@pytest.mark.parametrize("reason", ["resolution", "near_duplicate", "blur", "exposure", "iqa"])
def test_rule_is_switched_off_and_on(report: Report, survey: Survey, reason: str) -> None:
    was_on = report.switch(reason).is_checked()
    assert was_on == (reason != "iqa")
    report.switch(reason).click()
    assert report.counts() == by_reason(reference(survey, switched={reason}))
    assert yaml.safe_load(report.text("#yaml")) == {"policy": {reason: {"enabled": not was_on}}}
    report.switch(reason).click()
    assert report.counts() == by_reason(survey.codes.tolist())
    assert report.page.locator("#dock").is_hidden()


def test_any_state_of_any_survey_is_decided_by_the_reference(opened: Any) -> None:
    rng = np.random.default_rng(5)
    for seed in range(4):
        n = int(rng.integers(20, 200))
        group = rng.integers(-1, n // 5, n).astype(np.int32)  # nearly every row in a cluster
        survey = make_survey(n, seed, group=group)
        report = opened(render(survey, samples=0))
        for _ in range(4):
            limits, switched = {}, {reason for reason in ("near_duplicate", "blur", "iqa") if rng.random() < 0.3}
            for line in rng.permutation(np.arange(len(LINES)))[:4]:
                values = survey.columns[LINES[line].column]
                limits[LINES[line].key] = float(rng.choice(values[~np.isnan(values)]))
            report.move(limits, switched)
            assert report.counts() == by_reason(reference(survey, limits, switched))
            report.reset()
            assert report.counts() == by_reason(survey.codes.tolist())


def test_configuration_to_paste_holds_what_was_moved_and_no_more(report: Report) -> None:
    assert report.text("#yaml") == report.text("#sets") == ""
    report.box("policy.blur.min").fill("120.5")
    report.box("policy.noise.max").fill("1e-7")
    report.box("policy.exposure.max").fill("")
    report.page.locator("#root").click()
    report.switch("exposure").click()
    report.counts()
    expected = {"policy": {"blur": {"min": 120.5}, "noise": {"max": 1e-7}, "exposure": {"enabled": False}}}
    assert yaml.safe_load(report.text("#yaml")) == expected
    words = report.text("#sets").split()
    assert words[::2] == ["--set"] * 3
    assert parse_sets(words[1::2]) == expected
    assert report.box("policy.exposure.max").input_value() == "0.95"
    report.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    report.page.locator("[data-copy=sets]").click()
    assert report.page.evaluate("navigator.clipboard.readText()") == report.text("#sets")
    report.box("policy.blur.min").fill("80")
    report.counts()
    assert "blur" not in report.text("#sets")


def test_a_value_that_prints_like_the_limit_passes(opened: Any) -> None:
    lines = [
        Line("noise", "noise", "max", 0.1, "policy.noise.max"),
        Line("blur", "blur", "min", 0.7, "policy.blur.min"),
    ]
    columns = {"noise": np.array([0.1, 0.2, 0.3, np.nan]), "blur": np.array([0.7, 0.7, 0.1, np.nan])}
    still = make_survey(
        4,
        lines=lines,
        columns={name: values.astype(np.float32) for name, values in columns.items()},
        fixed=np.zeros(4, np.int16),
        group=np.full(4, -1, np.int32),
    )
    report = opened(render(still))
    assert report.counts() == by_reason([0, CODE["noise"], CODE["noise"], 0])
    report.box("policy.noise.max").fill("0.2")
    assert report.counts() == by_reason([0, 0, CODE["noise"], 0])
    report.box("policy.noise.max").fill("0.3")
    report.box("policy.blur.min").fill("0.1")
    assert report.counts() == by_reason([0, 0, 0, 0])


EMPTY = {"lines": [], "columns": {}, "help": {}, "facts": {}, "config": ""}


@pytest.mark.parametrize(
    ("n", "changes"),
    [
        (0, {}),
        (1, {}),
        (0, EMPTY),
        (30, EMPTY),
        (30, {"fixed": np.full(30, CODE["unreadable"], np.int16)}),
        (30, {"fixed": np.full(30, CODE["pinned"], np.int16)}),
        (30, {"fixed": np.full(30, -1, np.int16)}),
        (30, {"group": np.zeros(30, np.int32)}),
        (30, {"group": np.full(30, -1, np.int32)}),
        (30, {"columns": {line.column: np.full(30, np.nan, np.float32) for line in LINES}}),
        (30, {"columns": {line.column: np.full(30, 7, np.float32) for line in LINES}}),
        (30, {"columns": {line.column: np.full(30, 0, np.float32) for line in LINES}}),
        (30, {"columns": {line.column: np.full(30, -np.inf, np.float32) for line in LINES}}),
        (30, {"lines": [dataclasses.replace(line, value=1e300) for line in LINES]}),
        (
            30,
            {"lines": [dataclasses.replace(line, value=np.inf if line.bound == "max" else -np.inf) for line in LINES]},
        ),
    ],
)
def test_page_opens_and_counts_whatever_the_run_was_like(opened: Any, n: int, changes: dict[str, Any]) -> None:
    survey = make_survey(n, **changes)
    report = opened(render(survey))
    assert report.counts() == by_reason(survey.codes.tolist())
    for line in survey.lines:
        report.slider(line.key).focus()
        report.page.keyboard.press("ArrowRight")
    counts = report.counts()
    limits = {line.key: float(report.box(line.key).input_value()) for line in survey.lines}
    assert counts == by_reason(reference(survey, limits))


HOSTILE = [
    "</script><script>window.pwned=1</script>",
    "</script ><!--<script ",
    '"><img src=x onerror=window.pwned=1>',
    "'+window.pwned=1+'${window.pwned=1}{{data}}",
    "\u2028\u2029\u202egpj.exe \udcff \x00 é漢字🙂",
    "&lt;b&gt; &amp;",
]


def test_hostile_text_stays_text(opened: Any) -> None:
    everything = "".join(HOSTILE)
    survey = make_survey(
        60,
        title=everything,
        config=everything,
        facts={everything: everything},
        names=lambda i: HOSTILE[i % len(HOSTILE)],
        help=dict.fromkeys(make_survey(1).columns, everything),
        picture=lambda i: None,
    )
    html = render(survey)
    assert html.isascii()
    report = opened(html)
    shown = everything.replace("\x00", "\ufffd")
    assert report.page.evaluate("window.pwned") is None
    assert report.page.evaluate("document.scripts.length") == 2
    for selector in ("#title", "#config-text", "#facts dd", ".card .help >> nth=0"):
        text = report.page.locator(selector).evaluate("(node) => node.textContent.toWellFormed()")
        assert text.replace("\x00", "\ufffd") == shown.replace("\udcff", "\ufffd")
    names = report.page.locator("figcaption bdi").evaluate_all("(all) => all.map((one) => one.title.toWellFormed())")
    assert set(names) <= {name.replace("\udcff", "\ufffd") for name in HOSTILE}
    report.page.locator("figure button").first.click()
    assert report.page.locator("#large h3").is_visible()
    report.page.locator("#close").click()
    assert report.page.locator("#large h3").is_hidden()


def test_policy_of_the_page_admits_no_other_script(report: Report) -> None:
    report.page.evaluate("() => document.body.insertAdjacentHTML('beforeend', '<p onclick=\"window.pwned=1\">x</p>')")
    report.page.locator("body > p").click()
    assert report.page.evaluate("window.pwned") is None
    assert any("Content Security Policy" in trouble for trouble in report.troubles)
    report.troubles.clear()


def embedded(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def numbers(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def test_histograms_count_every_row_once(survey: Survey) -> None:
    for column in embedded(render(survey, exact_rows=50))["columns"]:
        values = survey.columns[column["name"]]
        known = values[~np.isnan(values)]
        assert column["nulls"] == values.size - known.size
        for scale in column["scales"]:
            edges = numbers(scale["edges"], "<f4")
            assert np.all(np.diff(edges) > 0) and edges.size <= 61
            ends = np.concatenate([[-np.inf], edges, [np.inf]]).astype(np.float64)
            for counts, rows in ((scale["all"], values), (scale["kept"], values[survey.codes == 0])):
                assert numbers(counts, "<f8").tolist() == np.histogram(rows[~np.isnan(rows)], ends)[0].tolist()


def test_wild_values_do_not_stretch_the_axis() -> None:
    survey = make_survey(2000)
    survey.columns["contrast"][:5] = [1e30, -1e30, np.inf, -np.inf, 1e6]
    column = next(c for c in embedded(render(survey))["columns"] if c["name"] == "contrast")
    edges, counts = numbers(column["scales"][0]["edges"], "<f4"), numbers(column["scales"][0]["all"], "<f8")
    assert -5 < edges[0] < -1 and 1 < edges[-1] < 5
    assert counts[0] >= 2 and counts[-1] >= 3


@pytest.mark.parametrize("name", ["noise", "jpeg_quality", "blur", "contrast"])
def test_bars_of_the_kept_follow_the_lines(report: Report, survey: Survey, html: str, name: str) -> None:
    limits = {"policy.exposure.min": 0.4, "policy.noise.max": 0.2}
    report.move(limits)
    report.counts()
    said = report.page.locator(f'.card[data-column="{name}"]').evaluate("""(card) => {
        const plot = card.querySelector(".plot"), area = plot.getBoundingClientRect();
        const width = plot.querySelector("svg").viewBox.baseVal.width, slots = Math.round(width - 3.2);
        return [...Array(slots)].map((_, slot) => {
            const clientX = area.left + ((2.1 + slot) / width) * area.width;
            plot.dispatchEvent(new PointerEvent("pointermove", { clientX }));
            return card.querySelector(".readout").textContent;
        });
    }""")
    shown = [[int(count) for count in re.findall(r"(\d+) (?:rows|kept)", text)] for text in said]
    column = next(column for column in embedded(html)["columns"] if column["name"] == name)
    edges = numbers(column["scales"][0]["edges"], "<f4")
    codes, values = np.array(reference(survey, limits)), survey.columns[name]
    assert len(shown) == edges.size - 1
    for (low, high), counts in zip(pairwise(edges), shown, strict=True):
        inside = (values >= low) & (values < high)
        assert counts == [np.count_nonzero(inside), np.count_nonzero(inside & (codes == 0))]
    assert sum(kept for _, kept in shown) != np.count_nonzero(survey.codes == 0)


def test_pictures_stand_on_both_sides_of_each_line(survey: Survey, html: str) -> None:
    pictures = embedded(html)["pictures"]
    names = list(survey.columns)
    for line, sides in zip(survey.lines, pictures["lines"], strict=True):
        column = names.index(line.column)
        sign = 1 if line.bound == "min" else -1
        limit = sign * float(np.float32(line.value))
        failing, passing = (
            [sign * pictures["table"][place]["values"][column] for place in sides[side]]
            for side in ("failing", "passing")
        )
        assert failing == sorted(failing, reverse=True) and passing == sorted(passing)
        assert all(value < limit for value in failing) and all(value >= limit for value in passing)
        values = sign * survey.columns[line.column][(survey.codes == 0) & (survey.fixed == 0)].astype(np.float64)
        assert passing == pytest.approx(np.sort(values[values >= limit])[:6].tolist())
        assert failing


def test_each_picture_is_embedded_once_and_chosen_by_the_seed(survey: Survey, html: str) -> None:
    table = embedded(html)["pictures"]["table"]
    assert len({entry["name"] for entry in table}) == len(table)
    assert html.count("data:image/jpeg;base64,") == sum(not entry["thumb"] for entry in table) > 50
    assert html.count("data:image/png;base64,") == sum(entry["thumb"] for entry in table) > 5
    for entry in table:
        index = int(entry["name"][-9:-4])
        assert entry["thumb"] == (index % 5 == 0)
        if entry["thumb"]:
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["src"].partition(",")[2]))))
            assert np.array_equal(pixels[..., 0].ravel(), survey.thumbs[index])
    assert render(survey) == html
    assert embedded(render(survey, seed=1))["pictures"] != embedded(html)["pictures"]


def test_near_duplicates_are_shown_beside_the_row_they_were_judged_against(survey: Survey, html: str) -> None:
    pictures = embedded(html)["pictures"]
    places = pictures["reasons"][CODE["near_duplicate"] - 1]
    rows = [int(pictures["table"][place]["name"][-9:-4]) for place in places]
    assert len(rows) == 12
    for dropped, keeper in zip(rows[::2], rows[1::2], strict=True):
        assert survey.codes[dropped] == CODE["near_duplicate"]
        assert survey.group[dropped] == survey.group[keeper] and dropped != keeper


def test_pictures_past_the_budget_are_thumbs(survey: Survey) -> None:
    heavy = dataclasses.replace(survey, picture=lambda i: bytes(300_000))
    html = render(heavy)
    table = embedded(html)["pictures"]["table"]
    assert 20 <= sum(not entry["thumb"] for entry in table) <= 30 < len(table)
    assert len(html) < 11_000_000


def test_pictures_and_captions_appear(report: Report, survey: Survey) -> None:
    figure = report.page.locator('[data-of="blur"] figure').first
    figure.scroll_into_view_if_needed()
    report.page.wait_for_function("(image) => image.naturalWidth > 0", arg=figure.locator("img").element_handle())
    name = figure.locator("bdi").text_content()
    value = survey.columns["blur"][int(name[-9:-4])]
    said = figure.locator("figcaption span").text_content().split()
    assert said[0] == "blur" and float(said[1]) == pytest.approx(value, rel=1e-4) and value < 80
    figure.locator("button").click()
    assert name in report.text("#large") and "exposure" in report.text("#large")


def test_sampled_page_is_exact_as_decided_and_within_its_margin_when_moved(opened: Any) -> None:
    survey = make_survey(5000, 3)
    report = opened(render(survey, exact_rows=200, samples=2))
    assert report.counts() == by_reason(survey.codes.tolist())
    assert report.text("#unexplained") == "" and "95 %" in report.text("#sampled")
    moves: list[tuple[dict[str, float], set[str]]] = [
        ({"policy.blur.min": 200}, set()),
        ({"policy.noise.max": 0.2, "policy.blur.min": 40}, set()),
        ({"policy.exposure.min": 0.0501}, set()),
        ({}, {"iqa"}),
        ({}, {"near_duplicate"}),
        ({"policy.resolution.min_side": 1500}, set()),
    ]
    for limits, switched in moves:
        report.move(limits, switched)
        counts = report.counts()
        margin = int(report.page.locator("#now data").get_attribute("data-margin"))
        codes = reference(survey, limits, switched)
        assert sum(counts.values()) == 5000
        assert 0 < margin < 1000
        assert abs(counts["kept"] - codes.count(0)) <= margin
        report.reset()
    assert report.counts() == by_reason(survey.codes.tolist())


def test_no_budget_still_embeds_a_row_of_each_decision(opened: Any) -> None:
    survey = make_survey(12, lines=[], group=np.full(12, -1, np.int32), fixed=np.arange(-1, 11).astype(np.int16))
    report = opened(render(survey, exact_rows=0, samples=0))
    assert report.counts() == by_reason(survey.codes.tolist())


def test_page_says_when_the_lines_do_not_explain_the_decisions(opened: Any, survey: Survey) -> None:
    codes = survey.codes.copy()
    codes[np.flatnonzero(codes == CODE["blur"])[:7]] = CODE["noise"]
    report = opened(render(dataclasses.replace(survey, codes=codes)))
    assert report.counts() == by_reason(codes.tolist())
    assert " 7 decisions" in report.text("#unexplained")


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (400, "dark"), (1600, "light")])
def test_page_fits_its_window(opened: Any, html: str, width: int, scheme: str) -> None:
    report = opened(html, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert report.page.evaluate("document.documentElement.scrollWidth") <= width
    paper, ink = report.page.evaluate("""() => ["backgroundColor", "color"].map(
        (name) => getComputedStyle(document.body)[name].match(/\\d+/g).reduce((sum, part) => sum + Number(part), 0))""")
    assert (paper > ink) == (scheme == "light")
