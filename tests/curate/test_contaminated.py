"""`policy.contaminated`: test pictures are dropped or listed, and other lists cost one comparison, not a new build."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

from million_ird.config import merge
from million_ird.curate import build, load_config
from million_ird.curate.contaminated import make_list
from million_ird.curate.explain import explain
from million_ird.curate.stages import decide
from million_ird.errors import ConfigError, InputError
from million_ird.meters.blur import Blur
from tests.conftest import SMALL

PHOTOS = {"astronaut": data.astronaut(), "cat": data.chelsea(), "coffee": data.coffee()}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Crops of three photos, and one that shows nothing of them."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, rgb in PHOTOS.items():
        Image.fromarray(np.ascontiguousarray(rgb[40:280, 60:360])).save(folder / f"{name}.png")
    Image.fromarray(np.ascontiguousarray(data.rocket()[:400, :400])).save(folder / "rocket.png")
    return folder


@pytest.fixture(scope="module")
def lists(tmp_path_factory) -> dict[str, str]:
    """A hash list of each photo."""
    folder = tmp_path_factory.mktemp("lists")
    out = {}
    for name, rgb in PHOTOS.items():
        Image.fromarray(rgb).save(folder / f"{name}.png")
        out[name] = str(folder / f"{name}.parquet")
        make_list([str(folder / f"{name}.png")], f"set-{name}", out[name], source="scikit-image", licence="free")
    return out


def settings(*sets: str, **rule) -> dict:
    off = {name: {"enabled": False} for name in ("blur", "flat", "noise", "compression", "exposure", "upscaled", "iqa")}
    off |= {name: {"enabled": False} for name in ("border", "product", "greyscale", "near_duplicate")}
    rule = {"enabled": True, "sets": sets, **rule}
    return {**SMALL, "policy": {**SMALL["policy"], **off, "contaminated": rule}}


def rows(out: Path) -> dict[str, dict]:
    return {row["uri"]: row for row in pq.ParquetFile(out / "decisions.parquet").read().to_pylist()}


def ledger(out: Path) -> dict[str, dict]:
    parts = sorted((out / "ledger" / "base").iterdir())
    return {row["uri"]: row for part in parts for row in pq.ParquetFile(part).read().to_pylist()}


def test_what_shows_a_test_picture_is_dropped_and_named(inputs, lists, tmp_path):
    out = tmp_path / "out"
    build([inputs], out, settings(lists["astronaut"], lists["cat"]))
    assert {name: row["reason"] for name, row in rows(out).items()} == {
        "astronaut.png": "contaminated",
        "cat.png": "contaminated",
        "coffee.png": None,
        "rocket.png": None,
    }
    row = rows(out)["cat.png"]
    assert row["value"] == pytest.approx(1, abs=0.05)
    assert row["threshold"] == 0
    measured = ledger(out)
    assert json.loads(measured["cat.png"]["meta"])["contaminated"] == "set-cat/cat.png"
    assert measured["rocket.png"]["contaminated"] == 0
    assert "contaminated" not in json.loads(measured["rocket.png"]["meta"])
    (shown,) = explain(out, "cat.png")
    assert [(one.column, one.verdict) for one in shown.asked if one.reason == "contaminated"] == [
        ("contaminated", "fail")
    ]


def test_with_a_bound_of_one_what_is_found_is_listed_and_kept(inputs, lists, tmp_path):
    out = tmp_path / "out"
    build([inputs], out, settings(lists["cat"], max=1))
    assert all(row["keep"] for row in rows(out).values())
    found = {name for name, row in ledger(out).items() if row["contaminated"] > 0}
    assert found == {"cat.png"}


def test_other_lists_compare_anew_but_measure_nothing_else(inputs, lists, tmp_path, monkeypatch):
    out = tmp_path / "out"
    build([inputs], out, settings(lists["cat"]))
    before = ledger(out)

    def measured_again(self, frame):
        raise AssertionError("blur was measured again")

    monkeypatch.setattr(Blur, "__call__", measured_again)
    summary = build([inputs], out, settings(lists["coffee"]))
    assert summary.reasons == {"contaminated": 1}
    assert rows(out)["coffee.png"]["reason"] == "contaminated"
    after = ledger(out)
    for name, row in after.items():
        assert row["blur"] == before[name]["blur"]
        assert row["phash"] == before[name]["phash"]
    assert "contaminated" not in json.loads(after["cat.png"]["meta"])
    assert build([inputs], out, settings(lists["coffee"])).up_to_date


def test_a_list_whose_file_changes_is_compared_with_again(inputs, lists, tmp_path):
    out, mine = tmp_path / "out", tmp_path / "mine.parquet"
    mine.write_bytes(Path(lists["cat"]).read_bytes())
    build([inputs], out, settings(str(mine)))
    mine.write_bytes(Path(lists["coffee"]).read_bytes())
    assert build([inputs], out, settings(str(mine))).reasons == {"contaminated": 1}
    assert rows(out)["coffee.png"]["reason"] == "contaminated"


def test_turning_the_rule_on_and_off_needs_no_new_folder(inputs, lists, tmp_path):
    out = tmp_path / "out"
    off = settings(lists["cat"], enabled=False)
    assert build([inputs], out, off).reasons == {}
    assert "contaminated" not in ledger(out)["cat.png"]
    rule = {"enabled": True, "sets": [lists["cat"]]}
    changed = {"policy": {"contaminated": rule}}
    on = decide(out, lambda config: load_config(merge(config.model_dump(mode="json"), changed)))
    assert on.reasons == {"unmeasured": 4}
    assert build([inputs], out, settings(lists["cat"])).reasons == {"contaminated": 1}
    assert build([inputs], out, off).reasons == {}


def test_nothing_is_compared_where_the_rule_is_off(inputs, tmp_path):
    build([inputs], tmp_path / "out", settings("no-such-list", enabled=False))
    assert all("contaminated" not in (row["meters"] or "") for row in ledger(tmp_path / "out").values())


def test_the_path_of_a_list_stays_on_this_machine(inputs, lists, tmp_path):
    out = tmp_path / "out"
    build([inputs], out, settings(lists["cat"]))
    folder = str(Path(lists["cat"]).parent)
    card = (out / "dataset" / "README.md").read_text()
    assert folder not in card
    assert "cat.parquet" in card


def test_a_wrong_list_is_one_line_before_anything_is_read(inputs, tmp_path):
    with pytest.raises(ConfigError, match=r"policy\.contaminated\.sets: no hash list called 'set5'; known: .*kodak24"):
        build([inputs], tmp_path / "out", settings("set5"))
    with pytest.raises(ConfigError, match=r"policy\.contaminated\.sets is empty"):
        build([inputs], tmp_path / "out", settings())
    assert not (tmp_path / "out" / "plan.json").exists()


def test_a_hash_list_leaves_out_what_cannot_be_read_and_needs_one_picture(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("no picture")
    with pytest.raises(InputError, match="no picture in it"):
        make_list([str(tmp_path / "set")], "mine", tmp_path / "mine.parquet")
    Image.fromarray(PHOTOS["cat"]).save(tmp_path / "set" / "cat.png")
    about, unread = make_list([str(tmp_path / "set")], "mine", tmp_path / "mine.parquet", licence="mine")
    assert (about.count, about.licence, unread) == (1, "mine", ["notes.txt"])
    with pytest.raises(ConfigError, match=r"is a \.parquet file"):
        make_list([str(tmp_path / "set")], "mine", tmp_path / "mine.npz")
