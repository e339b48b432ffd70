"""The small-scale reproduction: its table of runs and rows, what it calls resolved, and that all of it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

FOLDER = Path(__file__).parents[2] / "examples" / "reproduce_small"


@pytest.fixture(scope="module", autouse=True)
def path():
    """The example's files stand beside each other and import each other by name."""
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def scope(tmp_path):
    from trainings import Scope

    return Scope(tmp_path / "data", tmp_path / "out")


def test_names_are_unique():
    import rows
    import trainings

    made = [row.name for row in (*rows._dynet(), *rows._abair())]
    assert len(made) == len(set(made)) == len(rows.ROWS)
    made = [one.name for one in (*trainings._dynet(), *trainings._abair())]
    assert len(made) == len(set(made)) == len(trainings.TRAININGS)


def test_every_training_has_a_configuration_and_all_recipes_load(scope):
    from rows import SETS
    from trainings import TRAININGS, config_of, run_folder

    from million_ird.degrade import recipe
    from million_ird.train.tasks import parse

    for name, one in TRAININGS.items():
        config = config_of(name, 1, scope)
        assert config.seed == (0 if one.shared else 1)
        assert config.steps == one.steps
        assert config.init == (str(run_folder(one.start, 1, scope)) if one.start else "")
        for text in config.data.tasks:
            spec = parse(text)
            if "pairs" not in Path(spec.path).parts:
                assert recipe.load(spec.options.get("recipe") or config.data.recipe or spec.name)
    for one in SETS.values():
        assert (one.sigma is None) != (one.recipe == "")
        assert not one.recipe or recipe.load(one.recipe)


def test_rain_is_the_same_for_training_and_tests_and_as_far_from_clean_as_rain100l(scope, real):
    from rows import SETS
    from trainings import RAIN, TRAININGS, config_of, recipe_of

    from million_ird.degrade import recipe

    for name in TRAININGS:
        for text in config_of(name, 0, scope).data.tasks:
            assert not text.startswith("derain=") or str(RAIN) in text or "pairs" in text
    tested = {one.recipe for name, one in SETS.items() if name.startswith("derain")}
    assert tested == {recipe_of("derain")} == {str(RAIN)}
    pipe, found = recipe.load(RAIN), []
    for path in sorted(real("cbsd68").glob("*.png"))[:12]:
        out = pipe(np.asarray(Image.open(path).convert("RGB")), seed=0, image_id=path.stem, view=0)
        found.append(-10 * np.log10(np.mean((out.lq.astype(float) - out.hq) ** 2) / 255**2))
    assert 25.3 < np.mean(found) < 28.3


def test_what_is_made_small_is_l1_in_pre_training_and_decibels_in_what_follows(scope):
    from trainings import TRAININGS, config_of

    for name, one in TRAININGS.items():
        config = config_of(name, 0, scope)
        if one.stage in ("finetune", "adapt"):
            assert (config.loss.l1, config.loss.psnr > 0) == (0, True)
        if one.stage == "pretrain":
            assert (config.loss.l1, config.loss.psnr) == (1, 0)
        assert config.optim.kind == ("muon" if name.startswith(("dynet.target", "estimate")) else "adamw")


def test_every_row_looks_at_a_run_that_there_is_and_every_claim_at_two_rows():
    from rows import CLAIMS, ROWS, SETS, TABLES, TARGETS
    from trainings import TRAININGS

    for row in ROWS.values():
        assert row.table in TABLES
        for name, training, view in row.cells():
            assert name in SETS
            assert training in TRAININGS
            assert view in ("", "s", "l", "oh", "sw", "sum", "average", SETS[name].task)
    for claim in CLAIMS:
        assert ROWS[claim.higher].table == ROWS[claim.lower].table == claim.table
        assert set(ROWS[claim.higher].sets) & set(ROWS[claim.lower].sets)
    assert all(target.set in ROWS[target.row].sets for target in TARGETS)


def test_the_promised_ablations_are_rows():
    from rows import ROWS

    wanted = "scratch-s pretrained-l joint-s alone-l promptir dynet-s dynet-l one-by-one after-none after-paired "
    wanted += "after-synthetic after-cutmix after-segmentation blending-oh blending-sw blending-sum blending-average "
    wanted += "blending-oracle blending-base unseen-before-oh unseen-after-oh mixed-sw other-sets-oh"
    assert set(wanted.split()) <= set(ROWS)
    assert {f"{kind}-{rank}" for kind in ("lora", "vera", "conv_lora") for rank in (4, 8, 16)} <= set(ROWS)


def test_the_plan_fits_its_budgets_and_a_budget_scales_it():
    from rows import ROWS, headline
    from schedule import jobs_of, minutes, scale_for

    first, everything = jobs_of(headline(), 2), jobs_of(list(ROWS.values()), None)
    assert minutes(first, 1) < 32  # of 40, and
    assert minutes(everything, 1) < 180  # of 240: by the speed that the table has; slower cores took a quarter more
    assert set(first) <= set(everything)
    scale = scale_for(first, 80)
    assert scale > 1.5
    assert minutes(first, scale) <= 80 < minutes(first, scale * 1.05)


def test_what_a_job_needs_comes_before_it():
    from rows import ROWS
    from schedule import jobs_of

    seen = set()
    for job in jobs_of(list(ROWS.values()), None):
        assert set(job.needs) <= seen
        seen.add(job)


def test_a_shared_training_is_run_once_for_all_seeds():
    from rows import chosen
    from schedule import jobs_of

    jobs = jobs_of(chosen(["pretraining"]), 3)
    assert sum(job.training == "dynet.pre" for job in jobs) == 1
    assert sum(job.training == "dynet.pretrained" and not job.set for job in jobs) == 3


def test_all_takes_three_seeds_for_dynet_and_two_for_abair_and_another_number_for_both(scope):
    from report import Scores, collected, markdown
    from rows import ROWS
    from schedule import jobs_of

    def seeds(count):
        jobs = jobs_of(list(ROWS.values()), count)
        wanted = ("dynet.scratch", "promptir.scratch", "promptir.five", "abair.pre.paired", "adapt.lora.4.denoise")
        return [sum(job.training == name and not job.set for job in jobs) for name in wanted]

    assert seeds(None) == [3, 3, 2, 2, 2]
    assert seeds(3) == [3, 3, 3, 3, 3]
    rows = [ROWS["promptir"], ROWS["lora-4"]]
    for row in rows:
        for seed in range(3):
            for name, training, view in row.cells():
                write_score(scope, training, seed, name, view, 27 + seed)
    text = markdown(collected(rows, Scores(scope, None)))
    assert "PromptIR | 28.00 ± 1.00" in text and "lora, rank 4 | 27.50 ± 0.71" in text
    assert text.index("3 seeds.") < text.index("PromptIR |") < text.index("2 seeds.") < text.index("lora, rank 4 |")


def test_a_run_has_its_own_folder_for_each_configuration_wherever_it_lies(scope, tmp_path):
    from dataclasses import replace

    from trainings import run_folder

    name = run_folder("dynet.pretrained", 0, scope).name
    assert run_folder("dynet.pretrained", 0, replace(scope, out=tmp_path / "else", threads=4)).name == name
    assert run_folder("dynet.pretrained", 1, scope).name != name
    assert run_folder("dynet.pretrained", 0, replace(scope, scale=2.0)).name != name


def test_a_wrong_row_is_named(capsys):
    from run import main

    assert main(["--rows", "target,nothing"]) == 2
    assert "--rows nothing" in capsys.readouterr().err


def test_missing_data_is_named(tmp_path, capsys):
    from run import main

    assert main(["--data", str(tmp_path / "no"), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    assert "bsds500/train" in capsys.readouterr().err


def write_score(scope, training, seed, name, view, value, given=20.0):
    from jobs import Job, _declared, _score_file

    path = _score_file(Job(training, seed, name, view), scope)
    path.parent.mkdir(parents=True, exist_ok=True)
    means = {side: {"psnr": number, "ssim_gaussian11": 0.5} for side, number in (("output", value), ("input", given))}
    path.write_text(json.dumps({"declared": _declared(name), "images": 1, **means, "per_image": []}))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((27.0, 27.1, 26.9), (25.0, 25.1, 24.9), "holds"),
        ((25.0, 25.1, 24.9), (27.0, 27.1, 26.9), "the other way round"),
        ((27.0, 26.0, 28.0), (26.5, 26.4, 26.6), "not resolved"),  # one of the rows spreads too much
        ((27.0, 28.0, 29.0), (26.5, 27.5, 28.5), "not resolved"),  # the rows do, although they differ alike
        ((27.0,), (25.0,), "not resolved (one seed)"),
    ],
)
def test_an_ordering_is_claimed_only_beyond_two_standard_deviations(scope, first, second, expected):
    from report import Scores, judged
    from rows import ROWS, Claim

    high, low = ROWS["pretrained-l"], ROWS["scratch-l"]
    for row, values in ((high, first), (low, second)):
        for seed, value in enumerate(values):
            for name, training, view in row.cells():
                write_score(scope, training, seed, name, view, value)
    found = judged(Claim("pretraining", high.name, low.name, ""), ROWS, Scores(scope, len(first)))
    assert found
    assert found["verdict"] == expected
    assert found["gap"] == pytest.approx(np.mean(first) - np.mean(second))


def test_a_row_that_no_seed_changes_stands_beside_each_seed_of_the_other(scope):
    from report import Scores, judged
    from rows import ROWS, Claim

    for seed in range(3):
        for name, training, view in ROWS["lora-4"].cells():
            write_score(scope, training, seed, name, view, 27 + seed / 10)
    for name, training, view in ROWS["no-adapter"].cells():
        write_score(scope, training, 0, name, view, 25)
    found = judged(Claim("adapters", "lora-4", "no-adapter", ""), ROWS, Scores(scope, 3))
    assert found
    assert found["verdict"] == "holds"
    assert found["seeds"] == 3
    assert found["sd"] == pytest.approx(0.1)


def test_the_table_says_what_was_reached_and_leaves_out_what_is_not_there(scope):
    from report import Scores, collected, markdown
    from rows import ROWS, chosen

    for name, training, view in ROWS["target-l"].cells():
        write_score(scope, training, 0, name, view, 29.6 if name == "denoise-all" else 23.0)
    found = collected(chosen(["target"]), Scores(scope, 1))
    assert [one["reached"] for one in found["targets"]] == [True, False, False]
    text = markdown(found)
    assert "| dynet-tiny, variant L | 29.60 | 23.00 | 23.00 | 25.20 |" in text
    assert "| variant L, kodak24 | - | - | - | - |" in text


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Real photos that scikit-image carries, laid out as --data has to be."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("bsds500/train", "cid22", "cbsd68", "kodak24"):
        (folder / name).mkdir(parents=True)
        for number, photo in enumerate((data.astronaut(), data.coffee())):
            Image.fromarray(np.ascontiguousarray(photo[100:260, 100:260])).save(folder / name / f"{number}.png")
    return folder


def run(photos, out, *words):
    command = [sys.executable, FOLDER / "run.py", "--data", photos, "--out", out, "--smoke", "--device", "cpu", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_and_a_finished_one_is_not_done_again(photos, tmp_path):
    done = run(photos, tmp_path, "--rows", "promptir,dynet-s", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert "8 jobs, 0 of them done before" in done.stderr
    first = json.loads((tmp_path / "table.json").read_text())
    (folder,) = (tmp_path / "runs").glob("promptir.scratch-*")
    (folder / "summary.json").unlink()  # as if it had been killed at its end
    score = next((tmp_path / "scores").glob("promptir.scratch-*/plain-derain.json"))
    score.unlink()
    done = run(photos, tmp_path, "--rows", "promptir,dynet-s", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert "8 jobs, 6 of them done before" in done.stderr
    assert json.loads((tmp_path / "table.json").read_text())["tables"] == first["tables"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_row_runs(photos, tmp_path):
    from rows import ROWS

    done = run(photos, tmp_path, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "table.json").read_text())
    made = {row["name"]: row for table in found["tables"].values() for row in table["rows"]}
    assert set(made) == set(ROWS)
    assert all(row["mean"] is not None for row in made.values())
    assert "None of these numbers means anything" in done.stdout
