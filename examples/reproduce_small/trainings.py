"""What is trained: a table of runs of `mird train`, from which start, on what, for how many steps.

Steps are what fits 2 CPU cores (see README.md); `Scope.scale` multiplies them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

BATCH = 2
"""Crops of a step: with so few of them, many small steps get furthest (README.md has the comparison)."""
THREE = ("denoise", "derain", "dehaze")
"""The three tasks of DyNet's tables."""
FIVE = (*THREE, "deblur", "lowlight")
"""The five of ABAIR's."""
NEW = ("dejpeg", "debit", "desnow")
"""Tasks that come later."""
RAIN = Path(__file__).parent / "recipes" / "streaks.yaml"
"""Stands for Rain100L."""
KINDS, RANKS = ("lora", "vera", "conv_lora"), (4, 8, 16)

RATES = {"joint": 9.5, "s": 10.5, "l": 9.0, "promptir": 9.0, "abair": 7.0, "adapter": 6.5, "estimator": 80.0}
"""Crops of 64x64 px that a CPU core (AVX-512, one thread, torch 2.15) goes through in a second, in steps of `BATCH`."""

PROMPTIR = {"dim": 12, "depths": [2, 3, 3, 4], "refinement": 2, "prompt_sizes": [16, 8, 4]}
"""PromptIR with dynet-tiny's width, refinement and prompts, and as many blocks as its variant "l" applies."""


@dataclass(frozen=True)
class Scope:
    """Where things lie, and how much is done.

    Attributes:
        data: holds bsds500/train, cid22, cbsd68, kodak24.
        out: everything that is written.
        scale: all steps are multiplied by it.
        smoke: a few steps with small crops, to see that everything runs.
        threads: of each job, on a CPU.
        device: "cpu", "cuda", ...
    """

    data: Path
    out: Path
    scale: float = 1.0
    smoke: bool = False
    threads: int = 1
    device: str = "cpu"

    @property
    def photos(self) -> Path:
        """All clean pictures to train on."""
        return self.out / "photos"

    @property
    def pairs(self) -> Path:
        """Fixed pairs, a folder for each task."""
        return self.out / "pairs"


@dataclass(frozen=True)
class Training:
    """One run of `mird train`, for each seed.

    Attributes:
        name: of it; unique.
        family, stage: of `mird train`.
        steps: at scale 1.
        data: as `--data`, with {photos} and {pairs} in place of folders.
        rate: key of `RATES`.
        model: a name of `million_ird.models`.
        start: the training whose weights it begins with; "" = fresh ones.
        adapters: trainings whose adapters it loads.
        task: the adapter's name.
        lr: highest learning rate.
        batch: crops of a step.
        sets: more, as `--set`.
        shared: run with seed 0 alone; all seeds of what builds on it take this one.
    """

    name: str
    family: str
    stage: str
    steps: int
    data: tuple[str, ...]
    rate: str
    model: str = "dynet-tiny"
    start: str = ""
    adapters: tuple[str, ...] = ()
    task: str = ""
    lr: float = 1e-3
    batch: int = BATCH
    sets: tuple[str, ...] = ()
    shared: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the trainings that must be done before."""
        return (*((self.start,) if self.start else ()), *self.adapters)

    def seconds(self, scale: float) -> float:
        """Of one core, to expect; some of them to start and to save."""
        return 5 + self.steps * scale * self.batch / RATES[self.rate]


def recipe_of(task: str) -> str:
    """Name or file of the recipe that makes a task's inputs, to train on and to test with."""
    return str(RAIN) if task == "derain" else task


def photos(*tasks: str) -> tuple[str, ...]:
    """Tasks on the clean pictures."""
    return tuple(f"{task}={{photos}},recipe={recipe_of(task)}" for task in tasks)


NOISE_TWICE = "data.repeat.denoise=2"
"""Half of the samples are noise, which has three of the five columns of DyNet's table."""
DECIBELS = ("loss.l1=0", "loss.psnr=0.02")
"""What is made small, but in pre-training, where it is L1: by L1 so short a training leaves rain as it is."""
QUICK = ("optim.kind=muon", "optim.lr=3e-3")
"""For the longest runs and the estimator; the comparisons take AdamW, as the papers do."""


def _dynet() -> Iterator[Training]:
    """DyNet: pre-trained or not, both variants at once or one alone, beside PromptIR, one task at a time."""

    def finetune(name: str, steps: int, rate: str, data: tuple[str, ...] = photos(*THREE), **more: Any) -> Training:
        sets = (*more.pop("sets", ()), *((NOISE_TWICE,) if len(data) > 1 else ()))
        return Training(name, "dynet", "finetune", steps, data, rate, sets=sets, **more)

    yield Training("dynet.pre", "dynet", "pretrain", 1800, ("photos={photos}",), "joint", shared=True)
    for task in THREE:
        name, data = f"dynet.target.{task}", photos(task)
        yield finetune(name, 1800, "joint", data, start="dynet.pre", sets=QUICK, shared=True)
    yield finetune("dynet.scratch", 720, "joint")
    yield finetune("dynet.pretrained", 720, "joint", start="dynet.pre")
    for variant in ("s", "l"):
        alone = (f'dynet.variants={{"{variant}": 1.0}}',)
        yield finetune(f"dynet.alone.{variant}", 720, variant, sets=alone)
        yield finetune(f"dynet.half.{variant}", 360, variant, sets=alone)
    sizes = tuple(f"sizes.{key}={json.dumps(value)}" for key, value in PROMPTIR.items())
    yield finetune("promptir.scratch", 720, "promptir", model="promptir", sets=sizes)
    for task, steps in zip(THREE, (360, 180, 180), strict=True):  # as many samples of it as in the joint run
        yield finetune(f"dynet.single.{task}", steps, "joint", photos(task), start="dynet.pre")


def _abair() -> Iterator[Training]:
    """ABAIR: bases, adapters, estimators."""
    plain, tiny = "loss.segmentation=0", "abair-tiny"
    fixed = tuple(f"{task}={{pairs}}/{task}" for task in FIVE)
    clean = ("photos={photos}",)
    single, cutmix = ("data.recipe={here}/recipes/abair-single.yaml", plain), (plain,)

    def base(name: str, steps: int, data: tuple[str, ...], sets: tuple[str, ...], shared: bool = False) -> Training:
        return Training(name, "abair", "pretrain", steps, data, "abair", tiny, sets=sets, shared=shared)

    yield base("abair.pre.paired", 1050, fixed, ('data.recipe=""', plain))
    yield base("abair.pre.synthetic", 1050, clean, single)
    yield base("abair.pre.cutmix", 1050, clean, cutmix)
    yield base("abair.pre.segmentation", 1050, clean, ())
    yield base("abair.base", 2100, clean, (), shared=True)
    for start in ("none", "paired", "synthetic", "cutmix", "segmentation"):
        before = "" if start == "none" else f"abair.pre.{start}"
        sets = (NOISE_TWICE, *(() if before else ("sizes.classes=0",)))
        data = photos(*THREE)
        yield Training(f"abair.after.{start}", "dynet", "finetune", 420, data, "abair", tiny, before, sets=sets)
    for kind in KINDS:
        for rank in RANKS:
            first = (*FIVE, *NEW) if (kind, rank) == ("lora", 4) else THREE
            for task in first:
                yield _adapter(task, kind, rank)
    for which, tasks, mixed in (("five", FIVE, ("mixed={photos},recipe=abair",)), ("eight", (*FIVE, *NEW), ALL_MIXED)):
        adapters = tuple(f"adapt.lora.4.{task}" for task in tasks)
        data = (*photos(*tasks), *mixed)
        at = "abair.base"
        name = f"estimate.{which}"
        yield Training(name, "abair", "estimate", 1200, data, "estimator", tiny, at, adapters, batch=8, sets=QUICK)
    sizes = tuple(f"sizes.{key}={json.dumps(value)}" for key, value in PROMPTIR.items())
    yield Training("promptir.five", "dynet", "finetune", 900, photos(*FIVE), "promptir", "promptir", sets=sizes)


ALL_MIXED = ("mixed={photos},recipe=abair", "chains={photos},recipe=mixed")
"""What the estimator of all tasks sees of mixed inputs; the one of five tasks has no adapters for JPEG and snow."""


def _adapter(task: str, kind: str, rank: int) -> Training:
    sets = (f"abair.kind={kind}", f"abair.rank={rank}")
    name, data = f"adapt.{kind}.{rank}.{task}", photos(task)
    at = "abair.base"
    return Training(name, "abair", "adapt", 180, data, "adapter", "abair-tiny", at, task=task, lr=5e-3, sets=sets)


TRAININGS = {one.name: one for one in (*_dynet(), *_abair())}


def seed_of(name: str, seed: int) -> int:
    """The seed that a training is run with where everything else is run with `seed`."""
    return 0 if TRAININGS[name].shared else seed


def steps_of(training: Training, scope: Scope) -> int:
    """How many steps it takes."""
    return 2 if scope.smoke else max(2, round(training.steps * scope.scale))


def config_of(name: str, seed: int, scope: Scope) -> Any:
    """The `TrainConfig` of a training; where the folders lie decides no number.

    Raises:
        ConfigError: the table says what `mird train` does not know.
    """
    from million_ird.train.settings import load_config

    one, steps = TRAININGS[name], steps_of(TRAININGS[name], scope)
    places = {"photos": str(scope.photos), "pairs": str(scope.pairs)}
    here = str(Path(__file__).parent)
    optim = {"kind": "adamw", "lr": one.lr, "floor": 1e-5, "warmup": max(1, steps // 20), "decay": 0}
    sets = [
        f"optim={json.dumps(optim)}",
        f"batch={2 if scope.smoke else one.batch}",
        "ema=0.99",
        f"data.size={32 if scope.smoke else 64}",
        "data.cache_mb=100",
        "save={every: 200, keep: 1}",
        "log={every: 10, samples: 1000000000, tensorboard: false}",
        f"run.device={scope.device}",
        *((f"run.threads={scope.threads}", "run.workers=0") if scope.device == "cpu" else ()),
        *(DECIBELS if one.stage in ("finetune", "adapt") else ()),
        *(text.replace("{here}", here) for text in one.sets),
    ]
    folders = [str(run_folder(other, seed, scope)) for other in one.adapters]
    return load_config(
        *(one.family, one.stage, None, sets),
        **{"model": one.model, "steps": steps, "seed": seed_of(name, seed), "task": one.task or None},
        **{"init": str(run_folder(one.start, seed, scope)) if one.start else None, "adapters": folders or None},
        **{"data.tasks": [text.format(**places) for text in one.data]},
    )


@cache
def run_folder(name: str, seed: int, scope: Scope) -> Path:
    """Where a training is done: another configuration has another folder, so that nothing finished is taken for it."""
    from million_ird import __version__
    from million_ird.train.settings import fixed

    text = json.dumps([__version__, fixed(config_of(name, seed, scope))])
    for part, folder in (("OUT", scope.out), ("DATA", scope.data), ("HERE", Path(__file__).parent)):
        text = text.replace(str(folder), part)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return scope.out / "runs" / f"{name}-seed{seed_of(name, seed)}-{digest}"
