"""Picture files come back as they were: bits, alpha, grey, colour profile, upright."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from million_ird.errors import BadImage
from million_ird.images import deep
from million_ird.restore import files

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape, kind=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, shape, dtype=kind)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "webp", "bmp", "tiff"])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (7, 5, 4)])
def test_eight_bits_come_back(kind, shape):
    if (kind, len(shape), shape[-1]) == ("bmp", 3, 4):
        with pytest.raises(BadImage, match="no alpha"):
            files.write(files.Picture(noise(*shape), kind, None, b""), kind)
        return
    picture = files.read(files.write(files.Picture(noise(*shape), kind, ICC, b""), kind))
    pixels = picture.pixels[..., 0] if kind == "webp" and len(shape) == 2 else picture.pixels
    assert np.array_equal(pixels, noise(*shape))
    assert picture.icc == (None if kind == "bmp" else ICC)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_come_back(kind, channels):
    pixels = noise(9, 6, channels, kind=np.uint16)
    picture = files.read(files.write(files.Picture(pixels, kind, ICC, b""), kind))
    if (kind, channels) == ("tiff", 2):  # as colour, which is what can be read
        pixels = pixels[..., [0, 0, 0, 1]]
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels.reshape(pixels.shape), pixels)
    assert picture.icc == ICC


def test_sixteen_bit_files_are_read_by_others():
    pixels = noise(9, 6, 3, kind=np.uint16)
    for data in (deep.png(pixels, ICC), deep.tiff(pixels, ICC)):
        image = Image.open(io.BytesIO(data))
        image.load()
        assert image.info["icc_profile"] == ICC
        assert np.array_equal(np.asarray(image), pixels >> 8)


@pytest.mark.parametrize("turn", range(1, 9))
def test_pixels_are_upright_and_the_turn_is_gone(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    exif[0x010F] = "Maker"
    pixels = np.kron(noise(4, 6), np.ones((8, 8), np.uint8))
    data = encoded(Image.fromarray(pixels), "JPEG", quality=100, exif=exif)
    picture = files.read(data)
    straight = np.asarray(Image.open(io.BytesIO(data)))
    expected = {
        1: straight,
        2: straight[:, ::-1],
        3: straight[::-1, ::-1],
        4: straight[::-1],
        5: straight.T,
        6: straight.T[:, ::-1],
        7: straight.T[::-1, ::-1],
        8: straight.T[::-1],
    }[turn]
    assert np.array_equal(picture.pixels, expected)
    for kind in ("png", "jpeg", "webp"):
        again = Image.open(io.BytesIO(files.write(picture, kind)))
        assert again.size == expected.shape[::-1]
        assert again.getexif().get(0x0112, 1) == 1
        assert again.getexif()[0x010F] == "Maker"


def test_sixteen_bit_png_keeps_what_the_camera_wrote():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    data = deep.png(noise(4, 4, 3, kind=np.uint16), None, exif.tobytes().removeprefix(b"Exif\0\0"))
    assert Image.open(io.BytesIO(data)).getexif()[0x010F] == "Maker"
    assert files.read(data).exif


def test_palettes_masks_and_cmyk_become_plain_pixels():
    colours = Image.fromarray(noise(12, 12, 3))
    palette = files.read(encoded(colours.quantize(16), "PNG")).pixels
    assert palette.shape == (12, 12, 3)
    clear = colours.quantize(16)
    clear.info["transparency"] = 0
    assert files.read(encoded(clear, "PNG", transparency=0)).pixels.shape == (12, 12, 4)
    assert files.read(encoded(Image.fromarray(noise(9, 9) > 99), "PNG")).pixels.shape == (9, 9)
    cmyk = files.read(encoded(colours.convert("CMYK"), "JPEG"))
    assert cmyk.pixels.shape == (12, 12, 3)
    assert cmyk.icc is None


def test_a_picture_of_one_pixel_is_read():
    assert files.read(encoded(Image.new("RGB", (1, 1), "red"), "PNG")).pixels.tolist() == [[[255, 0, 0]]]


def test_every_format_of_the_collection_is_read_or_named(real):
    for path in sorted(path for path in real("formats_pillow").rglob("*") if path.is_file()):
        try:
            picture = files.read(path.read_bytes())
        except BadImage:
            continue
        assert picture.pixels.dtype in (np.uint8, np.uint16)


@pytest.mark.parametrize("data", [b"", b"no picture", encoded(Image.fromarray(noise(64, 64, 3)), "PNG")[:2000]])
def test_what_is_no_picture_is_a_bad_image(data):
    with pytest.raises(BadImage):
        files.read(data)


@pytest.mark.parametrize("write", [deep.png, deep.tiff])
def test_a_cut_sixteen_bit_file_is_a_bad_image(write):
    data = write(noise(64, 64, 3, kind=np.uint16))
    for length in (400, len(data) // 2, len(data) - 200):
        with pytest.raises(BadImage):
            files.read(data[:length])
