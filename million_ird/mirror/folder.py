"""The output folder of a run, here or at an address."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from million_ird.mirror.mount import DIARY, Mounted
from million_ird.tables import log_event


class RunFolder:
    """What every run does with its output folder.

    Attributes:
        out: the folder; of an address its copy on this machine.
        run: name of this run of the command.
        mount: the address, where there is one.
    """

    def __init__(self, out: Path, run: str, mount: Mounted | None = None) -> None:
        self.out = out
        self.run = run
        self.mount = mount

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.mount.address if self.mount else str(self.out)

    def push(self, *names: str) -> None:
        """Put files at the address, where there is one."""
        if self.mount:
            self.mount.push(names)

    def event(self, name: str, level: str = "info", **fields: Any) -> None:
        """Append an event to run.jsonl."""
        log_event(self.out / DIARY, self.run, name, level, **fields)

    def drop(self, names: Iterable[str]) -> None:
        """Delete these files and folders, here and at the address."""
        names = tuple(names)
        if self.mount:
            self.mount.clear(names)
        for name in names:
            path = self.out / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
