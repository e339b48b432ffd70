"""What `mird build` and `mird degrade` write, read by the libraries that others train with: the same rows, the same
pixels. Each test needs the real library, and skips by name where it is not installed."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from million_ird.curate import build
from million_ird.pairs import degrade_dataset
from tests.conftest import SMALL

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets")
unclosed = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves that to the collector
FORMATS = ("parquet", "webdataset", "folder")
PAIRS = {"recipe": "denoise", "size": 64, "per_image": 2, "shard_images": 3, "seed": 1, "run": {"workers": 0}}
BASICSR = """
import json, sys, types
import numpy as np
from torchvision.transforms import functional

# BasicSR 1.4.2 imports one function from a module that torchvision took away in 0.17; here it is, where it moved to.
gone = types.ModuleType("torchvision.transforms.functional_tensor")
gone.rgb_to_grayscale = functional.rgb_to_grayscale
sys.modules[gone.__name__] = gone
from basicsr.data.paired_image_dataset import PairedImageDataset

options = {"dataroot_gt": sys.argv[1] + "/hq", "dataroot_lq": sys.argv[1] + "/lq", "io_backend": {"type": "disk"}}
whole = PairedImageDataset({**options, "io_backend": {"type": "disk"}, "scale": 1, "phase": "val"})
crops = PairedImageDataset({**options, "io_backend": {"type": "disk"}, "scale": 1, "phase": "train", "gt_size": 32,
                            "use_hflip": True, "use_rot": True})
found = [(row["lq_path"], row["gt_path"], row["lq"].numpy(), row["gt"].numpy()) for row in whole]
np.savez(sys.argv[2], lq=[row[2] for row in found], gt=[row[3] for row in found])
shapes = [list(crops[i][key].shape) for i in range(len(crops)) for key in ("lq", "gt")]
print(json.dumps({"paths": [row[:2] for row in found], "crops": shapes}))
"""


@pytest.fixture(scope="module")
def builds(corpus, tmp_path_factory) -> dict[str, Path]:
    """One build, exported in two formats."""
    outs = {kind: tmp_path_factory.mktemp("build") / kind for kind in ("parquet", "webdataset")}
    for kind, out in outs.items():
        build([corpus], out, {**SMALL, "export": {"format": kind}})
    return outs


@pytest.fixture(scope="module")
def pairs(builds, tmp_path_factory) -> dict[str, Path]:
    """The pairs of that build, in each format."""
    outs = {kind: tmp_path_factory.mktemp("pairs") / kind for kind in FORMATS}
    for kind, out in outs.items():
        degrade_dataset(builds["parquet"], out, {**PAIRS, "format": kind})
    return outs


def kept(out: Path) -> set[str]:
    return {row["id"] for row in pq.read_table(out / "decisions.parquet").to_pylist() if row["keep"]}


def truth(pairs: dict[str, Path]) -> dict[str, dict]:
    """Name of a sample -> its row, as Arrow reads the Parquet files."""
    rows = [row for path in sorted((pairs["parquet"] / "data").iterdir()) for row in pq.read_table(path).to_pylist()]
    return {Path(row["lq"]["path"]).stem: row for row in rows}


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def shards(folder: Path) -> list[str]:
    return [str(path) for path in sorted((folder / "data").glob("*.tar"))]


@unclosed
def test_webdataset_reads_a_build_picture_by_picture_with_its_facts(builds):
    webdataset = pytest.importorskip("webdataset")
    out = builds["webdataset"]
    stored = list(webdataset.WebDataset(shards(out / "dataset"), shardshuffle=False))
    facts = [json.loads(sample["json"]) for sample in stored]
    assert {fact["id"] for fact in facts} == kept(out) and len(facts) == len(kept(out))
    for sample, fact in zip(stored, facts, strict=True):
        assert hashlib.sha256(sample["jpg"]).hexdigest() == fact["id"]
    decoded = webdataset.WebDataset(shards(out / "dataset"), shardshuffle=False).decode("rgb8").to_tuple("jpg", "json")
    for picture, fact in decoded:
        assert picture.dtype == np.uint8 and picture.shape == (fact["height"], fact["width"], 3) == (160, 160, 3)


@unclosed
def test_webdataset_reads_pairs_and_masks_of_sixteen_bits(pairs):
    webdataset = pytest.importorskip("webdataset")
    expected, paths = truth(pairs), shards(pairs["webdataset"])
    assert len(paths) > 1 and len(expected) == 2 * len({row["id"] for row in expected.values()})
    # Its own decoders make eight bits of each channel; a mask has a bit for each of up to sixteen classes.
    masks = webdataset.handle_extension("mask.png", pixels)
    read = webdataset.WebDataset(paths, shardshuffle=False).decode(masks, "pil")
    samples = {sample["__key__"]: sample for sample in read}
    assert samples.keys() == expected.keys()
    for name, row in expected.items():
        for kind in ("lq", "hq", "mask"):
            assert np.array_equal(np.asarray(samples[name][f"{kind}.png"]), pixels(row[kind]["bytes"])), (name, kind)
        assert np.asarray(samples[name]["mask.png"]).dtype == np.uint16
        assert samples[name]["json"]["trace"] == json.loads(row["trace"])


@unclosed
def test_webdataset_feeds_torch_with_batches_of_pairs(pairs):
    webdataset, torch = pytest.importorskip("webdataset"), pytest.importorskip("torch")
    read = webdataset.WebDataset(shards(pairs["webdataset"]), shardshuffle=False).decode("torchrgb")
    loader = torch.utils.data.DataLoader(read.to_tuple("lq.png", "hq.png").batched(4), batch_size=None)
    batches = list(loader)
    assert sum(len(lq) for lq, _ in batches) == len(truth(pairs))
    for lq, hq in batches:
        assert lq.shape == hq.shape == (len(lq), 3, 64, 64) and not torch.equal(lq, hq)


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_datasets_streams_a_build(builds, kind, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = str(builds[kind] / "dataset")
    stream = datasets.load_dataset(folder, split="train", streaming=True, cache_dir=str(tmp_path))
    assert isinstance(stream, datasets.IterableDataset)
    rows = list(stream)
    facts, image = (rows, "image") if kind == "parquet" else ([row["json"] for row in rows], "jpg")
    assert [fact["id"] for fact in facts] and {fact["id"] for fact in facts} == kept(builds[kind])
    assert all(row[image].size == (160, 160) for row in rows)
    assert not (tmp_path / "downloads").exists()


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_datasets_streams_pairs_shuffled_and_shared_out(pairs, kind, tmp_path):
    datasets = pytest.importorskip("datasets")
    expected = truth(pairs)
    stream = datasets.load_dataset(str(pairs[kind]), split="train", streaming=True, cache_dir=str(tmp_path))
    dot = "" if kind == "parquet" else ".png"
    for row in stream:
        about = row if kind == "parquet" else row["json"]
        (twin,) = (one for one in expected.values() if (one["id"], one["index"]) == (about["id"], about["index"]))
        for name in ("lq", "hq", "mask"):
            assert np.array_equal(np.asarray(row[name + dot]), pixels(twin[name]["bytes"]))
    about = (lambda row: row) if kind == "parquet" else (lambda row: row["json"])
    drawn = [(about(row)["id"], about(row)["index"]) for row in stream.shuffle(seed=1, buffer_size=4)]
    assert sorted(drawn) == sorted((row["id"], row["index"]) for row in expected.values())
    assert stream.n_shards > 1
    shares = [[(about(row)["id"], about(row)["index"]) for row in stream.shard(2, number)] for number in (0, 1)]
    assert sorted(shares[0] + shares[1]) == sorted(drawn) and all(shares)


@pytest.mark.slow
def test_basicsr_pairs_a_degraded_folder_and_trains_on_crops_of_it(pairs, tmp_path):
    for needed in ("basicsr", "lmdb", "torchvision"):
        if find_spec(needed) is None:
            pytest.skip(
                f"{needed} is not installed: pip install --no-deps basicsr==1.4.2 lmdb (see docs/interoperation.md)"
            )
    command = [sys.executable, "-W", "ignore", "-c", BASICSR, str(pairs["folder"]), str(tmp_path / "found.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    said, expected = json.loads(done.stdout.splitlines()[-1]), truth(pairs)
    assert sorted(Path(lq).stem for lq, _ in said["paths"]) == sorted(expected)
    with np.load(tmp_path / "found.npz") as found:
        for (lq, gt), low, high in zip(said["paths"], found["lq"], found["gt"], strict=True):
            assert Path(lq).stem == Path(gt).stem
            row = expected[Path(lq).stem]
            for kind, tensor in (("lq", low), ("hq", high)):  # (3, H, W) RGB in [0, 1]
                assert np.array_equal(np.rint(tensor.transpose(1, 2, 0) * 255), pixels(row[kind]["bytes"]))
    assert said["crops"] == [[3, 32, 32]] * (2 * len(expected))
