"""Folders of pictures: names stay, inputs are safe, what is bad is told of, what is there is left."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from million_ird import models
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.images import deep
from million_ird.models.adapters import AdapterConfig
from million_ird.restore.folder import Settings, restore_files


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = models.create("dynet-tiny", dim=8, refinement=1).eval()
    torch.nn.init.zeros_(net.output.weight)
    return net


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray(pixels).save(folder / "sub" / "b.webp", lossless=True)
    (folder / "deep.png").write_bytes(deep.png(pixels.astype(np.uint16) * 255))
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


def listed(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_names_and_folders_stay_and_a_bad_file_is_told_of(net, photos, tmp_path):
    told = []
    summary = restore_files(net, [str(photos)], tmp_path / "out", tell=told.append)
    assert listed(tmp_path / "out") == ["a.png", "deep.png", "restore.json", "sub/b.png"]
    assert (summary.count("ok"), summary.failed) == (3, 1)
    assert [done.uri for done in told if done.status != "ok"] == ["bad.jpg"]
    for name in ("a.png", "sub/b.png"):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)), np.asarray(Image.open(photos / "a.png")))
    assert np.array_equal(
        deep.read_deep((tmp_path / "out/deep.png").read_bytes()), deep.read_deep((photos / "deep.png").read_bytes())
    )
    json.dumps(summary.as_dict())


@pytest.mark.parametrize(
    ("mode", "count"),
    [("exact", 2), pytest.param("exact", 24, marks=pytest.mark.slow), pytest.param("tile", 24, marks=pytest.mark.slow)],
)
def test_whole_photos_come_back_bit_for_bit_from_the_identity(mode, count, real, tmp_path):
    least = models.create("dynet-tiny", dim=2, heads=(1, 1, 1, 1), refinement=1, prompt_sizes=(4, 2, 2))
    torch.nn.init.zeros_(least.output.weight)
    paths = sorted(real("kodak24").glob("*.png"))[:count]
    assert len(paths) == count
    summary = restore_files(least, [str(path) for path in paths], tmp_path, Settings(mode=mode))
    assert [done.mode for done in summary.pictures] == [mode] * count
    for path in paths:
        pixels = np.asarray(Image.open(tmp_path / path.name))
        assert pixels.shape in ((512, 768, 3), (768, 512, 3)) and pixels.dtype == np.uint8
        assert np.array_equal(pixels, np.asarray(Image.open(path)))


def test_the_same_format_is_kept_where_it_is_asked_for(net, photos, tmp_path):
    restore_files(net, [str(photos)], tmp_path / "out", Settings(format="same"))
    assert listed(tmp_path / "out") == ["a.png", "deep.png", "restore.json", "sub/b.webp"]
    assert (tmp_path / "out/sub/b.webp").read_bytes()[8:12] == b"WEBP"


def test_pictures_that_are_there_are_left_and_fresh_makes_them_again(net, photos, tmp_path):
    out = tmp_path / "out"
    restore_files(net, [str(photos)], out)
    (out / "a.png").unlink()
    (out / "sub/b.png").write_bytes(b"mine")
    again = restore_files(net, [str(photos)], out)
    assert (again.count("ok"), again.count("there")) == (1, 2)
    assert (out / "sub/b.png").read_bytes() == b"mine"
    assert restore_files(net, [str(photos)], out, fresh=True).count("ok") == 3
    assert (out / "sub/b.png").read_bytes() != b"mine"


def test_an_output_folder_holds_one_setting(net, photos, tmp_path):
    out = tmp_path / "out"
    restore_files(net, [str(photos)], out)
    with pytest.raises(OutputError, match="mode auto, now tile"):
        restore_files(net, [str(photos)], out, Settings(mode="tile"))
    other = models.create("dynet-tiny", dim=8, refinement=1)
    with pytest.raises(OutputError, match="weights"):
        restore_files(other, [str(photos)], out)
    restore_files(net, [str(photos)], out, Settings(device="cpu", budget=10**12))


def test_the_blend_and_the_scale_of_adapters_are_settings_too(photos, tmp_path):
    def adapted(alpha):
        torch.manual_seed(0)
        net = models.create("abair-tiny", dim=8).eval()
        net.add_adapter("rain", AdapterConfig(alpha=alpha))
        net.adapters = "auto"
        return net

    net, picture, out = adapted(2.0), str(photos / "a.png"), tmp_path / "out"
    restore_files(net, [picture], out)
    assert restore_files(net, [picture], out).count("there") == 1
    net.blend = "sw"
    with pytest.raises(OutputError, match="made with blend oh, now sw"):
        restore_files(net, [picture], out)
    with pytest.raises(OutputError, match="made with weights"):
        restore_files(adapted(3.0), [picture], out)


def test_a_picture_for_which_the_memory_is_too_small_is_told_of(net, photos, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("million_ird.restore.picture._in_tiles", full)
    summary = restore_files(net, [str(photos / "a.png")], tmp_path / "out", Settings(mode="tile"))
    assert [(done.status, done.detail.partition(";")[0]) for done in summary.pictures] == [
        ("failed", "the device's memory is full")
    ]
    assert listed(tmp_path / "out") == ["restore.json"]


def test_files_of_somebody_else_are_not_written_over(net, photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"a\.png: is there"):
        restore_files(net, [str(photos)], out)
    assert (out / "a.png").read_bytes() == b"mine"


@pytest.mark.parametrize("fresh", [False, True])
def test_an_input_is_never_written_over(net, photos, tmp_path, fresh):
    before = {name: (photos / name).read_bytes() for name in listed(photos)}
    (tmp_path / "link").symlink_to(photos, target_is_directory=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").hardlink_to(photos / "a.png")
    for out in (photos, tmp_path / "link", tmp_path / "other"):
        with pytest.raises(InputError, match="is an input"):
            restore_files(net, [str(photos)], out, fresh=fresh)
    assert {name: (photos / name).read_bytes() for name in listed(photos)} == before


def test_an_output_folder_inside_the_input_is_no_input(net, photos):
    restore_files(net, [str(photos)], photos / "out")
    assert restore_files(net, [str(photos)], photos / "out").count("there") == 3
    assert not (photos / "out" / "out").exists()


def test_pictures_that_differ_in_their_ending_alone_get_files_of_their_own(net, photos, tmp_path):
    Image.open(photos / "a.png").save(photos / "a.bmp")
    restore_files(net, [str(photos)], tmp_path / "out")
    assert {"a.png", "a.bmp.png"} <= set(listed(tmp_path / "out"))


def test_several_sources_have_folders_of_their_own_and_single_files_have_not(net, photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(photos / "a.png", "x/c.png")
    inputs = [str(photos / "sub"), str(tmp_path / "more.zip"), str(photos / "a.png")]
    restore_files(net, inputs, tmp_path / "out")
    assert listed(tmp_path / "out") == ["a.png", "more.zip/x/c.png", "restore.json", "sub/b.png"]


def test_two_pictures_of_one_name_are_refused(net, photos, tmp_path):
    Image.open(photos / "a.png").save(photos / "sub" / "a.png")
    with pytest.raises(InputError, match=r"both would be written to a\.png"):
        restore_files(net, [str(photos / "a.png"), str(photos / "sub" / "a.png")], tmp_path / "out")


def test_a_wrong_setting_is_found_before_anything_is_written(net, photos, tmp_path):
    with pytest.raises(ConfigError, match="overlap"):
        restore_files(net, [str(photos)], tmp_path / "out", Settings(overlap=400))
    assert not (tmp_path / "out").exists()


def test_what_was_seen_is_told(photos, tmp_path):
    net = models.create("abair-tiny", dim=8).eval()
    net.add_adapter("rain")
    net.add_adapter("haze")
    net.adapters = "auto"
    summary = restore_files(net, [str(photos / "a.png")], tmp_path / "out")
    assert set(summary.pictures[0].seen) == {"rain", "haze"}
    assert sum(summary.pictures[0].seen.values()) == pytest.approx(1)
