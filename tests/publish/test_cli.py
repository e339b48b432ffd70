"""`mird publish` and `mird card` as commands: what they print, and how they exit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from million_ird.cli.main import app
from tests.publish.conftest import TOKEN

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets"),
    pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning"),
]


def mird(*words: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.stdout, done.stderr


def test_publishing_says_where_it_went_and_json_says_it_to_programs(hub, built):
    code, said, _ = mird("publish", "dataset", built, "--repo", "org/a", "--dry-run")
    assert code == 0 and "README.md" in said and "would go to org/a, private; nothing was written or sent" in said
    code, said, progress = mird("publish", "dataset", built, "--repo", "org/a", "--json")
    found = json.loads(said)
    assert code == 0 and found["commit"] == hub.repos["org/a"].refs["main"] and found["private"]
    assert "check:" in progress and TOKEN not in said + progress
    code, said, _ = mird("publish", "dataset", built, "--repo", "org/a")
    assert code == 0 and said.startswith("nothing had changed:")


def test_problems_are_a_line_each_and_exit_1_and_wrong_calls_exit_2(hub, built):
    shutil.rmtree(built / "dataset" / "data")
    (built / "dataset" / "data").mkdir()
    code, _, said = mird("publish", "dataset", built, "--repo", "org/a", "--dry-run")
    assert code == 1 and "mird: problem: " in said
    code, _, said = mird("publish", "dataset", built, "--repo", "org/a")
    assert code == 1 and "nothing was sent" in said and "Traceback" not in said
    for words in (["dataset", built, "--repo", "x"], ["index", built], ["dataset", built / "none", "--repo", "org/a"]):
        code, _, said = mird("publish", *words)
        assert code == 2 and said.startswith("mird: error: ") and "Traceback" not in said
    assert not hub.requests


def test_a_card_is_written_without_a_hub(built, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, said, _ = mird("card", built, "--contact", "me@example.org", "--json")
    text = Path(json.loads(said)["card"]).read_text()
    assert code == 0 and "me@example.org" in text and (built / "dataset" / "card" / "blur.png").is_file()
    code, _, said = mird("card", tmp_path)
    assert code == 2 and "holds no network" in said
    code, _, said = mird("card", built, "--licence", "mit")
    assert code == 2 and "are for a model" in said
