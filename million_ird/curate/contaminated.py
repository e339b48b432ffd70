"""The measurement behind `policy.contaminated`: which test picture an input shows; and how hash lists are made.

It is no meter of the registry: what it compares with is policy, and may change. So the rows name the lists they were
compared with, and other lists make them `unmeasured` by this one alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from million_ird import __version__
from million_ird.curate.policy import Policy
from million_ird.dedup.contamination import Print, fingerprint
from million_ird.dedup.hashlists import Lists, Provenance, is_file, load_lists, write_list
from million_ird.errors import BadImage, ConfigError, InputError
from million_ird.images import decode
from million_ird.meters import Frame
from million_ird.meters.phash import thumb
from million_ird.sources import Reader, resolve

COLUMN = "contaminated"
HELP = "0..1, share of the smaller of image and test picture that lies in the other; 0 = none found"
NOTE = "contaminated"
"""Key of the row's `meta` that names the test picture."""


@dataclass(frozen=True)
class Recogniser:
    """Compares frames with the hash lists of a policy."""

    lists: Lists

    @property
    def name(self) -> str:
        """What a row's `meters` calls it: other lists have another name."""
        return f"{COLUMN}:{self.lists.digest}"

    def __call__(self, frame: Frame, thumbnail: bytes) -> tuple[float, str]:
        """The share, as the ledger holds it, and the "SET/PICTURE" it is shared with ("" = none)."""
        match = self.lists.known.find(frame.luma, thumbnail)
        return (0.0, "") if match is None else (float(np.float32(match.share)), self.lists.names[match.index])


def recogniser(policy: Policy) -> Recogniser | None:
    """What a policy asks for, None where the rule is off.

    Raises:
        ConfigError: no list is named, or one cannot be read.
    """
    rule = policy.contaminated
    if not rule.enabled:
        return None
    if not rule.sets:
        raise ConfigError("policy.contaminated.enabled: true, but policy.contaminated.sets is empty; name hash lists")
    return Recogniser(load_lists(rule.sets))


def absolute(policy: Policy) -> Policy:
    """The policy with its hash lists that are files as absolute paths, so that it means the same from anywhere."""
    rule = policy.contaminated
    sets = tuple(str(Path(name).expanduser().absolute()) if is_file(name) else name for name in rule.sets)
    return policy.model_copy(update={"contaminated": rule.model_copy(update={"sets": sets})})


def make_list(
    sources: Sequence[str],
    name: str,
    out: str | Path,
    *,
    source: str = "",
    licence: str = "",
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Provenance, list[str]]:
    """Write the hash list of a test set.

    Args:
        sources: where its pictures lie: folders, images, archives, tables of images.
        name: of the set.
        out: the file to write, `.parquet`.
        source: where the pictures are from, for those who read the list.
        licence: of the pictures, a note.
        progress: called with the number of pictures done.

    Returns:
        What is written of the set's origin, and the names of what could not be read.

    Raises:
        MirdError: no picture could be read, or the file cannot be written.
    """
    if not str(out).endswith(".parquet"):
        raise ConfigError(f"--out {out}: a hash list is a .parquet file; name it so")
    specs = resolve([str(one) for one in sources])
    prints: list[Print] = []
    unread: list[str] = []
    with Reader(specs) as reader:
        for spec in specs:
            for item in spec.open().items(Counter()):
                try:
                    if item.status:
                        raise BadImage(item.status, item.detail)
                    frame = Frame(decode(reader.read(item)).rgb)
                except BadImage:
                    unread.append(item.uri)
                    continue
                prints.append(fingerprint(item.uri, frame.luma, thumb(frame)))
                progress(len(prints))
    if not prints:
        raise InputError(f"{', '.join(str(one) for one in sources)}: no picture in it that can be read")
    made = f"mird hashes make, million-ird {__version__}, OpenCV {cv2.__version__}"
    provenance = Provenance(name, source, licence, len(prints), made)
    write_list(out, prints, provenance)
    return provenance, unread
