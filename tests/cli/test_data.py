"""`mird data check`: what it prints, what it exits with."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.calls import inside as mird


@pytest.fixture
def rain(tmp_path):
    """All of Rain100L, tiny, in its published naming."""
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    for folder in ("rainy", "gt"):
        (tmp_path / folder).mkdir()
    for number in range(1, 101):
        picture.save(tmp_path / "rainy" / f"rain-{number:03d}.png")
        picture.save(tmp_path / "gt" / f"norain-{number:03d}.png")
    return tmp_path


def test_a_whole_set_exits_0_and_its_leaks_are_said(rain):
    done = mird("data", "check", "rain100l", rain)
    assert done.returncode == 0, done.stderr
    assert "rain100l (test): 100 pairs, as published 100" in done.stdout
    assert "note: the clean pictures are of the Berkeley set" in done.stdout


def test_what_is_wrong_is_listed_and_exits_1(rain):
    (rain / "gt" / "norain-081.png").unlink()
    (rain / "rainy" / "rain-005.png").unlink()
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(rain / "gt" / "norain-007.png")
    done = mird("data", "check", "rain100l", rain)
    assert done.returncode == 1
    assert "missing: 2 of 100" in done.stdout
    assert "without a clean picture: 1\n  rainy/rain-081.png" in done.stdout
    assert "without a degraded picture: 1\n  gt/norain-005.png" in done.stdout
    assert "rainy/rain-007.png: degraded 8x8, clean 9x8 px" in done.stdout
    found = mird("data", "check", "rain100l", rain, "--json", "--split", "test")
    assert found.returncode == 1
    value = json.loads(found.stdout)
    assert (value["pairs"], value["published"], value["complete"]) == (98, 100, False)
    assert value["missing"] == ["rainy/rain-081.png"]
    assert value["surplus"] == ["gt/norain-005.png"]
    assert len(value["mismatched"]) == 1


def test_a_wrong_call_is_one_line_with_the_expected_tree(tmp_path):
    for words in (["rain100l", tmp_path], ["rain100", tmp_path], ["sots", tmp_path / "nowhere"]):
        done = mird("data", "check", *words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
    assert "hazy/0001_0.8_0.2.jpg" in done.stderr


def test_help_has_an_example():
    assert "Example: mird data check" in mird("data", "check", "--help").stdout
