"""The loop. It reads downwards: fetch, differentiate, change the weights, write down, look, save."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from million_ird.errors import MirdError
from million_ird.train import average, checkpoint, strips, validation
from million_ird.train.batches import Samples, loader
from million_ird.train.checkpoint import Position, State
from million_ird.train.device import Degrader
from million_ird.train.parallel import Team
from million_ird.train.record import Record
from million_ird.train.schedule import learning_rate
from million_ird.train.settings import TrainConfig
from million_ird.train.stage import Set, Stage

RECENT = 1000
"""Steps of each variant whose seconds are remembered."""


@dataclass
class Pace:
    """How fast it goes.

    Attributes:
        steps: since the start.
        seconds: that they took, the wait for samples in it.
        waited: seconds spent waiting for samples.
        by_variant: seconds of each variant's last steps, without the wait.
        validated: what the last look at the sets of validation gave.
    """

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    by_variant: dict[str, deque[float]] = field(default_factory=dict)
    validated: dict[str, float] = field(default_factory=dict)

    def add(self, seconds: float, waited: float, variant: str | None) -> None:
        """One step more."""
        self.steps += 1
        self.seconds += seconds
        self.waited += waited
        if variant is not None:
            self.by_variant.setdefault(variant, deque(maxlen=RECENT)).append(seconds - waited)


@dataclass(frozen=True)
class Job:
    """All that the loop needs.

    Attributes:
        tell: called after each step with (position, figures of the step).
    """

    config: TrainConfig
    out: Path
    team: Team
    stage: Stage
    state: State
    samples: Samples
    sets: list[Set]
    workers: int
    tell: Callable[[Position, Mapping[str, Any]], None]
    pace: Pace = field(default_factory=Pace)


def run(job: Job) -> str:
    """Train to the last step; "done", or "stopped" after a signal or the time that was given, with a checkpoint.

    Raises:
        MirdError: several steps in a row were not finite; the last good checkpoint stays.
    """
    config, state, team, position = job.config, job.state, job.team, job.state.position
    learner = _distributed(job.stage.learner(state.net), team)
    degrade = Degrader(job.samples.tasks, config, team.device)
    batches = iter(loader(job.samples, config, position.step, team, job.workers))
    began = time.monotonic()
    with ExitStack() as stack:
        record = Record(job.out, config, position.step) if team.first else None
        stack.callback(record.close if record else lambda: None)
        stopped = stack.enter_context(_signals())
        while position.step < config.steps:
            tick = time.perf_counter()
            lr = learning_rate(position.step, config.steps, config.optim.lr, config.optim.floor, config.optim.warmup)
            figures = job.stage.begin(state.net, position.step)
            parts, ids, waited = _gradients(job, learner, batches, degrade)
            norm = _clip(state, config.optim.clip)
            if _finite(parts["loss"], norm):
                _update(state, lr, config.ema)
                position.bad = 0
            else:
                _skip(job, record, ids, parts["loss"], norm)
            position.step += 1
            position.samples_seen += config.batch
            if "variant" in figures:
                position.counts[figures["variant"]] = position.counts.get(figures["variant"], 0) + 1
            figures |= {**parts, "gradient_norm": float(norm), "lr": lr}
            seconds = time.perf_counter() - tick
            job.pace.add(seconds, waited, figures.get("variant"))
            if record and position.step % config.log.every == 0:
                record(
                    "step",
                    position.step,
                    samples=position.samples_seen,
                    **figures,
                    seconds=seconds,
                    waited=waited,
                )
            job.tell(position, figures)
            last = position.step == config.steps
            over = config.run.minutes is not None and time.monotonic() - began > 60 * config.run.minutes
            halt = team.any(stopped() or over)
            if job.sets and (last or position.step % config.validation.every == 0):
                _validate(job, record)
            if team.first and (last or position.step % config.log.samples == 0):
                with average.worn(state.ema, state.learning):
                    strips.write(job.out, position.step, state.net, job.stage, job.samples, degrade)
            if last or halt or position.step % config.save.every == 0:
                _save(job)
            if halt and not last:
                return "stopped"
    return "done"


def _gradients(
    job: Job, learner: nn.Module, batches: Iterator[Any], degrade: Degrader
) -> tuple[dict[str, float], list[str], float]:
    """Gradients of a step, summed up over its parts; figures, means over all processes; ids of the samples here; and
    seconds spent waiting for samples."""
    config, team = job.config, job.team
    bf16 = bool(config.run.bf16)
    sums: dict[str, Tensor] = {}
    ids: list[str] = []
    waited = 0.0
    for part in range(config.accumulate):
        tick = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - tick
        ids += [f"{task}/{name}" for task, name in zip(batch["task"], batch["id"], strict=True)]
        batch = degrade(batch)
        quiet = getattr(learner, "no_sync", nullcontext) if part < config.accumulate - 1 else nullcontext
        with quiet():
            with torch.autocast(team.device.type, torch.bfloat16, enabled=bf16):
                loss, figures = job.stage(learner, batch)
            (loss / config.accumulate).backward()
        for name, value in {"loss": loss.detach(), **figures}.items():
            sums[name] = sums.get(name, 0) + value.float()
    means = team.mean(torch.cat([value.flatten() for value in sums.values()]) / config.accumulate).cpu()
    apart = means.split([value.numel() for value in sums.values()])
    shaped = {name: part.view(value.shape) for (name, value), part in zip(sums.items(), apart, strict=True)}
    return job.stage.figures(shaped), ids, waited


def _clip(state: State, most: float) -> Tensor:
    """Shorten the gradient to `most`; its length before."""
    tensors = list(state.learning.values())
    return nn.utils.clip_grad_norm_(tensors, most or float("inf"), error_if_nonfinite=False)


def _finite(loss: float, norm: Tensor) -> bool:
    return bool(torch.isfinite(norm)) and loss == loss and abs(loss) != float("inf")


def _update(state: State, lr: float, decay: float) -> None:
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.position.updates += 1
    if state.ema:
        average.update(state.ema, state.learning, decay, state.position.updates)


def _skip(job: Job, record: Record | None, ids: list[str], loss: float, norm: Tensor) -> None:
    """Leave the weights as they are, and write down why.

    Raises:
        MirdError: it is the last that is borne.
    """
    position = job.state.position
    ids = job.team.gathered(ids)
    job.state.optimizer.zero_grad(set_to_none=True)
    position.bad += 1
    position.skipped += 1
    if record:
        record("skipped", position.step + 1, loss=str(loss), gradient_norm=str(float(norm)), samples=ids)
    if position.bad >= job.config.bad_steps:
        last = checkpoint.latest(job.out / "checkpoints")
        kept = f"{last} is the last good one" if last else "there is no checkpoint yet"
        raise MirdError(
            f"{job.out}: {position.bad} steps in a row gave no finite numbers, the last with {', '.join(ids[:5])}; "
            f"{kept}; lower optim.lr, or see the lines 'skipped' in metrics.jsonl"
        )


def _validate(job: Job, record: Record | None) -> None:
    state = job.state
    with average.worn(state.ema, state.learning):
        figures = validation.run(state.net, job.stage, job.sets, job.team)
        job.pace.validated = figures
        mean, best = validation.mean_psnr(figures, job.stage), state.position.best
        if mean is not None and mean == mean and (best is None or mean > best):  # not NaN
            state.position.best, state.position.best_step = mean, state.position.step
            if job.team.first:
                keep(state.net, job.stage, job.out / "best")
    if record:
        record("validation", state.position.step, **figures)


def keep(net: Any, stage: Stage, folder: Path) -> None:
    """Write the network, in the first of the states in which it is looked at, for `models.load`."""
    views = stage.views(net, "")
    with validation.seen_as(net, views[next(iter(views))]):
        net.save_pretrained(folder)


def _save(job: Job) -> None:
    """A checkpoint; where one cannot be written, the last one is still there."""
    if job.team.first:
        folder = job.out / "checkpoints"
        checkpoint.save(job.state, folder)
        checkpoint.prune(folder, job.config.save.keep, job.state.position.best_step)
    job.team.wait()


def _distributed(learner: nn.Module, team: Team) -> nn.Module:
    if team.size == 1:
        return learner
    for weight in learner.parameters():
        if weight.requires_grad and weight.ndim == 4 and weight.shape[1] == 1:
            weight.register_hook(_laid_out(weight))
    return nn.parallel.DistributedDataParallel(
        learner, device_ids=[team.device] if team.device.type == "cuda" else None, gradient_as_bucket_view=True
    )


def _laid_out(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Gradients of a depthwise weight come with another stride for the dimension of one element, which means nothing
    but a warning of DDP at every run: it is said as the weight says it."""
    strides = weight.stride()
    return lambda grad: grad.contiguous().as_strided(grad.shape, strides)


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or Ctrl-C has come: then the step is finished and saved; a second Ctrl-C ends it at once.

    Elsewhere than in the main thread, never.
    """
    came: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if number == signal.SIGINT and came:
            raise KeyboardInterrupt
        came.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:
        yield lambda: False
        return
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
