"""The configuration of a run: presets, what may not be, and what may change on resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from million_ird.config import differences, to_yaml
from million_ird.errors import ConfigError
from million_ird.train.presets import PRESETS
from million_ird.train.settings import STAGES, fixed, load_config, read_config


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["optim.lrr=1"], r"optim\.lrr: unknown key; did you mean 'lr'\?"),
        (["stepps=5"], r"stepps: unknown key; did you mean 'steps'\?"),
        (["batch=7", "accumulate=2"], r"accumulate: batch 7 does not divide into 2 parts"),
        (["data.size=100"], r"data\.size: .* multiple of 8, got 100"),
        (["validation.size=100"], r"validation\.size: .* multiple of 8, got 100"),
        (["data.repeat=six"], r"data\.repeat.*'three' or 'five', got 'six'"),
        (["data.repeat={derain: 0}"], r"data\.repeat.*derain: .* greater than 0"),
        (["optim.lr=1e-5", "optim.floor=1e-4"], r"optim\.floor: it is above optim\.lr, 1e-05"),
        (["optim.betas=[0.9, 1]"], r"optim\.betas\.1: .* less than 1"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(sets: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config("dynet", "pretrain", sets=sets)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("family", "stage", "given", "message"),
    [
        ("dynet", "adapt", {}, r"stage: no stage of dynet; there are pretrain, finetune, got 'adapt'"),
        ("abair", "finetune", {}, r"stage: no stage of abair; there are pretrain, adapt, estimate, got 'finetune'"),
        ("abair", "adapt", {"init": "base"}, r"task: the adapter needs a name \(--task NAME\)"),
        ("abair", "adapt", {"task": "derain"}, r"init: adapt needs a trained base \(--init RUN\)"),
        ("abair", "estimate", {}, r"init: estimate needs a trained base \(--init RUN\)"),
    ],
)
def test_a_stage_asks_for_what_it_needs(family: str, stage: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(family, stage, **given)


def test_every_stage_has_a_preset_that_is_valid() -> None:
    assert set(PRESETS) == {(family, stage) for family, stages in STAGES.items() for stage in stages}
    for family, stage in PRESETS:
        config = load_config(family, stage, task="t", init="i")
        assert (config.family, config.stage) == (family, stage)
        assert config.model == PRESETS[family, stage]["model"]


def test_the_published_settings_are_preset() -> None:
    config = load_config("dynet", "pretrain")
    assert (config.batch, config.steps, config.data.recipe, config.data.size) == (32, 1_000_000, "dynet", 128)
    assert (config.optim.kind, config.optim.lr, config.optim.floor, config.optim.decay) == ("adam", 1e-4, 1e-4, 0)
    assert load_config("dynet", "finetune").optim.warmup == 66_000
    assert load_config("abair", "pretrain").data.recipe == "abair"


def test_the_command_line_goes_before_set_before_the_file_before_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("steps: 70\nbatch: 6\nseed: 3\noptim: {lr: 0.001}\n")
    given = {"steps": 50, "seed": None, "data.tasks": ["derain=a"]}
    config = load_config("dynet", "pretrain", file, ["batch=4", "steps=60"], **given)
    assert (config.steps, config.batch, config.seed) == (50, 4, 3)
    assert config.optim.lr == 0.001 and config.optim.kind == "adam" and config.data.tasks == ("derain=a",)


def test_a_short_run_does_not_end_within_the_warm_up_of_the_preset(tmp_path: Path) -> None:
    assert load_config("dynet", "finetune", steps=800).optim.warmup == 100
    assert load_config("abair", "pretrain", steps=8).optim.warmup == 1
    assert load_config("dynet", "finetune", sets=["steps=100", "optim.warmup=90"]).optim.warmup == 90
    (tmp_path / "a.yaml").write_text("optim: {warmup: 77}\n")
    assert load_config("dynet", "finetune", tmp_path / "a.yaml", steps=80).optim.warmup == 77


def test_only_how_the_work_is_done_may_change_on_resume(tmp_path: Path) -> None:
    config = load_config("dynet", "pretrain", sets=["data.tasks=[a, b]", "optim.lr=1e-3"])
    (tmp_path / "train.yaml").write_text(to_yaml(config, comments=True))
    written = read_config(tmp_path / "train.yaml")
    assert differences(written, fixed(config)) == []
    same = load_config("dynet", "pretrain", sets=["data.tasks=[a, b]", "optim.lr=1e-3", "run.workers=7", "log.every=9"])
    assert differences(written, fixed(same)) == []
    other = load_config("dynet", "pretrain", sets=["data.tasks=[a, b]", "optim.lr=2e-3", "seed=1"])
    assert differences(written, fixed(other)) == ["seed: 0 -> 1", "optim.lr: 0.001 -> 0.002"]


def test_a_section_that_is_no_mapping_is_named() -> None:
    with pytest.raises(ConfigError, match="validation: "):
        load_config("dynet", "pretrain", sets=["validation=3"])
