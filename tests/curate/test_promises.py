"""What the default thresholds promise on real photos: clean ones stay, degraded ones go for the right reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.curate.ledger import make_meters
from million_ird.curate.rules import fails_one, lines
from million_ird.curate.settings import load_config
from million_ird.images import decode, encode_jpeg
from million_ird.meters import Frame

RGB = NDArray[np.uint8]
CLEAN = ("kodak24", "cbsd68", "cid22", "clic2025")
CONFIG = load_config("photos", sets=["policy.resolution.enabled=false"])
METERS = make_meters(CONFIG)
ASKED = [line for line in lines(CONFIG.policy) if line.enabled]


def reason(rgb: RGB, header=None) -> str | None:
    """The first rule on a measurement that an image fails under the photos preset."""
    frame = Frame(np.ascontiguousarray(rgb), header)
    values = {c: v for meter in METERS.values() for c, v in zip(meter.columns, meter(frame), strict=True)}
    return next((line.reason for line in ASKED if fails_one(line, values[line.column])), None)


def reasons(images: list[RGB]) -> Counter[str | None]:
    return Counter(reason(image) for image in images)


def read(folder: Path, every: int = 1) -> list[RGB]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".jpg"))
    return [decode(path.read_bytes()).rgb for path in paths[::every]]


def quarter(image: RGB, how: int) -> RGB:
    size = image.shape[1] // 4, image.shape[0] // 4
    return cv2.resize(image, size, interpolation=how).astype(np.uint8)


def motion(image: RGB) -> RGB:
    """Blur along a line of 15 px; the angle depends on the picture."""
    angle = np.deg2rad(int(image.sum(dtype=np.int64)) % 180)
    kernel = np.zeros((15, 15), np.float32)
    ends = [(round(7 + 7 * side * np.cos(angle)), round(7 + 7 * side * np.sin(angle))) for side in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101).astype(np.uint8)


def noisy(image: RGB) -> RGB:
    noise = np.random.default_rng(image.shape[0]).normal(0, 25, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def jpeg15(image: RGB) -> RGB:
    return decode(encode_jpeg(image, 15)).rgb


def blurred(image: RGB) -> RGB:
    return cv2.GaussianBlur(image, (0, 0), 2.5).astype(np.uint8)


def shrunk_and_upscaled(image: RGB) -> RGB:
    small = quarter(image, cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def enlarged(image: RGB) -> RGB:
    middle = image[image.shape[0] // 4 : -image.shape[0] // 4, image.shape[1] // 4 : -image.shape[1] // 4]
    return cv2.resize(middle, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


SOFT = {"blur", "upscaled"}
DEFECTS: list[tuple[Callable[[RGB], RGB], set[str]]] = [
    (blurred, SOFT),
    (motion, SOFT),
    (noisy, {"noise"}),
    (jpeg15, {"compression"}),
    (shrunk_and_upscaled, SOFT),
    (enlarged, SOFT),
]


def test_at_least_97_percent_of_clean_photos_pass(real):
    counts = sum((reasons(read(real(name))) for name in CLEAN), Counter())
    assert counts.total() == 196
    assert counts[None] >= 0.97 * 196, counts


@pytest.mark.parametrize(("degrade", "right"), DEFECTS, ids=[defect.__name__ for defect, _ in DEFECTS])
def test_at_least_90_percent_of_degraded_photos_are_dropped_for_a_right_reason(real, degrade, right):
    photos = [image for name in CLEAN for image in read(real(name), every=3)]
    counts = reasons([degrade(image) for image in photos])
    assert sum(counts[name] for name in right) >= 0.9 * len(photos), counts


def test_a_file_of_low_jpeg_quality_is_dropped_by_its_header(real):
    for path in sorted(real("kodak24").glob("*.png"))[:4]:
        decoded = decode(encode_jpeg(decode(path.read_bytes()).rgb, 15))
        assert reason(decoded.rgb, decoded.header) in {"compression", "blur"}


def test_products_on_white_go_and_ordinary_rooms_stay(real):
    iconic, clothing = reasons(read(real("product/iconic"))), reasons(read(real("product/clothing")))
    assert iconic["product"] >= 0.95 * iconic.total(), iconic
    assert clothing["product"] <= 0.03 * clothing.total(), clothing
