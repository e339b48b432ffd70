"""Files of one's own that meters measure by: the same ones as before, or none of them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from million_ird.config import Config
from million_ird.errors import ConfigError

OURS = "million-ird"
"""Name of what ships with the package."""


class Modelled(Config):
    """A meter whose numbers rest on what ships with the package, or on a file of one's own."""

    model: str = OURS
    """`million-ird`, or a file."""

    sha256: str | None = None
    """Of a file of one's own; null = taken when a build begins. Another file is refused: its numbers would not
    compare."""


def pinned(path: str | Path, sha256: str | None, where: str, key: str = "path") -> tuple[str, str]:
    """Where a file, or a folder with all its files, lies, and its hash.

    Args:
        path: of it.
        sha256: what the hash has to be; None = whatever it is.
        where: the section of the configuration, for the messages.
        key: the field that names it.

    Returns:
        The absolute path, and the hash.

    Raises:
        ConfigError: it can't be read, or is another one.
    """
    file = Path(path).expanduser().absolute()
    try:
        found = _of_folder(file) if file.is_dir() else _of_file(file)
    except OSError as error:
        raise ConfigError(f"{where}.{key}: {path}: {error.strerror or error}") from None
    if sha256 is not None and found != sha256.lower():
        raise ConfigError(
            f"{where}.sha256: {path} is another file ({found[:12]}..., not {sha256[:12]}...): bring the old one back, "
            "or give the new one a name of its own"
        )
    return str(file), found


def _of_file(file: Path) -> str:
    facts = file.stat()
    return _digest(str(file), facts.st_size, facts.st_mtime_ns)


def _of_folder(folder: Path) -> str:
    """Of its files' names and hashes, hidden ones left out."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            found.update(f"{name.as_posix()}\0{_of_file(file)}\n".encode())
    return found.hexdigest()


@lru_cache
def _digest(path: str, *changed: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
