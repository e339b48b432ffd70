"""Does curation help restoration: what is planted, which sets are compared, what is claimed, and that it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

FOLDER = Path(__file__).parents[2] / "examples" / "curation_pays"


@pytest.fixture(scope="module", autouse=True)
def path():
    """The example's files stand beside each other and import each other by name."""
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Real photos of packages, laid out as --data has to be; no two of the same scene part."""
    folder = tmp_path_factory.mktemp("data")
    pictures = [data.astronaut(), data.coffee(), data.rocket(), load_sample_image("china.jpg"), data.chelsea()]
    sets = {"bsds500/train": (0, 0), "cid22": (0, 200), "clic2025": (100, 100)}
    for name, (top, left) in sets.items():
        (folder / name).mkdir(parents=True)
        for number, photo in enumerate(pictures):
            cut = np.ascontiguousarray(photo[top : top + 200, left : left + 200])
            Image.fromarray(cut).save(folder / name / f"{number}.png")
    for name, side in (("kodak24", 0), ("cbsd68", 210)):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            cut = load_sample_image("flower.jpg")[number * 210 : number * 210 + 200, side : side + 200]
            Image.fromarray(np.ascontiguousarray(cut)).save(folder / name / f"{number}.png")
    return folder


# -- what is planted


def test_a_spoilt_photo_takes_the_place_of_the_clean_one(photos, tmp_path):
    from mixture import SHARES, lay

    mixture = lay(photos, tmp_path)
    of_photos = [name for name, label in mixture.labels.items() if label in ("", *SHARES)]
    assert len(of_photos) == 15 == len({Path(name).stem for name in of_photos}), "every photo once, spoilt or not"
    assert {mixture.labels[name] for name in of_photos} == {"", *SHARES}
    assert sorted(path.name for path in mixture.folder.iterdir()) == sorted(mixture.labels)
    copies = mixture.named("near duplicate")
    assert {Path(name).stem.removeprefix("copy-") for name in copies} <= {Path(name).stem for name in mixture.named("")}
    assert mixture.named("graphic") and len(mixture.named("test picture")) == 2


def test_the_mixture_is_the_same_every_time(photos, tmp_path):
    from mixture import lay

    first, second = lay(photos, tmp_path / "a"), lay(photos, tmp_path / "b")
    assert first.labels == second.labels
    for name in first.labels:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_a_smoke_test_is_never_taken_for_the_real_mixture(photos, tmp_path):
    from mixture import lay

    from million_ird.errors import ConfigError

    lay(photos, tmp_path, 3)
    with pytest.raises(ConfigError, match="made with --quick; take another"):
        lay(photos, tmp_path)


def test_missing_pictures_are_named(tmp_path):
    from mixture import lay

    from million_ird.errors import InputError

    with pytest.raises(InputError, match=r"bsds500.train holds no pictures; README\.md"):
        lay(tmp_path / "no", tmp_path / "out")


# -- what is compared

LABELS = {
    **{f"clean-{n:02}": "" for n in range(20)},
    **{f"noisy-{n}": "noisy" for n in range(5)},
    **{f"crushed-{n}": "crushed" for n in range(4)},
    **{f"leak-{n}": "test picture" for n in range(3)},
    "mark": "watermarked",
}
NOISY = {f"noisy-{n}": "noise" for n in range(5)}
CRUSHED = {f"crushed-{n}": "compression" for n in range(4)}
LEAKS = {"leak-0": "contaminated", "leak-1": "blur"}


def laid(**off):
    from arms import laid_out

    dropped = {"": {**NOISY, **CRUSHED, **LEAKS, "clean-00": "flat"}, **off}
    return laid_out(LABELS, dropped, ["leak-0", "leak-1", "clean-19"])


def test_no_training_set_has_a_test_picture_found_or_missed():
    curated = laid(noise={**CRUSHED, **LEAKS, "clean-00": "flat"})
    for arm in curated.arms:
        assert not {"leak-0", "leak-1", "leak-2", "clean-19"} & set(arm.pictures)
    assert curated.leaks == (3, 2) and curated.innocent == ("clean-19",)
    assert "test picture" not in curated.caught


def test_all_but_the_whole_mixture_have_as_many_pictures_as_are_kept():
    arms = {arm.name: arm for arm in laid(noise={**CRUSHED, **LEAKS, "clean-00": "flat"}).arms}
    kept = arms["kept"]
    assert kept.count == len(kept.pictures) == 19 and {"mark", "clean-01"} <= set(kept.pictures)
    assert arms["raw"].count == len(arms["raw"].pictures) == 29
    assert set(arms["without-noise"].pictures) == {*kept.pictures, *NOISY} and arms["without-noise"].count == 19
    assert arms["random"].count == 19 and arms["random"].pictures == arms["raw"].pictures
    assert set(arms["known"].pictures) == {f"clean-{n:02}" for n in range(19)}
    for arm in arms.values():
        assert len(arm.drawn(0)) == arm.count and set(arm.drawn(0)) <= set(arm.pictures)
    assert arms["random"].drawn(0) == arms["random"].drawn(0) != arms["random"].drawn(1)


def test_a_filter_that_others_stand_in_for_is_not_trained_and_the_defect_is_put_back_instead():
    others = {**CRUSHED, **LEAKS, "clean-00": "flat"}
    curated = laid(noise={**others, **dict.fromkeys(NOISY, "iqa")}, compression={**NOISY, **LEAKS})
    names = [arm.name for arm in curated.arms]
    assert curated.small == {"noise": 0}
    assert "without-compression" in names and "without-noise" not in names
    assert "with-noisy" in names and "with-crushed" not in names, "crushed ones are back with compression off"
    back = next(arm for arm in curated.arms if arm.name == "with-noisy")
    assert set(NOISY) < set(back.pictures) and back.count == 19


# -- what is claimed


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((28.0, 28.1, 27.9), (27.0, 27.1, 26.9), "yes"),
        ((27.0, 27.1, 26.9), (28.0, 28.1, 27.9), "the other way round"),
        ((28.0, 27.0, 29.0), (27.5, 27.4, 27.6), "not resolved"),  # one of the rows spreads too much
        ((27.0, 28.0, 29.0), (26.5, 27.5, 28.5), "not resolved"),  # the rows do, although they differ alike
        ((28.0,), (27.0,), "not resolved (one seed)"),
    ],
)
def test_a_difference_is_claimed_only_beyond_two_standard_deviations(first, second, expected):
    from outcome import gap

    one, two = ({seed: {"kodak24": v, "cbsd68": v} for seed, v in enumerate(row)} for row in (first, second))
    found = gap(one, two)
    assert found.verdict == expected
    assert found.value.mean == pytest.approx(np.mean(first) - np.mean(second))


def test_the_table_says_which_filter_is_not_shown_to_pay():
    from outcome import markdown

    curated = laid(noise={**CRUSHED, **LEAKS, "clean-00": "flat"}, compression={**NOISY, **LEAKS, "clean-00": "flat"})
    values = {
        "kept": (28.0, 28.1),
        "raw": (27.0, 27.1),
        "without-noise": (27.1, 27.0),
        "without-compression": (28, 28.2),
    }
    rows = {
        name: {seed: {"kodak24": value, "cbsd68": value} for seed, value in enumerate(found)}
        for name, found in values.items()
    }
    text = markdown(curated, {"noise": rows}, {"noise": {"kodak24": 20.0, "cbsd68": 20.0}}, "made")
    assert "- kept against the raw mixture: better (+1.000 dB, largest sd 0.071)" in text
    assert "- kept against a random part of it of the same size: not run" in text
    assert "- `noise`, which alone drops 5 pictures: pays (+1.000 dB" in text
    assert "- `compression`, which alone drops 4 pictures: not shown to pay (-0.050 dB" in text
    assert "| noisy | 5 | 0 | noise 5 |" in text and "| watermarked | 1 | 1 | - |" in text
    assert "mixed in: 3; the contamination check found 2 of them" in text


# -- what learns


def test_the_network_learns_and_the_same_seed_gives_the_same(photos):
    import torch
    from learning import Settings, load, score, train

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = photos / "cid22"
    pictures = load(folder, [path.name for path in sorted(folder.iterdir())])
    settings = Settings(width=16, blocks=1, steps=100, batch=4, size=32, lr=1e-2, limit=1, centre=64)
    found = score(train(pictures, "denoise", 0, settings), folder, "denoise", settings)
    assert found["output"] > found["input"] + 1.5, "dB, after 100 steps"
    short = Settings(width=8, blocks=1, steps=3, batch=2, size=32, limit=1, centre=64)
    first, second, third = (score(train(pictures, "dejpeg", n, short), folder, "dejpeg", short) for n in (0, 0, 1))
    assert first == second != third
    torch.set_num_threads(before)


def test_every_picture_comes_once_before_one_comes_again():
    from learning import samples

    levels = {str(level): np.full((24, 24, 3), level, np.uint8) for level in (10, 60, 120, 200)}
    stream = samples(levels, "dejpeg", 0, 16)
    seen = [round(float(next(stream)[1].mean()) * 255) for _ in range(12)]
    assert all(Counter(seen[start : start + 4]) == Counter((10, 60, 120, 200)) for start in (0, 4, 8))
    assert seen[:4] != seen[4:8] or seen[4:8] != seen[8:]


def run(photos, out, *words):
    command = [sys.executable, FOLDER / "run.py", "--data", photos, "--out", out, "--quick", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_all_of_it_runs_and_a_finished_training_is_not_done_again(photos, tmp_path):
    done = run(photos, tmp_path, "--tasks", "denoise,dejpeg", "--results", tmp_path / "copy.md")
    assert done.returncode == 0, done.stderr
    assert "None of these numbers means anything".lower() in done.stdout.lower()
    assert "the contamination check found 2 of them" in done.stdout
    assert (tmp_path / "copy.md").read_text() == (tmp_path / "results.md").read_text()
    scores = sorted((tmp_path / "scores").iterdir())
    scores[0].unlink()  # as if it had been killed there
    again = run(photos, tmp_path, "--tasks", "denoise,dejpeg")
    assert f"{len(scores)} trainings, {len(scores) - 1} of them done before" in again.stderr
    assert again.stdout == done.stdout
    assert run(photos, tmp_path, "--tasks", "debit").returncode == 2
