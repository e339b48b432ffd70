"""Pictures for training: named, cut short, kept in memory within bounds; and those of the `datasets` library."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from million_ird.degrade.pictures import Listed, Pictures, Rows, pictures
from million_ird.errors import InputError
from million_ird.images import encode_png
from million_ird.train import rows
from million_ird.train.pictures import Cached, First, Named

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets")

Crops = list[NDArray[np.uint8]]


class Counting(Pictures):
    """Notes what it is asked for."""

    def __init__(self, things: Crops) -> None:
        self.things, self.asked = things, list[int]()

    def __len__(self) -> int:
        return len(self.things)

    def __getitem__(self, index: int) -> tuple[str, NDArray[Any]]:
        self.asked.append(index)
        return f"picture {index}", self.things[index].copy()


def test_the_cache_gives_the_same_pixels_and_asks_once(crops: Crops) -> None:
    source = Counting(crops)
    cached = Cached(source, 10**9)
    for index in (3, 0, 3, 3, 5, 0):
        name, found = cached[index]
        assert name == f"picture {index}" and np.array_equal(found, crops[index])
    assert source.asked == [3, 0, 5]


@pytest.mark.parametrize("fits", [0, 1, 2.5, 4])
def test_the_cache_keeps_within_its_bytes_and_lets_go_of_what_was_unused_longest(crops: Crops, fits: float) -> None:
    source = Counting(crops)
    cached = Cached(source, int(fits * crops[0].nbytes))
    for index in (0, 1, 2, 0, 3, 4, 5, 0):
        assert np.array_equal(cached[index][1], crops[index])
        assert sum(found.nbytes for _, found in cached._kept.values()) == cached._bytes <= fits * crops[0].nbytes
    assert len(cached._kept) == int(fits)
    if fits == 4:
        assert source.asked == [0, 1, 2, 3, 4, 5]  # 0 was asked for in between, and so stayed
    if fits == 0:
        assert len(source.asked) == 8


def test_a_worker_begins_with_an_empty_cache(crops: Crops) -> None:
    cached = Cached(Counting(crops), 10**9)
    _ = cached[0], cached[1]
    assert len(pickle.dumps(cached)) < len(pickle.dumps(crops)) + 500
    other = pickle.loads(pickle.dumps(cached))  # noqa: S301 (its own bytes)
    assert np.array_equal(other[1][1], crops[1]) and list(other._kept) == [1] and other.counts == cached.counts


def test_named_pictures_are_called_by_their_names(clean: Path, crops: Crops) -> None:
    named = Named(["a/b", "c"], [clean / "1.png", clean / "0.png"])
    assert len(named) == 2 and named[0][0] == "a/b"
    assert np.array_equal(named[0][1], crops[1]) and np.array_equal(named[1][1], crops[0])
    with pytest.raises(InputError, match=r"gone\.png: cannot be read"):
        Named(["a"], [clean / "gone.png"])[0]


def test_the_first_pictures_keep_the_row_groups_they_lie_in(crops: Crops, tmp_path: Path) -> None:
    cells = pa.array([{"bytes": encode_png(crop), "path": ""} for crop in crops])
    pq.write_table(pa.table({"image": cells}), tmp_path / "a.parquet", row_group_size=2, compression="none")
    source = Rows([tmp_path / "a.parquet"])
    assert list(source.counts) == [2, 2, 2]
    for limit, counts in ((1, [1]), (3, [2, 1]), (4, [2, 2]), (6, [2, 2, 2]), (99, [2, 2, 2])):
        first = First(source, limit)
        assert list(first.counts) == counts and len(first) == sum(counts)
        assert list(Cached(first, 0).counts) == counts
    assert list(First(Listed(crops), 2).counts) == [2]


def test_of_several_splits_the_training_split_is_read(crops: Crops, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, part in (("train-00000-of-00001", crops[:4]), ("test-00000-of-00001", crops[4:])):
        cells = pa.array([{"bytes": encode_png(crop), "path": ""} for crop in part])
        pq.write_table(pa.table({"image": cells}), tmp_path / "data" / f"{name}.parquet")
    found = pictures(tmp_path)
    assert len(found) == 4 and np.array_equal(found[3][1], crops[3])
    (tmp_path / "data" / "train-00000-of-00001.parquet").unlink()
    assert len(pictures(tmp_path)) == 2


@pytest.fixture
def table(crops: Crops) -> Any:
    """A `datasets.Dataset` of the six."""
    datasets = pytest.importorskip("datasets")
    columns = {
        "id": [f"id{i}" for i in range(6)],
        "image": [{"bytes": encode_png(crop), "path": None} for crop in crops],
    }
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


def test_what_save_to_disk_wrote_is_read_by_number_and_in_workers(table: Any, crops: Crops, tmp_path: Path) -> None:
    table.save_to_disk(tmp_path / "saved")
    assert rows.loads(str(tmp_path / "saved")) and not rows.loads(str(tmp_path))
    column = rows.Column(rows.opened(str(tmp_path / "saved"), "train"), "saved")
    for found in (column, pickle.loads(pickle.dumps(column))):  # noqa: S301 (its own bytes)
        assert len(found) == 6
        for index in (5, 0, 3):
            assert found[index][0] == f"id{index}" and np.array_equal(found[index][1], crops[index])


def test_a_saved_dictionary_of_splits_asks_for_one_that_is_there(table: Any, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {"train": table.select(range(4)), "val": table.select(range(4, 6))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert len(rows.opened(str(tmp_path / "saved"), "train")) == 4
    assert len(rows.opened(str(tmp_path / "saved"), "val")) == 2
    with pytest.raises(InputError, match=r"no split 'test', only train, val; name one"):
        rows.opened(str(tmp_path / "saved"), "test")


def test_a_folder_that_datasets_cannot_load_is_an_error_of_one_line(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "dataset_dict.json").write_text("{}")
    with pytest.raises(InputError, match="cannot load it") as caught:
        rows.opened(str(tmp_path), "train")
    assert "\n" not in str(caught.value)


def test_a_name_on_the_hub_is_loaded_with_its_revision_and_split(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[Any] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **options: asked.append((name, options)) or table)
    assert rows.loads("hf://datasets/org/photos")
    assert len(rows.opened("hf://datasets/org/photos@v2", "validation")) == 6
    assert asked == [("org/photos", {"split": "validation", "revision": "v2", "streaming": False})]


def test_a_stream_gives_all_its_rows_over_and_over(table: Any, crops: Crops) -> None:
    pytest.importorskip("datasets")
    streamed = rows.Streamed(table.to_iterable_dataset(num_shards=2), "hf://datasets/org/photos", 100, 0)
    assert len(streamed) == 100
    for _ in range(2):
        found = dict(streamed[0] for _ in range(6))
        assert sorted(found) == [f"id{i}" for i in range(6)]
        assert all(np.array_equal(found[f"id{i}"], crops[i]) for i in range(6))


def test_a_stream_that_was_begun_goes_to_workers_as_if_it_was_not(table: Any) -> None:
    pytest.importorskip("datasets")
    streamed = rows.Streamed(table.to_iterable_dataset(num_shards=2), "hub", 100, 0)
    first = streamed[0]
    again = pickle.loads(pickle.dumps(streamed))[0]  # noqa: S301 (its own bytes)
    assert first[0] == again[0] and np.array_equal(first[1], again[1])


def test_the_processes_share_a_stream_out(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("WORLD_SIZE", "2")
    seen = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        streamed = rows.Streamed(table.to_iterable_dataset(num_shards=2), "hub", 100, 0)
        seen.append({streamed[0][0] for _ in range(6)})
    assert len(seen[0]) == len(seen[1]) == 3 and not seen[0] & seen[1]


def test_a_stream_of_fewer_files_than_workers_says_how_many_it_feeds(table: Any) -> None:
    pytest.importorskip("datasets")
    streamed = rows.Streamed(table.to_iterable_dataset().filter(lambda row: False), "hf://datasets/org/none", 9, 0)
    with pytest.raises(InputError, match=r"hf://datasets/org/none: .* feed 1 workers at most \(--set run\.workers=1\)"):
        streamed[0]
    with pytest.raises(InputError, match="holds nothing"):  # and is no end of the stream the second time
        streamed[1]
