"""Fixtures that many tests share: real photos where they are, and small synthetic ones where they are not."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

# A shell that runs the tests in the background has Ctrl-C ignored, and what they start would inherit that.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

REAL = Path(os.environ.get("MIRD_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """A folder of the real test images by name ("kodak24", "product/iconic"); skips the test where it is absent."""

    def folder(name: str) -> Path:
        path = REAL / name
        if not path.exists():
            pytest.skip(f"real images '{name}' are not here (set MIRD_TEST_DATA to the folder that holds them)")
        return path

    return folder


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """A real photo that scikit-image carries: (512, 512, 3) RGB uint8."""
    return np.ascontiguousarray(data.astronaut())


SMALL = {
    "policy": {"resolution": {"min_side": 96}},
    "run": {"workers": 0, "shard_size": 4},
    "report": {"samples": 2},
}
"""Settings for tests: small pictures, everything in one process, several shards."""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve good crops of 160 px, an exact copy, a small copy, a noisy one, a truncated file and a text file."""
    folder = tmp_path_factory.mktemp("corpus")
    photos = [data.coffee(), data.astronaut(), load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    number = 0
    for photo in photos:
        for left in range(0, 480 - 160 + 1, 160):
            crop = np.ascontiguousarray(photo[150:310, left : left + 160])
            suffix, options = [("png", {}), ("jpg", {"quality": 95}), ("webp", {"quality": 95})][number % 3]
            Image.fromarray(crop).save(folder / f"{number:02d}.{suffix}", **options)
            number += 1
    first = Image.open(folder / "00.png").convert("RGB")
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())
    first.resize((120, 120), Image.Resampling.LANCZOS).save(folder / "near.png")
    noise = np.random.default_rng(0).normal(0, 30, (160, 160, 3))
    noisy = np.clip(np.asarray(Image.open(folder / "06.png").convert("RGB"))[::-1] + noise, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(folder / "noisy.png")
    whole = (folder / "01.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    return folder
