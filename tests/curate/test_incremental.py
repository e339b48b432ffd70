"""A source added to a finished build: only what is new is measured, and all is decided again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from million_ird.curate import build
from million_ird.curate.explain import explain
from million_ird.curate.plan import load_plan
from million_ird.curate.remove import remove
from million_ird.errors import ConfigError, InputError
from million_ird.tables import read_json, write_json
from tests.conftest import SMALL


def rows(out: Path) -> list[dict]:
    return pq.ParquetFile(out / "decisions.parquet").read().to_pylist()


def parts(out: Path) -> dict[str, tuple[int, bytes]]:
    folder = out / "ledger" / "base"
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


def verdicts(out: Path) -> dict[tuple[str, str], tuple]:
    found = pq.ParquetFile(out / "decisions.parquet").read().to_pylist()
    return {row["key"]: (row["uri"], row["keep"], row["reason"], row["value"], row["kept_as"]) for row in found}


@pytest.fixture(scope="module")
def folders(corpus, tmp_path_factory) -> tuple[Path, Path, Path]:
    """The corpus in three folders: 9 images, 4, and the rest with the bad ones."""
    base = tmp_path_factory.mktemp("sources")
    names = sorted(path.name for path in corpus.iterdir())
    cuts = {"one": names[:9], "two": names[9:13], "three": names[13:]}
    for folder, members in cuts.items():
        (base / folder).mkdir()
        for name in members:
            shutil.copy(corpus / name, base / folder / name)
    return base / "one", base / "two", base / "three"


@pytest.fixture(scope="module")
def at_once(folders, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("once") / "out"
    build(folders, out, SMALL)
    return out


def test_added_sources_measure_what_is_new_and_decide_as_if_all_had_been_there(folders, at_once, tmp_path):
    out = tmp_path / "out"
    one, two, three = folders
    build([one], out, SMALL)
    before = parts(out)
    assert build([one, two], out, SMALL).measured == 4
    summary = build([one, two, three], out, SMALL)
    assert summary.measured == len(list(three.iterdir()))
    assert summary.inputs == len(rows(out)) == len(rows(at_once))
    assert {name: parts(out)[name] for name in before} == before
    assert verdicts(out) == verdicts(at_once)
    kept = [row["uri"] for row in rows(out) if row["keep"]]
    data = pq.ParquetFile(next((out / "dataset" / "data").iterdir())).read(["uri"]).column("uri").to_pylist()
    assert data == kept
    assert build([one, two, three], out, SMALL).up_to_date


def test_new_shards_may_have_another_size(folders, at_once, tmp_path):
    out = tmp_path / "out"
    one, two, three = folders
    for size, sources in ((4, [one]), (3, [one, two]), (50, [one, two, three])):
        build(sources, out, {**SMALL, "run": {"workers": 0, "shard_size": size}})
    plan = load_plan(out)
    assert plan is not None
    assert plan.starts == (0, 4, 8, 9, 12, 13)
    assert [plan.count(shard) for shard in range(plan.shards)] == [4, 4, 1, 3, 1, len(list(three.iterdir()))]
    assert verdicts(out) == verdicts(at_once)
    for number in (0, 8, 9, 12, 13):
        row = rows(out)[number]
        (shown,) = explain(out, row["key"])
        assert shown.facts["uri"] == row["uri"]
    third = rows(out)[10]
    remove(out, [third["key"]])
    assert [row["uri"] for row in rows(out) if row["reason"] == "blocked"] == [third["uri"]]


def test_a_better_copy_that_comes_later_takes_the_place_of_the_first(corpus, tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    for folder, name in ((small, "near.png"), (large, "00.png")):
        folder.mkdir()
        shutil.copy(corpus / name, folder / name)
    out = tmp_path / "out"
    build([small], out, SMALL)
    assert [row["keep"] for row in rows(out)] == [True]
    build([small, large], out, SMALL)
    assert [(row["uri"], row["reason"]) for row in rows(out)] == [("near.png", "near_duplicate"), ("00.png", None)]


def test_folders_of_one_name_stay_apart(corpus, tmp_path):
    for side in ("a", "b"):
        (tmp_path / side / "photos").mkdir(parents=True)
    shutil.copy(corpus / "00.png", tmp_path / "a" / "photos" / "x.png")
    shutil.copy(corpus / "03.png", tmp_path / "b" / "photos" / "x.png")
    out = tmp_path / "out"
    first, second = tmp_path / "a" / "photos", tmp_path / "b" / "photos"
    build([first], out, SMALL)
    build([first, second], out, SMALL)
    assert len({row["key"] for row in rows(out)}) == 2
    assert [row["keep"] for row in rows(out)] == [True, True]
    with pytest.raises(InputError, match="given twice"):
        build([first, second, first], out, SMALL)


def test_sources_may_be_added_but_not_changed(folders, tmp_path):
    out = tmp_path / "out"
    one, two, _ = folders
    build([one], out, SMALL)
    for sources in ([two], [two, one]):
        with pytest.raises(ConfigError, match=r"sources\.paths"):
            build(sources, out, SMALL)
    build([one, two], out, SMALL)
    with pytest.raises(ConfigError, match=r"sources\.paths"):
        build([one], out, SMALL)


def test_an_added_source_without_inputs_changes_nothing(folders, tmp_path):
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    build([folders[0]], out, SMALL)
    before = (out / "plan.json").read_bytes(), (out / "plan.parquet").read_bytes()
    with pytest.raises(InputError, match="no inputs in"):
        build([folders[0], empty], out, SMALL)
    assert before == ((out / "plan.json").read_bytes(), (out / "plan.parquet").read_bytes())


def test_a_kill_between_listing_and_plan_is_made_good(folders, at_once, tmp_path):
    out = tmp_path / "out"
    build([folders[0]], out, SMALL)
    plan = read_json(out / "plan.json")
    build(folders, out, SMALL)
    write_json(out / "plan.json", plan)  # as if killed before the plan was written, the listing and build.yaml after
    for name in ("decisions.parquet", "state.json"):
        (out / name).unlink()
    build(folders, out, SMALL)
    assert verdicts(out) == verdicts(at_once)
    assert len(rows(out)) == len(rows(at_once))


@pytest.mark.parametrize("kind", ["parquet", "webdataset", "imagefolder"])
def test_files_of_the_dataset_that_stay_the_same_are_not_written_again(folders, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("million_ird.curate.export.FILES_PER_FOLDER", 4)
    config = {**SMALL, "export": {"format": kind}}
    once, out = tmp_path / "once", tmp_path / "out"
    build(folders[:2], once, config)
    build(folders[:1], out, config)
    before = {path.stat().st_ino: path.read_bytes() for path in (out / "dataset" / "data").rglob("*") if path.is_file()}
    build(folders[:2], out, config)
    after = sorted(path for path in (out / "dataset" / "data").rglob("*") if path.is_file())
    again = [path for path in after if path.stat().st_ino in before]
    assert len(again) == (0 if kind == "imagefolder" else 2)  # the third file was not full, and holds more now
    assert all(path.read_bytes() == before[path.stat().st_ino] for path in again)
    at_once = sorted(path for path in (once / "dataset" / "data").rglob("*") if path.is_file())
    assert [path.name for path in after] == [path.name for path in at_once]
    assert [path.read_bytes() for path in after] == [path.read_bytes() for path in at_once]


def test_a_file_of_the_dataset_that_was_cut_is_written_again(folders, tmp_path):
    out = tmp_path / "out"
    build(folders[:1], out, SMALL)
    (file,) = (out / "dataset" / "data").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    (out / "state.json").unlink()
    build(folders[:1], out, SMALL)
    assert next((out / "dataset" / "data").iterdir()).read_bytes() == whole
