"""The demo's planted defects: each is dropped for its reason, watermarks too."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples"
README = FOLDER.parent / "README.md"


@pytest.fixture(scope="module")
def demo():
    sys.path.insert(0, str(FOLDER))
    import demo

    yield demo
    sys.path.remove(str(FOLDER))


def test_a_watermark_changes_a_part_of_the_picture_and_leaves_the_rest(demo):
    picture = demo.crops(demo.photos()["china"])[0]
    for layout in ("diagonal", "rows", "corner"):
        marked = demo.watermarked(picture, layout)
        changed = (marked != picture).any(axis=2)
        assert 0.003 < changed.mean() < 0.6
        assert np.array_equal(marked, demo.watermarked(picture, layout)), "the same every time"


def test_every_planted_defect_is_dropped_for_its_reason(demo, tmp_path, capsys):
    from million_ird.curate import build
    from million_ird.curate.settings import load_config

    planted = demo.plant(tmp_path / "photos")
    assert sum(reason == "watermark" for _, reason in planted.values()) == 3
    config = load_config(sets=[*demo.SETTINGS, "run.workers=0", "report.samples=0"])
    summary = build([tmp_path / "photos"], tmp_path / "build", config)
    assert demo.table(tmp_path / "build", planted) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    assert "20 of 20 planted defects dropped for the right reason" in said
    assert "15 of 15 good photos kept" in said
    assert counted(README.read_text()) == {**summary.reasons, "inputs": summary.inputs, "kept": summary.kept}


def counted(text: str) -> dict[str, int]:
    """The funnel that README shows of the demo's build: reason -> images, and `inputs` and `kept`."""
    lines = [line.split() for line in text[text.index("    inputs  ") :].splitlines()]
    end = next(number for number, line in enumerate(lines) if line[0] == "kept")
    return {name: abs(int(count)) for name, count, *_ in lines[: end + 1]}
