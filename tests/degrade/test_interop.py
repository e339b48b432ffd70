"""Albumentations both ways: same seeds, same pixels; labels beside the picture; nothing repeated in workers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from million_ird import degrade as D
from million_ird.degrade import interop
from million_ird.degrade.registry import OPS
from million_ird.errors import ConfigError, InputError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
A = pytest.importorskip("albumentations")

NOISE = D.Compose([D.GaussianNoise(sigma=(10, 50)), D.ImpulseNoise(amount=0.1, label="impulse")])


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, "Albumentations", "interop")


@pytest.fixture
def image(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(photo[100:164, 200:280])


def doubled(image: NDArray[Any], **params: Any) -> NDArray[Any]:
    return np.where(image < 128, image, 255).astype(np.uint8)


# --- ours as theirs


def test_our_pipeline_gives_picture_and_mask_and_leaves_other_targets(image: NDArray[np.uint8]) -> None:
    impulse = D.to_albumentations(D.ImpulseNoise(amount=0.1))
    objects = (image[..., 0] > 128).astype(np.uint8)
    out = A.Compose([impulse], seed=3)(image=image, mask=objects)
    assert out["image"].dtype == np.uint8 and out["degradation_mask"].dtype == np.uint16
    assert np.array_equal(out["mask"], objects)
    changed = (out["image"] != image).any(axis=2)
    assert changed.any() and not changed[out["degradation_mask"] == 0].any()
    assert impulse.classes == ("noise",)


def test_float_pictures_stay_float(image: NDArray[np.uint8]) -> None:
    out = D.to_albumentations(NOISE)(image=image.astype(np.float32) / np.float32(255))["image"]
    assert out.dtype == np.float32 and out.min() >= 0 and out.max() <= 1


def test_the_mask_goes_with_later_geometry_where_it_is_declared(image: NDArray[np.uint8]) -> None:
    steps = [D.to_albumentations(D.ImpulseNoise(amount=0.1)), A.HorizontalFlip(p=1), A.CenterCrop(40, 40)]
    out = A.Compose(steps, additional_targets={"degradation_mask": "mask"}, seed=1)(image=image)
    clean = A.Compose(steps[1:])(image=image)["image"]
    assert out["degradation_mask"].shape == (40, 40)
    changed = (out["image"] != clean).any(axis=2)
    assert changed.any() and not changed[out["degradation_mask"] == 0].any()


def test_replay_compose_replays_the_very_pixels(image: NDArray[np.uint8]) -> None:
    compose = A.ReplayCompose([D.to_albumentations(NOISE), A.HorizontalFlip(p=0.5)])
    first, second = compose(image=image), compose(image=image)
    assert not np.array_equal(first["image"], second["image"])
    for out in (first, second):
        again = A.ReplayCompose.replay(out["replay"], image=image)
        assert np.array_equal(again["image"], out["image"])
        assert np.array_equal(again["degradation_mask"], out["degradation_mask"])
        (params,) = [t["params"] for t in out["replay"]["transforms"] if "recipe" in t]
        assert isinstance(params["seed"], int)


def test_when_it_is_not_done_the_mask_is_empty(image: NDArray[np.uint8]) -> None:
    transform = D.to_albumentations(NOISE, p=0)
    for out in (transform(image=image), A.Compose([transform])(image=image)):
        assert np.array_equal(out["image"], image) and not out["degradation_mask"].any()
        assert out["degradation_mask"].shape == image.shape[:2]


def test_several_images_are_degraded_differently(image: NDArray[np.uint8]) -> None:
    out = A.Compose([D.to_albumentations(NOISE)], seed=1)(images=np.stack([image, image]))
    assert not np.array_equal(out["images"][0], out["images"][1])
    assert out["degradation_masks"].shape == (2, 64, 80)


def test_a_transform_of_ours_can_be_saved_pickled_and_seeded(image: NDArray[np.uint8], tmp_path: Path) -> None:
    compose = A.Compose([D.to_albumentations(NOISE)], seed=4)
    A.save(compose, tmp_path / "t.json")
    copies = [A.load(tmp_path / "t.json"), pickle.loads(pickle.dumps(compose))]  # noqa: S301 (its own bytes)
    compose.set_random_seed(9)
    wanted = compose(image=image)["image"]
    for other in copies:
        other.set_random_seed(9)
        assert np.array_equal(other(image=image)["image"], wanted)


class _Degraded(Dataset[NDArray[np.uint8]]):
    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.image, self.compose = image, A.Compose([D.to_albumentations(NOISE)], seed=7)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.compose(image=self.image)["image"]


def test_our_transform_does_not_repeat_itself_in_forked_workers(image: NDArray[np.uint8]) -> None:
    loader = DataLoader(_Degraded(image), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    assert len({np.asarray(item).tobytes() for _ in range(2) for item in loader}) == 12


# --- theirs as ours


def theirs() -> list[Any]:
    return [
        A.GaussNoise(p=1),
        A.MotionBlur(p=1),
        A.RandomBrightnessContrast(p=0.5),
        A.CoarseDropout(p=1),
        A.AdditiveNoise(noise_type="gaussian", spatial_mode="per_pixel", p=1),
        A.OneOf([A.Posterize(p=1), A.ImageCompression(quality_range=(10, 40), p=1)], p=1),
        A.Compose([A.RandomFog(p=0.7), A.SomeOf([A.GaussianBlur(p=1), A.ISONoise(p=1), A.Downscale(p=1)], n=2)]),
    ]


@pytest.mark.parametrize("index", range(7))
def test_any_transform_is_an_op_that_repeats_and_replays(image: NDArray[np.uint8], index: int) -> None:
    pipe = D.from_albumentations(theirs()[index], name="other")
    assert pipe.classes == ("other",)
    outs = [pipe(image, seed=seed, image_id="a") for seed in range(6)]
    assert len({out.lq.tobytes() for out in outs}) > 1
    again = D.from_albumentations(theirs()[index], name="other")
    for seed, out in enumerate(outs):
        assert np.array_equal(again(image, seed=seed, image_id="a").lq, out.lq)
        text = json.dumps(out.trace)
        assert len(text) < 4000
        assert np.array_equal(D.replay(image, json.loads(text)), out.lq)
        changed = (out.lq != image).any(axis=2)
        assert np.array_equal(changed, out.mask != 0)


def test_float_and_8_bit_pictures_come_out_alike_and_what_stays_is_untouched(image: NDArray[np.uint8]) -> None:
    pipe = D.from_albumentations(A.CoarseDropout(p=1, fill=9))
    x = image.astype(np.float32) / np.float32(255)
    small, large = pipe(image, seed=1), pipe(x, seed=1)
    assert np.array_equal(small.lq, np.rint(large.lq * 255).astype(np.uint8))
    x = np.clip(x + np.float32(0.001), 0, 1)
    out = pipe(x, seed=1)
    assert out.mask.any() and np.array_equal(out.lq[out.mask == 0], x[out.mask == 0])


def test_parts_of_a_composition_have_seeds_of_their_own() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    noise = {"std_range": (0.1, 0.1), "p": 1}
    once = D.from_albumentations(A.GaussNoise(**noise))
    twice = D.from_albumentations(A.Compose([A.GaussNoise(**noise), A.GaussNoise(**noise)]))
    ratio = twice(grey, seed=1).lq.std() / once(grey, seed=1).lq.std()
    assert ratio == pytest.approx(2**0.5, rel=0.05)  # the same noise twice would give 2


def test_what_cannot_be_written_down_works_in_this_process_alone(image: NDArray[np.uint8]) -> None:
    pipe = D.from_albumentations(A.Lambda(image=doubled, name="doubled"), name="doubled")
    out = pipe(image, seed=1)
    assert np.array_equal(out.lq, doubled(image)) and np.array_equal(D.replay(image, out.trace), out.lq)
    data = pickle.dumps(pipe)
    held = dict(interop._held)
    interop._held.clear()
    with pytest.raises(InputError, match="only the process"):
        D.replay(image, out.trace)
    assert np.array_equal(pickle.loads(data)(image, seed=1).lq, out.lq)  # noqa: S301 (its own bytes)
    interop._held.update(held)


def test_a_recipe_may_name_a_transform(image: NDArray[np.uint8]) -> None:
    recipe = {"pipeline": [{"op": "Albumentations", "label": "iso", "transform": A.to_dict(A.ISONoise(p=1))}]}
    pipe = D.load(json.loads(json.dumps(recipe)))
    direct = D.load(D.from_albumentations(A.ISONoise(p=1), name="iso"))
    assert pipe.classes == ("iso",)
    steps = [one.pipeline.plan(D.op.Key(3, "a", 0, "0"), (64, 80)) for one in (direct,)]
    assert (
        steps[0][0]["params"]["transform"] == pipe(image, seed=3, image_id="a").trace["steps"][0]["params"]["transform"]
    )


def test_wrong_transforms_are_named(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ConfigError, match="Nonsense"):
        D.load({"pipeline": [{"op": "Albumentations", "transform": {"__class_fullname__": "Nonsense", "p": 1}}]})
    with pytest.raises(ConfigError, match="to_dict"):
        D.load({"pipeline": [{"op": "Albumentations", "transform": {"p": 1}}]})
    with pytest.raises(InputError, match="keeps shape"):
        D.from_albumentations(A.CenterCrop(8, 8))(image, seed=1)


def test_a_loader_with_two_forked_workers_gives_distinct_items_as_no_worker_does(image: NDArray[np.uint8]) -> None:
    data = D.DegradedDataset([image] * 8, D.from_albumentations(A.GaussNoise(p=1)), size=32)
    alone = [data[i]["lq"].numpy().tobytes() for i in range(8)]
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    assert [item["lq"].numpy().tobytes() for item in loader] == alone
    noises = [data.sample(i).lq.astype(int) - data.sample(i).hq for i in range(8)]
    assert len({noise.tobytes() for noise in noises}) == 8


def test_a_trace_replays_in_another_process(image: NDArray[np.uint8], tmp_path: Path) -> None:
    out = D.from_albumentations(A.GaussNoise(p=1))(image, seed=2)
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "trace.json").write_text(json.dumps(out.trace))
    code = (
        "import json, sys, numpy as np; from million_ird import degrade as D;"
        "lq = D.replay(np.load(sys.argv[1] + '/image.npy'), json.load(open(sys.argv[1] + '/trace.json')));"
        "np.save(sys.argv[1] + '/lq.npy', lq)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])
    assert np.array_equal(np.load(tmp_path / "lq.npy"), out.lq)


def test_the_package_is_imported_only_when_it_is_needed_and_asks_nobody() -> None:
    """Albumentations asks PyPI for its newest version when it is imported, unless it is told not to."""
    code = (
        "import os, sys, urllib.request\n"
        "os.environ.pop('NO_ALBUMENTATIONS_UPDATE', None)\n"
        "asked = []\n"
        "urllib.request.OpenerDirector.open = lambda self, address, **options: asked.append(str(address))\n"
        "from million_ird import degrade as D\n"
        "before = D.to_albumentations and 'albumentations' in sys.modules\n"
        "D.to_albumentations(D.GaussianNoise())\n"
        "print(before, 'albumentations' in sys.modules, asked)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=2) == ["False", "True", "[]\n"]


def test_nothing_of_this_warns(image: NDArray[np.uint8]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipe = D.from_albumentations(A.GaussNoise(p=1))
        theirs = pipe(image, seed=1).lq
        ours = A.Compose([D.to_albumentations(NOISE)], seed=1)(image=image)["image"]
    assert [str(one.message) for one in caught] == []
    assert not np.array_equal(theirs, image) and not np.array_equal(ours, image)
