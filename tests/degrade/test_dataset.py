"""DegradedDataset: the same item wherever it is made, another one in every epoch, from every kind of source."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from million_ird import degrade as D
from million_ird.errors import ConfigError, InputError
from million_ird.images import encode_png

PIPE = D.Compose([D.Maybe(D.GaussianNoise(sigma=(5, 50)), p=0.7), D.Maybe(D.ImpulseNoise(label="impulse"), p=0.5)])


@pytest.fixture
def arrays(photo: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(photo[40 * i : 40 * i + 60, 30 * i : 30 * i + 80]) for i in range(6)]


def dataset(source: Any, **options: Any) -> D.DegradedDataset:
    return D.DegradedDataset(source, PIPE, **{"size": 32, "seed": 5, **options})


def gathered(data: D.DegradedDataset, **options: Any) -> list[dict[str, Any]]:
    loader = DataLoader(data, batch_size=None, timeout=60 if options.get("num_workers") else 0, **options)
    return list(loader)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a["id"] == b["id"] and all(torch.equal(a[key], b[key]) for key in ("lq", "hq", "mask", "labels"))


def test_an_item_is_a_pair_with_its_labels(arrays: list[NDArray[np.uint8]]) -> None:
    data = dataset(arrays)
    for index in range(len(data)):
        item = data[index]
        assert item["lq"].shape == item["hq"].shape == (3, 32, 32)
        assert item["lq"].dtype == item["hq"].dtype == item["labels"].dtype == torch.float32
        assert item["mask"].shape == (32, 32) and item["mask"].dtype == torch.int32
        clean = item["mask"] == 0
        assert torch.equal(item["lq"][:, clean], item["hq"][:, clean])
        present = [(item["mask"] >> bit & 1).any().item() for bit in range(len(data.classes))]
        assert item["labels"].tolist() == present
        out = data.sample(index)
        assert np.array_equal(np.rint(item["lq"].numpy() * 255).transpose(1, 2, 0).astype(np.uint8), out.lq)
        assert np.array_equal(D.replay(out.hq, out.trace), out.lq)
    assert {len(data.sample(i).labels) for i in range(6)} >= {0, 1}


def test_the_crop_lies_in_the_picture_and_moves_with_the_epoch(arrays: list[NDArray[np.uint8]]) -> None:
    data = D.DegradedDataset(arrays, D.Compose(), size=32)
    places = set()
    for epoch in range(4):
        crop = data.sample(0, epoch).hq
        windows = np.lib.stride_tricks.sliding_window_view(arrays[0], (32, 32, 3)).reshape(-1, 32, 32, 3)
        found = np.flatnonzero((windows == crop).all(axis=(1, 2, 3)))
        assert len(found)
        places.add(int(found[0]))
    assert len(places) > 1


@pytest.mark.parametrize(("workers", "method"), [(1, "fork"), (2, "fork"), (2, "spawn")])
def test_any_number_of_workers_and_any_start_method_give_the_same_items(
    arrays: list[NDArray[np.uint8]], workers: int, method: str
) -> None:
    data = dataset(arrays)
    alone = gathered(data)
    others = gathered(data, num_workers=workers, multiprocessing_context=method)
    assert len(alone) == len(others) == 6
    assert all(map(same, alone, others))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_live_on_see_the_epoch(arrays: list[NDArray[np.uint8]], method: str) -> None:
    data = dataset(arrays)
    expected = []
    for epoch in (0, 1, 7):
        data.set_epoch(epoch)
        expected.append([data[i] for i in range(6)])
    assert not same(expected[0][0], expected[1][0])
    data.set_epoch(0)
    loader = DataLoader(data, batch_size=None, num_workers=1, persistent_workers=True, multiprocessing_context=method)
    for epoch, items in zip((0, 1, 7), expected, strict=True):
        data.set_epoch(epoch)
        assert all(map(same, loader, items))


def test_forked_workers_do_not_wait_for_threads_of_opencv_that_stayed_in_the_parent(
    arrays: list[NDArray[np.uint8]],
) -> None:
    grid = np.float32(np.meshgrid(np.arange(800), np.arange(800)))
    cv2.remap(np.zeros((800, 800, 3), np.uint8), grid[0], grid[1], cv2.INTER_LINEAR)  # starts OpenCV's threads
    assert len(gathered(dataset(arrays), num_workers=2, multiprocessing_context="fork")) == 6


def test_items_are_collated_into_batches(arrays: list[NDArray[np.uint8]]) -> None:
    (batch,) = DataLoader(dataset(arrays), batch_size=6)
    assert batch["lq"].shape == (6, 3, 32, 32) and batch["mask"].shape == (6, 32, 32)
    assert batch["labels"].shape == (6, 2) and batch["id"] == [str(i) for i in range(6)]


def test_a_small_picture_is_mirrored_until_it_is_large_enough() -> None:
    ramp = np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None] * 10, (5, 1, 3)).copy()
    hq = D.DegradedDataset([ramp], D.Compose(), size=9)[0]["hq"] * 255
    assert torch.equal(hq[0, :, 0].round(), torch.tensor([0.0, 10, 20, 30, 40, 30, 20, 10, 0]))
    assert torch.equal(hq, hq[:, :, :1].expand(3, 9, 9))


def test_turns_are_the_eight_symmetries(photo: NDArray[np.uint8]) -> None:
    square = np.ascontiguousarray(photo[:16, :16])
    data = D.DegradedDataset([square], D.Compose(), size=16, turns=True)
    wanted = {np.rot90(base, k).tobytes() for base in (square, square[:, ::-1]) for k in range(4)}
    assert {data.sample(0, epoch).hq.tobytes() for epoch in range(80)} == wanted


def test_every_kind_of_source_gives_the_same_pictures(arrays: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "deep"
    folder.mkdir(parents=True)
    for i, array in enumerate(arrays):
        (folder / f"{i}.png").write_bytes(encode_png(array))
    paths = sorted(folder.iterdir())
    named = [{"image": array, "id": f"deep/{i}.png"} for i, array in enumerate(arrays)]
    from_folder = gathered(dataset(tmp_path / "photos"))
    assert [item["id"] for item in from_folder] == [entry["id"] for entry in named]
    assert all(map(same, from_folder, gathered(dataset(named))))
    whole = {"size": None}
    wanted = [array.tobytes() for array in arrays]
    for source in (paths, [str(p) for p in paths], [Image.open(p) for p in paths], [p.read_bytes() for p in paths]):
        assert [dataset(source, **whole).sample(i).hq.tobytes() for i in range(6)] == wanted


@pytest.mark.parametrize("stored", ["none", "zstd"])
@pytest.mark.parametrize("below", ["dataset/data", "data", "."])
def test_a_build_output_is_read_row_by_row(
    arrays: list[NDArray[np.uint8]], tmp_path: Path, stored: str, below: str
) -> None:
    names = [f"{i:x}" * 8 for i in range(6)]
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    for part in range(2):
        rows = range(3 * part, 3 * part + 3)
        images = [{"bytes": encode_png(arrays[i]), "path": f"{i}.png"} for i in rows]
        table = pa.table({"image": images, "id": [names[i] for i in rows]})
        path = tmp_path / below / f"train-{part:05d}-of-00002.parquet"
        pq.write_table(table, path, row_group_size=2, compression=stored, use_dictionary=False)
    data = dataset(tmp_path)
    wanted = [dataset([{"image": a, "id": n} for a, n in zip(arrays, names, strict=True)])[i] for i in range(6)]
    assert all(same(data[i], wanted[i]) for i in (5, 0, 3, 2, 4, 1))
    assert all(map(same, gathered(data, num_workers=2, multiprocessing_context="fork"), wanted))
    assert same(pickle.loads(pickle.dumps(data))[4], wanted[4])  # noqa: S301 (its own bytes)


def test_what_mird_build_writes_is_read(corpus: Path, tmp_path: Path) -> None:
    from million_ird.config import load
    from million_ird.curate import build
    from million_ird.curate.settings import BuildConfig
    from tests.conftest import SMALL

    build([str(corpus)], tmp_path / "out", load(BuildConfig, preset=SMALL))
    data = dataset(tmp_path / "out")
    assert len(data) > 5
    assert len({data[i]["id"] for i in range(len(data))}) == len(data)


def test_the_name_of_a_picture_decides_not_its_place(arrays: list[NDArray[np.uint8]]) -> None:
    named = [{"image": array, "id": f"{i}"} for i, array in enumerate(arrays)]
    there, back = dataset(named), dataset(named[::-1])
    assert all(same(there[i], back[5 - i]) for i in range(6))


def test_a_picture_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    data = dataset(tmp_path)
    with pytest.raises(InputError, match=r"bad\.jpg: unsupported"):
        data[0]
    with pytest.raises(InputError, match=r"bad\.jpg: unsupported"):
        gathered(data, num_workers=1, multiprocessing_context="fork")


def test_wrong_sources_and_sizes_are_named(tmp_path: Path, arrays: list[NDArray[np.uint8]]) -> None:
    with pytest.raises(InputError, match="no picture in it"):
        dataset(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="got int"):
        dataset(3)
    with pytest.raises(InputError, match=r"source\[0\]: expected shape"):
        dataset([arrays[0][..., 0]])[0]
    with pytest.raises(ConfigError, match="size"):
        dataset(arrays, size=0)
    with pytest.raises(IndexError):
        dataset(arrays)[6]
