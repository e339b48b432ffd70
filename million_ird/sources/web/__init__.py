"""The web as a source: lists of URLs and sites, fetched politely, guarded and only once.

settings guard signals robots     what may be asked, of whom, and what owners say to it
resolver responses fetcher lanes downloads  one URL; all of them, fair among hosts
answer store                      what came of it, kept
site spider pages walk            crawling for images, by Scrapy in a process of its own
"""

from __future__ import annotations

from importlib.util import find_spec

from million_ird.errors import InputError


def need_web() -> None:
    """Say so where what fetching takes is not installed.

    Raises:
        InputError: with the command that installs it.
    """
    missing = [name for name in ("aiohttp", "protego") if find_spec(name) is None]
    if missing:
        raise InputError(f'the web is read with {" and ".join(missing)}: pip install "million-ird[web]"')
