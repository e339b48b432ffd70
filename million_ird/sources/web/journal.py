"""What a crawl has read, on disk as it goes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Result:
    """What came of one address.

    Attributes:
        url: as it was asked for.
        why: "" = it was read; "redirect" (links holds where to); else the class of the failure.
        detail: of the failure, in words.
        size: bytes of the answer.
        links: pages it leads to.
        images: as `pages.Page.images`.
        sitemaps: it leads to.
        canonical: the address that it gives itself, "" = none.
        skipped: what was passed over while it was read, by kind.
    """

    url: str
    why: str = ""
    size: int = 0
    links: tuple[str, ...] = ()
    images: tuple[dict[str, str], ...] = ()
    sitemaps: tuple[str, ...] = ()
    canonical: str = ""
    skipped: dict[str, int] = field(default_factory=dict)
    detail: str = ""


class Journal:
    """Results on disk, one a line, found again by address. A line that a kill cut off doesn't count.

    Args:
        path: of the file; made if it is not there.
        about: what all results depend on; a file about something else is begun anew.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        head = json.dumps(about, sort_keys=True).encode() + b"\n"
        self._file: IO[bytes] = path.open("a+b")
        self._places: dict[str, int] = {}
        self._file.seek(0)
        if self._file.readline() != head:
            self._file.truncate(0)
            self._file.write(head)
        end = len(head)
        for line in self._file:
            try:
                self._places[json.loads(line)["url"]] = end
            except ValueError:
                break
            end += len(line)
        self._file.truncate(end)
        self._file.flush()

    def __contains__(self, url: str) -> bool:
        return url in self._places

    def __len__(self) -> int:
        return len(self._places)

    def read(self, url: str) -> Result:
        """What came of an address that is in it."""
        self._file.seek(self._places[url])
        values = json.loads(self._file.readline())
        facts: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return Result(**facts)

    def append(self, result: Result) -> None:
        """Write a result down."""
        place = self._file.seek(0, 2)
        self._file.write(json.dumps(asdict(result), ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self._places[result.url] = place

    def close(self) -> None:
        """Close the file."""
        self._file.close()
