"""The configuration of `mird train`, and what of it may change on resume."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from million_ird.config import Config, load, merge, parse_sets, read_yaml
from million_ird.train.presets import PRESETS

FREE = ("run", "log")
"""Sections that may change on resume: they change no weight."""


class Data(Config):
    """Where samples come from."""

    tasks: tuple[str, ...] = ()
    """`task=PATH`, `task=LAYOUT:PATH`, or PATH alone: clean images, or pairs; recipe=NAME, split=NAME, limit=N and
    stream=ROWS may follow, each after a comma."""
    recipe: str = ""
    """What clean images are degraded by, unless the task names its own; empty = by the stage and the task's name."""
    size: int = Field(default=128, ge=8, multiple_of=8)
    """Side of the square crops, px; a multiple of 8."""
    turns: bool = True
    """Mirror crops and turn them by quarters at random."""
    repeat: dict[str, Annotated[float, Field(gt=0)]] | Literal["three", "five"] = Field(default_factory=dict)
    """Task -> how often an epoch goes through its set (1 where not named); three, five = the published factors."""
    degrade: Literal["cpu", "device"] = "cpu"
    """cpu = in the workers; device = in whole batches where the network is (an approximation for JPEG)."""
    pool: int = Field(default=64, ge=1)
    """Row groups of Parquet files that are shuffled together."""
    cache_mb: int = Field(default=512, ge=0)
    """Decoded pictures that each worker keeps, MB, shared out evenly among the tasks."""


class Loss(Config):
    """What is made small; the weights of several are added up."""

    l1: float = Field(default=1.0, ge=0)
    """Mean absolute difference."""
    charbonnier: float = Field(default=0.0, ge=0)
    """Mean of sqrt(d^2 + 1e-6)."""
    psnr: float = Field(default=0.0, ge=0)
    """Minus the PSNR of each image in dB, up to 50: images that are nearly right count as much as others."""
    frequency: float = Field(default=0.0, ge=0)
    """Mean absolute difference of the two-dimensional spectra (real and imaginary parts, orthonormal)."""
    perceptual: float = Field(default=0.0, ge=0)
    """LPIPS by pyiqa, where it is installed."""
    segmentation: float = Field(default=0.05, ge=0)
    """ABAIR's first phase: cross-entropy of the segmentation head."""


_Below1 = Annotated[float, Field(ge=0, lt=1)]


class Optim(Config):
    """How weights are changed."""

    kind: Literal["adamw", "adam", "muon"] = "adamw"
    """AdamW, Adam, or Muon for matrices and full convolutions with AdamW for the rest (`million_ird.train.muon`)."""
    lr: float = Field(default=2e-4, gt=0)
    """Highest learning rate."""
    floor: float = Field(default=1e-6, ge=0)
    """Learning rate at the last step."""
    warmup: int = Field(default=100, ge=0)
    """Steps in which it grows from zero; unless it is given, an eighth of all steps at most."""
    decay: float = Field(default=1e-4, ge=0)
    """Weight decay; norms, biases and temperatures have none."""
    betas: tuple[_Below1, _Below1] = (0.9, 0.999)
    """Decay of the two moments."""
    clip: float = Field(default=1.0, ge=0)
    """Largest length of the gradient; 0 = any."""

    @field_validator("floor")
    @classmethod
    def _below(cls, floor: float, info: ValidationInfo) -> float:
        if floor > info.data.get("lr", floor):
            raise ValueError(f"it is above optim.lr, {info.data['lr']:g}, from which the rate falls")
        return floor


class DyNetStage(Config):
    """DyNet: several depths from one set of weights."""

    variants: dict[str, float] = Field(default_factory=lambda: {"s": 0.5, "l": 0.5})
    """Probability of each variant ("s", "l", "2,3,3,4"); one is drawn for each step."""


class AbairStage(Config):
    """ABAIR: what is drawn on in the phases."""

    kind: Literal["lora", "vera", "conv_lora"] = "lora"
    """The adapter's kind."""
    rank: int = Field(default=4, ge=1)
    """Its rank."""
    alpha: float | None = None
    """Its scale is alpha / rank; null = 1."""
    targets: tuple[str, ...] = ("*",)
    """The layers that it changes, by patterns of their names."""
    depthwise: bool = False
    """Change depthwise convolutions, too."""
    classes: dict[str, str] = Field(default_factory=dict)
    """Class of a recipe -> adapter that mends it, for mixed inputs of the estimator; null = by name."""


class Validation(Config):
    """What is looked at while training goes on."""

    sets: tuple[str, ...] = ()
    """`NAME=PATH`, as tasks; nothing of it is drawn anew."""
    every: int = Field(default=1000, ge=1)
    """Steps between two looks; there is always one at the end."""
    images: int = Field(default=16, ge=1)
    """Pictures of each set."""
    size: int = Field(default=256, ge=8, multiple_of=8)
    """A square of this size of each, px, cut out at random but always the same."""


class Save(Config):
    """Checkpoints."""

    every: int = Field(default=500, ge=1)
    """Steps between two."""
    keep: int = Field(default=2, ge=1)
    """How many of the last ones stay; the best one stays anyway."""


class Log(Config):
    """What is written down."""

    every: int = Field(default=1, ge=1)
    """Steps between two lines of metrics.jsonl."""
    samples: int = Field(default=1000, ge=1)
    """Steps between two strips of input, output and target."""
    tensorboard: bool = True
    """Write TensorBoard events."""
    wandb: str | None = None
    """Project on Weights & Biases, where wandb is installed."""
    trackio: str | None = None
    """Project of trackio, where it is installed."""


class Run(Config):
    """How the work is done; none of it changes the result but by rounding."""

    device: str = "auto"
    """cpu, cuda, mps; auto = the best there is."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that make samples; null = one per core, less one; 0 = in this process."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the network on a CPU; null = torch's choice."""
    bf16: bool | None = None
    """bfloat16 autocast; null = on CUDA cards that have it."""
    malloc_tuning: bool = True
    """On a CPU let glibc keep freed memory: up to twice as fast."""
    compile: bool = False
    """Compile the transformer blocks: minutes at start, a third faster afterwards."""
    minutes: float | None = Field(default=None, gt=0)
    """Stop, with a checkpoint, after so long; --resume goes on."""


class TrainConfig(Config):
    """Everything that `mird train` can be told."""

    model: str = "dynet-tiny"
    """A name of `million_ird.models`."""
    sizes: dict[str, Any] = Field(default_factory=dict)
    """Fields of the network's configuration that are to differ."""
    family: Literal["dynet", "abair"] = "dynet"
    """Whose training."""
    stage: Literal["pretrain", "finetune", "adapt", "estimate"] = "pretrain"
    """dynet: pretrain, finetune. abair: pretrain, adapt, estimate."""
    task: str = ""
    """abair adapt: the adapter's name."""
    adapters: tuple[str, ...] = ()
    """abair estimate: runs or folders that hold adapters to load."""
    init: str = ""
    """Weights to begin with: a model folder, a run, a Hub name."""
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    """Of all chance."""
    steps: int = Field(default=1000, ge=1)
    """Changes of the weights."""
    batch: int = Field(default=8, ge=1)
    """Samples of one step, over all processes and parts."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a step is done in, one after the other, to save memory."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the weights' moving average, which is what is validated and kept; 0 = none."""
    bad_steps: int = Field(default=5, ge=1)
    """Steps in a row without finite numbers that end the run."""
    data: Data = Data()
    """Where samples come from."""
    loss: Loss = Loss()
    """What is made small."""
    optim: Optim = Optim()
    """How weights are changed."""
    dynet: DyNetStage = DyNetStage()
    """DyNet: several depths from one set of weights."""
    abair: AbairStage = AbairStage()
    """ABAIR: its adapters."""
    validation: Validation = Validation()
    """What is looked at while training goes on."""
    save: Save = Save()
    """Checkpoints."""
    log: Log = Log()
    """What is written down."""
    run: Run = Run()
    """How the work is done."""

    @field_validator("stage")  # fields are checked in their order: `info.data` has those before
    @classmethod
    def _of_the_family(cls, stage: str, info: ValidationInfo) -> str:
        known = STAGES.get(info.data.get("family", ""), (stage,))
        if stage not in known:
            raise ValueError(f"no stage of {info.data['family']}; there are {', '.join(known)}")
        return stage

    @field_validator("task", "init")
    @classmethod
    def _there(cls, value: str, info: ValidationInfo) -> str:
        stage = info.data.get("stage")
        if info.field_name == "task" and stage == "adapt" and not value:
            raise ValueError("the adapter needs a name (--task NAME)")
        if info.field_name == "init" and stage in ("adapt", "estimate") and not value:
            raise ValueError(f"{stage} needs a trained base (--init RUN)")
        return value

    @field_validator("accumulate")
    @classmethod
    def _divides(cls, parts: int, info: ValidationInfo) -> int:
        if info.data.get("batch", 0) % parts:
            raise ValueError(f"batch {info.data['batch']} does not divide into {parts} parts")
        return parts


STAGES = {"dynet": ("pretrain", "finetune"), "abair": ("pretrain", "adapt", "estimate")}
"""Stages of each family."""


def load_config(
    family: str, stage: str | None, file: str | Path | None = None, sets: Sequence[str] = (), **given: Any
) -> TrainConfig:
    """Defaults, the stage's preset, a file, `--set`, and what the command line gave; checked.

    Args:
        family: dynet, abair; whatever the file says.
        stage: None = the file's, else pretrain.
        given: fields by dotted name, None = not given; they go before `sets`.

    Raises:
        ConfigError: naming the field, the value and what is allowed.
    """
    stage = stage or str((read_yaml(file) if file is not None else {}).get("stage", "pretrain"))
    preset = PRESETS.get((family, stage), {})
    over = {key: value for key, value in given.items() if value is not None} | {"family": family, "stage": stage}
    sets = [*sets, *_as_sets(over)]
    config = load(TrainConfig, preset=preset, file=file, sets=sets)
    told = merge(read_yaml(file) if file is not None else {}, parse_sets(sets)).get("optim") or {}
    if "warmup" in told:
        return config
    # A preset's warm-up goes with its number of steps: with far fewer, the rate would never arrive.
    warmup = min(config.optim.warmup, config.steps // 8)
    return config.model_copy(update={"optim": config.optim.model_copy(update={"warmup": warmup})})


def _as_sets(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]


def fixed(config: TrainConfig) -> dict[str, Any]:
    """What must be the same on resume."""
    return config.model_dump(mode="json", exclude=set(FREE))


def read_config(path: Path) -> dict[str, Any]:
    """A run's train.yaml, without what may change."""
    return fixed(load(TrainConfig, file=path))
