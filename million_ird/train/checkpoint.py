"""All that a run is, and how it is written: weights, optimiser, moving average, position. No pickle, and nothing else.

checkpoints/step-0001000/  model.safetensors  optimizer.safetensors  ema.safetensors  state.json
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from million_ird.models.weights import check, read_tensors, write_tensors
from million_ird.tables import output_error, read_json, sync_folder, write_json

STATE = "state.json"
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Position:
    """How far a run is.

    Attributes:
        step: changes of the weights that are done, those that were skipped among them.
        samples_seen: samples that went into them: the number of the next one.
        updates: steps of the optimiser, which does not count the skipped ones.
        bad: skipped steps in a row, up to now.
        skipped: skipped steps in all.
        best: the best score in validation, and its step.
        data: of each task, the number of its items and a hash of its files' names and sizes.
        counts: steps of each variant.
        frozen: sha256 of the weights that the stage must leave as they are, "" = none.
    """

    step: int = 0
    samples_seen: int = 0
    updates: int = 0
    bad: int = 0
    skipped: int = 0
    best: float | None = None
    best_step: int | None = None
    data: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    frozen: str = ""


@dataclass
class State:
    """A run at a moment: what is not in here is not resumed."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    ema: dict[str, Tensor]
    position: Position

    @property
    def learning(self) -> dict[str, nn.Parameter]:
        """The tensors that training changes, by name."""
        return {name: tensor for name, tensor in self.net.named_parameters() if tensor.requires_grad}


def save(state: State, folder: Path) -> Path:
    """Write a checkpoint beside the others, whole or not at all; returns its folder."""
    final = folder / f"step-{state.position.step:07d}"
    partial = folder / f".{final.name}.{os.getpid()}.tmp"
    try:
        partial.mkdir(parents=True, exist_ok=True)
        write_tensors(partial / "model.safetensors", state.net.state_dict())
        write_tensors(partial / "optimizer.safetensors", _moments(state))
        if state.ema:
            write_tensors(partial / "ema.safetensors", state.ema)
        write_json(partial / STATE, asdict(state.position))
        if final.exists():  # the same step again, after a resume
            shutil.rmtree(final)
        partial.rename(final)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise output_error(error, final) from error
    return final


def restore(state: State, folder: Path) -> None:
    """Put a checkpoint into a state.

    Raises:
        InputError: a file of it is missing, or not of this network.
    """
    check(state.net.state_dict(), tensors := read_tensors(folder / "model.safetensors"), str(folder))
    with torch.no_grad():
        for name, tensor in state.net.state_dict().items():
            tensor.copy_(tensors[name])
    state.position = Position(**read_json(folder / STATE))
    if state.ema:
        tensors = read_tensors(folder / "ema.safetensors")
        check(state.ema, tensors, str(folder / "ema.safetensors"))
        for name, tensor in state.ema.items():
            tensor.copy_(tensors[name])
    _put_moments(state, read_tensors(folder / "optimizer.safetensors"), str(folder / "optimizer.safetensors"))


def _moments(state: State) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.learning.items():
        for moment in MOMENTS:
            held = state.optimizer.state.get(tensor, {}).get(moment)
            found[f"{moment}.{name}"] = torch.zeros_like(tensor) if held is None else held
    return found


def _put_moments(state: State, tensors: dict[str, Tensor], origin: str) -> None:
    learning = state.learning
    check({f"{moment}.{name}": tensor for moment in MOMENTS for name, tensor in learning.items()}, tensors, origin)
    if not state.position.updates:
        return
    fused = any(group.get("fused") for group in state.optimizer.param_groups)
    for name, tensor in learning.items():
        device = tensor.device if fused else torch.device("cpu")
        held: dict[str, Any] = {"step": torch.tensor(float(state.position.updates), device=device)}
        for moment in MOMENTS:
            held[moment] = tensors[f"{moment}.{name}"].to(tensor.device)
        state.optimizer.state[tensor] = held


def checkpoints(folder: Path) -> list[Path]:
    """The finished ones, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / STATE).is_file())


def latest(folder: Path) -> Path | None:
    """The newest finished one."""
    found = checkpoints(folder)
    return found[-1] if found else None


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Delete all but the last `keep` and the best one."""
    for path in checkpoints(folder)[:-keep]:
        if best is None or path.name != f"step-{best:07d}":
            shutil.rmtree(path, ignore_errors=True)
