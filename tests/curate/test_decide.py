"""Deciding: a pure function from ledger to verdicts, rule by rule in cascade order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from million_ird.curate.decide import decisions, judge
from million_ird.curate.ledger import measurement_columns, schema
from million_ird.curate.settings import load_config
from million_ird.curate.stages import completed
from million_ird.dedup import Edges, find_edges
from million_ird.errors import ConfigError
from million_ird.tables import rows_to_table

ALL = "phash,blur,flat,noise,compression,exposure,border,background,upscale,niqe"
RULES = {
    "policy": {
        "resolution": {"enabled": True, "min_side": 256, "max_aspect": 3},
        "exact_duplicate": {"enabled": True},
        "near_duplicate": {"enabled": True, "distance": 4},
        "blur": {"enabled": True, "min": 50, "min_ratio": 0.1},
        "noise": {"enabled": True, "max": 10},
        "compression": {"enabled": True, "min": 60},
    }
}
GOOD = {
    "status": "ok",
    "source": "s",
    "width": 800,
    "height": 600,
    "bytes": 1000,
    "meters": ALL,
    "blur": 500.0,
    "blur_ratio": 0.5,
    "noise": 2.0,
    "upscale": 1.0,
}
RNG = np.random.default_rng(7)
SCENES = RNG.integers(0, 256, (100, 256), np.uint8)


def scene(number: int, flip_bits: int = 0) -> dict:
    """Hash and thumb of one of 100 unrelated scenes; `flip_bits` lowest bits of the hash are changed."""
    phash = int(np.random.default_rng(number).integers(0, 2**63)) ^ ((1 << flip_bits) - 1)
    return {"phash": phash, "thumb": SCENES[number].tobytes()}


def ledger(*rows: dict, config=None) -> pa.Table:
    full = []
    for number, row in enumerate(rows):
        facts = {"key": f"k{number}", "uri": f"{number}.jpg", "id": f"id{number}", **GOOD, **scene(number), **row}
        full.append({name: value for name, value in facts.items() if value is not None})
    return rows_to_table(full, schema(config or load_config(RULES)))


def decided(*rows: dict, sets=(), triage: bool = False):
    config = load_config(RULES, sets=[*sets, f"measure.triage={str(triage).lower()}"])
    table = ledger(*rows, config=config)
    hashes = table.column("phash").fill_null(0).to_numpy()
    thumbs = np.stack([np.frombuffer(t or bytes(256), np.uint8) for t in table.column("thumb").to_pylist()])

    def find(nodes):
        return find_edges(hashes, thumbs, nodes, config.policy.near_duplicate.distance)

    return decisions(table, judge(table, config, measurement_columns(config), find)).to_pylist()


def reasons(*rows: dict, **options) -> list[str | None]:
    return [row["reason"] for row in decided(*rows, **options)]


def test_a_good_image_is_kept_and_a_status_is_a_reason():
    assert reasons({}, {"status": "truncated"}, {"status": "crashed"}) == [None, "truncated", "crashed"]


def test_the_first_failing_rule_of_the_cascade_gives_reason_value_and_threshold():
    row = decided({"noise": 30.0, "blur": 10.0, "width": 200})[0]
    assert (row["reason"], row["value"], row["threshold"]) == ("resolution", 200, 256)
    row = decided({"noise": 30.0, "blur": 10.0})[0]
    assert (row["reason"], row["value"], row["threshold"]) == ("blur", 10, 50)
    row = decided({"noise": 30.0, "blur_ratio": 0.05})[0]
    assert (row["reason"], row["threshold"]) == ("blur", pytest.approx(0.1))
    assert reasons({"noise": 30.0}, {"width": 2000}) == ["noise", "resolution"]


def test_a_value_that_equals_the_threshold_passes():
    assert reasons({"blur": 50.0, "noise": 10.0, "width": 256, "height": 256, "blur_ratio": 0.1}) == [None]


def test_a_value_that_does_not_apply_passes():
    assert reasons({"jpeg_quality": None, "noise": None}) == [None]


def test_a_disabled_rule_drops_nothing():
    assert reasons({"noise": 30.0}, sets=["policy.noise.enabled=false"]) == [None]


def test_of_exact_copies_the_first_stays():
    rows = decided({"id": "a", **scene(0)}, {}, {"id": "a", **scene(0)}, {"id": "a", **scene(0)})
    assert [row["reason"] for row in rows] == [None, None, "exact_duplicate", "exact_duplicate"]
    assert [row["kept_as"] for row in rows] == [None, None, "k0", "k0"]
    assert [row["group"] for row in rows] == [0, None, 0, 0]


def test_a_bad_exact_copy_is_dropped_for_its_rule_and_its_copies_as_copies():
    assert reasons({"id": "a", "noise": 30.0}, {"id": "a", "noise": 30.0, **scene(0)}) == ["noise", "exact_duplicate"]


def test_of_near_duplicates_the_best_passing_member_stays():
    rows = decided(
        {**scene(0, 1), "width": 400, "height": 300},
        {**scene(0)},
        {**scene(0, 2), "width": 1600, "height": 1200, "noise": 30.0},
        {**scene(0, 3), "width": 400, "height": 300, "noise": 30.0},
        {**scene(0, 1), "jpeg_quality": 80.0},
    )
    # The largest fails a rule of its own and, as large as the keeper, has that as its reason; smaller ones don't.
    assert [row["reason"] for row in rows] == ["near_duplicate", None, "noise", "near_duplicate", "near_duplicate"]
    assert [row["kept_as"] for row in rows] == ["k1", None, "k1", "k1", "k1"]
    assert {row["group"] for row in rows} == {1}
    assert rows[0]["value"] <= rows[0]["threshold"] == 4


def test_where_no_member_passes_the_best_of_all_leads():
    rows = decided({**scene(0), "noise": 30.0}, {**scene(0, 1), "noise": 20.0, "width": 400, "height": 300})
    assert [row["reason"] for row in rows] == ["noise", "near_duplicate"]


def test_an_upscaled_copy_does_not_win_by_its_size():
    rows = decided({**scene(0)}, {**scene(0, 1), "width": 1600, "height": 1200, "upscale": 0.25})
    assert [row["reason"] for row in rows] == [None, "near_duplicate"]


def test_an_exact_copy_of_a_near_duplicate_names_what_was_kept_in_the_end():
    rows = decided({}, {**scene(0, 1), "width": 400, "height": 300, "id": "x"}, {"id": "x", **scene(0, 1)})
    assert [row["reason"] for row in rows] == [None, "near_duplicate", "exact_duplicate"]
    assert rows[2]["kept_as"] == "k0"


def test_clusters_do_not_chain():
    # 0 looks like 1 and 1 looks like 2, but 2 does not look like what is kept: it stays.
    config = load_config(RULES)
    table = ledger({"bytes": 3000}, {}, {}, config=config)
    nobody = np.arange(3)
    edges = Edges(nobody, np.array([0, 1]), np.array([1, 2]), np.array([4, 4], np.uint8))
    found = judge(table, config, measurement_columns(config), lambda nodes: edges)
    assert [row["reason"] for row in decisions(table, found).to_pylist()] == [None, "near_duplicate", None]


def test_pins_win_over_all_rules(tmp_path):
    bad = {"noise": 30.0}
    assert reasons(bad, {}, sets=["policy.pins.keep=['0.jpg']", "policy.pins.drop=[id1]"]) == [None, "pinned"]
    copies = ({}, {**scene(0, 1), "width": 400, "height": 300})
    assert reasons(*copies, sets=["policy.pins.keep=[k1]"]) == ["near_duplicate", None]
    assert reasons({"status": "unreadable"}, sets=["policy.pins.keep=[k0]"]) == ["unreadable"]
    (tmp_path / "pins.csv").write_text("uri,keep\n0.jpg,true\n1.jpg,false\n")
    assert reasons(bad, {}, sets=[f"policy.pins.file={tmp_path}/pins.csv"]) == [None, "pinned"]
    # A key names one input, where an id would name all copies of it.
    (tmp_path / "pins.csv").write_text("id,key,keep\nid0,k1,true\n")
    assert reasons(bad, bad, sets=[f"policy.pins.file={tmp_path}/pins.csv"]) == ["noise", None]


def test_contradicting_or_unusable_pins_are_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match=r"0\.jpg is pinned to be kept and to be dropped"):
        decided({}, sets=["policy.pins.keep=[k0]", "policy.pins.drop=['0.jpg']"])
    (tmp_path / "pins.csv").write_text("name,verdict\n0.jpg,true\n")
    with pytest.raises(ConfigError, match="needs a column `keep`"):
        decided({}, sets=[f"policy.pins.file={tmp_path}/pins.csv"])
    with pytest.raises(ConfigError, match="No such file"):
        decided({}, sets=[f"policy.pins.file={tmp_path}/none.csv"])


def test_a_value_that_was_never_measured_gives_no_verdict():
    header_only = {"meters": "", "phash": None, "thumb": None, "blur": None, "blur_ratio": None, "noise": None}
    assert reasons(header_only) == ["unmeasured"]
    assert reasons({**header_only, "width": 100}) == ["resolution"]
    without_noise = {"meters": "phash,blur,compression", "noise": None}
    assert reasons(without_noise) == ["unmeasured"]
    # A rule that was measured and comes before the missing one decides; one that comes after must wait for it.
    assert reasons({**without_noise, "blur": 1.0}) == ["blur"]
    assert reasons({**without_noise, "jpeg_quality": 10.0}) == ["unmeasured"]


def test_with_triage_what_fails_by_its_header_is_decided_by_it_and_is_nobodys_duplicate():
    low = {"jpeg_quality": 10.0, "blur": 1.0}
    assert reasons(low) == ["blur"]
    assert reasons(low, triage=True) == ["compression"]
    rows = decided({}, {**scene(0, 1), "width": 300, "height": 300, "jpeg_quality": 10.0}, triage=True)
    assert [(row["reason"], row["group"]) for row in rows] == [(None, None), ("compression", None)]


def test_a_rule_brings_its_meter_where_none_is_asked_for():
    off = ["measure.meters=[blur]", "policy.watermark.enabled=false"]
    assert "watermark" not in completed(load_config(RULES, sets=off)).measure.meters
    on = ["measure.meters=[blur]", "policy.watermark.enabled=true", "policy.watermark.max=0.5"]
    assert "watermark" in completed(load_config(RULES, sets=on)).measure.meters


def test_a_rule_on_what_nothing_measures_is_refused():
    with pytest.raises(ConfigError, match=r"policy\.border\.enabled: true, but no bound is set"):
        decided({}, sets=["policy.border.enabled=true"])
    with pytest.raises(ConfigError, match=r"policy\.meters\.nonsense\.min: no meter measures"):
        decided({}, sets=["policy.meters.nonsense.min=1"])


def test_a_mistyped_column_is_told_from_those_there_are():
    with pytest.raises(
        ConfigError, match=r"policy\.meters\.blurr\.min: no meter measures 'blurr'; known: background, "
    ):
        completed(load_config({"policy": {"meters": {"blurr": {"min": 3}}}}))
    with pytest.raises(ConfigError, match=r"policy\.watermark\.max: .*less than or equal to 1, got 96.5"):
        load_config(sets=["policy.watermark.max=96.5"])


def test_an_empty_ledger_has_no_decisions():
    config = load_config(RULES)
    table = ledger(config=config)
    found = judge(table, config, measurement_columns(config), lambda nodes: pytest.fail("nothing to search"))
    assert decisions(table, found).num_rows == 0


def test_every_row_is_kept_or_has_one_reason():
    rng = np.random.default_rng(3)
    rows = [
        {
            **scene(int(rng.integers(0, 10)), int(rng.integers(0, 4))),
            "id": f"id{rng.integers(0, 60)}",
            "width": int(rng.integers(100, 900)),
            "noise": float(rng.uniform(0, 14)),
            "status": str(rng.choice(["ok", "ok", "ok", "unreadable"])),
        }
        for _ in range(80)
    ]
    found = decided(*rows)
    assert len(found) == 80
    assert all(row["keep"] == (row["reason"] is None) for row in found)
    by_key = {row["key"]: row for row in found}
    for row in found:
        if row["reason"] in ("near_duplicate", "exact_duplicate"):
            assert by_key[row["kept_as"]]["group"] == row["group"]
