"""What samples are called: the stem of the image's name, made safe for every file system, and nobody else's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from million_ird.records import Item
from million_ird.rng import key_for

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{0,6}(?=$|@\d+,\d+$)")
"""Of a file name; behind it may stand which patch of the image it is."""
_LONGEST = 100
"""Characters of a name at most; file systems take 255 bytes."""
_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))])


def names_of(items: Sequence[Item]) -> list[str]:
    """A name for each image, unique even where case does not count.

    `photos/cat.jpg` is `cat`; where there are several cats, each is called by its whole path (`photos-cat`), and where
    that is not enough, by a hash too. Names hang on the list of images alone, not on their order.
    """
    names = [""] * len(items)
    taken: set[str] = set()
    left = list(range(len(items)))
    for form in _FORMS:
        found = {index: form(items[index]) for index in left}
        count = Counter(name.lower() for name in found.values())
        fine = [i for i in left if count[found[i].lower()] == 1 and found[i].lower() not in taken]
        for index in fine:
            names[index] = found[index]
            taken.add(found[index].lower())
        left = [index for index in left if not names[index]]
    if left:
        raise ValueError(f"{items[left[0]].uri} is listed twice")
    return names


def sample_name(name: str, index: int) -> str:
    """The name of a sample: `cat_000`."""
    return f"{name}_{index:03d}"


def _safe(text: str) -> str:
    # No dots: a WebDataset key ends at the first.
    name = _UNSAFE.sub("_", text).strip("-")[-_LONGEST:].lstrip("-") or "image"
    return f"{name}_" if name.lower() in _RESERVED else name


def _parts(item: Item) -> list[str]:
    parts = [part for part in item.uri.replace("::", "/").split("/") if part]
    if parts:
        parts[-1] = _SUFFIX.sub("", parts[-1])
    return parts or ["image"]


def _stem(item: Item) -> str:
    parts = _parts(item)
    if parts[-1].isdecimal() and "::" in item.uri:  # a row of a table: its number says nothing without the file
        return _safe("-".join([_SUFFIX.sub("", parts[-2]), parts[-1]]))
    return _safe(parts[-1])


def _path(item: Item) -> str:
    return _safe("-".join(_parts(item)))


def _hashed(item: Item) -> str:
    where = key_for(0, item.source, item.uri, item.path.hex(), item.member)
    return f"{_stem(item)[:80]}-{where:032x}"


_FORMS: tuple[Callable[[Item], str], ...] = (_stem, _path, _hashed)
