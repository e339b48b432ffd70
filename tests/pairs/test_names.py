"""Names of samples: safe everywhere, nobody else's, and the same whatever the order."""

from __future__ import annotations

import re

from million_ird.pairs.names import names_of, sample_name
from million_ird.records import Item


def items(*uris: str) -> list[Item]:
    return [Item("set", uri, uri.encode()) for uri in uris]


def test_a_name_is_the_stem_of_the_file():
    uris = ["cat.jpg", "a.tar::dogs/dog.1.png", "https://x.org/p/bird.jpeg", "old.tar::x/no suffix"]
    assert names_of(items(*uris)) == ["cat", "dog_1", "bird", "no_suffix"]
    assert sample_name("cat", 7) == "cat_007"
    assert sample_name("cat", 1234) == "cat_1234"


def test_names_are_safe_on_every_file_system_and_as_keys_of_tars():
    uris = ["../../etc/passwd", "-rf.png", "a\x00b.png", "con.png", "ünï.png", ".png", "x" * 400 + ".png", "a:b|c.png"]
    for name in names_of(items(*uris)):
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,110}", name)
        assert name.lower() != "con"


def test_two_of_one_name_are_called_by_their_paths_and_never_collide():
    uris = ["a/1.png", "b/1.png", "B/1.PNG", "b-1.png", "A.jpg", "a.png", "ä.png", "ö.png", "é/ö.png"]
    names = names_of(items(*uris))
    assert len({name.lower() for name in names}) == len(uris)
    assert names[0] == "a-1"
    assert names[3] == "b-1"


def test_names_hang_on_no_order():
    listed = items("a/1.png", "b/1.png", "c.png", "ä.png", "ö.png", "b-1.png")
    names = dict(zip((item.uri for item in listed), names_of(listed), strict=True))
    again = dict(zip((item.uri for item in listed[::-1]), names_of(listed[::-1]), strict=True))
    assert names == again


def test_rows_of_tables_and_patches_are_told_apart():
    uris = ["train-0.parquet::0", "train-0.parquet::1", "train-1.parquet::0", "cat.jpg@0,128", "cat.jpg@128,0"]
    assert names_of(items(*uris)) == ["train-0-0", "train-0-1", "train-1-0", "cat_0_128", "cat_128_0"]
