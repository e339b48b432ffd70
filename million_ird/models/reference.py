"""Weights of the published code of Restormer, PromptIR and DyNet: names, shapes, and the sizes that follow from them.

What differs from ours: a few names, 1x1 convolutions as (D, C, 1, 1), prompts as (1, length, C, size, size).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from million_ird.config import validate
from million_ird.errors import ConfigError, InputError
from million_ird.models import weights

N = TypeVar("N")

ENVELOPES = ("state_dict", "params_ema", "params", "model")
"""Keys under which checkpoints of Lightning, BasicSR and others hold the weights."""

PREFIXES = ("module.", "net.", "model.", "_orig_mod.")
"""What DataParallel, the Lightning modules and torch.compile put before each name."""

RENAMED = (
    (re.compile(r"^patch_embed\.proj\."), "patch_embed."),
    (re.compile(r"\b(norm[12])\.body\."), r"\1."),
    (re.compile(r"^((?:up|down)\d_\d)\.body\.0\."), r"\1."),
)

ORIGIN = "published checkpoint"


def tensors_of(source: Mapping[str, Any] | str | Path, dead: Collection[str] = ()) -> dict[str, Tensor]:
    """Tensors under our names and in our shapes.

    Args:
        source: a state dict, a checkpoint that holds one, or the file of either.
        dead: published names that no forward pass uses, dropped where they are met.

    Raises:
        InputError: there are values that are no tensors, with their names.
    """
    found: Mapping[str, Any] = weights.read_checkpoint(source) if isinstance(source, str | Path) else source
    for envelope in ENVELOPES:
        if isinstance(found.get(envelope), Mapping):
            found = found[envelope]
            break
    strange = [str(name) for name, value in found.items() if not isinstance(value, Tensor)]
    if strange or not found:
        raise InputError(f"{ORIGIN}: {weights.listed(strange) or 'nothing in it'}: not a tensor")
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in found)), None):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return dict(_converted(name, tensor) for name, tensor in found.items() if name not in dead)


def _converted(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    for pattern, ours in RENAMED:
        name = pattern.sub(ours, name)
    if tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
        tensor = tensor.flatten(1)
    if name.endswith(".prompt_param") and tensor.ndim == 5:
        tensor = tensor[0].permute(0, 2, 3, 1)
    return name, tensor.detach().clone(memory_format=torch.contiguous_format)


def sizes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of `UNetConfig` that the weights tell.

    Raises:
        InputError: the tensors that would tell are not there.
    """
    levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    return {
        "dim": _one(tensors, r"patch_embed\.weight").shape[0],
        "heads": [len(_one(tensors, rf"{level}\.(0\.)?attn\.temperature")) for level in levels],
        "refinement": _count(tensors, "refinement"),
        "expansion": _expansion(tensors),
        "norm_bias": any(name.endswith("norm1.bias") for name in tensors),
        "bias": any(name.endswith("attn.qkv.bias") for name in tensors),
    }


def depths(tensors: Mapping[str, Tensor]) -> list[int]:
    """Blocks of each level, where each block has weights of its own."""
    return [_count(tensors, level) for level in ("encoder_level1", "encoder_level2", "encoder_level3", "latent")]


def prompts(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of `PromptedConfig` that the weights tell."""
    shapes = [_one(tensors, rf"prompt{level}\.prompt_param").shape for level in (1, 2, 3)]  # (length, S, S, C)
    return {
        "prompt_dims": [shape[-1] for shape in shapes],
        "prompt_sizes": [shape[1] for shape in shapes],
        "prompt_length": shapes[0][0],
    }


def fill(cls: type[N], sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> N:
    """A network of these sizes with these weights, in evaluation mode."""
    try:
        config = validate(cls.Config, sizes)  # type: ignore[attr-defined]
    except ConfigError as error:
        raise InputError(f"{ORIGIN}: {error}") from None
    with torch.device("meta"):
        net: Any = cls(config)  # type: ignore[call-arg]
    weights.fill(net, tensors, ORIGIN)
    return net.eval()


def _one(tensors: Mapping[str, Tensor], pattern: str) -> Tensor:
    for name, tensor in tensors.items():
        if re.fullmatch(pattern, name):
            return tensor
    plain = pattern.replace("(0\\.)?", "").replace("\\", "")
    raise InputError(
        f"{ORIGIN}: not the weights of this network: {plain} is missing among {weights.listed([*tensors])}"
    )


def _count(tensors: Mapping[str, Tensor], stage: str) -> int:
    found = [int(m[1]) for name in tensors if (m := re.match(rf"{stage}\.(\d+)\.", name))]
    return max(found, default=0) + 1


def _expansion(tensors: Mapping[str, Tensor]) -> float:
    """The factor of which int(factor * channels) gives the inner channels of every block; 2.66 where it does."""
    pairs = {tuple(t.shape) for name, t in tensors.items() if name.endswith("ffn.project_out.weight")}
    if not pairs:
        raise InputError(f"{ORIGIN}: not the weights of this network: there is no ffn.project_out.weight")
    width, hidden = max(pairs)
    for factor in (2.66, hidden / width, (hidden + 0.5) / width):
        if all(int(channels * factor) == inner for channels, inner in pairs):
            return factor
    raise InputError(f"{ORIGIN}: ffn.project_out.weight: no one expansion gives the inner channels {sorted(pairs)}")
