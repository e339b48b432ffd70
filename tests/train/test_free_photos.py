"""The script that gathers photos from packages: what it finds in them, and what it leaves out."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from million_ird.images import encode_jpeg
from scripts.free_photos import EVERY, LEAST_SIDE, MOST_PIXELS, pictures, thumbnail, usable


@pytest.fixture(scope="module")
def scene(photo):
    return np.ascontiguousarray(photo[:300, :400])


def png(image: Image.Image, **more) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **more)
    return out.getvalue()


def test_files_archives_and_resources_are_looked_through(scene, tmp_path):
    jpeg = encode_jpeg(scene, 90)
    for folder in ("plain", "other"):  # files of one name are two pictures
        (tmp_path / folder / "images").mkdir(parents=True)
        (tmp_path / folder / "images" / "a.jpg").write_bytes(jpeg)
    (tmp_path / "plain" / "copyright").write_text("free")
    with zipfile.ZipFile(tmp_path / "textures.pk3", "w") as archive:
        for number in range(2 * EVERY):
            archive.writestr(f"wall/{number:02d}.jpg", jpeg)
        archive.writestr("wall/00_norm.jpg", jpeg)
    (tmp_path / "things.rcc").write_bytes(b"qres" + len(jpeg).to_bytes(4, "big") + jpeg + b"rest")
    found = dict(pictures(tmp_path))
    assert found == {
        "other/images/a.jpg": jpeg,
        "plain/images/a.jpg": jpeg,
        "wall/00.jpg": jpeg,
        f"wall/{EVERY:02d}.jpg": jpeg,
        "things_8": jpeg,
    }


def test_only_whole_photos_are_usable_and_large_ones_are_made_smaller(scene):
    image = Image.fromarray(scene)
    kept = usable(png(image))
    assert kept is not None and np.array_equal(kept, scene)
    cut_out = image.convert("RGBA")
    cut_out.putpixel((0, 0), (0, 0, 0, 0))
    animated = png(image, save_all=True, append_images=[image.rotate(90)])
    even = np.random.default_rng(0).integers(100, 104, (300, 400, 3), np.uint8)
    small = image.resize((LEAST_SIDE - 1, 400))
    for data in (png(cut_out), animated, png(Image.fromarray(even)), png(small), b"no picture" * 1000, b""):
        assert usable(data) is None
    large = usable(png(image.resize((2400, 1800))))
    assert large is not None and large.shape[0] * large.shape[1] <= MOST_PIXELS and large.shape[1] > 1500


def test_a_copy_has_the_same_thumbnail_and_another_picture_has_not(scene):
    copy = np.asarray(Image.fromarray(scene).resize((200, 150), Image.Resampling.BOX))
    differing = sum(bin(a ^ b).count("1") for a, b in zip(thumbnail(scene), thumbnail(copy), strict=True))
    assert differing <= 4
    assert thumbnail(scene) != thumbnail(np.ascontiguousarray(scene[::-1]))
