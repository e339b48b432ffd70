"""A Hub on loopback that the real client takes for the Hub, and small builds to publish."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from million_ird.curate import build
from tests.conftest import SMALL
from tests.sources.hub_server import HubServer

pytest.importorskip("huggingface_hub")

TOKEN = "hf_secretOfTheTests"
LICENCE = "CC BY 4.0"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """An empty Hub; who asks is logged in; files go up by PUT."""
    from huggingface_hub import HfFileSystem, constants

    with HubServer(TOKEN) as server:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.endpoint + template)
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server
        HfFileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def licensed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of a table of images with a licence each."""
    folder = tmp_path_factory.mktemp("licensed")
    cells = [{"bytes": path.read_bytes(), "path": path.name} for path in sorted(corpus.iterdir())]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = {"image": pa.array(cells, kind), "license": [LICENCE] * len(cells), "artist": ["Ann"] * len(cells)}
    pq.write_table(pa.table(table), folder / "photos.parquet")
    build([folder / "photos.parquet"], folder / "out", {**SMALL, "export": {"name": "Ten | crops"}})
    return folder / "out"


@pytest.fixture
def built(licensed: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(licensed, tmp_path / "built"))
