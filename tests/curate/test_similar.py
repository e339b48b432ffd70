"""Semantic duplicates in a build: by embeddings made by hand in the ledger of a real pass of a tiny CLIP."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from million_ird.config import merge
from million_ird.curate import build
from million_ird.curate.settings import load_config
from million_ird.curate.stages import decide
from million_ird.errors import ConfigError
from million_ird.tables import write_table

pytest.importorskip("open_clip", reason="the CLIP pass needs the extra `clip`")
pytest.importorskip("faiss", reason="semantic duplicates need the extra `semantic`")
from tests.curate.test_passes import WIDTH, clip_folder, decided, folder, rows_of, settings  # noqa: F401 (fixtures)

ON = {"semantic_duplicate": {"enabled": True, "similarity": 0.9}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def seen(model: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A build whose pass has seen eight pictures; of their embeddings 0, 3 and 5 point one way, and 1 and 2."""
    out = tmp_path_factory.mktemp("seen") / "out"
    build([folder], out, settings(model))
    angles = {"0.png": (0, 0), "3.png": (0, 10), "5.png": (0, 20), "1.png": (2, 0), "2.png": (2, 25)}
    point(out, {uri: direction(*angles.get(uri, (number + 4, 0))) for number, uri in enumerate(sorted(rows_of(out)))})
    return out


def direction(axis: int, degrees: float) -> np.ndarray:
    """A direction that is turned from one axis towards the next one."""
    found = np.zeros(WIDTH + 8)
    found[axis % WIDTH], found[axis % WIDTH + 1] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return found[:WIDTH] * (axis + 1)


def point(out: Path, embeddings: dict[str, np.ndarray]) -> None:
    """Write other embeddings into the pass's ledger."""
    uris = {row["key"]: uri for uri, row in decided(out).items()}
    for part in (out / "ledger" / "clip").iterdir():
        table = pq.ParquetFile(part).read()
        place = table.schema.get_field_index("embedding")
        values = [embeddings[uris[key]].astype(np.float16) for key in table.column("key").to_pylist()]
        array = pa.array(values, table.schema.field(place).type)
        write_table(part, table.set_column(place, table.schema.field(place), array))


@pytest.fixture
def out(seen: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(seen, tmp_path / "out"))


def judged(out: Path, **policy: Any) -> dict[str, dict[str, Any]]:
    decide(out, lambda config: load_config(merge(config.model_dump(mode="json"), {"policy": policy})))
    return decided(out)


def test_the_best_of_those_alike_stays_and_the_others_say_for_whom(out: Path, folder: Path) -> None:  # noqa: F811
    before = decided(out)
    after = judged(out, **ON)
    sizes = {uri: (folder / uri).stat().st_size for uri in after}
    first = max(("0.png", "3.png", "5.png"), key=sizes.__getitem__)
    pair = max(("1.png", "2.png"), key=sizes.__getitem__)
    dropped = {uri for uri, row in after.items() if row["reason"] == "semantic_duplicate"}
    assert dropped == {"0.png", "1.png", "2.png", "3.png", "5.png"} - {first, pair}
    degrees = {"0.png": 0, "3.png": 10, "5.png": 20, "1.png": 0, "2.png": 25}
    for uri in dropped:
        best = pair if uri in ("1.png", "2.png") else first
        cosine = np.cos(np.radians(degrees[uri] - degrees[best]))
        assert after[uri]["value"] == pytest.approx(cosine, abs=1e-3) and after[uri]["threshold"] == 0.9
        assert after[uri]["kept_as"] == after[best]["key"]
        assert after[uri]["group"] == after[best]["group"] is not None
    assert {uri: row for uri, row in after.items() if uri in ("4.png", "6.png", "7.png", "small.png")} == {
        uri: row for uri, row in before.items() if uri in ("4.png", "6.png", "7.png", "small.png")
    }
    if "0.png" in dropped:
        assert after["copy.png"]["kept_as"] == after[first]["key"], "what it stood for follows with it"


def test_off_it_changes_nothing(out: Path) -> None:
    before = (out / "decisions.parquet").read_bytes(), (out / "report.html").read_bytes()
    assert b"semantic_duplicate" not in before[0]
    judged(out, **ON)
    assert (out / "decisions.parquet").read_bytes() != before[0]
    judged(out, semantic_duplicate={"enabled": False, "similarity": 0.1})
    assert (out / "decisions.parquet").read_bytes() == before[0]


def test_it_is_asked_after_the_pass_and_gives_way_to_pins(out: Path) -> None:
    plain = judged(out, **ON)
    best = next(uri for uri in ("0.png", "3.png", "5.png") if plain[uri]["keep"])
    others = [uri for uri in ("0.png", "3.png", "5.png") if uri != best]
    gone = judged(out, **ON, pins={"drop": [best]})
    assert [gone[uri]["keep"] for uri in others].count(True) == 1, "the next best takes its place"
    held = judged(out, **ON, pins={"drop": [], "keep": others[:1]})
    assert held[others[0]]["keep"] and {held[best]["reason"], held[others[1]]["reason"]} == {"semantic_duplicate"}
    assert held[best]["kept_as"] == held[others[0]]["key"]
    scores = {uri: row["clip_dog"] for uri, row in rows_of(out).items()}
    fallen = judged(out, **ON, pins={"drop": [], "keep": []}, clip={"dog": {"max": min(scores.values())}})
    assert {row["reason"] for uri, row in fallen.items() if uri in scores and not row["keep"]} == {"clip_dog"}


def test_what_the_pass_has_not_seen_waits(out: Path) -> None:
    (out / "ledger" / "clip" / "part-00001.parquet").unlink()
    after = judged(out, **ON)
    assert {uri for uri, row in after.items() if row["reason"] == "unmeasured"} == {"4.png", "5.png", "6.png", "7.png"}


def test_a_build_with_it_runs_through_and_again_does_nothing(model: Path, folder: Path, tmp_path: Path) -> None:  # noqa: F811
    config = settings(model, semantic_duplicate={"enabled": True, "similarity": 0.5})
    summary = build([folder], tmp_path / "out", config)
    rows = {uri: row["embedding"] for uri, row in rows_of(tmp_path / "out").items()}
    dropped = [row for row in decided(tmp_path / "out").values() if row["reason"] == "semantic_duplicate"]
    uris = {row["key"]: uri for uri, row in decided(tmp_path / "out").items()}
    for row in dropped:
        one, other = np.array(rows[row["uri"]], float), np.array(rows[uris[row["kept_as"]]], float)
        assert row["value"] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-9)
    assert summary.reasons.get("semantic_duplicate", 0) == len(dropped) > 0
    assert "semantic_duplicate" in (tmp_path / "out" / "report.html").read_text("utf-8")
    assert build([folder], tmp_path / "out", config).up_to_date
    (tmp_path / "out" / "cache" / "semantic.npz").write_bytes(b"cut")
    before = (tmp_path / "out" / "decisions.parquet").read_bytes()
    decide(tmp_path / "out")
    assert (tmp_path / "out" / "decisions.parquet").read_bytes() == before


def test_what_it_needs_is_said_in_one_line(model: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"policy\.semantic_duplicate\.enabled: passes\.clip is off"):
        build(["nowhere"], "out", {"policy": ON})
    with pytest.raises(ConfigError, match=r"semantic_duplicate\.similarity"):
        load_config(sets=["policy.semantic_duplicate.similarity=95"])
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"pip install 'million-ird\[semantic\]'"):
        judged(out, **ON)


def test_ledgers_of_a_pass_come_along_when_builds_are_merged(model: Path, folder: Path, tmp_path: Path) -> None:  # noqa: F811
    halves = tmp_path / "a" / "photos", tmp_path / "b" / "photos"
    for half, names in zip(
        halves, (("0.png", "1.png", "2.png", "small.png"), ("3.png", "4.png", "copy.png")), strict=True
    ):
        half.mkdir(parents=True)
        for name in names:
            shutil.copy(folder / name, half / name)
        build([half], half.parent / "out", settings(model))
    build(halves, tmp_path / "once", settings(model))
    summary = build([], tmp_path / "out", ledgers=[half.parent / "out" for half in halves])
    assert summary.measured == 0
    assert decided(tmp_path / "out") == decided(tmp_path / "once")
    found, once = rows_of(tmp_path / "out"), rows_of(tmp_path / "once")
    assert {uri: found[uri] for uri in once} == once
    assert set(found) - set(once) == {"copy.png"}, "kept alone, and a near duplicate among all"
    events = [json.loads(line) for line in (tmp_path / "out" / "run.jsonl").read_text().splitlines()]
    assert not [event for event in events if event["event"] in ("pass", "shard")]
