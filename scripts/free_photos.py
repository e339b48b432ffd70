"""Gather freely licensed photos from Debian packages, to train detectors on.

    python scripts/free_photos.py OUT

Debian's main section holds nothing but free works; who made each picture, and its licence, is in the package's
`copyright` file, which is kept beside the pictures. Needs `apt-get` and `dpkg-deb` with Debian's lists of packages
fetched. Each package becomes a folder of PNG files of at most 1.8 megapixels; cut-outs, animations, nearly even
pictures and pictures seen before (by a coarse thumbnail) are left out. Packages of the same version give the same
pictures.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from million_ird.tables import whole

PACKAGES = (
    *("gnome-backgrounds", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04"),
    *("mate-backgrounds", "plasma-workspace-wallpapers", "ukui-wallpapers"),
    "palapeli-data",  # jigsaw puzzles
    "gcompris-qt-data",  # animals, monuments and things, for children
    "ufoai-textures",  # surfaces, doors, windows, signs: what looks like a mark and is none
)

LEAST_SIDE = 256
LEAST_BYTES = 3000
MOST_PIXELS = 1.8e6
EVERY = 6
"""Of the pictures in an archive of textures, which often differ little, every so-manyth is taken."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".tga", ".webp")
_NO_PICTURE = re.compile(r"_(norm|nm|gloss|glow|bump|spec|n|s|local|luma)\.|sk(y|ies)|env/", re.IGNORECASE)
_INSIDE = re.compile(rb"RIFF....WEBP|\xff\xd8\xff[\xe0\xe1\xdb]", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write; folders of packages go into it")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    seen: set[bytes] = set()
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as scratch:
            root = unpacked(package, Path(scratch))
            kept = 0
            for name, data in pictures(root):
                rgb = usable(data)
                if rgb is None or (mark := thumbnail(rgb)) in seen:
                    continue
                seen.add(mark)
                made = io.BytesIO()
                Image.fromarray(rgb).save(made, "PNG", compress_level=1)
                with whole(given.out / package / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.png") as file:
                    file.write(made.getvalue())
                kept += 1
            terms = next(root.rglob("copyright"))
            shutil.copyfile(terms, given.out / package / "copyright")
        print(f"{package}: {kept} pictures")


def unpacked(package: str, scratch: Path) -> Path:
    """The package's files in a folder."""
    try:
        subprocess.run(["apt-get", "download", package], cwd=scratch, check=True, capture_output=True)
        (archive,) = scratch.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", str(archive), str(scratch / "root")], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or b"").decode().strip() or error
        sys.exit(f"{package}: not to be had by apt-get ({said}); is this Debian, after `apt-get update`?")
    return scratch / "root"


def pictures(root: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of all pictures: files, those in game archives, those in Qt's resource files."""
    for path in sorted(file for file in root.rglob("*") if file.is_file() and not file.is_symlink()):
        if path.suffix.lower() in _SUFFIXES:
            yield path.relative_to(root).as_posix(), path.read_bytes()
        elif path.suffix == ".pk3":
            with zipfile.ZipFile(path) as archive:
                names = [name for name in sorted(archive.namelist()) if name.lower().endswith(_SUFFIXES)]
                for name in [name for name in names if not _NO_PICTURE.search(name)][::EVERY]:
                    yield name, archive.read(name)
        elif path.suffix == ".rcc":
            data = path.read_bytes()
            for found in _INSIDE.finditer(data):  # each has its length before it, 4 bytes, highest first
                size = int.from_bytes(data[found.start() - 4 : found.start()], "big")
                yield f"{path.stem}_{found.start()}", data[found.start() : found.start() + size]


def usable(data: bytes) -> np.ndarray | None:
    """(H, W, 3) uint8, or None for what is no whole photo."""
    if not len(data) > LEAST_BYTES:
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            if getattr(image, "n_frames", 1) > 1:
                return None
            image.load()
            cut_out = bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    if cut_out or min(rgb.shape[:2]) < LEAST_SIDE:
        return None
    scale = (MOST_PIXELS / (rgb.shape[0] * rgb.shape[1])) ** 0.5
    if scale < 1:
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return rgb if cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).std() > 8 else None


def thumbnail(rgb: np.ndarray) -> bytes:
    """16 x 16, each pixel above the mean or not."""
    small = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (16, 16), interpolation=cv2.INTER_AREA)
    return (small > small.mean()).tobytes()


if __name__ == "__main__":
    main()
