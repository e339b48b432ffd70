"""Which device a name means on this machine."""

from __future__ import annotations

import torch

from million_ird.errors import ConfigError


def here() -> list[str]:
    """Names of the devices, the best one first."""
    names = ["mps"] if torch.backends.mps.is_available() else []
    if torch.cuda.is_available():
        names = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count())), *names]
    return [*names, "cpu"]


def find_device(asked: str, option: str) -> str:
    """The name of a device that is here; "auto" is the best one.

    Args:
        asked: "auto", "cpu", "cuda", "cuda:1", "mps".
        option: where it was asked for, for the error.

    Raises:
        ConfigError: there is none of this name here.
    """
    names = here()
    if asked == "auto":
        return names[0]
    if asked not in names:
        raise ConfigError(f"{option} {asked}: not here; here are: auto, {', '.join(names)}")
    return asked
