"""Ledgers of finished builds put together: the same decisions as of one build of all, and no image is opened."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from million_ird.config import merge
from million_ird.curate import build
from million_ird.curate.carry import bring
from million_ird.curate.plan import load_plan
from million_ird.curate.remove import remove
from million_ird.curate.workspace import stored_config
from million_ird.errors import ConfigError, InputError, OutputError
from tests.conftest import SMALL
from tests.curate.test_web import listed, pictures, settings, web  # noqa: F401 (fixtures)

RULES = ("flat", "noise", "compression", "exposure", "greyscale", "border", "product", "upscaled", "iqa")
QUICK = merge(
    SMALL, {"measure": {"meters": ["blur", "exposure"]}, "policy": {name: {"enabled": False} for name in RULES}}
)


def rows(out: Path) -> list[dict]:
    return pq.ParquetFile(out / "decisions.parquet").read().to_pylist()


def verdicts(out: Path) -> dict[str, tuple]:
    return {row["key"]: (row["uri"], row["keep"], row["reason"], row["value"], row["kept_as"]) for row in rows(out)}


def dataset(out: Path) -> list[str]:
    files = sorted((out / "dataset" / "data").iterdir())
    return [uri for path in files for uri in pq.ParquetFile(path).read(["uri"]).column("uri").to_pylist()]


def events(out: Path, name: str) -> list[dict]:
    lines = map(json.loads, (out / "run.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == name]


@pytest.fixture(scope="module")
def folders(corpus, tmp_path_factory) -> tuple[Path, Path]:
    """The corpus in two folders; copies and near copies lie in both."""
    base = tmp_path_factory.mktemp("sources")
    names = sorted(path.name for path in corpus.iterdir())
    for folder, members in {"one": names[:9], "two": names[9:]}.items():
        (base / folder).mkdir()
        for name in members:
            shutil.copy(corpus / name, base / folder / name)
    return base / "one", base / "two"


@pytest.fixture(scope="module")
def builds(folders, tmp_path_factory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("builds")
    for folder in folders:
        build([folder], base / folder.name, QUICK)
    return base / "one", base / "two"


def test_a_merge_decides_as_one_build_of_all_and_opens_no_image_to_measure(folders, builds, tmp_path):
    build(folders, tmp_path / "once", QUICK)
    summary = build([], tmp_path / "out", ledgers=builds)
    assert summary.measured == 0
    assert events(tmp_path / "out", "shard") == []
    assert verdicts(tmp_path / "out") == verdicts(tmp_path / "once")
    assert len({reason for *_, reason, _, _ in verdicts(tmp_path / "out").values()}) > 4
    assert (
        dataset(tmp_path / "out")
        == dataset(tmp_path / "once")
        == [row["uri"] for row in rows(tmp_path / "out") if row["keep"]]
    )
    assert build([], tmp_path / "out", ledgers=builds).up_to_date
    first = builds[0] / "ledger" / "base" / "part-00000.parquet"
    assert (tmp_path / "out" / "ledger" / "base" / "part-00000.parquet").stat().st_ino == first.stat().st_ino


def test_either_order_keeps_as_many_and_the_ledger_folder_names_a_build_too(folders, builds, tmp_path):
    build(folders[::-1], tmp_path / "once", QUICK)
    build([], tmp_path / "out", ledgers=[builds[1] / "ledger", builds[0]])
    assert verdicts(tmp_path / "out") == verdicts(tmp_path / "once")


def test_where_the_images_are_gone_all_is_decided_and_only_the_export_misses_them(folders, tmp_path):
    photos = Path(shutil.copytree(folders[0], tmp_path / "photos"))
    more = Path(shutil.copytree(folders[1], tmp_path / "more"))
    build([photos, more], tmp_path / "once", QUICK)
    build([photos], tmp_path / "a", QUICK)
    build([more], tmp_path / "b", QUICK)
    shutil.rmtree(photos)
    shutil.rmtree(more)
    with pytest.raises(OutputError, match="measured but now"):
        build([], tmp_path / "out", ledgers=[tmp_path / "a", tmp_path / "b"])
    assert verdicts(tmp_path / "out") == verdicts(tmp_path / "once")


def test_one_source_in_two_builds_is_one_and_the_first_row_counts(folders, builds, tmp_path):
    build([folders[0]], tmp_path / "part", {**QUICK, "sources": {"limit": 5}})
    both = Path(tmp_path / "both")
    build(folders[::-1], both, QUICK)
    build([], tmp_path / "out", ledgers=[tmp_path / "part", both])
    plan = load_plan(tmp_path / "out")
    assert plan is not None
    assert plan.inputs == len(rows(tmp_path / "out")) == sum(len(list(folder.iterdir())) for folder in folders)
    assert [row["uri"] for row in rows(tmp_path / "out")[:5]] == sorted(path.name for path in folders[0].iterdir())[:5]
    first = {row["uri"]: row["reason"] for row in rows(tmp_path / "out")}
    assert first == {row["uri"]: row["reason"] for row in rows(both)} | {"00.png": None, "copy.png": "exact_duplicate"}
    build([], tmp_path / "same", ledgers=[both, tmp_path / "part"])
    assert verdicts(tmp_path / "same") == verdicts(both)


def test_folders_of_one_name_stay_apart_under_the_labels_of_one_build(corpus, tmp_path):
    for side, name in (("a", "00.png"), ("b", "03.png"), ("c", "06.png")):
        (tmp_path / side / "photos").mkdir(parents=True)
        shutil.copy(corpus / name, tmp_path / side / "photos" / "x.png")
    sources = [tmp_path / side / "photos" for side in "abc"]
    build(sources, tmp_path / "once", QUICK)
    build(sources[:1], tmp_path / "first", QUICK)
    build(sources[1:], tmp_path / "rest", QUICK)
    build([], tmp_path / "out", ledgers=[tmp_path / "first", tmp_path / "rest"])
    assert verdicts(tmp_path / "out") == verdicts(tmp_path / "once")
    assert len(dataset(tmp_path / "out")) == 3
    base = [
        pq.ParquetFile(part).read(["key", "source"]).to_pylist()
        for part in sorted((tmp_path / "out" / "ledger" / "base").iterdir())
    ]
    assert {row["source"] for part in base for row in part} == {"photos", "photos-2", "photos-3"}


def test_sources_may_be_added_in_the_same_call_and_later(folders, builds, corpus, tmp_path):
    extra = tmp_path / "extra"
    extra.mkdir()
    shutil.copy(corpus / "06.png", extra / "again.png")
    once = build([*folders, extra], tmp_path / "once", QUICK)
    summary = build([extra], tmp_path / "out", ledgers=builds)
    assert (summary.measured, summary.kept) == (1, once.kept)
    assert verdicts(tmp_path / "out") == verdicts(tmp_path / "once")
    build([], tmp_path / "late", ledgers=builds)
    assert build([extra], tmp_path / "late", ledgers=builds).measured == 1
    assert verdicts(tmp_path / "late") == verdicts(tmp_path / "once")


@pytest.mark.slow
def test_a_merge_of_merges_is_a_merge(folders, builds, corpus, tmp_path):
    (tmp_path / "more").mkdir()
    shutil.copy(corpus / "03.png", tmp_path / "more" / "y.png")
    build([tmp_path / "more"], tmp_path / "third", QUICK)
    build([], tmp_path / "two", ledgers=builds)
    build([], tmp_path / "out", ledgers=[tmp_path / "two", tmp_path / "third"])
    build([*folders, tmp_path / "more"], tmp_path / "once", QUICK)
    assert verdicts(tmp_path / "out") == verdicts(tmp_path / "once")


def test_a_merge_that_was_killed_goes_on_where_it_was(builds, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    build([], whole, ledgers=builds)
    code = (
        "import os, signal, sys; from million_ird.curate import build, carry\n"
        "real = carry.carry_file\n"
        "def dies(source, place):\n"
        "    real(source, place)\n"
        "    if place.name == 'part-00002.parquet': os.kill(os.getpid(), signal.SIGKILL)\n"
        "carry.carry_file = dies\n"
        "build([], sys.argv[1], ledgers=sys.argv[2:])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(out), *map(str, builds)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((out / "ledger" / "base").iterdir())) == 3
    assert build([], out, ledgers=builds).measured == 0
    (merged,) = events(out, "merge")
    plan = load_plan(out)
    assert plan is not None and merged["shards"] == plan.shards - 3
    assert rows(out) == rows(whole)
    for path in (*(whole / "dataset").rglob("*.parquet"), *(whole / "ledger").rglob("*.parquet")):
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_what_was_measured_otherwise_is_refused_by_name(folders, builds, tmp_path):
    for number, (change, words) in enumerate(
        (
            ({"limits": {"max_pixels": 9_000_000}}, r"limits\.max_pixels: 9000000 -> 100000000"),
            ({"measure": {"options": {"blur": {"percentile": 90}}}}, r"measure\.options\.blur"),
            ({"dedup": {"mode": "exact"}}, r"dedup\.mode: 'exact' -> 'fast'"),
            ({"measure": {"meters": ["blur"]}}, r"measure\.meters"),
        )
    ):
        other = tmp_path / f"other{number}"
        build([folders[1]], other, merge(QUICK, change))
        with pytest.raises(ConfigError, match=words) as error:
            build([], tmp_path / "out", ledgers=[builds[0], other])
        assert "\n" not in str(error.value) and str(other) in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_ledger_that_cannot_be_taken_is_one_line(folders, builds, tmp_path):
    unfinished = Path(shutil.copytree(builds[1], tmp_path / "unfinished"))
    next((unfinished / "ledger" / "base").iterdir()).unlink()
    for names, words in (
        ([tmp_path / "none"], "no build here"),
        ([folders[0]], "no build here"),
        ([builds[0], builds[0] / "ledger"], "given twice"),
        ([unfinished], r"not finished, 1 of \d shards are not measured; run `mird build"),
        (["s3://bucket/run"], "a folder of this machine"),
    ):
        with pytest.raises(InputError, match=words):
            build([], tmp_path / "out", ledgers=names)
    with pytest.raises(InputError, match="that is the folder to work in"):
        build([], builds[0], ledgers=builds)
    with pytest.raises(ConfigError, match=r"sources\.limit: 3, but the ledgers hold"):
        build([], tmp_path / "out", {"sources": {"limit": 3}}, ledgers=builds)
    assert not (tmp_path / "out").exists()
    build([folders[0]], tmp_path / "other", QUICK)
    with pytest.raises(OutputError, match="holds a build of its own"):
        build([], tmp_path / "other", ledgers=builds)
    build([], tmp_path / "other", ledgers=builds, fresh=True)
    with pytest.raises(OutputError, match="holds a merge of"):
        build([], tmp_path / "other", ledgers=builds[::-1])


def test_a_ledger_that_goes_before_all_of_it_is_here_is_one_line(builds, tmp_path):
    copies = [Path(shutil.copytree(one, tmp_path / one.name)) for one in builds]
    out = tmp_path / "out"
    build([], out, ledgers=copies)
    (out / "ledger" / "base" / "part-00003.parquet").unlink()
    shutil.rmtree(copies[1])
    plan = load_plan(out)
    assert plan is not None
    with pytest.raises(InputError, match="not all of it is here yet"):
        bring(out, plan, lambda done, total: None)
    build([], tmp_path / "again", ledgers=[copies[0], builds[1]])
    shutil.rmtree(copies[0])
    assert build([], tmp_path / "again", stored_config(tmp_path / "again")).up_to_date, "it needs them no more"


def test_what_was_removed_from_one_build_does_not_come_back_by_another(folders, tmp_path):
    copy = tmp_path / "copies"
    copy.mkdir()
    shutil.copy(folders[0] / "03.png", copy / "same.png")
    build([folders[0]], tmp_path / "a", QUICK)
    build([copy, folders[1]], tmp_path / "b", QUICK)
    remove(tmp_path / "a", [row["key"] for row in rows(tmp_path / "a") if row["uri"] == "03.png"])
    for number, ledgers in enumerate(([tmp_path / "a", tmp_path / "b"], [tmp_path / "b", tmp_path / "a"])):
        out = tmp_path / f"out{number}"
        build([], out, ledgers=ledgers)
        assert {row["uri"] for row in rows(out) if row["reason"] == "blocked"} == {"03.png", "same.png"}
        assert not {"03.png", "same.png"} & set(dataset(out))


# -- from the web


def test_stores_come_along_and_nothing_is_fetched(web, pictures, tmp_path):  # noqa: F811
    one, two = listed(tmp_path, pictures[:9], "one.txt"), listed(tmp_path, pictures[7:], "two.txt")
    config = merge(settings(web), QUICK)
    build([one, two], tmp_path / "once", config)
    build([one], tmp_path / "a", config)
    build([two], tmp_path / "b", config)
    before = sum(len(web.asked(host)) for host in ("a.test", "b.test"))
    summary = build([], tmp_path / "out", ledgers=[tmp_path / "a", tmp_path / "b"])
    assert sum(len(web.asked(host)) for host in ("a.test", "b.test")) == before
    assert summary.measured == 0 and summary.kept > 5
    kept = {row["uri"] for row in rows(tmp_path / "out") if row["keep"]}
    assert kept == {row["uri"] for row in rows(tmp_path / "once") if row["keep"]} == set(dataset(tmp_path / "out"))
    assert set(dataset(tmp_path / "out")) == kept
    assert build([], tmp_path / "out", ledgers=[tmp_path / "a", tmp_path / "b"]).up_to_date


def test_a_list_in_two_builds_gives_each_url_once_and_removal_leaves_no_bytes(web, pictures, tmp_path):  # noqa: F811
    urls = listed(tmp_path, pictures, "urls.txt")
    config = merge(settings(web), QUICK)
    build([urls], tmp_path / "part", merge(config, {"sources": {"limit": 6}}))
    build([urls], tmp_path / "all", config)
    out = tmp_path / "out"
    build([], out, ledgers=[tmp_path / "part", tmp_path / "all"])
    assert [row["uri"] for row in rows(out)] == [row["uri"] for row in rows(tmp_path / "all")]
    assert [row["reason"] for row in rows(out)] == [row["reason"] for row in rows(tmp_path / "all")]
    gone = next(row for row in rows(out) if row["keep"] and row["uri"] in pictures[:6])
    remove(out, [gone["uri"]])
    key = gone["key"].encode()
    assert any(key in tar.read_bytes() for tar in (tmp_path / "all" / "store").glob("*.tar"))
    assert not any(key in tar.read_bytes() for tar in (out / "store").glob("*.tar"))


@pytest.mark.slow
def test_a_local_and_a_web_build_decide_as_both_at_once(web, pictures, folders, tmp_path):  # noqa: F811
    config = merge(settings(web), merge(QUICK, {"policy": {"compression": {"enabled": True, "min": 97, "max": None}}}))
    urls = listed(tmp_path, pictures, "urls.txt")
    build([folders[0], urls], tmp_path / "once", config)
    build([folders[0]], tmp_path / "a", config)
    build([urls], tmp_path / "b", config)
    build([], tmp_path / "out", ledgers=[tmp_path / "a", tmp_path / "b"])
    assert verdicts(tmp_path / "out") == verdicts(tmp_path / "once")
    assert "compression" in {row["reason"] for row in rows(tmp_path / "out")}


@pytest.mark.slow
def test_an_archive_that_was_brought_from_the_web_comes_along(web, folders, tmp_path):  # noqa: F811
    import tarfile

    from tests.sources.webserver import file

    with tarfile.open(tmp_path / "pics.tar", "w") as tar:
        tar.add(folders[0], "pics")
    address = web.add("a.test", "/pics.tar", file((tmp_path / "pics.tar").read_bytes(), kind="application/x-tar"))
    config = merge(settings(web), QUICK)
    build([address], tmp_path / "a", config)
    build([folders[1]], tmp_path / "b", config)
    build([address, folders[1]], tmp_path / "once", config)
    build([], tmp_path / "out", ledgers=[tmp_path / "a", tmp_path / "b", tmp_path / "once"])
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "out" / "dataset")
    config = stored_config(tmp_path / "out")
    build([], tmp_path / "out", config)
    assert verdicts(tmp_path / "out") == verdicts(tmp_path / "once")
    assert len(dataset(tmp_path / "out")) == len(dataset(tmp_path / "once"))


# -- the command


@pytest.mark.slow
def test_the_command_takes_ledgers_behind_from_and_says_what_it_would_cost(folders, builds, tmp_path):
    def mird(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "million_ird", *words], capture_output=True, text=True, check=False
        )

    asked = ["build", "--from", *map(str, builds), "--out", str(tmp_path / "out"), "--json"]
    dry = mird(*asked, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    found = json.loads(dry.stdout)
    assert (found["inputs"], found["sampled"], found["machine_hours"] > 0) == (17, 0, True)
    assert not (tmp_path / "out").exists()
    done = mird(*asked, "--set", "policy.blur.enabled=false")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inputs"] == 17
    assert json.loads(done.stdout)["measured"] == 0
