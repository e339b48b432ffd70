"""Take the screenshots of docs/images: a build's report, its review page, and a sheet of degraded pairs.

    python scripts/screenshots.py PHOTOS [docs/images]

PHOTOS is a folder of PNG photos that may be shown (kodak24 was released for unrestricted use). Of each, one part stays
as it is, and the rest spoilt in one of eight ways, so that the report has something to tell. Needs Chromium and the
package playwright; all is seeded, but what the browser draws depends on its fonts.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import sync_playwright

from million_ird import degrade as D

RGB = NDArray[np.uint8]
GOOD = 448
"""px of the longer side of a photo that are left as they are; the rest is spoilt."""
WIDE, TALL, QUALITY = 1280, 960, 78
FUNNEL_AND_HISTOGRAMS, WITH_BUTTONS = 1520, 1100
"""px of the report's page, and of the review's, from their tops."""
ANSWERS = 9
SETTINGS = [
    *("--set", "policy.resolution.min_side=200"),
    *("--set", "policy.contaminated.enabled=false"),  # or kodak24, a test set, would be dropped as what it is
    *("--set", "export.name=24 photos, half of each spoilt"),
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def blurred(image: RGB) -> RGB:
    """Out of focus."""
    return cv2.GaussianBlur(image, None, 3).astype(np.uint8)  # pyright: ignore[reportCallIssue, reportArgumentType]


def enlarged(image: RGB) -> RGB:
    """A quarter of it, blown up."""
    height, width = image.shape[:2]
    return cv2.resize(image[: height // 4, : width // 4], (width, height), interpolation=cv2.INTER_CUBIC).astype(
        np.uint8
    )


def framed(image: RGB) -> RGB:
    """Black bars above and below."""
    out = image.copy()
    out[:60] = out[-60:] = 0
    return out


WAYS: dict[str, Callable[[RGB], RGB]] = {
    "blurred": blurred,
    "noisy": lambda image: D.load(D.GaussianNoise(sigma=25))(image, seed=1, image_id="noisy").lq,
    "compressed": lambda image: D.load(D.JPEG(quality=12))(image, seed=1, image_id="compressed").lq,
    "enlarged": enlarged,
    "framed": framed,
    "moved": lambda image: D.load(D.MotionBlur(length=19))(image, seed=1, image_id="moved").lq,
    "small": lambda image: np.ascontiguousarray(image[:150, :150]),
}


def photos(source: Path, target: Path) -> None:
    """Good and spoilt parts, and of every eighth photo a smaller copy."""
    target.mkdir()
    ways = [*WAYS.items()]
    for number, path in enumerate(sorted(source.glob("*.png"))):
        image = np.asarray(Image.open(path).convert("RGB"))
        good, rest = map(np.ascontiguousarray, np.split(image, [GOOD], axis=int(image.shape[1] > image.shape[0])))
        Image.fromarray(good).save(target / f"{path.stem}.png")
        if number % (len(ways) + 1) == len(ways):
            small = Image.fromarray(good).resize(
                (good.shape[1] * 3 // 4, good.shape[0] * 3 // 4), Image.Resampling.LANCZOS
            )
            small.save(target / f"{path.stem}-again.jpg", quality=85)
        else:
            name, way = ways[number % (len(ways) + 1)]
            Image.fromarray(way(rest)).save(target / f"{path.stem}-{name}.png")


WITHOUT = """folder => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(folder, "");
}"""


def mird(*words: str | Path) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "million_ird", *map(str, words)], check=True)


@contextmanager
def chromium() -> Iterator[Any]:
    """A page of WIDE x TALL px in a browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser.new_page(viewport={"width": WIDE, "height": TALL})
        browser.close()


def shoot(page: Any, path: Path) -> None:
    """What is seen now, as a JPEG."""
    page.wait_for_timeout(1500)
    page.screenshot(path=path, type="jpeg", quality=QUALITY)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def review(page: Any, build: Path, path: Path) -> None:
    """The page of `mird review` after some answers; what was spoilt is dropped. Paths are shown from `build` on."""
    command = [sys.executable, "-m", "million_ird", "review", str(build), "--meter", "blur", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            page.goto(server.stdout.readline().strip())
            for _ in range(ANSWERS):
                page.wait_for_timeout(700)
                page.keyboard.press("d" if "-" in page.locator("#uri").inner_text() else "k")
            page.wait_for_timeout(700)
            page.evaluate(WITHOUT, f"{build.parent}/")
            shoot(page, path)
        finally:
            server.terminate()


def main(source: Path, target: Path) -> None:
    """Build, degrade and take the pictures."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        photos(source, work / "photos")
        mird("build", work / "photos", "--out", work / "build", *SETTINGS)
        mird("degrade", work / "build", "--recipe", "abair", "--size", "256", "--preview", work / "sheet.png")
        with chromium() as page:
            page.set_viewport_size({"width": WIDE, "height": FUNNEL_AND_HISTOGRAMS})
            page.goto((work / "build" / "report.html").as_uri())
            shoot(page, target / "report.jpg")
            page.set_viewport_size({"width": WIDE, "height": TALL})
            page.goto((work / "sheet.html").as_uri())
            page.get_by_role("heading", name="Samples").evaluate("heading => heading.scrollIntoView()")
            shoot(page, target / "sheet.jpg")
            page.set_viewport_size({"width": WIDE, "height": WITH_BUTTONS})
            review(page, work / "build", target / "review.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "docs/images"))
