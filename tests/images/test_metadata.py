"""Stripping metadata: private parts gone, credit and pixels kept."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from million_ird.errors import BadImage
from million_ird.images import credits_of, decode, strip_metadata

GPS, MAKE, SERIAL, ORIENTATION, ARTIST, COPYRIGHT = 0x8825, 0x010F, 0xA431, 0x0112, 0x013B, 0x8298


def private_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[MAKE] = "SecretCamera"
    exif[ORIENTATION] = 6
    exif[ARTIST] = "Ann Author"
    exif[COPYRIGHT] = "CC BY 4.0"
    exif.get_ifd(GPS)[1] = "N"
    exif.get_ifd(GPS)[2] = (48.0, 12.0, 30.0)
    exif.get_ifd(0x8769)[SERIAL] = "SERIAL-0815"
    return exif


def saved(photo, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo[:64, :96]).save(buffer, kind, exif=private_exif(), **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_private_parts_go_and_pixels_turn_and_credit_stay(photo, kind):
    data = saved(photo, kind)
    assert b"SecretCamera" in data
    assert b"SERIAL-0815" in data
    stripped = strip_metadata(data)
    for secret in (b"SecretCamera", b"SERIAL-0815"):
        assert secret not in stripped
    exif = Image.open(io.BytesIO(stripped)).getexif()
    assert not exif.get_ifd(GPS)
    assert (exif[ARTIST], exif[COPYRIGHT], exif[ORIENTATION]) == ("Ann Author", "CC BY 4.0", 6)
    np.testing.assert_array_equal(decode(stripped).rgb, decode(data).rgb)
    assert credits_of(stripped) == credits_of(data) == {"creator": "Ann Author", "rights": "CC BY 4.0"}


def test_stripping_twice_changes_nothing_more(photo):
    once = strip_metadata(saved(photo, "JPEG"))
    assert strip_metadata(once) == once


def test_text_chunks_of_a_png_go_but_the_author_stays(photo):
    text = PngInfo()
    text.add_text("Comment", "taken at my home")
    text.add_text("Author", "Ann Author")
    buffer = io.BytesIO()
    Image.fromarray(photo[:64, :64]).save(buffer, "PNG", pnginfo=text)
    stripped = strip_metadata(buffer.getvalue())
    assert b"home" not in stripped
    assert credits_of(stripped) == {"creator": "Ann Author"}


def test_xmp_rights_are_read_and_the_packet_goes(photo):
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description xmpRights:WebStatement="https://example.org/by">'
        b"<dc:creator><rdf:Seq><rdf:li>Ann &amp; Bob</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF>"
        b"<secret>home address</secret></x:xmpmeta>"
    )
    buffer = io.BytesIO()
    Image.fromarray(photo[:64, :64]).save(buffer, "JPEG", xmp=packet)
    data = buffer.getvalue()
    assert credits_of(data) == {"creator": "Ann & Bob", "licence": "https://example.org/by"}
    stripped = strip_metadata(data)
    assert b"home address" not in stripped
    assert credits_of(stripped)["creator"] == "Ann & Bob"


def test_colour_profiles_stay(photo):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(photo[:64, :64]).save(buffer, kind, icc_profile=profile, exif=private_exif())
        stripped = strip_metadata(buffer.getvalue())
        assert Image.open(io.BytesIO(stripped)).info["icc_profile"] == profile


def test_a_second_picture_behind_the_first_goes(photo):
    data = saved(photo, "JPEG")
    assert strip_metadata(data + b"hidden video" + data) == strip_metadata(data)


def test_formats_that_need_re_encoding_are_refused(photo):
    buffer = io.BytesIO()
    Image.fromarray(photo[:64, :64]).save(buffer, "TIFF")
    with pytest.raises(BadImage, match="without re-encoding"):
        strip_metadata(buffer.getvalue())
