"""`verify`: it finds what was changed, and forgives what a tier does not promise."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from million_ird.errors import InputError, OutputError
from million_ird.images import decode_mask, decode_picture, encode_png
from million_ird.pairs import check, degrade_dataset, verify
from tests.pairs.conftest import SETTINGS

FORMATS = ["parquet", "folder", "webdataset"]


@pytest.fixture(scope="module")
def written(clean, tmp_path_factory) -> dict[str, Path]:
    outs = {kind: tmp_path_factory.mktemp(kind) / "out" for kind in FORMATS}
    for kind, out in outs.items():
        degrade_dataset(clean, out, {**SETTINGS, "format": kind})
    return outs


@pytest.fixture
def copied(written, tmp_path):
    """A run that a test may spoil."""

    def copy(kind: str) -> Path:
        shutil.copytree(written[kind], tmp_path / kind)
        return tmp_path / kind

    return copy


def other_pixel(data: bytes) -> bytes:
    image = decode_picture(data).copy()
    image[7, 9, 1] ^= 1
    return encode_png(image)


def spoil(out: Path, kind: str, what: str, change) -> str:
    """Change one sample's picture; returns the sample's name."""
    if kind == "folder":
        path = sorted((out / what).iterdir())[5]
        path.write_bytes(change(path.read_bytes()))
        return path.stem
    if kind == "parquet":
        path = sorted((out / "data").iterdir())[1]
        table = pq.ParquetFile(path).read()
        rows = table.to_pylist()
        rows[0][what]["bytes"] = change(rows[0][what]["bytes"])
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
        return Path(rows[0][what]["path"]).stem
    path = sorted((out / "data").iterdir())[1]
    with tarfile.open(path) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]
    name = next(member.name for member, _ in members if member.name.endswith(f".{what}.png"))
    with tarfile.open(path, "w") as tar:
        for member, data in members:
            data = change(data) if member.name == name else data
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return name.partition(".")[0]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_written_is_found_as_written(written, kind):
    found = verify(written[kind], samples=100)
    assert found.ok
    assert found.same_versions
    assert found.samples == found.checked == sum(found.tiers.values()) == 16


def test_the_samples_are_chosen_by_the_seed(written):
    assert verify(written["folder"], samples=3).checked == 3


@pytest.mark.parametrize("kind", FORMATS)
def test_one_changed_pixel_is_found_and_its_sample_named(copied, kind):
    out = copied(kind)
    name = spoil(out, kind, "lq", other_pixel)
    (one,) = verify(out, samples=100).differences
    assert (one.name, one.what) == (name, "lq")
    assert "1 px differ, by up to 1 levels" in one.detail


def test_one_changed_bit_of_a_mask_and_a_lost_file_are_found(copied):
    def change(data: bytes) -> bytes:
        mask = decode_mask(data).copy()
        mask[0, 0] ^= 4
        return encode_png(mask)

    out = copied("folder")
    name = spoil(out, "folder", "mask", change)
    (one,) = verify(out, samples=100).differences
    assert (one.name, one.what, one.detail) == (name, "mask", "1 px differ")
    (out / "hq" / f"{name}.png").unlink()
    found = verify(out, samples=100).differences
    assert {(one.name, one.what) for one in found} == {("", "files"), (name, "hq")}


def test_a_lost_part_is_found(copied):
    out = copied("parquet")
    sorted((out / "data").iterdir())[0].unlink()
    assert {one.what for one in verify(out).differences} == {"files"}


def test_a_trace_that_the_recipe_does_not_draw_is_found(copied):
    out = copied("folder")
    config = yaml.safe_load((out / "degrade.yaml").read_text())
    config["recipe"]["pipeline"][0]["branches"][0]["sigma"] = [20, 30]
    (out / "degrade.yaml").write_text(yaml.safe_dump(config))
    found = verify(out, samples=100)
    assert {one.what for one in found.differences} == {"trace"}
    assert "steps" in found.differences[0].detail


def test_an_op_of_another_version_is_named(copied):
    out = copied("folder")
    lines = [json.loads(line) for line in (out / "traces.jsonl").read_text().splitlines()]
    lines[0]["trace"]["steps"][0]["v"] = 99
    (out / "traces.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = verify(out, samples=100)
    assert [one.name for one in found.differences] == [lines[0]["name"]]
    assert "version 99" in found.differences[0].detail


def test_other_versions_forgive_a_level_where_the_tier_does(copied, monkeypatch):
    out = copied("folder")
    name = spoil(out, "folder", "lq", other_pixel)
    made = json.loads((out / "versions.json").read_text())
    (out / "versions.json").write_text(json.dumps({**made, "opencv": "1.0"}))
    found = verify(out, samples=100)
    assert found.ok
    assert found.changed_versions[0].startswith("opencv 1.0 -> ")
    monkeypatch.setattr(check, "tier_of", lambda steps: "exact")
    assert [one.name for one in verify(out, samples=100).differences] == [name]


def test_a_codec_of_another_build_may_come_near(monkeypatch):
    stored = np.full((32, 32, 3), 100, np.uint8)
    near, far = stored + np.uint8(2), stored + np.uint8(3)
    assert cv2.PSNR(stored, near) > 40 > cv2.PSNR(stored, far)
    assert check._levels(stored, near, "codec", False) == ""
    assert check._levels(stored, near, "codec", True)
    assert check._levels(stored, far, "codec", False)
    assert check._levels(stored, near, "versions", False)


def test_a_virtual_set_is_drawn_again(clean, tmp_path):
    for kind in ("parquet", "folder"):
        degrade_dataset(clean, tmp_path / kind, {**SETTINGS, "virtual": True, "format": kind})
        found = verify(tmp_path / kind, samples=100)
        assert found.ok
        assert found.checked == found.samples > 0
    lines = (tmp_path / "folder" / "traces.jsonl").read_text().replace('"seed":5', '"seed":6', 1)
    (tmp_path / "folder" / "traces.jsonl").write_text(lines)
    assert len(verify(tmp_path / "folder", samples=100).differences) == 1


def test_no_run_and_an_unfinished_one_are_one_line(copied, tmp_path):
    with pytest.raises(InputError, match=r"no degraded set here \(degrade\.yaml is missing\)"):
        verify(tmp_path)
    out = copied("folder")
    (out / "done.json").unlink()
    with pytest.raises(OutputError, match="not finished"):
        verify(out)
