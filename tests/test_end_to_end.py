"""examples/end_to_end.sh: from nothing to a published dataset and a published model, and both back from the Hub."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "end_to_end.sh"
COMMANDS = ("build", "degrade", "verify", "train dynet", "eval", "restore", "publish dataset", "publish model")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script, with a user's own token and address in the environment, neither of which it may use."""
    own = {"HF_TOKEN": "hf_ofTheUser", "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHON": sys.executable}
    command = ["bash", str(SCRIPT), str(folder)]
    return subprocess.run(
        command, env={**os.environ, **own, **environment}, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_from_nothing_to_a_published_dataset_and_model_and_back(tmp_path):
    done = run(tmp_path / "made", STEPS="120")
    assert done.returncode == 0, done.stdout + done.stderr
    places = [done.stdout.index(f"\n$ mird {command} ") for command in COMMANDS]
    assert places == sorted(places)
    promises = [line for line in done.stdout.splitlines() if line.startswith(("ok ", "WRONG "))]
    assert len(promises) == 10 and all(line.startswith("ok ") for line in promises)
    made = tmp_path / "made"
    rows = pq.read_table(made / "build" / "decisions.parquet").to_pylist()
    defects = sorted(rows, key=lambda row: int(row["uri"].rpartition("::")[2]))[-5:]
    reasons = ["exact_duplicate", "near_duplicate", "blur", "noise", "truncated"]
    assert [row["reason"] for row in defects] == reasons
    (scores,) = json.loads((made / "eval.json").read_text())["sets"]
    assert scores["mean"]["output"]["psnr"] > scores["mean"]["input"]["psnr"] + 1
    assert {path.name for path in (made / "restored").glob("*.png")} == {"coffee.png", "cat.png"}
    assert "hf_ofTheUser" not in done.stdout + done.stderr
    address = (made / "hub.txt").read_text().removeprefix("http://")
    host, _, port = address.partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_a_folder_that_is_not_its_own_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = run(tmp_path)
    assert done.returncode == 2 and "exists and is of no former run" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "mine"
