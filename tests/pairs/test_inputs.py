"""INPUT of `mird degrade` where images lie in rows: which rows are meant, and what they are called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from million_ird.errors import BadImage, InputError
from million_ird.pairs import degrade_dataset
from million_ird.pairs.inputs import sources_of, spec_as_json, spec_from_json
from million_ird.pairs.plan import listing
from million_ird.pairs.settings import as_config, completed
from million_ird.sources import Reader
from tests.pairs.conftest import SETTINGS
from tests.sources.hub_server import HubServer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def cells(*data: bytes) -> pa.Array:
    return pa.array([{"bytes": one, "path": None} for one in data], IMAGE)


def write(path: Path, **columns) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def listed(source: Path) -> tuple[list[tuple[str, str, str, bytes | str]], dict[str, int]]:
    """(uri, id, name, bytes, or the status of what cannot be read) of all images, and what is passed over."""
    plan, entries = listing(completed(as_config(SETTINGS), source))
    found = []
    specs = [spec_from_json(json.loads(json.dumps(spec_as_json(spec)))) for spec in plan.sources]
    assert specs == list(plan.sources)
    with Reader(specs) as reader:
        for entry in entries:
            try:
                data = reader.read(entry.item)
            except BadImage as bad:
                data = bad.status
            found.append((entry.item.uri, entry.id, entry.name, data))
    return found, plan.passed_over


def test_rows_are_called_as_their_columns_say_else_by_their_table_and_number(tmp_path):
    facts = {"id": ["x", "x", None], "uri": ["in/1.jpg", None, "2.jpg"], "meta": ['{"id": "no", "uri": "no"}'] * 3}
    write(tmp_path / "set" / "data" / "train-0.parquet", image=cells(b"1", b"2", b"3"), **facts)
    patches = {"uri": ["c.jpg"] * 2, "id": ["c"] * 2, "patch_x": [0, 64], "patch_y": [0, 0]}
    write(tmp_path / "set" / "data" / "train-1.parquet", lq=cells(b"no", b"no"), hq=cells(b"4", b"5"), **patches)
    write(tmp_path / "set" / "data" / "test-0.parquet", image=cells(b"6"))
    assert listed(tmp_path / "set") == (
        [
            ("in/1.jpg", "", "1", b"1"),
            ("data/train-0.parquet::1", "", "train-0-1", b"2"),
            ("2.jpg", "", "2", b"3"),
            ("c.jpg@0,0", "c@0,0", "c_0_0", b"4"),
            ("c.jpg@64,0", "c@64,0", "c_64_0", b"5"),
        ],
        {"file of another split than train": 1},
    )


def test_of_a_saved_dataset_the_training_split_is_meant_and_rows_go_by_its_name(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"photo": datasets.Image(decode=False), "id": datasets.Value("string")})
    data = [{"bytes": f"{number}".encode(), "path": None} for number in range(3)]
    rows = datasets.Dataset.from_dict({"photo": data, "id": list("abc")}, features=features)
    rows.save_to_disk(tmp_path / "saved", num_shards=2)
    wanted = [(f"saved::{number}", "abc"[number], f"saved-{number}", f"{number}".encode()) for number in range(3)]
    assert listed(tmp_path / "saved") == (wanted, {})
    datasets.DatasetDict({"train": rows, "dev": rows.select([2])}).save_to_disk(tmp_path / "in" / "saved")
    assert listed(tmp_path / "in" / "saved") == (wanted, {"file of another split than train": 1})
    datasets.DatasetDict({"test": rows, "dev": rows.select([2])}).save_to_disk(tmp_path / "other")
    assert [row[1:] for row in listed(tmp_path / "other")[0]] == [("c", "other-0", b"2")]
    datasets.Dataset.from_dict({"x": [1]}).save_to_disk(tmp_path / "numbers")
    with pytest.raises(InputError, match="no column of this dataset holds images"):
        listed(tmp_path / "numbers")


def test_a_folder_of_tables_is_a_dataset_however_deep_they_lie(tmp_path):
    write(tmp_path / "set" / "data" / "train" / "0.parquet", image=cells(b"1"), id=["a"])
    write(tmp_path / "set" / "data" / "test" / "0.parquet", image=cells(b"2"), id=["b"])
    wanted = [("data/train/0.parquet::0", "a", "0-0", b"1")]
    assert listed(tmp_path / "set") == (wanted, {"file of another split than train": 1})


def test_a_damaged_table_or_row_costs_only_itself(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.parquet").write_bytes(b"PAR1 no table")
    named = [{"bytes": None, "path": name} for name in ("in/x.jpg", "gone.jpg", "/etc/passwd")]
    write(tmp_path / "set" / "b.parquet", image=pa.array([*named, None, {"bytes": b"4", "path": None}], IMAGE))
    (tmp_path / "set" / "in").mkdir()
    (tmp_path / "set" / "in" / "x.jpg").write_bytes(b"named")
    found, _ = listed(tmp_path / "set")
    assert [row[3] for row in found] == ["unreadable", b"named", "unreadable", "blocked", "unreadable", b"4"]
    write(tmp_path / "urls" / "a.parquet", url=["https://example.org/1.jpg"])
    for source in ("urls", "urls/a.parquet"):
        with pytest.raises(InputError, match=r"a\.parquet: no column holds images; columns: url"):
            listed(tmp_path / source)


def test_what_lies_on_the_web_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "urls.txt").write_text("https://example.org/1.jpg\n")
    for source in ("https://example.org/", str(tmp_path / "urls.txt"), str(tmp_path / "*.txt")):
        with pytest.raises(InputError, match="read by `mird build` alone; build a dataset first"):
            sources_of(source)


def test_a_dataset_of_the_hub_gives_the_samples_that_its_files_give_here(clean, tmp_path):
    pytest.importorskip("huggingface_hub")
    photos = [(clean / name).read_bytes() for name in ("a.png", "e.png", "b.jpg")]
    write(tmp_path / "here" / "data" / "train-0.parquet", image=cells(*photos[:2]), id=["one", "two"], uri=["1", "2"])
    write(tmp_path / "here" / "data" / "test-0.parquet", image=cells(*photos[2:]), id=["three"], uri=["3"])
    settings = {**SETTINGS, "format": "folder"}
    degrade_dataset(tmp_path / "here", tmp_path / "wanted", settings)
    (tmp_path / "c.yaml").write_text(json.dumps(settings))
    files = {name: (tmp_path / "here" / name).read_bytes() for name in ("data/train-0.parquet", "data/test-0.parquet")}
    with HubServer() as hub:
        repo = hub.add("org/photos", files)
        words = ["degrade", "hf://datasets/org/photos", "--out", "out", "--config", "c.yaml", "--json", "-q"]
        env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-m", "million_ird", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["samples"], summary["passed_over"]) == (4, {"file of another split than train": 1})
    (source,) = json.loads((tmp_path / "out" / "plan.json").read_text())["sources"]
    assert source["root"] == f"datasets/org/photos@{repo.refs['main']}"
    for kind in ("lq", "hq", "mask"):
        made = {path.name: path.read_bytes() for path in (tmp_path / "out" / kind).iterdir()}
        assert made == {path.name: path.read_bytes() for path in (tmp_path / "wanted" / kind).iterdir()}
