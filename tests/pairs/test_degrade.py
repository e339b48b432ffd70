"""`degrade_dataset`: what it writes, and that it writes the same whatever happens on the way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from million_ird import degrade as D
from million_ird.curate import build
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.images import decode
from million_ird.pairs import degrade_dataset, load_config
from million_ird.pairs import task as task_module
from tests.conftest import SMALL
from tests.pairs.conftest import RECIPE, SETTINGS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets")
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

FORMATS = ["parquet", "folder", "webdataset"]
RESULTS = ("data", "lq", "hq", "mask", "traces.jsonl", "classes.json", "skipped.jsonl", "README.md")


def digest(out: Path) -> dict[str, str]:
    """Hashes of everything that must be byte-equal between two runs."""
    paths = [path for name in RESULTS for path in [out / name, *(out / name).rglob("*")] if path.is_file()]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def rows(out: Path) -> list[dict]:
    paths = sorted((out / "data").glob("*.parquet"))
    return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]


def skipped(out: Path) -> dict[str, str]:
    lines = map(json.loads, (out / "skipped.jsonl").read_text().splitlines())
    return {line["uri"]: line["status"] for line in lines}


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def unbroken(clean, tmp_path_factory) -> dict[str, Path]:
    """One finished run of each format, of the same name."""
    outs = {kind: tmp_path_factory.mktemp(kind) / "out" for kind in FORMATS}
    for kind, out in outs.items():
        degrade_dataset(clean, out, {**SETTINGS, "format": kind})
    return outs


def test_every_sample_is_what_its_recipe_seed_id_and_index_say(clean, unbroken):
    pipe = D.load(RECIPE)
    found = rows(unbroken["parquet"])
    assert len(found) == 8 * 2
    for row in found:
        data = (clean / row["uri"]).read_bytes()
        trace = json.loads(row["trace"])
        assert row["id"] == trace["id"] == hashlib.sha256(data).hexdigest()
        assert (row["index"], row["seed"]) == (trace["view"], trace["seed"]) == (trace["view"], 5)
        left, top, width, height = trace["crop"]
        crop = np.ascontiguousarray(decode(data).rgb[top : top + height, left : left + width])
        out = pipe(crop, seed=5, image_id=row["id"], view=row["index"])
        assert np.array_equal(pixels(row["hq"]["bytes"]), crop)
        assert np.array_equal(pixels(row["lq"]["bytes"]), out.lq)
        assert np.array_equal(pixels(row["mask"]["bytes"]), out.mask)
        assert row["labels"] == list(out.labels)
        assert np.array_equal(D.replay(crop, trace), out.lq)
        assert len(row["trace"]) < 4096
    assert len({json.loads(row["trace"])["crop"][0] for row in found}) > 4


def test_the_pairs_open_with_the_datasets_library_and_masks_keep_their_sixteen_bits(unbroken, tmp_path):
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    dataset = load_dataset(str(unbroken["parquet"]), split="train", cache_dir=str(tmp_path))
    assert dataset.column_names == ["lq", "hq", "mask", "labels", "trace", "id", "uri", "index", "seed"]
    assert all(isinstance(dataset.features[name], ImageFeature) for name in ("lq", "hq", "mask"))
    assert len(dataset) == 16
    row = dataset[3]
    mask = np.asarray(row["mask"])
    assert mask.dtype == np.uint16
    assert mask.shape == (64, 64)
    bits = json.loads((unbroken["parquet"] / "classes.json").read_text())
    assert bits == {"noise": 0, "speckle": 1, "impulse": 2}
    assert row["labels"] == [name for name, bit in bits.items() if (mask >> bit & 1).any()]
    lq, hq = (np.asarray(row[name]) for name in ("lq", "hq"))
    assert np.array_equal(lq[mask == 0], hq[mask == 0])
    assert not np.array_equal(lq, hq)


def test_webdataset_opens_with_the_datasets_library_too(unbroken, tmp_path):
    from datasets import load_dataset

    dataset = load_dataset(str(unbroken["webdataset"]), split="train", cache_dir=str(tmp_path))
    assert len(dataset) == 16
    assert {"lq.png", "hq.png", "mask.png", "json"} <= set(dataset.column_names)


def test_the_three_formats_hold_the_same(unbroken):
    lines = [json.loads(line) for line in (unbroken["folder"] / "traces.jsonl").read_text().splitlines()]
    members: dict[str, bytes] = {}
    for path in sorted((unbroken["webdataset"] / "data").iterdir()):
        with tarfile.open(path) as tar:
            members |= {member.name: tar.extractfile(member).read() for member in tar}
    for row, line in zip(rows(unbroken["parquet"]), lines, strict=True):
        assert json.loads(row["trace"]) == line["trace"]
        name = line["name"]
        assert json.loads(members[f"{name}.json"]) == line
        for kind in ("lq", "hq", "mask"):
            data = row[kind]["bytes"]
            assert row[kind]["path"] == f"{name}.png"
            assert (unbroken["folder"] / kind / f"{name}.png").read_bytes() == data == members[f"{name}.{kind}.png"]


def basicsr_pairs(hq: Path, lq: Path) -> list[tuple[str, str]]:
    """The rule of BasicSR's `paired_paths_from_folder`, filename_tmpl '{}': as many files, and each of one name."""
    gts, inputs = ({path.name for path in folder.iterdir()} for folder in (hq, lq))
    assert len(gts) == len(inputs)
    pairs = []
    for name in sorted(gts):
        base, suffix = Path(name).stem, Path(name).suffix
        assert f"{base}{suffix}" in inputs
        pairs.append((str(hq / name), str(lq / f"{base}{suffix}")))
    return pairs


def test_the_folder_loads_unchanged_in_basicsr(unbroken):
    out = unbroken["folder"]
    pairs = basicsr_pairs(out / "hq", out / "lq")
    assert len(pairs) == 16
    for hq, lq in pairs:
        assert pixels(Path(hq).read_bytes()).shape == pixels(Path(lq).read_bytes()).shape == (64, 64, 3)
    names = {Path(hq).name for hq, _ in pairs}
    assert {"b_000.png", "caf__001.png", "more-a_000.png"} <= names


@pytest.mark.parametrize(("kind", "workers"), [("parquet", 1), ("parquet", 2), ("folder", 5), ("webdataset", 2)])
def test_any_number_of_workers_writes_the_same_bytes(clean, unbroken, tmp_path, kind, workers):
    out = tmp_path / "out"
    summary = degrade_dataset(clean, out, {**SETTINGS, "format": kind, "run": {"workers": workers}})
    assert digest(out) == digest(unbroken[kind])
    assert summary.samples == summary.rendered == 16


def test_bad_images_are_named_and_counted_and_never_passed_through(clean, unbroken):
    found = skipped(unbroken["parquet"])
    assert found == {"cut.jpg": "truncated", "small.png": "too_small", "text.jpg": "unsupported"}
    assert not {row["uri"] for row in rows(unbroken["parquet"])} & set(found)
    again = degrade_dataset(clean, unbroken["parquet"], SETTINGS)
    assert (again.inputs, again.images, again.samples, again.unusable) == (11, 8, 16, 3)
    assert again.skipped == {"too_small": 1, "truncated": 1, "unsupported": 1}
    assert sum(again.labels.values()) > 16


def test_a_finished_run_does_nothing_again(clean, unbroken):
    out = unbroken["folder"]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    summary = degrade_dataset(clean, out, {**SETTINGS, "format": "folder"})
    assert summary.up_to_date
    assert summary.rendered == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == before
    assert not (out / "partial").exists()


def test_what_was_deleted_is_made_again(clean, unbroken, tmp_path):
    out = tmp_path / "out"
    degrade_dataset(clean, out, {**SETTINGS, "format": "folder"})
    for path in (out / "lq").iterdir():
        path.unlink()
    (out / "lq").rmdir()
    assert not degrade_dataset(clean, out, {**SETTINGS, "format": "folder"}).up_to_date
    assert digest(out) == digest(unbroken["folder"])


def test_the_written_configuration_repeats_the_run(clean, unbroken, tmp_path):
    config = load_config(unbroken["parquet"] / "degrade.yaml")
    degrade_dataset(None, tmp_path / "out", config)
    assert digest(tmp_path / "out") == digest(unbroken["parquet"])


def test_another_configuration_is_refused_by_name(clean, unbroken):
    other = json.loads(json.dumps(RECIPE))
    other["pipeline"][0]["branches"][0]["sigma"] = [10, 40]
    with pytest.raises(ConfigError, match=r"recipe\.pipeline\.0\.branches\.0\.sigma: \[10, 50\] -> \[10, 40\]"):
        degrade_dataset(clean, unbroken["parquet"], {**SETTINGS, "recipe": other})
    with pytest.raises(ConfigError, match=r"seed: 5 -> 6.*--fresh"):
        degrade_dataset(clean, unbroken["parquet"], {**SETTINGS, "seed": 6})
    with pytest.raises(ConfigError, match="input: "):
        degrade_dataset(clean / "more", unbroken["parquet"], SETTINGS)


def test_fresh_starts_over_and_touches_nothing_else(clean, tmp_path):
    out = tmp_path / "out"
    degrade_dataset(clean / "more", out, SETTINGS)
    (out / "notes.txt").write_text("mine")
    summary = degrade_dataset(clean / "more", out, {**SETTINGS, "format": "folder"}, fresh=True)
    assert summary.samples == 4
    assert not (out / "data").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_a_folder_of_somebody_else_is_left_alone(clean, tmp_path):
    (tmp_path / "hq").mkdir()
    with pytest.raises(OutputError, match="holds hq, which is not of `mird degrade`"):
        degrade_dataset(clean, tmp_path, SETTINGS, fresh=True)
    (tmp_path / "degrade.yaml").write_text("size: 64\n")
    with pytest.raises(OutputError, match="holds hq"):
        degrade_dataset(clean, tmp_path, SETTINGS, fresh=True)
    assert (tmp_path / "hq").exists()
    with pytest.raises(ConfigError, match="this is INPUT"):
        degrade_dataset(clean, clean, SETTINGS)


@posix
@pytest.mark.parametrize(("kind", "moment"), [("parquet", "partial/done"), ("folder", "partial/parts")])
def test_a_run_killed_on_the_way_resumes_to_the_same_bytes(clean, unbroken, tmp_path, kind, moment):
    out, config = tmp_path / "out", tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({**SETTINGS, "format": kind, "run": {"workers": 2}}))
    command = [sys.executable, "-m", "million_ird", "degrade", str(clean), "--out", str(out), "--config", str(config)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, start_new_session=True, **quiet)
    deadline = time.monotonic() + 60
    while not (out / moment).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (out / moment).exists()
    assert not (out / "done.json").exists()
    done = subprocess.run([*command, "--json", "-q"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == 16
    assert digest(out) == digest(unbroken[kind])
    assert not (out / "partial").exists()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("writes", range(3, 15, 3))
def test_a_run_stopped_after_any_write_resumes_to_the_same_bytes(clean, unbroken, tmp_path, monkeypatch, kind, writes):
    real, calls = os.fsync, []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > writes:
            raise KeyboardInterrupt
        real(descriptor)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "fsync", fsync)
        degrade_dataset(clean, tmp_path / "out", {**SETTINGS, "format": kind})
    degrade_dataset(clean, tmp_path / "out", {**SETTINGS, "format": kind})
    assert digest(tmp_path / "out") == digest(unbroken[kind])


def test_a_run_stopped_while_files_are_put_in_place_resumes_to_the_same_bytes(clean, unbroken, tmp_path, monkeypatch):
    real, calls = Path.replace, []

    def replace(self, target):
        calls.append(target)
        if "lq" in Path(target).parts and len([one for one in calls if "lq" in Path(one).parts]) > 5:
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", replace)
        degrade_dataset(clean, tmp_path / "out", {**SETTINGS, "format": "folder"})
    assert len(list((tmp_path / "out" / "lq").iterdir())) == 5
    degrade_dataset(clean, tmp_path / "out", {**SETTINGS, "format": "folder"})
    assert digest(tmp_path / "out") == digest(unbroken["folder"])


def test_a_half_finished_run_of_other_versions_is_not_gone_on_with(clean, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(task_module, "write_part", _interrupt)
        degrade_dataset(clean, out, SETTINGS)
    made = json.loads((out / "versions.json").read_text())
    (out / "versions.json").write_text(json.dumps({**made, "numpy": "1.0"}))
    with pytest.raises(ConfigError, match=r"other versions began \(numpy 1\.0 -> "):
        degrade_dataset(clean, out, SETTINGS)


def _interrupt(*args):
    raise KeyboardInterrupt


CRASHER = """
    import os
    from typing import ClassVar
    from million_ird.degrade.op import Op

    class Crash(Op):
        "Dies on dark pictures, as a bad codec would."
        family: ClassVar = "crash"
        tier: ClassVar = "exact"

        def draw(self, rng, shape):
            return {}

        @classmethod
        def render(cls, image, params):
            if image.max() < 0.1:
                os.write(2, b"stack smashed in /secret/place/lib.so\\n")
                os.abort()
            return image * 0.5, None
"""


def test_an_image_that_kills_its_worker_is_named_and_costs_only_itself(clean, tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "crash_op-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crash-op\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[million_ird.degradations]\nCrash = crash_op:Crash\n")
    (site / "crash_op.py").write_text(textwrap.dedent(CRASHER))
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "e.png"):
        (folder / name).write_bytes((clean / name).read_bytes())
    Image.new("RGB", (96, 96), (9, 9, 9)).save(folder / "b.png")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("pipeline: {op: Crash}\n")
    command = [sys.executable, "-m", "million_ird", "degrade", str(folder), "--out", str(tmp_path / "out")]
    command += ["--recipe", str(recipe), "--workers", "1", "--json"]
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=env)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["skipped"] == {"crashed": 1}
    assert summary["samples"] == 2
    assert skipped(tmp_path / "out") == {"b.png": "crashed"}
    events = (tmp_path / "out" / "run.jsonl").read_text()
    assert "SIGABRT" in events
    assert "stack smashed" in events
    assert "/secret/place" not in events


def test_virtual_writes_the_same_traces_and_no_pixels(clean, unbroken, tmp_path):
    config = {**SETTINGS, "virtual": True}
    summary = degrade_dataset(clean, tmp_path / "parquet", config)
    degrade_dataset(clean, tmp_path / "folder", {**config, "format": "folder"})
    assert summary.samples >= 16
    wanted = {(row["uri"], row["index"]): json.loads(row["trace"]) for row in rows(unbroken["parquet"])}
    found = {(row["uri"], row["index"]): json.loads(row["trace"]) for row in rows(tmp_path / "parquet")}
    lines = map(json.loads, (tmp_path / "folder" / "traces.jsonl").read_text().splitlines())
    assert {key: found[key] for key in wanted} == wanted
    assert {(line["uri"], line["index"]): line["trace"] for line in lines} == found
    assert not set(rows(tmp_path / "parquet")[0]) & {"lq", "hq", "mask"}
    assert not {"lq", "hq", "mask", "data"} & {path.name for path in (tmp_path / "folder").iterdir()}


def test_without_a_size_whole_images_are_degraded_and_limit_takes_the_first(clean, tmp_path):
    summary = degrade_dataset(clean, tmp_path / "out", {**SETTINGS, "size": None, "limit": 3, "per_image": 1})
    found = rows(tmp_path / "out")
    assert [row["uri"] for row in found] == ["a.png", "b.jpg", "c.webp"]
    assert summary.inputs == 3
    assert "crop" not in json.loads(found[0]["trace"])
    assert pixels(found[0]["lq"]["bytes"]).shape == (96, 96, 3)


def test_a_single_image_and_one_sample_are_enough(clean, tmp_path):
    summary = degrade_dataset(clean / "a.png", tmp_path / "out", {**SETTINGS, "per_image": 1})
    assert summary.samples == len(rows(tmp_path / "out")) == 1


def test_nothing_to_degrade_is_an_error_and_nothing_usable_a_warning(clean, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in"):
        degrade_dataset(tmp_path / "empty", tmp_path / "out", SETTINGS)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.jpg").write_text("no picture")
    for kind in FORMATS:
        summary = degrade_dataset(tmp_path / "bad", tmp_path / kind, {**SETTINGS, "format": kind})
        assert (summary.inputs, summary.samples) == (1, 0)
        assert "none of 1 images could be used" in summary.warnings[0]


def test_seventeen_classes_are_an_error_that_names_them(clean, tmp_path):
    steps = [{"op": "GaussianNoise", "label": f"kind{number}"} for number in range(17)]
    with pytest.raises(ConfigError, match=r"16 at most.*kind0, .*kind16"):
        degrade_dataset(clean, tmp_path / "out", {"recipe": {"pipeline": steps}})
    assert not (tmp_path / "out" / "plan.json").exists()


def test_the_same_picture_gets_the_same_degradation_from_wherever_it_is_read(clean, unbroken, tmp_path):
    from datasets import Dataset
    from datasets import Image as ImageFeature

    names = ["a.png", "e.png"]
    built = {**SMALL, "policy": {name: {"enabled": False} for name in RULES}}
    for kind in ("parquet", "imagefolder", "webdataset"):
        source = tmp_path / f"in-{kind}"
        source.mkdir()
        for name in names:
            (source / name).write_bytes((clean / name).read_bytes())
        build([source], tmp_path / kind, {**built, "export": {"format": kind}})
    with tarfile.open(tmp_path / "set.tar", "w") as tar, zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in names:
            tar.add(clean / name, name)
            archive.write(clean / name, name)
    cells = [{"bytes": (clean / name).read_bytes(), "path": name} for name in names]
    saved = Dataset.from_dict({"picture": cells}).cast_column("picture", ImageFeature(decode=False))
    saved = saved.cast_column("picture", ImageFeature())
    saved.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "foreign").mkdir()
    saved.to_parquet(str(tmp_path / "foreign" / "rows.parquet"))
    wanted = {(row["id"], row["index"]): row["lq"]["bytes"] for row in rows(unbroken["parquet"]) if row["uri"] in names}
    assert len(wanted) == 4
    sources = ["parquet", "parquet/dataset", "imagefolder", "webdataset", "set.tar", "set.zip", "saved", "foreign"]
    for number, source in enumerate([*sources, "foreign/rows.parquet"]):
        out = tmp_path / f"out-{number}"
        summary = degrade_dataset(tmp_path / source, out, SETTINGS)
        assert {(row["id"], row["index"]): row["lq"]["bytes"] for row in rows(out)} == wanted, source
        assert summary.skipped == {}, source
        if number < 4:
            assert {row["uri"] for row in rows(out)} == set(names)


RULES = ("resolution", "blur", "flat", "noise", "compression", "exposure", "border", "product", "upscaled", "iqa")


def test_a_paired_set_is_degraded_from_its_clean_side_and_a_folder_of_pairs_refused(unbroken, tmp_path):
    summary = degrade_dataset(unbroken["parquet"], tmp_path / "out", {**SETTINGS, "size": None, "per_image": 1})
    assert summary.samples == 16
    hq = {row["hq"]["bytes"] for row in rows(unbroken["parquet"])}
    assert {row["hq"]["bytes"] for row in rows(tmp_path / "out")} == hq
    with pytest.raises(InputError, match="an output of `mird degrade`"):
        degrade_dataset(unbroken["folder"], tmp_path / "out2", SETTINGS)


def test_an_id_that_several_rows_share_does_not_make_them_alike(clean, tmp_path):
    import pyarrow as pa

    cells = [{"bytes": (clean / name).read_bytes(), "path": name} for name in ("a.png", "e.png", "f.bmp")]
    pq.write_table(pa.table({"image": cells, "id": ["x", "x", "y"]}), tmp_path / "t.parquet")
    degrade_dataset(tmp_path / "t.parquet", tmp_path / "out", {**SETTINGS, "per_image": 1})
    ids = [row["id"] for row in rows(tmp_path / "out")]
    assert ids[0] == hashlib.sha256(cells[0]["bytes"]).hexdigest()
    assert len(set(ids)) == 3
    assert ids[2] == "y"


def test_row_groups_stay_small_and_pixels_are_not_packed_twice(clean, tmp_path):
    degrade_dataset(clean, tmp_path / "out", {**SETTINGS, "row_group": 2, "shard_images": 100})
    (path,) = (tmp_path / "out" / "data").iterdir()
    metadata = pq.ParquetFile(path).metadata
    assert metadata.num_row_groups == 8
    group = metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert all(columns[f"{name}.bytes"].compression == "UNCOMPRESSED" for name in ("lq", "hq", "mask"))
