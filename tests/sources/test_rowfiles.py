"""Tables of images: each row is an input like a file, read from where it lies."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from million_ird.errors import BadImage, InputError
from million_ird.sources.files import LocalFiles, RemoteFiles
from million_ird.sources.rowfiles import RowSource, dataset_files

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(count: int, start: int = 0, **more) -> pa.Table:
    cells = [{"bytes": f"image {number}".encode(), "path": f"{number}.jpg"} for number in range(start, start + count)]
    return pa.table({"image": pa.array(cells, IMAGE), **more})


def opened(folder: Path, *paths: str) -> tuple[RowSource, list]:
    source = RowSource("set", LocalFiles(str(folder)), paths)
    return source, list(source.items(Counter()))


def write_stream(path: Path, rows: pa.Table, batch: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_stream(path, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=batch)


def test_rows_of_parquet_and_arrow_are_items_with_metadata(tmp_path):
    facts = {"license": ["CC0", None, "CC-BY"], "url": ["u0", "u1", "u2"], "tags": [["a"], [], None]}
    pq.write_table(table(3, **facts), tmp_path / "a.parquet", row_group_size=2)
    write_stream(tmp_path / "b.arrow", table(3, 3, **facts))
    with pa.ipc.new_file(tmp_path / "c.arrow", table(1, 6).schema) as writer:
        writer.write_table(table(2, 6))
    source, items = opened(tmp_path, "a.parquet", "b.arrow", "c.arrow")
    assert [item.uri for item in items] == [
        *(f"{name}::{row}" for name in ("a.parquet", "b.arrow") for row in range(3)),
        "c.arrow::0",
        "c.arrow::1",
    ]
    assert [item.member for item in items] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [json.loads(item.meta) for item in items[:3]] == [
        {"licence": "CC0", "tags": ["a"], "url": "u0"},
        {"tags": [], "url": "u1"},
        {"licence": "CC-BY", "url": "u2"},
    ]
    assert items[-1].meta == ""
    expected = [f"image {number}".encode() for number in range(8)]
    assert [source.read(item) for item in items] == expected
    assert [source.read(item) for item in reversed(items)] == expected[::-1]
    assert source.read(items[4], 3) == b"ima"
    source.close()


def test_several_columns_of_images_are_several_items(tmp_path):
    rows = pa.table({"lq": table(2)["image"], "hq": table(2, 10)["image"], "id": ["a", "b"]})
    pq.write_table(rows, tmp_path / "pairs.parquet")
    source, items = opened(tmp_path, "pairs.parquet")
    uris = ["pairs.parquet::0/lq", "pairs.parquet::0/hq", "pairs.parquet::1/lq", "pairs.parquet::1/hq"]
    assert [item.uri for item in items] == uris
    assert [source.read(item) for item in items] == [b"image 0", b"image 10", b"image 1", b"image 11"]
    source.close()


def test_a_row_without_an_image_is_unreadable_and_its_neighbours_are_not(tmp_path):
    cells = [
        {"bytes": b"one", "path": None},
        None,
        {"bytes": None, "path": "/etc/passwd"},
        {"bytes": b"", "path": None},
    ]
    pq.write_table(pa.table({"image": pa.array([*cells, cells[0]], IMAGE)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"jpg": [b"two", None]}), tmp_path / "b.parquet")
    source, items = opened(tmp_path, "a.parquet", "b.parquet")
    got = []
    for item in items:
        try:
            got.append(source.read(item))
        except BadImage as bad:
            got.append((bad.status, bad.detail))
    nothing = ("unreadable", "the row holds no image")
    named = ("blocked", "the row names a file outside of its folder")
    assert got == [b"one", nothing, named, nothing, b"one", b"two", nothing]
    source.close()


def test_a_file_that_a_row_names_is_read_where_it_lies_below_the_folder_of_the_tables(tmp_path):
    root = tmp_path / "set"
    (root / "in").mkdir(parents=True)
    (root / "in" / "1.jpg").write_bytes(b"one")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    names = ["in/1.jpg", "gone.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "a\0b", ""]
    cells = pa.array([{"bytes": None, "path": name} for name in names], IMAGE)
    pq.write_table(pa.table({"image": cells}), root / "a.parquet")
    source, items = opened(root, "a.parquet")
    assert source.read(items[0], 2) == b"on"
    statuses = []
    for item in items[1:]:
        with pytest.raises(BadImage) as caught:
            source.read(item)
        statuses.append(caught.value.status)
    assert statuses == ["unreadable", "blocked", "blocked", "blocked", "blocked", "unreadable"]
    source.close()
    fs = fsspec.filesystem("memory")
    fs.pipe("/mird-rows/a.parquet", (root / "a.parquet").read_bytes())
    fs.pipe("/mird-rows/in/1.jpg", b"one")
    try:
        far = RowSource("far", RemoteFiles("memory", "/mird-rows"), ["a.parquet"])
        with pytest.raises(BadImage, match="names an image file and does not hold it"):
            far.read(next(iter(far.items(Counter()))))
        far.close()
    finally:
        fs.rm("/mird-rows", recursive=True)


def test_one_column_may_be_read_alone_with_few_facts_and_rows_be_called_by_another_name(tmp_path):
    for number, name in enumerate(["a.parquet", "b.parquet"]):
        columns = {"lq": table(2)["image"], "hq": table(2, 10 + 2 * number)["image"], "id": ["x", None], "n": [1, 2]}
        pq.write_table(pa.table(columns), tmp_path / name)
    pq.write_table(
        pa.table({"n": [1], "photo": table(1, 30)["image"], "lq": table(1)["image"]}), tmp_path / "c.parquet"
    )
    paths = ["a.parquet", "b.parquet", "c.parquet"]
    source = RowSource("set", LocalFiles(str(tmp_path)), paths, ("image", "hq"), ("id", "uri"), "pairs")
    items = list(source.items(Counter()))
    assert [item.uri for item in items] == [f"pairs::{row}" for row in range(5)]
    assert [(item.path, item.member) for item in items[1:3]] == [(b"a.parquet", 1), (b"b.parquet", 0)]
    assert [item.meta for item in items] == ['{"id": "x"}', "", '{"id": "x"}', "", ""]
    renamed = [replace(item, uri="photos/1.jpg") for item in items]
    assert [source.read(item) for item in renamed] == [f"image {number}".encode() for number in (10, 11, 12, 13, 30)]
    source.close()


def test_rows_that_say_nothing_of_themselves_are_rows_all_the_same(tmp_path):
    for number, values in enumerate([[None, "a", None, ""], [None] * 4, [None, 1.5, None, float("nan")]]):
        pq.write_table(table(4, note=values), tmp_path / f"{number}.parquet")
    source, items = opened(tmp_path, "0.parquet", "1.parquet", "2.parquet")
    metas = ["", '{"note": "a"}', "", '{"note": ""}', *[""] * 4, "", '{"note": 1.5}', "", ""]
    assert [item.meta for item in items] == metas
    assert [item.uri for item in items] == [f"{name}.parquet::{row}" for name in range(3) for row in range(4)]
    assert [source.read(item) for item in items[4:8]] == [f"image {row}".encode() for row in range(4)]
    source.close()


def test_empty_batches_hide_no_rows(tmp_path):
    whole = table(2)
    with pa.ipc.new_stream(tmp_path / "a.arrow", whole.schema) as writer:
        for part in (whole.slice(0, 0), whole.slice(0, 1), whole.slice(0, 0), whole.slice(0, 0), whole.slice(1)):
            for batch in part.to_batches() or [pa.RecordBatch.from_pylist([], whole.schema)]:
                writer.write_batch(batch)
    source, items = opened(tmp_path, "a.arrow")
    assert [source.read(item) for item in items] == [b"image 0", b"image 1"]
    source.close()


def test_damaged_tables_are_items_and_the_others_are_read(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no table")
    (tmp_path / "b.arrow").write_bytes(b"")
    write_stream(tmp_path / "c.arrow", table(6))
    whole = (tmp_path / "c.arrow").read_bytes()
    (tmp_path / "c.arrow").write_bytes(whole[: len(whole) * 2 // 3])
    pq.write_table(table(1), tmp_path / "d.parquet")
    source, items = opened(tmp_path, "a.parquet", "b.arrow", "c.arrow", "d.parquet")
    bad = [item for item in items if item.status]
    assert [(item.uri, item.status) for item in bad] == [
        ("a.parquet", "unreadable"),
        ("b.arrow", "unreadable"),
        ("c.arrow::?", "unreadable"),
    ]
    assert all("damaged" in item.detail and "\n" not in item.detail for item in bad)
    good = [item for item in items if not item.status]
    assert len(good) > 2 and good[-1].uri == "d.parquet::0" and len({item.key for item in items}) == len(items)
    assert source.read(good[-1]) == b"image 0"
    (tmp_path / "d.parquet").unlink()
    source.close()
    with pytest.raises(BadImage, match="unreadable"):
        source.read(good[-1])
    with pytest.raises(InputError, match=r"d\.parquet: cannot be read"):
        opened(tmp_path, "d.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "e.parquet")
    with pytest.raises(InputError, match="no column holds images; columns: x"):
        opened(tmp_path, "e.parquet")


def test_listing_reads_no_images_and_reading_holds_few(tmp_path):
    cells = [{"bytes": bytes([number % 256]) * 1_000_000, "path": None} for number in range(200)]
    rows = pa.table({"image": pa.array(cells, IMAGE), "id": list(range(200))})
    options = {"row_group_size": 200, "compression": "none", "use_dictionary": False, "write_batch_size": 4}
    pq.write_table(rows, tmp_path / "a.parquet", **options)
    del cells, rows
    before = pa.total_allocated_bytes()
    source = RowSource("set", LocalFiles(str(tmp_path)), ["a.parquet"])
    items = []
    for item in source.items(Counter()):
        items.append(item)
        assert pa.total_allocated_bytes() - before < 8_000_000
    most = 0
    for item in items[::7]:
        assert source.read(item, 1) == bytes([item.member % 256])
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 150_000_000
    source.close()


def test_a_folder_is_a_dataset_where_datasets_could_load_it(tmp_path):
    folder = tmp_path / "set"
    for name in ("data/train/0.parquet", "data/test/0.parquet", ".cache/x.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(1), folder / name)
    pq.write_table(pa.table({"x": [1]}), folder / "notes.parquet")
    (folder / ".cache" / "thumb.jpg").write_bytes(b"x")
    (folder / "README.md").write_text("x")
    assert dataset_files(folder) == ["data/test/0.parquet", "data/train/0.parquet"]
    (folder / "data" / "cut.parquet").write_bytes(b"PAR1 no table")
    assert dataset_files(folder) == ["data/cut.parquet", "data/test/0.parquet", "data/train/0.parquet"]
    (folder / "data" / "photo.JPG").write_bytes(b"x")
    assert dataset_files(folder) is None

    for name, text in {"build.yaml": "", "plan.json": "{}", "run.jsonl": ""}.items():
        (tmp_path / "run" / "dataset" / "data").mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text(text)
    inner = json.dumps({"licence": "CC0", "id": "inner"})
    pq.write_table(table(1, id=["outer"], meta=[inner]), tmp_path / "run" / "dataset" / "data" / "train.parquet")
    pq.write_table(table(1), tmp_path / "run" / "other.parquet")
    with pytest.raises(InputError, match="not finished"):
        dataset_files(tmp_path / "run")
    (tmp_path / "run" / "dataset" / "README.md").write_text("x")
    assert dataset_files(tmp_path / "run") == ["dataset/data/train.parquet"]
    _, items = opened(tmp_path / "run", "dataset/data/train.parquet")
    assert items[0].meta == '{"id": "outer", "licence": "CC0"}'

    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "cut.parquet").write_bytes(b"PAR1 no table")
    assert dataset_files(tmp_path / "empty") is None


def test_what_datasets_saves_is_read_as_it_was_saved(tmp_path):
    datasets = pytest.importorskip("datasets")
    cells = [{"bytes": f"image {number}".encode(), "path": None} for number in range(5)]
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    rows = datasets.Dataset.from_dict({"image": cells, "label": [0, 1, 0, 1, 0]}, features=features)
    datasets.DatasetDict({"train": rows, "test": rows.select([4, 1])}).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "train" / "cache-1.arrow").write_bytes(b"left by a map")
    paths = dataset_files(tmp_path / "saved")
    assert paths and paths == ["test/data-00000-of-00001.arrow", "train/data-00000-of-00001.arrow"]
    source, items = opened(tmp_path / "saved", *paths)
    assert [source.read(item)[-1:] for item in items] == [b"4", b"1", b"0", b"1", b"2", b"3", b"4"]
    assert json.loads(items[1].meta) == {"label": 1}
    source.close()
    (tmp_path / "plain").mkdir()
    rows.to_parquet(tmp_path / "plain" / "a.parquet")
    assert dataset_files(tmp_path / "plain") == ["a.parquet"]
