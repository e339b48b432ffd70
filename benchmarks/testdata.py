"""Where the test images lie that benchmarks measure on."""

import os
import sys
from pathlib import Path

TEST_DATA = Path(os.environ.get("MIRD_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Holds kodak24, cbsd68, cid22 and others."""


def need(*names: str) -> None:
    """Leave, with the remedy, where one of these sets is missing."""
    for name in names:
        if not (TEST_DATA / name).is_dir():
            sys.exit(f"{TEST_DATA / name}: no such folder; MIRD_TEST_DATA names the one that holds {', '.join(names)}")
