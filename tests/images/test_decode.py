"""Decoding: the same pixels for everyone, and a status for every bad file."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from million_ird.errors import BadImage
from million_ird.images import Limits, decode, preview, read_header, sniff


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def status_of(data: bytes, **limits) -> str:
    with pytest.raises(BadImage) as caught:
        decode(data, limits=Limits(**limits))
    return caught.value.status


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_a_lossless_file_decodes_to_its_own_pixels(photo, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(encoded(Image.fromarray(photo), kind, **options))
    assert decoded.header.format == kind.lower()
    np.testing.assert_array_equal(decoded.rgb, photo)
    assert decoded.notes == {}


def test_jpeg_pixels_are_those_of_pillow_and_opencv(photo):
    data = encoded(Image.fromarray(photo), "JPEG", quality=88)
    pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode(data).rgb, pillow)
    np.testing.assert_array_equal(decode(data).rgb, opencv)


def test_avif_is_decoded_and_named(photo):
    decoded = decode(encoded(Image.fromarray(photo), "AVIF", quality=90))
    assert decoded.header.format == "avif"
    assert np.abs(decoded.rgb.astype(int) - photo).mean() < 4


def test_heic_is_decoded_where_the_plug_in_is_there(photo):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    decoded = decode(encoded(Image.fromarray(photo), "HEIF", quality=90))
    assert decoded.header.format == "heif"
    assert np.abs(decoded.rgb.astype(int) - photo).mean() < 4


@pytest.mark.parametrize("quality", range(1, 101))
def test_the_jpeg_quality_is_read_exactly_from_the_tables(quality):
    data = encoded(Image.new("RGB", (32, 32)), "JPEG", quality=quality)
    assert read_header(data).jpeg_quality == quality


@pytest.mark.parametrize(("sampling", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_the_chroma_subsampling_is_read_from_the_header(sampling, name):
    data = encoded(Image.new("RGB", (32, 32)), "JPEG", subsampling=sampling)
    assert read_header(data).subsampling == name


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_exif_turn_is_applied_and_the_header_tells_the_turned_size(kind, orientation):
    from PIL import ImageOps

    rng = np.random.default_rng(0)
    small = cv2.resize(rng.integers(0, 255, (4, 6, 3), np.uint8), (96, 64), interpolation=cv2.INTER_NEAREST)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(Image.fromarray(small), kind, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    decoded = decode(data)
    assert (decoded.header.height, decoded.header.width) == expected.shape[:2]
    assert np.abs(decoded.rgb.astype(int) - expected).max() <= 2


def test_a_real_scene_in_all_orientations_is_the_same_picture(real):
    folder = real("exif_orientation")
    files = sorted(path for path in folder.iterdir() if path.suffix == ".jpg")
    pictures = [cv2.resize(decode(path.read_bytes()).rgb, (90, 60)).astype(int) for path in files]
    # Each carries its number as a big digit, the scene around it is the same.
    assert len(pictures) == 9
    assert all(np.abs(picture - pictures[0]).mean() < 12 for picture in pictures)


def test_alpha_is_composed_on_white_and_said(photo):
    rgba = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    assert decode(encoded(Image.fromarray(rgba), "PNG")).notes == {"alpha": "opaque"}
    rgba[:, :100, 3] = 0
    decoded = decode(encoded(Image.fromarray(rgba), "PNG"))
    assert decoded.notes == {"alpha": "white"}
    assert (decoded.rgb[:, :100] == 255).all()
    np.testing.assert_array_equal(decoded.rgb[:, 100:], photo[:, 100:])


def test_sixteen_bit_grey_is_rounded_not_cut():
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    decoded = decode(encoded(Image.fromarray(values), "PNG"))
    assert decoded.notes == {"bits": 16}
    np.testing.assert_array_equal(decoded.rgb[..., 1], np.rint(values / 257).astype(np.uint8))


def test_cmyk_and_palette_become_rgb(photo):
    cmyk = decode(encoded(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=98))
    assert cmyk.notes["cmyk"] is True
    assert np.abs(cmyk.rgb.astype(int) - photo).mean() < 4
    palette = decode(encoded(Image.fromarray(photo).quantize(256), "PNG"))
    assert palette.notes == {"palette": True}
    assert np.abs(palette.rgb.astype(int) - photo).mean() < 12


def test_a_profile_other_than_srgb_is_converted():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = Image.new("RGB", (32, 32), (100, 150, 200))
    assert decode(encoded(grey, "PNG", icc_profile=srgb)).notes == {}
    # A profile of another colour space than the pixels' is left alone, not misused.
    assert decode(encoded(grey, "PNG", icc_profile=lab.tobytes())).notes == {}


def test_a_wide_gamut_profile_changes_the_pixels(real):
    changed = []
    for path in sorted(real("product/iconic").glob("*.jpg"))[:20]:
        data = path.read_bytes()
        try:
            decoded = decode(data)
        except BadImage:
            continue
        if decoded.notes.get("icc") == "converted":
            raw = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            changed.append(np.abs(decoded.rgb.astype(int) - raw).max())
    assert changed
    assert max(changed) > 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_found(photo, kind, share):
    data = encoded(Image.fromarray(photo), kind)
    assert status_of(data[: int(len(data) * share)]) in ("truncated", "unreadable")
    if kind in ("JPEG", "PNG", "WEBP"):
        assert status_of(data[: int(len(data) * share)]) == "truncated"


def test_a_jpeg_that_is_closed_too_early_is_found(photo):
    data = bytearray(encoded(Image.fromarray(photo), "JPEG", quality=90))
    middle = len(data) // 2
    data[middle : middle + 2] = b"\xff\xd9"
    assert status_of(bytes(data)) in ("truncated", "unreadable")


def test_junk_between_the_scan_and_the_end_of_a_jpeg_is_found(photo):
    data = encoded(Image.fromarray(photo), "JPEG", quality=90)
    assert status_of(data[:-2] + b"\x12\x34" * 40 + data[-2:]) == "unreadable"


def test_what_lies_behind_the_picture_does_no_harm(photo):
    data = encoded(Image.fromarray(photo), "JPEG", quality=90)
    np.testing.assert_array_equal(decode(data + b"\0" * 1000 + data).rgb, decode(data).rgb)


def test_animations_and_pages_are_refused():
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "green")]
    for kind in ("PNG", "WEBP", "TIFF"):
        assert status_of(encoded(frames[0], kind, save_all=True, append_images=frames[1:])) == "animated"


def test_what_is_no_image_is_unsupported():
    assert status_of(b"just text that someone called photo.jpg") == "unsupported"
    assert status_of(encoded(Image.new("RGB", (32, 32)), "GIF")) == "unsupported"
    assert status_of(b"") == "unreadable"


def test_limits_are_checked_before_pixels_are_decoded():
    bomb = encoded(Image.new("1", (20_000, 10_000)), "PNG")
    assert len(bomb) < 100_000
    assert status_of(bomb) == "too_large"
    assert status_of(encoded(Image.new("RGB", (5, 300)), "PNG")) == "too_small"
    assert status_of(encoded(Image.new("RGB", (64, 64)), "PNG"), max_bytes=50) == "too_large"


def test_every_file_of_pillows_own_suite_gets_pixels_or_a_status(real):
    statuses = set()
    for path in sorted(path for path in real("formats_pillow").rglob("*") if path.is_file()):
        data = path.read_bytes()
        try:
            decoded = decode(data)
        except BadImage as bad:
            statuses.add(bad.status)
        else:
            assert decoded.rgb.dtype == np.uint8
            assert decoded.rgb.shape == (decoded.header.height, decoded.header.width, 3)
            statuses.add("ok")
    assert statuses == {"ok", "unsupported", "unreadable", "truncated", "animated", "too_small", "too_large"}


def test_random_damage_never_raises_anything_else(photo):
    rng = np.random.default_rng(1)
    small = Image.fromarray(photo[:96, :96])
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"):
        whole = np.frombuffer(encoded(small, kind), np.uint8)
        for _ in range(60):
            data = whole.copy()
            at = rng.integers(0, len(data), 12)
            data[at] = rng.integers(0, 256, 12)
            try:
                decode(data.tobytes(), limits=Limits(max_pixels=1_000_000))
            except BadImage as bad:
                assert bad.detail


def test_a_preview_is_small_and_upright(photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(photo[:, :256]), "JPEG", exif=exif)
    shown = preview(data, 64)
    assert shown.shape[0] < shown.shape[1]
    assert 64 <= min(shown.shape[:2]) < 256


def test_sniffing_names_the_formats(photo):
    small = Image.fromarray(photo[:32, :32])
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"):
        assert sniff(encoded(small, kind)) == kind.lower()
    assert sniff(b"%PDF-1.7") is None
