"""The processes of a `DataLoader`: alone on their core, and missed when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import cv2
import torch

from million_ird.errors import MirdError

Item = TypeVar("Item")


def alone(_worker: int) -> None:
    """In a worker: one thread to work in, no answer to signals, and an end when the process that it works for ends."""
    # torch looks whether the parent has changed, and that of a worker is the server that forks them, which lives on.
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for number in (signal.SIGTERM, signal.SIGINT):  # sent to all of the run's processes; the loop answers them
        signal.signal(number, signal.SIG_IGN)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def alive(made: Iterable[Item], remedy: str) -> Iterator[Item]:
    """What a loader makes.

    Raises:
        MirdError: a worker died; with the remedy.
    """
    items = iter(made)
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except (RuntimeError, ConnectionError, EOFError) as error:
            # The second kind comes from a worker that died while it handed a batch over.
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise MirdError(f"a DataLoader worker died ({why}): {remedy}") from error
        yield item
