"""`mird build` end to end on real crops: what it writes, and that it writes it whatever happens."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from million_ird.curate import build, load_config
from million_ird.curate.stages import decide, report
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.images import decode
from million_ird.records import STATUSES
from million_ird.train.detectors.export import scales_of, to_onnx
from million_ird.train.detectors.net import Detector
from tests.conftest import SMALL

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets")


def rows(out: Path, name: str = "decisions.parquet") -> dict[str, dict]:
    return {row["uri"]: row for row in pq.ParquetFile(out / name).read().to_pylist()}


def ledger(out: Path) -> dict[str, dict]:
    parts = sorted((out / "ledger" / "base").iterdir())
    return {row["uri"]: row for part in parts for row in pq.ParquetFile(part).read().to_pylist()}


def digest(out: Path) -> dict[str, str]:
    """Hashes of everything that must be byte-equal between two runs of the same build."""
    files = [out / "decisions.parquet", *sorted(path for path in (out / "dataset").rglob("*") if path.is_file())]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def settings(**sections) -> dict:
    return {**SMALL, **sections}


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built") / "out"
    build([corpus], out, SMALL)
    return out


def test_a_network_of_ones_own_is_the_same_for_all_of_a_ledger(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = (Detector() for _ in range(2))
    for seed, net in enumerate((one, other)):
        torch.manual_seed(seed)
        for weight in net.parameters():
            torch.nn.init.normal_(weight, 0, 0.1)
    files = [
        to_onnx(net, {}, scales_of(net, [np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)])) for net in (one, other)
    ]
    path, out = tmp_path / "net.onnx", tmp_path / "out"
    path.write_bytes(files[0])
    config = settings(measure={"meters": ["blur"], "options": {"watermark": {"model": "net.onnx"}}})
    config["policy"] = {**config.get("policy", {}), "watermark": {"enabled": True, "max": 1}}
    build([corpus], out, config)
    kept = load_config({}, out / "build.yaml")
    told = kept.measure.options["watermark"]
    assert told == {"model": str(path), "sha256": hashlib.sha256(files[0]).hexdigest()}
    assert str(tmp_path) not in (out / "dataset" / "README.md").read_text(encoding="utf-8")
    (tmp_path / "elsewhere.onnx").write_bytes(files[0])  # its place may change, its bytes not
    moved = config | {"measure": {"meters": ["blur"], "options": {"watermark": {"model": "elsewhere.onnx"}}}}
    build([corpus], out, moved)
    path.write_bytes(files[1])
    with pytest.raises(ConfigError, match=r"another configuration \(measure\.options\.watermark\.sha256: "):
        build([corpus], out, config)
    with pytest.raises(ConfigError, match=r"measure\.options\.watermark\.sha256: .*net\.onnx is another file"):
        build([corpus], out, kept)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"watermark": {"path": "r.onnx"}},
            r"measure\.options\.watermark\.path: unknown key; known: model, pixels, sha256",
        ),
        ({"watermark": {"model": "none.onnx"}}, r"measure\.options\.watermark\.model: none\.onnx does not exist"),
        ({"niqe": {"model": "none.npz"}}, r"measure\.options\.niqe\.model: none\.npz does not exist"),
        ({"blurr": {}}, r"measure\.options\.blurr: no such meter"),
    ],
)
def test_wrong_options_of_a_meter_are_told_before_anything_is_written(corpus, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        build([corpus], tmp_path / "out", {"measure": {"options": options}})
    assert not (tmp_path / "out").exists()


def test_the_same_folder_by_another_path_is_the_same_source(corpus, tmp_path, monkeypatch):
    (tmp_path / "deeper").mkdir()
    (tmp_path / "photos").symlink_to(corpus)
    monkeypatch.chdir(tmp_path)
    build(["photos"], "out", SMALL)
    monkeypatch.chdir(tmp_path / "deeper")
    assert build(["../photos"], "../out", SMALL).up_to_date
    (tmp_path / "deeper" / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "deeper" / "far")
    with pytest.raises(InputError):
        build([tmp_path / "link" / ".." / "photos"], tmp_path / "other", SMALL)  # deeper/photos: there is none


@pytest.mark.parametrize("command", [decide, report])
def test_a_folder_without_a_build_is_left_as_it_is(tmp_path, command):
    with pytest.raises(InputError, match="no build here"):
        command(tmp_path)
    assert not any(tmp_path.iterdir())


def test_nothing_is_deleted_for_sources_that_hold_nothing(corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    build([corpus], tmp_path / "out", SMALL)
    before = digest(tmp_path / "out")
    with pytest.raises(InputError, match=r"no inputs in .*empty"):
        build([tmp_path / "empty"], tmp_path / "out", SMALL, fresh=True)
    assert digest(tmp_path / "out") == before and build([corpus], tmp_path / "out", SMALL).up_to_date


def test_an_empty_source_is_not_the_working_directory(tmp_path):
    with pytest.raises(ConfigError, match="an empty SOURCE"):
        build([""], tmp_path / "out", SMALL)


def test_the_command_that_writes_by_a_later_decision_is_told(corpus, tmp_path):
    build([corpus], tmp_path / "out", SMALL)
    found = decide(
        tmp_path / "out", lambda c: load_config(c.model_dump(mode="json"), sets=["policy.resolution.min_side=9999"])
    )
    assert found.kept == 0
    (words,) = (text for text in found.warnings if "former decisions" in text)
    assert words.endswith(f"mird build --out {tmp_path / 'out'} --config {tmp_path / 'out' / 'build.yaml'}")
    assert build([], tmp_path / "out", load_config({}, tmp_path / "out" / "build.yaml")).kept == 0


def test_every_input_has_one_row_and_the_sums_hold(corpus, built):
    decided, measured = rows(built), ledger(built)
    names = {path.name for path in corpus.iterdir()}
    assert set(decided) == set(measured) == names
    assert all(row["keep"] == (row["reason"] is None) for row in decided.values())
    assert all(row["status"] in STATUSES for row in measured.values())
    assert len({row["key"] for row in decided.values()}) == len(names)


def test_planted_defects_get_their_reason(built):
    found = {name: row["reason"] for name, row in rows(built).items()}
    assert found["copy.png"] == "exact_duplicate"
    assert found["near.png"] == "near_duplicate"
    assert found["noisy.png"] == "noise"
    assert found["cut.jpg"] == "truncated"
    assert found["text.jpg"] == "unsupported"
    good = [found[name] for name in found if name[:2].isdigit()]
    assert sum(reason is None for reason in good) >= len(good) - 1


def test_the_ledger_holds_facts_and_measurements(corpus, built):
    row = ledger(built)["01.jpg"]
    data = (corpus / "01.jpg").read_bytes()
    assert row["id"] == hashlib.sha256(data).hexdigest()
    assert (row["bytes"], row["format"], row["width"], row["height"]) == (len(data), "jpeg", 160, 160)
    assert row["jpeg_quality"] == 95
    assert len(row["thumb"]) == 256
    assert row["phash"] is not None
    assert row["blur"] > 0
    assert row["source"] == corpus.name
    assert ledger(built)["text.jpg"]["error"].startswith("not an image")
    assert {path.name for path in (built / "ledger" / "base").iterdir()} == {f"part-{n:05d}.parquet" for n in range(5)}


def test_the_dataset_opens_with_the_datasets_library_and_holds_the_bytes_as_found(corpus, built, tmp_path):
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    dataset = load_dataset(str(built / "dataset"), split="train", cache_dir=str(tmp_path))
    kept = [row for row in rows(built).values() if row["keep"]]
    assert len(dataset) == len(kept)
    assert [row["uri"] for row in dataset] == [row["uri"] for row in kept]
    assert isinstance(dataset.features["image"], ImageFeature)
    assert dataset[0]["image"].size == (dataset[0]["width"], dataset[0]["height"])
    raw = dataset.cast_column("image", ImageFeature(decode=False))
    for row in raw:
        assert row["image"]["bytes"] == (corpus / row["uri"]).read_bytes()
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["id"]


def test_parquet_pixels_are_neither_packed_nor_in_a_dictionary(built):
    (path,) = (built / "dataset" / "data").iterdir()
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    column = next(column for column in columns if column.path_in_schema == "image.bytes")
    assert column.compression == "UNCOMPRESSED"
    assert not {"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(column.encodings)


def test_row_groups_hold_about_a_hundred_rows_and_files_about_as_many_bytes_as_asked(corpus, tmp_path):
    from million_ird.curate.export import split

    build([corpus], tmp_path / "out", settings(export={"row_group": 5}))
    (path,) = (tmp_path / "out" / "dataset" / "data").iterdir()
    meta = pq.ParquetFile(path).metadata
    assert max(meta.row_group(i).num_rows for i in range(meta.num_row_groups)) == 5
    files = split(range(10), [300] * 10, 1000, 100)
    assert [file.rows for file in files] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9,)]
    assert split([], [], 1000, 100)[0].rows == ()


@pytest.mark.parametrize("kind", ["imagefolder", "webdataset"])
def test_other_formats_open_with_the_datasets_library_too(corpus, tmp_path, kind):
    from datasets import load_dataset

    summary = build([corpus], tmp_path / "out", settings(export={"format": kind}))
    dataset = load_dataset(str(tmp_path / "out" / "dataset"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(dataset) == summary.kept
    image = next(dataset[0][name] for name in ("image", "png", "jpg", "webp") if dataset[0].get(name) is not None)
    assert image.size == (160, 160)


def test_stripped_and_re_encoded_images_look_the_same(corpus, tmp_path):
    for image, tolerance in (("strip", 0), ("png", 0), ("jpeg", 3)):
        out = tmp_path / image
        build([corpus], out, settings(export={"image": image}))
        (path,) = (out / "dataset" / "data").iterdir()
        for row in pq.ParquetFile(path).read().to_pylist():
            found = decode(row["image"]["bytes"])
            expected = decode((corpus / row["uri"]).read_bytes()).rgb.astype(int)
            assert np.abs(found.rgb - expected).mean() <= tolerance
            assert image == "strip" or found.header.format == image


def test_patches_pass_the_flat_and_blur_rules_on_their_own(corpus, tmp_path):
    half = np.asarray(Image.open(corpus / "00.png").convert("RGB")).copy()
    half[:, :88] = 128
    (tmp_path / "in").mkdir()
    Image.fromarray(half).save(tmp_path / "in" / "half.png")
    policy = {**SMALL["policy"], "border": {"enabled": False}, "product": {"enabled": False}}
    summary = build([tmp_path / "in"], tmp_path / "out", settings(export={"patch": 64}, policy=policy))
    (path,) = (tmp_path / "out" / "dataset" / "data").iterdir()
    patches = pq.ParquetFile(path).read().to_pylist()
    assert summary.kept == 1
    assert summary.dataset["samples"] == len(patches)
    assert {row["patch_x"] for row in patches} == {80}
    for row in patches:
        x, y = row["patch_x"], row["patch_y"]
        np.testing.assert_array_equal(decode(row["image"]["bytes"]).rgb, half[y : y + 64, x : x + 64])
        assert (row["width"], row["height"]) == (64, 64)


def test_the_card_tells_the_funnel_and_no_path_of_this_machine(corpus, built):
    card = (built / "dataset" / "README.md").read_text()
    assert card.startswith("---\n")
    assert "`exact_duplicate` | −1 |" in card
    assert str(corpus.parent) not in card


def test_absolute_paths_stay_in_plan_and_configuration(corpus, built):
    for path in built.rglob("*"):
        if path.is_file() and path.name not in ("plan.json", "build.yaml"):
            assert str(corpus.parent).encode() not in path.read_bytes(), path


def test_the_resolved_configuration_repeats_the_run(corpus, built, tmp_path):
    build([], tmp_path / "again", load_config(file=built / "build.yaml"))
    # The title of the card is the folder's name; all else is the same.
    first, again = digest(built), digest(tmp_path / "again")
    assert first.pop("dataset/README.md") and again.pop("dataset/README.md")
    assert first == again


def test_a_finished_build_does_nothing_when_run_again(corpus, built):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*.parquet")}
    again = build([corpus], built, SMALL)
    assert again.up_to_date
    assert again.measured == 0
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*.parquet")} == before
    assert again.inputs == again.kept + sum(again.reasons.values())


def test_processes_give_the_same_bytes_as_one(corpus, built, tmp_path):
    build([corpus], tmp_path / "out", settings(run={"workers": 2, "shard_size": 3}))
    first, other = digest(built), digest(tmp_path / "out")
    assert first["decisions.parquet"] == other["decisions.parquet"]
    assert {k: v for k, v in first.items() if "data/" in k} == {k: v for k, v in other.items() if "data/" in k}


def test_another_policy_goes_on_from_the_ledger_and_another_measurement_is_refused(corpus, tmp_path):
    out = tmp_path / "out"
    build([corpus], out, SMALL)
    parts = {path: path.stat().st_mtime_ns for path in (out / "ledger").rglob("*.parquet")}
    policy = {**SMALL["policy"], "noise": {"enabled": False}}
    summary = build([corpus], out, settings(policy=policy))
    assert rows(out)["noisy.png"]["reason"] != "noise"
    assert summary.measured == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "ledger").rglob("*.parquet")} == parts
    with pytest.raises(ConfigError, match=r"dedup\.mode: 'fast' -> 'exact'"):
        build([corpus], out, settings(dedup={"mode": "exact"}))
    with pytest.raises(ConfigError, match=r"sources\.limit: None -> 3"):
        build([corpus], out, settings(sources={"limit": 3}))
    assert build([corpus], out, settings(sources={"limit": 3}), fresh=True).inputs == 3


def test_decide_again_equals_a_build_under_that_policy(corpus, tmp_path):
    change = ["policy.noise.max=100", "policy.near_duplicate.distance=2"]
    build([corpus], tmp_path / "a", SMALL)
    before = (tmp_path / "a" / "decisions.parquet").read_bytes()
    stored = lambda c: load_config(c.model_dump(mode="json"), sets=change)  # noqa: E731
    preview = decide(tmp_path / "a", stored, preview=True)
    assert (tmp_path / "a" / "decisions.parquet").read_bytes() == before
    summary = decide(tmp_path / "a", stored)
    assert preview.reasons == summary.reasons
    assert "noise" not in summary.reasons
    assert any("former decisions" in warning for warning in summary.warnings)
    build([corpus], tmp_path / "b", load_config(_merged(), sets=change))
    assert (tmp_path / "a" / "decisions.parquet").read_bytes() == (tmp_path / "b" / "decisions.parquet").read_bytes()


def _merged() -> dict:
    from million_ird.config import merge
    from million_ird.curate.settings import preset

    return merge(preset("photos"), SMALL)


def test_unmeasured_rows_are_measured_by_the_named_call_and_decisions_equal_a_fresh_build(corpus, tmp_path):
    triaged = settings(measure={"triage": True}, policy={"resolution": {"min_side": 130}})
    out = tmp_path / "out"
    first = build([corpus], out, triaged)
    assert first.reasons["resolution"] == 1
    row = ledger(out)["near.png"]
    assert (row["status"], row["meters"], row["phash"], row["blur"], row["width"]) == ("ok", "", None, None, 120)
    summary = decide(out, lambda c: load_config(c.model_dump(mode="json"), sets=["policy.resolution.min_side=96"]))
    assert summary.reasons["unmeasured"] == 1
    assert summary.remedy == f"mird build --out {out} --config {out}/build.yaml"
    again = build([], out, load_config(file=out / "build.yaml"))
    assert again.measured == 1
    assert "unmeasured" not in again.reasons
    build([corpus], tmp_path / "fresh", settings(measure={"triage": True}))
    assert digest(out)["decisions.parquet"] == digest(tmp_path / "fresh")["decisions.parquet"]


def test_a_meter_added_later_is_measured_for_the_rows_that_need_it(corpus, tmp_path):
    few = ["blur", "flat", "noise", "compression", "exposure", "border", "background", "upscale"]
    policy = {**SMALL["policy"], "iqa": {"enabled": False}}
    out = tmp_path / "out"
    build([corpus], out, settings(measure={"meters": few}, policy=policy))
    assert ledger(out)["00.png"]["iqa"] is None
    summary = build([corpus], out, settings(measure={"meters": few}))
    assert "unmeasured" not in summary.reasons
    build([corpus], tmp_path / "fresh", SMALL)
    assert digest(out)["decisions.parquet"] == digest(tmp_path / "fresh")["decisions.parquet"]


@pytest.mark.slow
def test_archives_globs_and_addresses_build_like_the_folder(corpus, tmp_path):
    with tarfile.open(tmp_path / "c.tar", "w") as tar, zipfile.ZipFile(tmp_path / "c.zip", "w") as packed:
        for path in sorted(corpus.iterdir()):
            tar.add(path, path.name)
            packed.write(path, path.name)
    fs = fsspec.filesystem("memory")
    fs.put(str(corpus), "/mird-build", recursive=True)
    try:
        sources = [tmp_path / "c.tar", tmp_path / "c.zip", f"{corpus}/*", "memory://mird-build"]
        expected = build([corpus], tmp_path / "folder", SMALL).reasons
        for number, source in enumerate(sources):
            assert build([source], tmp_path / str(number), settings(run={"workers": 1})).reasons == expected, source
        everything = build(sources, tmp_path / "all", SMALL)
        assert everything.inputs == 4 * len(list(corpus.iterdir()))
        assert everything.reasons["exact_duplicate"] > 3 * 11
    finally:
        fs.rm("/mird-build", recursive=True)


def test_one_image_is_a_build_too(corpus, tmp_path):
    summary = build([corpus / "00.png"], tmp_path / "out", SMALL)
    assert (summary.inputs, summary.kept) == (1, 1)


def test_nothing_kept_is_a_dataset_without_rows(corpus, tmp_path):
    summary = build([corpus / "text.jpg"], tmp_path / "out", SMALL)
    assert summary.reasons == {"unsupported": 1}
    (path,) = (tmp_path / "out" / "dataset" / "data").iterdir()
    assert pq.ParquetFile(path).metadata.num_rows == 0


@pytest.mark.parametrize("hash_name", ["imagehash.phash", "imagehash.dhash", "imagehash.whash", "imagehash.colorhash"])
def test_the_hashes_of_the_imagehash_library_can_be_used_by_name(corpus, tmp_path, hash_name):
    summary = build([corpus], tmp_path / "out", settings(dedup={"hash": hash_name}))
    assert rows(tmp_path / "out")["near.png"]["reason"] == "near_duplicate"
    assert summary.kept >= 10


def test_wrong_calls_are_one_clear_line(corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no inputs in"):
        build([tmp_path / "empty"], tmp_path / "out", SMALL)
    with pytest.raises(InputError, match="no such file"):
        build([tmp_path / "missing"], tmp_path / "out2", SMALL)
    assert not (tmp_path / "out2").exists()
    with pytest.raises(ConfigError, match="unknown meter 'blurr'"):
        build([corpus], tmp_path / "out3", settings(measure={"meters": ["blurr"]}))
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="a file is in the way"):
        build([corpus], tmp_path / "file", SMALL)
    with pytest.raises(InputError, match="no such folder"):
        decide(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no build here"):
        report(tmp_path / "empty")


def test_two_builds_in_one_folder_at_once_are_refused(corpus, tmp_path):
    from million_ird.curate.workspace import opened

    with opened(tmp_path / "out"), pytest.raises(OutputError, match="another mird run works in this folder"):
        build([corpus], tmp_path / "out", SMALL)


def test_a_file_that_changed_since_it_was_measured_stops_the_export_with_its_name(corpus, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes((corpus / "00.png").read_bytes())
    build([folder], tmp_path / "out", SMALL)
    (folder / "a.png").write_bytes((corpus / "03.png").read_bytes())
    with pytest.raises(OutputError, match=r"a\.png: has changed .*; leave such .* policy\.pins\.drop"):
        build([folder], tmp_path / "out", settings(export={"image": "png"}))
    # The old dataset still stands.
    assert len(list((tmp_path / "out" / "dataset" / "data").iterdir())) == 1


def test_events_are_json_lines(built):
    events = [json.loads(line) for line in (built / "run.jsonl").read_text().splitlines()]
    assert {"start", "plan", "shard", "export", "end"} <= {event["event"] for event in events}
    assert all({"time", "level"} <= event.keys() for event in events)


def test_meta_keeps_credit_and_what_came_with_a_sample(corpus, tmp_path):
    exif = Image.Exif()
    exif[0x8298] = "CC BY 4.0"
    buffer = io.BytesIO()
    Image.open(corpus / "00.png").convert("RGB").save(buffer, "JPEG", quality=95, exif=exif)
    with tarfile.open(tmp_path / "w.tar", "w") as tar:
        for name, body in (("a.jpg", buffer.getvalue()), ("a.json", b'{"page": "p.html"}')):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    build([tmp_path / "w.tar"], tmp_path / "out", SMALL)
    meta = json.loads(ledger(tmp_path / "out")["w.tar::a.jpg"]["meta"])
    assert (meta["rights"], meta["page"], meta["subsampling"]) == ("CC BY 4.0", "p.html", "4:2:0")
    assert "CC BY 4.0" in (tmp_path / "out" / "dataset" / "README.md").read_text()
