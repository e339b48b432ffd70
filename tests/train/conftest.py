"""Small clean pictures, and pairs whose degraded side says which clean one is theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from million_ird.images import encode_png


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def crops(photo: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Six pictures of 40 x 48 px."""
    return [np.ascontiguousarray(photo[60 * i : 60 * i + 40, 50 * i : 50 * i + 48]) for i in range(6)]


@pytest.fixture(scope="session")
def clean(crops: list[NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the six: 0.png to 5.png."""
    folder = tmp_path_factory.mktemp("clean")
    for number, crop in enumerate(crops):
        (folder / f"{number}.png").write_bytes(encode_png(crop))
    return folder


@pytest.fixture(scope="session")
def paired(crops: list[NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder lq/ and hq/; a degraded picture is the negative of its clean one."""
    folder = tmp_path_factory.mktemp("paired")
    for part, pictures in (("lq", [255 - crop for crop in crops]), ("hq", crops)):
        (folder / part).mkdir()
        for number, picture in enumerate(pictures):
            (folder / part / f"{number}.png").write_bytes(encode_png(picture))
    return folder
