"""Make pictures that a build keeps, with numpy and Pillow alone: discs of all sizes one upon the other ("dead leaves",
whose statistics are those of photographs: Lee, Mumford, Huang 2001), a copy of the first, and a file that is none.

    python pictures.py FOLDER COUNT
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 256
LEAVES = 900


def leaves(seed: int) -> Image.Image:
    """(SIDE, SIDE) RGB: textured discs with radii of density r^-3."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    picture = np.full((SIDE, SIDE, 3), 128.0)
    for _ in range(LEAVES):
        radius = 4 / np.sqrt(chance.uniform(0.003, 1))
        top, left = chance.uniform(-20, SIDE + 20, 2)
        colour = chance.uniform(20, 235, 3)
        stripe = np.sin(chance.uniform(0.2, 1.5) * (rows * chance.normal() + columns * chance.normal()))
        inside = (rows - top) ** 2 + (columns - left) ** 2 < radius**2
        picture[inside] = (colour + 14 * stripe[..., None])[inside]
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


if __name__ == "__main__":
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir()
    for number in range(count):
        leaves(number).save(folder / f"{number}.png")
    shutil.copy(folder / "0.png", folder / "copy.png")
    (folder / "notes.jpg").write_text("no picture")
