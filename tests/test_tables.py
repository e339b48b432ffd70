"""Files are written whole or not at all."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from million_ird.errors import OutputError
from million_ird.tables import part_path, read_json, read_parts, rows_to_table, sweep, whole, write_json, write_table


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), whole(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_folders_are_made_as_needed(tmp_path):
    write_json(tmp_path / "deep" / "er" / "a.json", [1])
    assert read_json(tmp_path / "deep" / "er" / "a.json") == [1]


def test_a_missing_json_is_none_and_a_broken_one_is_named(tmp_path):
    assert read_json(tmp_path / "none.json") is None
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(OutputError, match=r"bad\.json: not valid JSON"):
        read_json(tmp_path / "bad.json")


def test_a_path_that_cannot_be_a_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="a file is in the way"):
        write_json(tmp_path / "file" / "a.json", 1)


def test_parts_come_back_in_order_and_a_missing_one_is_named(tmp_path):
    for shard in range(3):
        write_table(part_path(tmp_path, shard), pa.table({"n": [shard * 2, shard * 2 + 1]}))
    assert read_parts(tmp_path, 3).column("n").to_pylist() == list(range(6))
    assert read_parts(tmp_path, 3, first=2).column("n").to_pylist() == [4, 5]
    with pytest.raises(OutputError, match=r"part-00003\.parquet is missing"):
        read_parts(tmp_path, 4)
    part_path(tmp_path, 1).write_bytes(b"no parquet")
    with pytest.raises(OutputError, match=r"part-00001\.parquet: not a Parquet file"):
        read_parts(tmp_path, 3)


def test_rows_become_exactly_the_schema():
    schema = pa.schema([("a", pa.int32()), ("b", pa.string())])
    table = rows_to_table([{"a": 1}, {"b": "x"}], schema)
    assert table.schema == schema
    assert table.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    with pytest.raises(KeyError, match="typo"):
        rows_to_table([{"typo": 1}], schema)


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    (tmp_path / "a" / ".00001.tmp" / "deep").mkdir(parents=True)
    (tmp_path / "a" / ".00001.tmp" / "deep" / "x.png").write_text("half")
    (tmp_path / "done").mkdir()
    for name in (".plan.json.77.tmp", "a/.part-00000.parquet.12.tmp", "a/kept.tmp", ".lock", "done/.x.1.tmp"):
        (tmp_path / name).write_text("x")
    sweep(tmp_path, leave=("done",))
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".lock", "a/kept.tmp", "done/.x.1.tmp"]
    assert not (tmp_path / "a" / ".00001.tmp").exists()
