"""The notebook runs from top to bottom in an empty folder, and what it shows is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def notebook() -> Any:
    import nbformat

    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_kept_without_outputs(notebook):
    import nbformat

    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    assert NOTEBOOK.stat().st_size < 20_000


def _texts(cell: Any) -> str:
    streams = [out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout"]
    return "".join([*streams, *(out.data.get("text/plain", "") for out in cell.outputs if "data" in out)])


def _pictures(cell: Any) -> int:
    return sum("image/png" in out.data for out in cell.outputs if "data" in out)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook's own machinery
def test_it_runs_and_its_results_hold(notebook, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    for name, folder in {"IPYTHONDIR": "ipython", "JUPYTER_RUNTIME_DIR": "runtime", "TMPDIR": "tmp"}.items():
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    built, figures, degraded, loaded, restored = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]
    assert "5 of 8 kept" in _texts(built)
    decided = dict(re.findall(r"^(\S+)\s+(\w+)", _texts(built), re.MULTILINE))
    assert decided["flower-again.jpg"] == "near_duplicate"
    assert decided["notes.jpg"] == "unsupported"
    assert decided["enlarged.png"] in ("blur", "upscaled")
    assert _pictures(figures) == 2
    assert _pictures(degraded) == _pictures(restored) == 1
    assert "labels: " in _texts(degraded) and '"steps"' in _texts(degraded)
    assert "'lq': ((4, 3, 128, 128), 'torch.float32')" in _texts(loaded)
    found = re.search(r"([\d.]+) dB before, ([\d.]+) dB after", _texts(restored))
    assert found is not None and float(found[2]) > float(found[1]) + 4
