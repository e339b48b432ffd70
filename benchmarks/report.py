"""The report of a large run: how long it takes to write, how large it is, and how soon the page answers.

    python benchmarks/report.py [--rows 2000000] [--out report.html]

Targets at 2 million rows of 14 measurements: render < 40 s and < 3 GB, page < 25 MB, interactive in < 3 s.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from pathlib import Path

import numpy as np

from million_ird.curate.report import render
from million_ird.curate.survey import Line, Survey
from million_ird.images import encode_jpeg

REASONS = ["unreadable", "truncated", "resolution", "exact_duplicate", "near_duplicate", "contaminated"]
RULES = ["blur", "flat", "noise", "compression", "exposure", "greyscale", "border", "product", "upscaled", "iqa"]
PICTURES = 64


def survey_of(rows: int, seed: int = 0) -> Survey:
    """Random measurements and the decisions that their lines make, without clusters' own rules."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.lognormal(3, 1, rows).astype(np.float32) for name in RULES}
    columns |= {name: rng.normal(0, 1, rows).astype(np.float32) for name in ("contrast", "colourfulness", "background")}
    columns["min_side"] = rng.integers(100, 4000, rows).astype(np.float32)
    lines = [Line("resolution", "min_side", "min", 256, "policy.resolution.min_side")]
    lines += [Line(name, name, "min", 4.0, f"policy.{name}.min") for name in RULES]
    reasons = [*REASONS, *RULES, "pinned"]
    chance = rng.random(rows)
    fixed = np.select([chance < 0.01, chance < 0.03, chance < 0.08], [1, 2, 4], 0).astype(np.int16)
    group = np.where(rng.random(rows) < 0.2, rng.integers(0, rows // 20 + 1, rows), -1).astype(np.int32)
    codes = np.where(fixed > 0, fixed, 0).astype(np.int16)
    codes[(codes == 0) & (group >= 0) & (rng.random(rows) < 0.7)] = reasons.index("near_duplicate") + 1
    for line in lines:
        codes[(codes == 0) & (columns[line.column] < line.value)] = reasons.index(line.reason) + 1
    noise = [rng.integers(0, 256, (20, 30, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(PICTURES)]
    pictures = [encode_jpeg(picture, 80) for picture in noise]
    return Survey(
        title="benchmark",
        reasons=reasons,
        codes=codes,
        fixed=fixed,
        columns=columns,
        help=dict.fromkeys(columns, "unit, range, direction"),
        lines=lines,
        group=group,
        order=rng.permutation(rows).astype(np.int32),
        pixels=rng.integers(10**4, 10**7, rows),
        thumbs=np.broadcast_to(np.uint8(0), (rows, 256)),
        names=lambda i: f"https://example.org/{i}.jpg",
        picture=lambda i: pictures[i % PICTURES],
    )


def interactive(page: Path) -> tuple[float, float]:
    """Seconds until the page answers, and for one move of a line, in headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(page.resolve().as_uri())
        tab.wait_for_selector("html[data-ready]")
        opened = time.perf_counter() - start
        move = tab.evaluate("""async () => {
            const slider = document.querySelector("[role=slider]");
            const frame = () => new Promise(requestAnimationFrame);
            let spent = 0;
            for (let i = 0; i < 10; i++) {
                await frame();
                const start = performance.now();
                slider.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
                await frame();
                spent += performance.now() - start;
            }
            return spent / 10 / 1000;
        }""")
        browser.close()
    return opened, move


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    args = parser.parse_args()
    survey = survey_of(args.rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    html = render(survey)
    print(f"render    {time.perf_counter() - start:.1f} s ({time.process_time() - cpu:.1f} s of processor)")
    print(f"page      {len(html) / 1e6:.1f} MB")
    print(
        f"peak RSS  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB ({before / 2**20:.2f} before)"
    )
    args.out.write_text(html, encoding="ascii")
    if shutil.which("chromium"):
        opened, move = interactive(args.out)
        print(f"opens in  {opened:.2f} s; one move of a line {1000 * move:.0f} ms")


if __name__ == "__main__":
    main()
