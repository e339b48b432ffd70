"""Calls of the `mird` command: in a process of its own as a user makes them, or in this one, which is quicker."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """What a call came to, with the names that `subprocess` uses."""

    returncode: int
    stdout: str
    stderr: str


def mird(*words: object, timeout: float = 240, **options) -> subprocess.CompletedProcess[str]:
    """The command in a fresh process."""
    command = [sys.executable, "-m", "million_ird", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)


def inside(*words: object) -> Done:
    """The command in this process: a fresh one would spend its time on importing torch."""
    from typer.testing import CliRunner

    from million_ird.cli.main import app

    found = CliRunner().invoke(app, [str(word) for word in words])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Done(found.exit_code, found.stdout, found.stderr)
