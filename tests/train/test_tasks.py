"""What can be trained on: how it is named, where it lies, and what becomes of its labels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

from million_ird import degrade as D
from million_ird.config import merge, validate
from million_ird.degrade.run import Degraded
from million_ird.errors import ConfigError, InputError
from million_ird.images import encode_png
from million_ird.train.settings import TrainConfig
from million_ird.train.tasks import IGNORED, Clean, Paired, Task, fingerprint, parse, sample, tasks_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets")

Crops = list[NDArray[np.uint8]]


def config(*tasks: str, **data: Any) -> TrainConfig:
    return validate(TrainConfig, merge({"data": {"size": 16, "tasks": list(tasks)}}, {"data": data}))


def only(text: str, **data: Any) -> Task:
    (task,) = tasks_of(config(text, **data))
    return task


def lies_in(crop: torch.Tensor, picture: NDArray[np.uint8]) -> bool:
    """Whether a crop is somewhere in a picture, in any of the eight positions."""
    found = (crop * 255).round().byte().permute(1, 2, 0).numpy()
    for turned in (np.rot90(base, k) for base in (picture, picture[:, ::-1]) for k in range(4)):
        windows = np.lib.stride_tricks.sliding_window_view(turned, found.shape)[..., 0, :, :, :]
        if (windows == found).all(axis=(-3, -2, -1)).any():
            return True
    return False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("photos", ("", "photos", None, {})),
        ("derain=photos", ("derain", "photos", None, {})),
        ("rain100l:/data/Rain100L", ("rain100l", "/data/Rain100L", "rain100l", {})),
        ("derain=rain100l:/data/R,split=test", ("derain", "/data/R", "rain100l", {"split": "test"})),
        ("a=b,recipe=dynet,limit=12", ("a", "b", None, {"recipe": "dynet", "limit": "12"})),
        ("/data/x=1/photos", ("", "/data/x=1/photos", None, {})),
        ("noise=/data/x=1/photos", ("noise", "/data/x=1/photos", None, {})),
        ("noise=other:photos", ("noise", "other:photos", None, {})),
        ("web=hf://datasets/org/name@v1,stream=99", ("web", "hf://datasets/org/name@v1", None, {"stream": "99"})),
    ],
)
def test_a_source_is_named_with_its_layout_and_options(text: str, expected: tuple[Any, ...]) -> None:
    spec = parse(text)
    assert (spec.name, spec.path, spec.layout, spec.options) == expected


def test_a_path_from_the_home_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse("derain=~/rain").path == "/home/me/rain" == parse("derain=pairs:~/rain").path


@pytest.mark.parametrize(
    "text", ["a=b,receipt=x", "a=b,c", "a=b,limit=0", "a=b,limit=few", "a=b,limit=-3", "a,stream="]
)
def test_an_option_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--data .*(there are recipe=NAME, split=NAME|expected a number)"):
        parse(text)


def test_clean_pictures_of_a_folder_are_cropped_and_degraded_by_the_tasks_recipe(clean: Path, crops: Crops) -> None:
    task = only(f"denoise={clean}")
    assert isinstance(task, Clean) and task.name == "denoise" and list(task.counts) == [6]
    assert task.recipe is not None and task.recipe.classes == ("noise",)
    for index in range(6):
        item = task(index, 0)
        assert item["id"] == f"{index}.png" and lies_in(item["hq"], crops[index])
        assert item["lq"].shape == item["hq"].shape == (3, 16, 16) and item["lq"].dtype == torch.float32
        assert item["target"].shape == (16, 16) and item["target"].dtype == torch.int64
        assert item["kinds"].tolist() == [1.0] and (item["target"] == 0).all() and item["view"] == 0
        assert not torch.equal(item["lq"], item["hq"])


def test_an_item_is_the_same_whoever_asks_and_another_in_each_epoch_and_for_each_seed(clean: Path) -> None:
    first, again = only(f"denoise={clean}"), only(f"denoise={clean}", cache_mb=0)
    seeded = Clean("denoise", first._set.pictures, "denoise", config().model_copy(update={"seed": 1}))  # type: ignore[attr-defined]
    item = first(2, 3)
    assert all(torch.equal(item[key], again(2, 3)[key]) for key in ("lq", "hq", "target", "kinds"))
    assert not torch.equal(item["lq"], first(2, 4)["lq"]) and not torch.equal(item["lq"], seeded(2, 3)["lq"])


def test_the_recipe_is_the_sources_own_or_the_settings_or_the_tasks(clean: Path, tmp_path: Path) -> None:
    def classes(text: str, **data: Any) -> tuple[str, ...]:
        recipe = only(text, **data).recipe
        assert recipe is not None
        return recipe.classes

    assert classes(f"dejpeg={clean}") == ("jpeg",)
    assert classes(f"dejpeg={clean}", recipe="denoise") == ("noise",)
    assert classes(f"dejpeg={clean},recipe=dynet", recipe="denoise") == ("noise", "jpeg", "mask")
    assert classes(f"{clean}", recipe="denoise") == ("noise",)
    (tmp_path / "mine.yaml").write_text("name: mine\npipeline:\n  - {op: ImpulseNoise}\n")
    assert classes(f"a={clean},recipe={tmp_path}/mine.yaml") == ("noise",)
    (looked_at,) = tasks_of(config(recipe="dynet"), [f"dejpeg={clean}"])
    assert looked_at.recipe is not None and looked_at.recipe.classes == ("jpeg",)


def test_clean_pictures_without_a_recipe_are_an_error_that_says_what_to_do(clean: Path) -> None:
    with pytest.raises(ConfigError, match=r"clean images need a recipe: --set data\.recipe=NAME, .*,recipe=NAME"):
        only(f"photos={clean}")


def test_two_sources_of_one_name_and_no_source_at_all_are_errors(clean: Path) -> None:
    with pytest.raises(ConfigError, match=r"two sources are called denoise; give each a name"):
        tasks_of(config(f"denoise={clean}", f"denoise={clean}"))
    with pytest.raises(ConfigError, match="nothing to train on"):
        tasks_of(config())


@pytest.mark.parametrize("kind", ["denoise={}/nowhere", "denoise={}/empty", "rain100l:{}/empty", "derain={}/pairs"])
def test_what_is_missing_or_empty_is_named(tmp_path: Path, kind: str) -> None:
    for folder in ("empty", "pairs/lq", "pairs/hq"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(InputError, match=r"nowhere|empty|pairs"):
        only(kind.format(tmp_path))


@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("size", [16, 64])
def test_pairs_are_cropped_and_turned_alike(paired: Path, crops: Crops, turns: bool, size: int) -> None:
    task = only(f"derain={paired}", turns=turns, size=size)
    assert isinstance(task, Paired) and task.recipe is None and sum(task.counts) == 6
    ways = set()
    for index in range(6):
        for epoch in range(6):
            item = task(index, epoch)
            assert item["id"] == f"lq/{index}.png" and item["lq"].shape == item["hq"].shape == (3, size, size)
            assert torch.allclose(item["lq"], 1 - item["hq"], atol=1e-6)  # each is the other's negative
            assert size > 40 or lies_in(item["hq"], crops[index])
            assert (item["target"] == IGNORED).all() and item["kinds"].shape == (0,)
            ways.add(item["hq"].numpy().tobytes())
    assert len(ways) > 20 or not turns
    assert torch.equal(task(3, 5)["lq"], only(f"derain={paired}", turns=turns, size=size)(3, 5)["lq"])


def test_a_folder_of_pairs_may_be_cut_short(paired: Path) -> None:
    assert list(only(f"derain={paired},limit=2").counts) == [2]


def test_a_benchmark_is_found_by_its_layout_and_the_splits_are_kept_apart(tmp_path: Path, crops: Crops) -> None:
    for split, numbers in (("train", (1, 2, 3)), ("test", (4, 5))):
        for number in numbers:
            for part, picture in (("rainy/rain", 255 - crops[number]), ("gt/norain", crops[number])):
                file = tmp_path / split / f"{part}-{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(encode_png(picture))
    task = only(f"derain=rain100h:{tmp_path}")
    assert [task(index, 0)["id"] for index in range(sum(task.counts))] == [f"rainy/rain-{n}.png" for n in (1, 2, 3)]
    assert torch.allclose(task(0, 0)["lq"], 1 - task(0, 0)["hq"], atol=1e-6)
    assert sum(only(f"rain100h:{tmp_path},split=test").counts) == 2
    (looked_at,) = tasks_of(config(), [f"derain=rain100h:{tmp_path}"])  # validation means the test split
    assert sum(looked_at.counts) == 2


def test_a_layout_of_clean_pictures_is_degraded(clean: Path) -> None:
    task = only(f"denoise=cbsd68:{clean}")
    assert isinstance(task, Clean) and sum(task.counts) == 6 and task(0, 0)["id"] == "0.png"


def test_pairs_that_are_incomplete_are_all_counted_and_named_before_the_first_step(
    paired: Path, tmp_path: Path
) -> None:
    shutil.copytree(paired, tmp_path / "pairs")
    for number in (1, 4):
        (tmp_path / "pairs" / "hq" / f"{number}.png").unlink()
    with pytest.raises(InputError, match=r"pairs: 2 pairs are incomplete: lq/1\.png, lq/4\.png"):
        only(f"derain={tmp_path}/pairs")


def test_pairs_of_two_sizes_are_all_named_with_their_sizes_before_the_first_step(paired: Path, tmp_path: Path) -> None:
    shutil.copytree(paired, tmp_path / "pairs")
    for number in range(1, 6):
        small = np.zeros((24, 30 + number, 3), np.uint8)
        (tmp_path / "pairs" / "hq" / f"{number}.png").write_bytes(encode_png(small))
    (tmp_path / "pairs" / "hq" / "0.png").write_text("no picture")
    with pytest.raises(
        InputError, match=r"6 pairs are of two sizes, or no images: lq/0\.png: 0\.png: .*, lq/1\.png: "
    ) as all_:
        only(f"derain={tmp_path}/pairs")
    assert "degraded 48x40, clean 31x24 px" in str(all_.value) and "and 1 more" in str(all_.value)


def parquet(path: Path, columns: dict[str, Crops], ids: list[str]) -> Path:
    cells = {name: [{"bytes": encode_png(crop), "path": ""} for crop in some] for name, some in columns.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**cells, "id": ids}), path, row_group_size=2, compression="none")
    return path


@pytest.mark.parametrize("named", ["file", "folder", "data"])
def test_pairs_in_parquet_files_are_read_by_their_columns(crops: Crops, tmp_path: Path, named: str) -> None:
    folder = tmp_path / "data" if named == "data" else tmp_path
    columns = {"lq": [255 - crop for crop in crops], "hq": crops}
    file = parquet(folder / "train-0.parquet", columns, [f"id{i}" for i in range(6)])
    task = only(f"mixed={file if named == 'file' else tmp_path}")
    assert isinstance(task, Paired) and list(task.counts) == [2, 2, 2]
    for index in range(6):
        item = task(index, 0)
        assert item["id"] == f"id{index}" and torch.allclose(item["lq"], 1 - item["hq"], atol=1e-6)
        assert lies_in(item["hq"], crops[index])


@pytest.mark.parametrize("kind", ["photos", "part", "pairs", "table", "layout"])
def test_a_fingerprint_tells_other_files_of_the_same_number(
    clean: Path, paired: Path, crops: Crops, tmp_path: Path, kind: str
) -> None:
    source, spec = tmp_path / "source", "denoise={}"
    if kind == "table":
        parquet(source / "a.parquet", {"image": crops}, ["a"] * 6)
    elif kind == "layout":
        shutil.copytree(clean, source)
        spec = "denoise=wed:{}"
    else:
        shutil.copytree(paired if kind == "pairs" else clean, source)
        spec += ",limit=2" if kind == "part" else ""
    before = fingerprint(only(spec.format(source)))
    assert before == fingerprint(only(spec.format(source))) and before.split()[0] == ("2" if kind == "part" else "6")
    if kind == "table":
        parquet(source / "a.parquet", {"image": [255 - crops[0][:20], *crops[1:]]}, ["a"] * 6)
    else:
        first = next(path for path in sorted(source.rglob("*.png")))
        first.write_bytes(first.read_bytes() + b"other")
    assert fingerprint(only(spec.format(source))) != before


def test_rows_of_one_name_are_cropped_apart(crops: Crops, tmp_path: Path) -> None:
    task = only(f"a={parquet(tmp_path / 'a.parquet', {'lq': crops[:1] * 4, 'hq': crops[:1] * 4}, ['same'] * 4)}")
    assert len({task(index, 0)["hq"].numpy().tobytes() for index in range(4)}) > 1


def test_a_pair_of_two_sizes_in_a_table_is_named(crops: Crops, tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", {"lq": [crops[0][:20]], "hq": crops[:1]}, ["small"])
    with pytest.raises(InputError, match=r"mixed: small: the degraded picture is \(20, 48\), the clean one \(40, 48\)"):
        only(f"mixed={file}")(0, 0)


def test_an_empty_table_is_named(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", {"image": []}, [])
    with pytest.raises(InputError, match=r"no picture in it"):
        only(f"denoise={file}")
    empty = pa.table({name: pa.array([], pa.struct([("bytes", pa.binary())])) for name in ("lq", "hq")})
    pq.write_table(empty, file)
    with pytest.raises(InputError, match=r"no picture in it"):
        only(f"denoise={file}")


def test_what_mird_build_writes_is_trained_on(corpus: Path, tmp_path: Path) -> None:
    from million_ird.config import load
    from million_ird.curate import build
    from million_ird.curate.settings import BuildConfig
    from tests.conftest import SMALL

    build([str(corpus)], tmp_path / "out", load(BuildConfig, preset=SMALL))
    task = only(f"denoise={tmp_path / 'out'}")
    assert isinstance(task, Clean) and sum(task.counts) > 5
    ids = {task(index, 0)["id"] for index in range(sum(task.counts))}
    assert len(ids) == sum(task.counts)


@pytest.mark.parametrize("form", ["parquet", "folder"])
def test_what_mird_degrade_writes_is_trained_on(clean: Path, crops: Crops, tmp_path: Path, form: str) -> None:
    from million_ird.pairs import degrade_dataset

    recipe = {"name": "little", "pipeline": [{"op": "GaussianNoise", "sigma": 30}]}
    given = {"recipe": recipe, "size": 24, "per_image": 2, "format": form, "run": {"workers": 0}}
    degrade_dataset(clean, tmp_path / "out", given)
    task = only(f"noise={tmp_path / 'out'}", turns=False)
    assert isinstance(task, Paired) and sum(task.counts) == 12
    for index in range(12):
        item = task(index, 0)
        assert 10 < 255 * (item["lq"] - item["hq"]).std() < 45
        assert any(lies_in(item["hq"], crop) for crop in crops)


def test_what_the_datasets_library_saved_is_trained_on(crops: Crops, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    columns = {"lq": [255 - crop for crop in crops], "hq": crops}
    cells = {name: [{"bytes": encode_png(crop), "path": None} for crop in some] for name, some in columns.items()}
    table = datasets.Dataset.from_dict(cells).cast_column("lq", datasets.Image()).cast_column("hq", datasets.Image())
    table.save_to_disk(tmp_path / "pairs")
    table.remove_columns("lq").rename_column("hq", "photo").save_to_disk(tmp_path / "clean")
    task = only(f"derain={tmp_path / 'pairs'}")
    assert isinstance(task, Paired) and sum(task.counts) == 6
    assert torch.allclose(task(4, 0)["lq"], 1 - task(4, 0)["hq"], atol=1e-6) and lies_in(task(4, 0)["hq"], crops[4])
    alone = only(f"denoise={tmp_path / 'clean'}")
    assert isinstance(alone, Clean) and lies_in(alone(4, 0)["hq"], crops[4])


def test_a_stream_from_the_hub_is_degraded_as_it_comes(crops: Crops, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"image": [{"bytes": encode_png(crop), "path": None} for crop in crops]})
    table = table.cast_column("image", datasets.Image())
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **options: table.to_iterable_dataset())
    task = only("denoise=hf://datasets/org/name,stream=1000")
    assert sum(task.counts) == 1000
    seen = [task(index, 0)["hq"] for index in range(6)]
    assert all(sum(lies_in(hq, crop) for hq in seen) == 1 for crop in crops)
    with pytest.raises(ConfigError, match=r"stream= is for datasets of the Hub"):
        only("denoise=/data/photos,stream=9")


def degraded(mask: list[list[int]], ignore: list[list[bool]] | None = None) -> Degraded:
    picture = np.zeros((2, 3, 3), np.uint8)
    band = None if ignore is None else np.array(ignore)
    return Degraded(picture, picture, np.array(mask, np.uint16), {}, ("noise", "blur", "rain"), band)


def test_the_target_is_the_only_class_of_a_pixel() -> None:
    item = sample(degraded([[1, 2, 4], [0, 3, 6]]), "a", 0)
    assert item["target"].tolist() == [[0, 1, 2], [IGNORED, IGNORED, IGNORED]]  # unlabelled, or of several
    assert item["kinds"].tolist() == [1, 1, 1]
    assert sample(degraded([[4, 4, 4], [0, 0, 5]]), "a", 0)["kinds"].tolist() == [1, 0, 1]


def test_the_ignore_band_has_no_class() -> None:
    item = sample(degraded([[1, 2, 4], [1, 2, 4]], [[True, False, True], [False, False, True]]), "a", 0)
    assert item["target"].tolist() == [[IGNORED, 1, IGNORED], [0, 1, IGNORED]]


def test_the_feathered_borders_of_cutmix_are_ignored_and_its_regions_labelled(clean: Path) -> None:
    branches = [D.GaussianNoise(sigma=30), D.UniformNoise(label="uniform", amplitude=30)]
    pipe = D.CutMix(branches=branches, regions=2, feather=4)
    source = only(f"denoise={clean}", size=40)._set.pictures  # type: ignore[attr-defined]
    task = Clean("a", source, D.load(pipe), config(size=40))
    bands = 0
    for index in range(6):
        item = task(index, 0)
        out = task._set.sample(index, 0)
        known = item["target"] != IGNORED
        bands += out.ignore is not None and bool(out.ignore.any())
        if out.ignore is not None:
            assert not known[torch.from_numpy(out.ignore)].any()
        assert known.any()
        for kind in range(2):
            assert (out.mask[(item["target"] == kind).numpy()] == 1 << kind).all()
    assert bands


def test_for_the_device_a_task_gives_the_clean_crop_that_would_have_been_degraded(clean: Path) -> None:
    here, later = only(f"denoise={clean}"), only(f"denoise={clean}", degrade="device")
    item = later(3, 2)
    assert set(item) == {"hq", "id", "view"} and (item["id"], item["view"]) == ("3.png", 2)
    assert torch.equal(item["hq"], here(3, 2)["hq"])
