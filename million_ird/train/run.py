"""`mird train`: a configuration to a run's folder.

RUN/ train.yaml  metrics.jsonl  tensorboard/  samples/  checkpoints/step-0001000/  best/  model/
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from million_ird import models
from million_ird.config import differences, to_yaml
from million_ird.errors import ConfigError, InputError, MirdError, OutputError
from million_ird.models.adapters import Adaptable
from million_ird.models.blocks import TransformerBlock
from million_ird.models.registry import family_of
from million_ird.models.spatial import SpatialBlock
from million_ird.rng import key_for
from million_ird.tables import locked, read_json, write_json, write_text
from million_ird.train import abair, average, checkpoint, cost, loop, record, validation
from million_ird.train.batches import Samples
from million_ird.train.checkpoint import Position, State
from million_ird.train.device import Degrader
from million_ird.train.dynet import DyNetTraining
from million_ird.train.muon import Muon
from million_ird.train.parallel import Team, team
from million_ird.train.settings import TrainConfig, fixed, read_config
from million_ird.train.stage import Stage
from million_ird.train.tasks import Task, fingerprint, tasks_of

CONFIG, SUMMARY = "train.yaml", "summary.json"

UNDECAYED = ("temperature", "offsets")
"""Ends of names of tensors that are neither matrices nor kernels, for all their dimensions."""

Tell = Callable[[Position, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        status: "done" or "stopped".
        figures: the last of the loss, the validation, the cost; what the stage says.
    """

    out: str
    status: str
    step: int
    model: str
    figures: dict[str, Any]


def train(
    config: TrainConfig,
    out: str | Path,
    resume: bool = False,
    tell: Tell = lambda position, figures: None,
    *,
    fresh: bool = False,
) -> Outcome:
    """Train as configured, or go on where a run of the same configuration was left.

    Args:
        config: see `settings`.
        out: the run's folder.
        resume: go on from its last checkpoint.
        tell: called after each step.
        fresh: delete what a former run left in the folder, once all is known to be well with this one.

    Raises:
        ConfigError, InputError: naming the field or the file; always before anything is written.
        OutputError: the folder holds another run, or one of another configuration.
        MirdError: no finite numbers for several steps.
    """
    out = Path(out)
    with team(config.run.device) as mates:
        _tuned(config, mates)
        try:
            with locked(out) if mates.first else nullcontext():
                return _train(config, out, resume, tell, mates, fresh)
        except torch.OutOfMemoryError as error:
            raise MirdError(f"{str(error).splitlines()[0]} Lower batch or data.size, or raise accumulate") from error


def dry_run(config: TrainConfig) -> cost.Estimate:
    """Check everything, and measure what a step takes; nothing is written."""
    with team(config.run.device) as mates:
        _tuned(config, mates)
        config = _settled(config, mates)
        record.check(config)
        tasks = tasks_of(config)
        validation.sets_of(config)
        stage = stage_of(config, mates.device, tasks)
        net = network(config, stage).to(mates.device)
        return cost.estimate(config, net, stage, Samples(tasks, config), mates, workers_of(config))


def _train(config: TrainConfig, out: Path, resume: bool, tell: Tell, mates: Team, fresh: bool) -> Outcome:
    _may_begin(config, out, resume, fresh)
    record.check(config)
    mates.wait()
    config = _settled(config, mates)
    tasks = tasks_of(config)
    samples = Samples(tasks, config)
    sets = validation.sets_of(config)
    stage = stage_of(config, mates.device, tasks)
    net = network(config, stage).to(mates.device)
    state = _state(config, net, {task.name: fingerprint(task) for task in tasks})
    state.position.frozen = stage.frozen(net)
    if resume and (last := checkpoint.latest(out / "checkpoints")):
        data, frozen = state.position.data, state.position.frozen
        try:
            checkpoint.restore(state, last)
        except InputError as error:
            raise InputError(f"{error}; delete {last}, and the run goes on from the one before") from None
        if state.position.frozen and not frozen == state.position.frozen == stage.frozen(net):
            raise OutputError(f"{out}: --init {config.init} is another base than it began with; put that one back")
        if state.position.data != data:
            was = state.position.data
            changed = [
                f"{name}: {was.get(name)} -> {data.get(name)}" for name in was | data if was.get(name) != data.get(name)
            ]
            raise OutputError(f"{out}: the data are not those it began with ({'; '.join(changed)}); put them back")
        if state.position.step == config.steps and (said := read_json(out / SUMMARY)):
            return Outcome(str(out), said.pop("status"), said.pop("step"), str(out / "model"), said)
    Degrader(tasks, config, mates.device)
    if mates.first:
        if fresh:
            _forget(out)
        write_text(out / CONFIG, to_yaml(config, comments=True))
    _compiled(net, config)
    job = loop.Job(config, out, mates, stage, state, samples, sets, workers_of(config), tell)
    status = loop.run(job)
    figures: dict[str, Any] = {}
    if mates.first:
        with average.worn(state.ema, state.learning):
            loop.keep(net, stage, out / "model")
            figures = stage.finish(net, sets) | _said(job)
        write_json(out / SUMMARY, {"status": status, "step": state.position.step, **figures})
    mates.wait()
    return Outcome(str(out), status, state.position.step, str(out / "model"), figures)


def _said(job: loop.Job) -> dict[str, Any]:
    """What there is to say of a run at its end."""
    position, pace, config = job.state.position, job.pace, job.config
    found: dict[str, Any] = {"skipped": position.skipped, "best": position.best, "best_step": position.best_step}
    if pace.validated:
        found["validation"] = pace.validated
    if pace.steps:
        found |= {
            "images_per_s": pace.steps * config.batch / pace.seconds,
            "waited": pace.waited / pace.seconds,
        }
    if position.counts:
        found["steps_by_variant"] = position.counts
        found["cost"] = cost.joint(
            cost.gflops(job.state.net, job.stage, config.data.size), config.dynet.variants, pace.by_variant
        )
    return found


def _forget(out: Path) -> None:
    """Delete a run; the lock on its folder stays."""
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _may_begin(config: TrainConfig, out: Path, resume: bool, fresh: bool) -> None:
    """OutputError where the folder holds another run, or `resume` has nothing to go on from."""
    begun = (out / CONFIG).is_file()
    if fresh and resume:
        raise ConfigError("--fresh and --resume: one begins anew, the other goes on; give one of them")
    if fresh:
        if not begun and any(path.name != ".lock" for path in out.glob("*")):
            raise OutputError(f"--fresh {out}: holds no run of mird train; empty it yourself, or choose another --out")
        return
    if not resume:
        if begun:
            raise OutputError(f"{out}: holds a run; --resume goes on with it, --fresh begins anew")
        return
    if not begun:
        raise OutputError(f"{out}: holds no run to resume; leave --resume out")
    changed = differences(read_config(out / CONFIG), fixed(config))
    if changed:
        raise OutputError(f"{out}: the configuration differs from the run's: {'; '.join(changed)}; --fresh begins anew")


def stage_of(config: TrainConfig, device: torch.device, tasks: list[Task]) -> Stage:
    """The stage that a configuration names."""
    if config.family == "dynet":
        return DyNetTraining(config, device)
    if config.stage == "adapt":
        return abair.Adapting(config, device)
    kind = abair.Pretraining if config.stage == "pretrain" else abair.Estimating
    return kind(config, device, tasks)


def network(config: TrainConfig, stage: Stage) -> Any:
    """The network that a run begins with: fresh, its weights from the seed, or loaded; as the stage wants it.

    Raises:
        ConfigError: it is not of the kind that the stage trains.
        InputError: there is nothing at `init`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_for(config.seed, "weights") % 2**63)
        init = config.init
        net = _loaded(config) if init else models.create(config.model, **config.sizes)
        if config.family == "abair" and config.stage != "adapt" and not isinstance(net, Adaptable):
            raise ConfigError(f"model: {net.family} has no adapters and no head; mird train abair trains abair")
        return stage.prepare(net.train())


def _loaded(config: TrainConfig) -> Any:
    """The network at `init`.

    Raises:
        InputError: there is none.
        ConfigError: it is not what `model` and `sizes` name.
    """
    net = models.load(_model_at(config.init))
    if family_of(config.model) != net.family:
        raise ConfigError(f"model: --init {config.init} holds a {net.family}, no {config.model}; name one of its kind")
    held = net.config.model_dump(mode="json")
    wrong = [
        f"{name} is {held.get(name)!r}, not {value!r}"
        for name, value in config.sizes.items()
        if held.get(name) != value
    ]
    if wrong:
        raise ConfigError(f"sizes: of the network at --init {config.init} {'; '.join(wrong)}; leave sizes out")
    return net


def _model_at(init: str) -> str:
    """A run's model, or what is named."""
    for folder in (Path(init) / "model", Path(init)):
        if (folder / "config.json").is_file():
            return str(folder)
    if Path(init).is_dir():
        raise InputError(f"--init {init}: holds no model (config.json); has the run been finished?")
    return init


def _state(config: TrainConfig, net: nn.Module, data: dict[str, str]) -> State:
    learning = {name: tensor for name, tensor in net.named_parameters() if tensor.requires_grad}
    decayed = {name for name, tensor in learning.items() if tensor.ndim >= 2 and not name.endswith(UNDECAYED)}
    groups = [
        {"params": [learning[name] for name in learning if name in decayed], "weight_decay": config.optim.decay},
        {"params": [learning[name] for name in learning if name not in decayed], "weight_decay": 0.0},
    ]
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "muon": Muon}[config.optim.kind]
    optimizer = kind(
        [group for group in groups if group["params"]], lr=config.optim.lr, betas=config.optim.betas, fused=True
    )
    return State(net, optimizer, average.start(learning) if config.ema else {}, Position(data=data))


def _settled(config: TrainConfig, mates: Team) -> TrainConfig:
    """The configuration with what "as it fits" comes to here."""
    bf16 = config.run.bf16
    if bf16 is None:
        bf16 = mates.device.type == "cuda" and torch.cuda.is_bf16_supported()
    return config.model_copy(update={"run": config.run.model_copy(update={"bf16": bf16})})


def workers_of(config: TrainConfig) -> int:
    """How many processes make samples."""
    if config.run.workers is not None:
        return config.run.workers
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max((os.cpu_count() or 1) // local - 1, 1)


def _tuned(config: TrainConfig, mates: Team) -> None:
    """What makes torch fast here and changes results by rounding at most.

    Raises:
        ConfigError: a batch does not divide among the processes.
    """
    if config.batch % (config.accumulate * mates.size):
        raise ConfigError(f"batch: {config.batch} does not divide among {mates.size} processes")
    device = mates.device
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


def _compiled(net: nn.Module, config: TrainConfig) -> None:
    """Compile block by block, in place: names of tensors stay, and each size is compiled once."""
    if not config.run.compile:
        return
    torch._dynamo.config.recompile_limit = 64  # one for each size of block, with and without gradients
    for module in net.modules():
        if isinstance(module, (TransformerBlock, SpatialBlock)):
            module.compile(dynamic=False)
