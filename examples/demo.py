"""The main job on real photos with planted defects, offline: build a dataset, then degrade it into pairs.

    python examples/demo.py FOLDER

makes FOLDER/photos from pictures that scikit-image and scikit-learn carry, builds FOLDER/build from it, prints what
became of each defect, degrades what was kept into FOLDER/pairs by the recipe `abair`, verifies those, and draws a
contact sheet, FOLDER/sheet.png. Then it pre-trains a small DyNet for a few steps on what was kept, restores two
degraded pictures with the shipped model, and puts them beside the clean ones, FOLDER/restored.png. Exit code 1 where a
defect slipped through.
"""

from __future__ import annotations

import io
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data
from sklearn.datasets import load_sample_image

from million_ird import degrade as D
from million_ird.degrade import watermark
from million_ird.evaluate.metrics import psnr
from million_ird.rng import rng_for

RGB = NDArray[np.uint8]
SIDE = 256
SPOILT = {"cat": D.load(D.GaussianNoise(sigma=25)), "coffee": D.load("dehaze")}
SETTINGS = ["policy.resolution.min_side=200", "export.name=million-ird demo"]


def photos() -> dict[str, RGB]:
    """Real photographs, (H, W, 3) uint8."""
    left, _, _ = data.stereo_motorcycle()
    return {
        "astronaut": data.astronaut(),
        "coffee": data.coffee(),
        "cat": data.chelsea(),
        "rocket": data.rocket(),
        "motorcycle": left,
        "china": load_sample_image("china.jpg"),
        "flower": load_sample_image("flower.jpg"),
    }


def crops(image: RGB) -> list[RGB]:
    """Squares of SIDE px on a grid without overlap."""
    height, width = image.shape[:2]
    tops, lefts = range(0, height - SIDE + 1, SIDE), range(0, width - SIDE + 1, SIDE)
    return [np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE]) for top in tops for left in lefts]


def encoded(image: RGB, kind: str, **options: object) -> bytes:
    """An image file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def motion_blur(image: RGB, length: int = 15) -> RGB:
    """Blur along the diagonal."""
    kernel = np.eye(length, dtype=np.float32) / length
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101).astype(np.uint8)


def noisy(image: RGB, sigma: float = 25) -> RGB:
    """Additive Gaussian noise."""
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def upscaled(image: RGB, factor: int = 4) -> RGB:
    """A quarter of the picture, blown up to the size of the whole."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    small = image[height : 2 * height, width : 2 * width]
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def letterboxed(image: RGB) -> RGB:
    """Black bars above and below."""
    boxed = image.copy()
    boxed[:48] = boxed[-48:] = 0
    return boxed


def graphic() -> RGB:
    """A flat drawing."""
    picture = Image.new("RGB", (512, 512), (32, 160, 140))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((120, 120, 390, 390), fill=(250, 220, 60))
    draw.polygon([(256, 60), (300, 200), (212, 200)], fill=(200, 40, 50))
    return np.asarray(picture)


def watermarked(image: RGB, layout: str) -> RGB:
    """A mark of `mird`'s own synthesiser that nobody overlooks, in the face that Pillow carries."""
    style = replace(watermark.TRAINING, fonts=("pillow",))
    rng = rng_for(0, "demo", layout)
    return watermark.stamp(image, rng, style, height=24, opacity=0.7, layout_name=layout).image


TEXT = """Measured once, decided cheaply

A photograph is sharp where it is meant to be sharp,
and its noise is that of the sensor, not of a codec.

Each picture is measured once. What was found is
written down, and decided afterwards: a new threshold
costs seconds, and no picture is read again.

Duplicates are found by their hashes and verified on
small thumbs. Of each cluster the best member stays."""


def document() -> RGB:
    """A page of text."""
    page = Image.new("RGB", (640, 600), "white")
    ImageDraw.Draw(page).text((50, 60), TEXT, "black", ImageFont.load_default(22), spacing=12)
    return np.asarray(page)


def product(image: RGB) -> RGB:
    """An object on white: an oval cut from a photo."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 4, height // 3), 0, 0, 360, 255, -1)
    return np.where(mask[..., None] > 0, image, 255).astype(np.uint8)


def plant(folder: Path) -> dict[str, tuple[str, str]]:
    """Write the corpus; file name -> (planted defect, reason that the build must give)."""
    planted: dict[str, tuple[str, str]] = {}
    folder.mkdir(parents=True)
    kinds: list[tuple[str, str, dict[str, object]]] = [
        ("png", "PNG", {}),
        ("jpg", "JPEG", {"quality": 95}),
        ("webp", "WEBP", {"quality": 95}),
    ]
    good: list[tuple[str, RGB]] = []
    for name, image in photos().items():
        for number, crop in enumerate(crops(image)):
            suffix, kind, options = kinds[len(good) % len(kinds)]
            (folder / f"{name}-{number}.{suffix}").write_bytes(encoded(crop, kind, **options))
            good.append((f"{name}-{number}", crop))

    def defect(name: str, what: str, reason: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        planted[name] = (what, reason)

    whole = photos()
    first = next(path for path in sorted(folder.iterdir()) if path.suffix == ".png")
    defect("zz-exact-copy.png", "exact duplicate", "exact_duplicate", first.read_bytes())
    near: list[tuple[str, Callable[[RGB], RGB]]] = [
        (
            "near duplicate: 0.85 x the size",
            lambda x: cv2.resize(x, None, fx=0.85, fy=0.85, interpolation=cv2.INTER_AREA),
        ),
        ("near duplicate: brightened 10 %", lambda x: np.clip(x * 1.1, 0, 255).astype(np.uint8)),
        ("near duplicate: recompressed", lambda x: x),
    ]
    for number, (name, (what, change)) in enumerate(zip(("china", "coffee", "rocket"), near, strict=True)):
        changed = change(crops(whole[name])[0]).astype(np.uint8)
        defect(f"zz-near-{number}.jpg", what, "near_duplicate", encoded(changed, "JPEG", quality=80))
    # Defects are made from other parts of the pictures than the crops above, so that none of them is a duplicate.
    motorcycle = np.ascontiguousarray(whole["motorcycle"][100:400, 180:560])
    flower = np.ascontiguousarray(whole["flower"][70:400, 130:520])
    coffee = np.ascontiguousarray(whole["coffee"][60:380, 110:480])
    defect("bad-blur.png", "Gaussian blur, sigma 2.5", "blur", encoded(cv2.GaussianBlur(flower, (0, 0), 2.5), "PNG"))
    defect("bad-motion.png", "motion blur, 15 px", "blur", encoded(motion_blur(coffee), "PNG"))
    defect("bad-noise.png", "noise, sigma 25", "noise", encoded(noisy(motorcycle), "PNG"))
    turned = np.ascontiguousarray(motorcycle.transpose(1, 0, 2))
    defect("bad-quality.jpg", "JPEG quality 15", "compression", encoded(turned, "JPEG", quality=15))
    small = encoded(np.ascontiguousarray(coffee[::-1]), "JPEG", quality=15)
    resaved = np.asarray(Image.open(io.BytesIO(small)).convert("RGB"))
    defect("bad-quality-resaved.png", "JPEG quality 15, saved as PNG", "compression", encoded(resaved, "PNG"))
    defect("bad-upscaled.png", "upscaled x4", "blur or upscaled", encoded(upscaled(whole["astronaut"]), "PNG"))
    defect("bad-letterbox.png", "letterboxed frame", "border", encoded(letterboxed(turned), "PNG"))
    defect("bad-graphic.png", "flat graphic", "flat or product", encoded(graphic(), "PNG"))
    defect("bad-document.png", "document page", "product", encoded(document(), "PNG"))
    cat = np.ascontiguousarray(whole["cat"][:, 20:430])
    defect("bad-product.jpg", "product on white", "product", encoded(product(cat), "JPEG", quality=92))
    defect("bad-small.jpg", "too small", "resolution", encoded(whole["rocket"][:150, :150], "JPEG", quality=95))
    cut = encoded(whole["rocket"], "JPEG", quality=95)
    defect("bad-truncated.jpg", "truncated file", "truncated", cut[: len(cut) * 2 // 3])
    defect("bad-text.jpg", "text file named .jpg", "unsupported", b"This is no picture.\n")
    marked = {"diagonal": flower[::-1], "rows": cat[:, ::-1], "corner": coffee[:, ::-1]}
    for layout, picture in marked.items():
        content = encoded(watermarked(np.ascontiguousarray(picture), layout), "PNG")
        defect(f"bad-watermark-{layout}.png", f"watermark, {layout}", "watermark", content)
    return planted


def mird(*command: str | Path) -> None:
    """Run a command of the toolkit, printed as it would be typed."""
    words = [str(word) for word in command]
    print(f"$ mird {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "million_ird", *words], check=True)


def main(folder: Path) -> int:
    """Do everything; the number of defects that were not caught."""
    shutil.rmtree(folder, ignore_errors=True)
    planted = plant(folder / "photos")
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    mird("build", folder / "photos", "--out", folder / "build", *sets)
    missed = table(folder / "build", planted)
    print()
    mird("degrade", folder / "build", "--out", folder / "pairs", "--recipe", "abair", "--per-image", "4")
    mird("verify", folder / "pairs")
    mird("degrade", folder / "build", "--recipe", "abair", "--preview", folder / "sheet.png")
    print()
    small = ["--set", "model=dynet-tiny", "--set", "data.size=64", "--set", "batch=4", "--set", "run.workers=0"]
    mird("train", "dynet", "--data", folder / "build", "--out", folder / "run", "--steps", "8", *small)
    spoilt = spoil(folder)
    mird("restore", spoilt, "--model", "tiny", "--out", folder / "restored")
    before_after(folder)
    pictures = ["sheet.png", "restored.png", "run/samples/step-0000008.png"]
    print(f"open {folder / 'build' / 'report.html'}, {', '.join(str(folder / name) for name in pictures)}")
    return missed


def spoil(folder: Path) -> Path:
    """Two of the photos, one noisy and one hazy, in a folder of their own, which is returned."""
    for name, recipe in SPOILT.items():
        picture = crops(photos()[name])[0]
        for part, pixels in (("clean", picture), ("spoilt", recipe(picture, seed=1, image_id=name).lq)):
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / part / f"{name}.png")
    return folder / "spoilt"


def before_after(folder: Path) -> None:
    """FOLDER/restored.png: a row for each picture, spoilt | restored | clean; prints what was gained."""
    rows = []
    for name in SPOILT:
        spoilt, restored, clean = (
            np.asarray(Image.open(folder / part / f"{name}.png").convert("RGB"))
            for part in ("spoilt", "restored", "clean")
        )
        rows.append(np.concatenate([spoilt, restored, clean], axis=1))
        before, after = (psnr(picture / 255, clean / 255) for picture in (spoilt, restored))
        print(f"{name}: {before:.1f} dB before, {after:.1f} dB after")
    Image.fromarray(np.concatenate(rows)).save(folder / "restored.png")


def table(build: Path, planted: dict[str, tuple[str, str]]) -> int:
    """Print what became of each planted defect; how many were not dropped for the right reason."""
    rows = pq.read_table(build / "decisions.parquet").to_pylist()
    decided = {row["uri"]: row for row in rows}
    kept = sum(row["keep"] for row in rows if row["uri"] not in planted)
    clean = len(rows) - len(planted)
    print(f"\n{'planted defect':34} {'decision':18} {'value':>10} {'threshold':>10}")
    right_ones: list[str] = []
    for name, (what, reason) in planted.items():
        row = decided[name]
        right = row["reason"] in reason.split(" or ")
        right_ones += [reason] if right else []
        numbers = [f"{row[key]:10.4g}" if row[key] is not None else " " * 10 for key in ("value", "threshold")]
        note = "" if right else f"   expected: {reason}"
        print(f"{what:34} {row['reason'] or 'kept':18} {numbers[0]} {numbers[1]}{note}")
    print(f"\n{len(right_ones)} of {len(planted)} planted defects dropped for the right reason")
    print(f"{kept} of {clean} good photos kept")
    return len(planted) - len(right_ones)


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")) else 0)
