"""A small folder of clean pictures with some bad ones, and a recipe that needs no codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

RECIPE = {
    "name": "trial",
    "about": "Noise of several kinds on regions.",
    "classes": ["noise", "speckle", "impulse"],
    "pipeline": [
        {
            "op": "CutMix",
            "untouched": [0.2, 0.5],
            "branches": [
                {"op": "GaussianNoise", "sigma": [10, 50]},
                {"op": "SpeckleNoise", "label": "speckle"},
                {"op": "ImpulseNoise", "label": "impulse"},
            ],
        },
        {"op": "Maybe", "p": 0.3, "step": {"op": "UniformNoise", "amplitude": [5, 20]}},
    ],
}
SETTINGS = {"recipe": RECIPE, "size": 64, "per_image": 2, "shard_images": 2, "seed": 5, "run": {"workers": 0}}
"""Small crops, several shards, everything in one process."""


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of 96 px in two folders, two of them of one name; a picture of 40 px, half a file, and a text."""
    folder = tmp_path_factory.mktemp("clean")
    (folder / "more").mkdir()
    photo = np.ascontiguousarray(data.astronaut())
    names = ["a.png", "b.jpg", "c.webp", "caf\u00e9 \u00fc.png", "e.png", "f.bmp", "more/a.png", "more/h.png"]
    for number, name in enumerate(names):
        left, top = 50 * (number % 4), 100 + 100 * (number // 4)
        Image.fromarray(photo[top : top + 96, left : left + 96]).save(folder / name)
    Image.fromarray(photo[:40, :40]).save(folder / "small.png")
    whole = (folder / "b.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    return folder
