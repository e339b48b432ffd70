"""Adapters as files: a folder with adapter.json and adapter.safetensors each; in a saved network, adapters/NAME."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from million_ird.config import validate
from million_ird.errors import ConfigError, InputError
from million_ird.models import weights
from million_ird.models.lowrank import AdapterConfig
from million_ird.tables import write_json

if TYPE_CHECKING:
    from million_ird.models.adapters import Adaptable

FOLDER, ORDER = "adapters", "order.json"
DESCRIPTION, TENSORS = "adapter.json", "adapter.safetensors"


def save(net: Adaptable, name: str, folder: Path) -> Path:
    """Write one adapter; returns the folder."""
    tensors = net.adapter_parameters(name)
    weights.write_tensors(folder / TENSORS, tensors)
    write_json(folder / DESCRIPTION, {"name": name, **net.adapter_configs[name].model_dump(mode="json")})
    return folder


def load(net: Adaptable, folder: Path, name: str | None = None) -> str:
    """Add one adapter to a network; returns its name. A file that does not fit leaves the network as it was."""
    described = read_json(folder / DESCRIPTION)
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        raise InputError(f"{folder / DESCRIPTION}: does not describe an adapter (save_adapter writes it)")
    name = name or described["name"]
    try:
        config = validate(AdapterConfig, {key: value for key, value in described.items() if key != "name"})
    except ConfigError as error:
        raise InputError(f"{folder / DESCRIPTION}: {error}") from None
    tensors = weights.read_tensors(folder / TENSORS)
    net.add_adapter(name, config)
    try:
        copy(net.adapter_parameters(name), tensors, str(folder / TENSORS), "an adapter of this network")
    except InputError:
        net.remove_adapter(name)
        raise
    return name


def save_all(net: Adaptable, folder: Path, names: list[str]) -> None:
    """Adapters of a network, their order, and its other parts; with no names, none that an earlier one left there."""
    (folder / FOLDER / ORDER).unlink(missing_ok=True)
    if names:
        for name in names:
            save(net, name, folder / FOLDER / name)
        net.save_parts(folder / FOLDER)
        write_json(folder / FOLDER / ORDER, names)


def any_in(folder: Path) -> bool:
    """Whether a saved network has adapters."""
    return (folder / FOLDER / ORDER).is_file()


def load_all(net: Adaptable, folder: Path) -> Adaptable:
    """What `save_all` wrote."""
    names = read_json(folder / FOLDER / ORDER)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{folder / FOLDER / ORDER}: expected a list of adapters")
    for name in names:
        load(net, folder / FOLDER / name, name)
    net.load_parts(folder / FOLDER)
    return net


def is_adapter(path: str) -> bool:
    """Whether a parameter of this path belongs to an adapter."""
    return ".deltas." in path


def without_adapters(net: Any, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """A hook that leaves the base of a network in its state dict."""
    parts = tuple(f"{prefix}{part}." for part in net.separate)
    for path in [path for path in state if is_adapter(path) or path.startswith(parts)]:
        del state[path]


def copy(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], origin: str, what: str) -> None:
    """Values of `tensors` into `own`: all of them and no others, of the same shapes.

    Raises:
        InputError: as `weights.check`.
    """
    weights.check(own, tensors, origin, what)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def read_json(path: Path) -> Any:
    """Any JSON value.

    Raises:
        InputError: the file is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
