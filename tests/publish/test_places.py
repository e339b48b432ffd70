"""What gives a machine or a place away is found, and what only looks like it is left alone."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from million_ird.publish.places import bare, local_path, shows_where, without_password

LOCAL = [
    "/home/ann/x.jpg",
    "seen at /Users/ann/x.jpg",
    '{"file": "/mnt/photos/1.jpg"}',
    "C:\\Users\\ann\\x.jpg",
    '{"file": "D:\\\\photos\\\\x.jpg"}',
    "\\\\server\\share\\x.jpg",
    "file:///srv/x.jpg",
    "~/photos/x.jpg",
    "task=/data/sets/rain,recipe=derain",
]
PUBLIC = [
    "https://a.com/home/ann/x.jpg",
    "a/home/x.jpg",
    "photos.tar::home/x.jpg",
    "/gallery/1.jpg",
    "24:/7",
    "f/8 at 1/125 s",
    "hf://datasets/org/data/x.parquet",
    "~3 km",
    "width >= 10 and x/data/y",
]


@pytest.mark.parametrize("text", LOCAL)
def test_a_path_of_a_machine_is_found_within_text(text):
    found = local_path(text)
    assert found and found in text


@pytest.mark.parametrize("text", PUBLIC)
def test_addresses_and_relative_paths_are_no_paths_of_a_machine(text):
    assert local_path(text) == ""


def test_configurations_keep_names_and_patterns_and_lose_folders():
    given = {
        "paths": ["/home/ann/my photos", "https://me:secret@a.com/list.csv", "hf://datasets/org/x", "s3://bucket/a/b"],
        "pins": {"file": "C:\\pins\\mine.csv"},
        "data": {"tasks": ["rain=/data/sets/rain100l,recipe=derain", "kodak24:/sets/kodak", "noise=photos/clean"]},
        "include": ["/gallery/.*"],
        "where": "width / 2 > 3",
        "steps": 3,
    }
    assert bare(given) == {
        "paths": ["my photos", "https://a.com/list.csv", "hf://datasets/org/x", "s3://bucket/a/b"],
        "pins": {"file": "mine.csv"},
        "data": {"tasks": ["rain=rain100l,recipe=derain", "kodak24:kodak", "noise=photos/clean"]},
        "include": ["/gallery/.*"],
        "where": "width / 2 > 3",
        "steps": 3,
    }
    assert without_password("https://a.com/x@y") == "https://a.com/x@y"


def saved(form: str, place: dict | None) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    if place is not None:
        exif[0x8825] = place
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (9, 99, 199)).save(out, form, exif=exif.tobytes())
    return out.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_picture_that_says_where_it_was_taken_is_told_from_one_that_does_not(form):
    where = {1: "N", 2: (47.0, 22.0, 1.0), 3: "E", 4: (8.0, 32.0, 2.0)}
    assert shows_where(saved(form, where))
    assert not shows_where(saved(form, {0: b"\2\3\0\0"}))
    assert not shows_where(saved(form, None))
    assert not shows_where(saved(form, where)[:60])


def test_a_place_in_xmp_counts_and_damage_does_not():
    packet = b'<rdf:Description exif:GPSLatitude="47,22.0N" exif:GPSLongitude="8,32.0E"/>'
    assert shows_where(b"\xff\xd8\xff\xe1" + packet)
    assert not shows_where(b"\xff\xd8\xff\xe1\0\x20Exif\0\0MM\0*\xff\xff\xff\xff\x88\x25")
    assert not shows_where(b"")
