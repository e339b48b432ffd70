"""No-reference metrics of pyiqa, any by name. pyiqa is for non-commercial use only, and its users install it."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from million_ird.config import Config
from million_ird.errors import ConfigError
from million_ird.meters.clip import device_of, one_line

_WHERE = "passes.pyiqa"
LICENCE = "pyiqa and its weights are for non-commercial use only (CC BY-NC-SA 4.0, NTU S-Lab): so is what rests on them"


class Pyiqa(Config):
    """The pyiqa pass, over what all cheaper rules keep; needs the extra `iqa`. pyiqa and its weights are for
    non-commercial use only (CC BY-NC-SA 4.0, NTU S-Lab)."""

    enabled: bool = False
    """Whether it runs; switching it on, you take pyiqa's non-commercial licence."""
    metrics: tuple[str, ...] = ("niqe", "brisque", "nima")
    """Names as pyiqa.list_models(metric_mode="NR") has them; NAME gives the column pyiqa_NAME (- and + become _ and
    _plus), policy.pyiqa.NAME rules on it."""
    tile: int = Field(default=1024, ge=224)
    """Larger pictures are cut into equal tiles of at most so many px, and their mean is taken."""
    device: str = "auto"
    """auto = the GPU where there is one; or cpu, cuda, cuda:1."""
    batch: int = Field(default=8, ge=1)
    """Tiles at a time."""

    @model_validator(mode="after")
    def _names_are_columns(self) -> Pyiqa:
        columns = [column_of(name) for name in self.metrics]
        if len(set(columns)) != len(columns):
            raise ValueError("metrics: a metric stands twice")
        return self

    def columns(self) -> dict[str, str]:
        """Column -> unit, range and direction."""
        return {column_of(name): f"{name} of pyiqa, its own scale and direction" for name in self.metrics}

    def mark(self) -> str:
        """What the scores rest on; parts with another mark are measured anew."""
        return hashlib.blake2b(json.dumps([self.tile]).encode(), digest_size=16).hexdigest()

    def marks(self) -> dict[str, str]:
        """Column -> what it rests on besides."""
        return {column_of(name): name for name in self.metrics}


def column_of(metric: str) -> str:
    """The ledger's column of a metric."""
    return "pyiqa_" + metric.lower().replace("+", "_plus").replace("-", "_")


class PyiqaModel:
    """Loaded metrics.

    Args:
        config: which.

    Raises:
        ConfigError: pyiqa is missing, or a metric or its weights cannot be had.
    """

    def __init__(self, config: Pyiqa) -> None:
        try:
            pyiqa: Any = importlib.import_module("pyiqa")
            self._torch: Any = importlib.import_module("torch")
        except ImportError as error:
            raise ConfigError(f"{_WHERE}.enabled: {one_line(error)}; pip install 'million-ird[iqa]'") from None
        self.config, self.device = config, device_of(config.device, f"{_WHERE}.device")
        self.version = str(getattr(pyiqa, "__version__", ""))
        known = set(pyiqa.list_models(metric_mode="NR"))
        self._metrics: dict[str, Any] = {}
        for name in config.metrics:
            if name not in known:
                raise ConfigError(f"{_WHERE}.metrics: pyiqa has no no-reference metric '{name}'")
            try:
                self._metrics[column_of(name)] = pyiqa.create_metric(name, device=self._torch.device(self.device))
            except (OSError, RuntimeError, ValueError, KeyError, ImportError) as error:
                raise ConfigError(f"{_WHERE}.metrics: {name} or its weights cannot be had: {one_line(error)}") from None

    @property
    def lower_better(self) -> dict[str, bool]:
        """Column -> whether less is better."""
        return {column: bool(metric.lower_better) for column, metric in self._metrics.items()}

    def facts(self) -> dict[str, Any]:
        """What the ledger says of the metrics."""
        return {"pyiqa": self.version, "lower_better": self.lower_better, "licence": LICENCE, "tile": self.config.tile}

    def prepare(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 -> (T, h, w, 3) uint8, equal tiles that cover it."""
        return tiles(rgb, self.config.tile)

    def measure(self, pictures: Sequence[NDArray[np.uint8]]) -> list[dict[str, float | None]]:
        """For each tiled picture column -> value; None where a metric gives no finite number or does not take it."""
        found: list[dict[str, float | None]] = [{} for _ in pictures]
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            groups.setdefault(picture.shape[1:], []).append(index)
        for members in groups.values():
            stack = np.concatenate([pictures[index] for index in members])
            ends = np.cumsum([len(pictures[index]) for index in members])
            for column, metric in self._metrics.items():
                for index, part in zip(members, np.split(self._run(metric, stack), ends[:-1]), strict=True):
                    mean = float(part.mean())
                    found[index][column] = mean if np.isfinite(mean) else None
        return found

    def _run(self, metric: Any, stack: NDArray[np.uint8]) -> NDArray[np.float64]:
        torch, scores = self._torch, []
        for first in range(0, len(stack), self.config.batch):
            part = np.ascontiguousarray(stack[first : first + self.config.batch].transpose(0, 3, 1, 2))
            with torch.inference_mode():
                batch = torch.from_numpy(part).to(self.device).float() / 255
                try:
                    scores.append(np.asarray(metric(batch).double().cpu()).reshape(len(part)))
                except (RuntimeError, ValueError, AssertionError) as error:
                    if isinstance(error, torch.cuda.OutOfMemoryError):
                        raise ConfigError(f"{_WHERE}.batch: {one_line(error)}; set it or tile lower") from None
                    scores.append(np.full(len(part), np.nan))  # too small, or too flat, for this metric
        return np.concatenate(scores)


def tiles(rgb: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """(T, h, w, 3): a picture cut into as few equal tiles as sides of at most `most` px allow; the last ones overlap
    where its sides don't divide."""
    height, width = rgb.shape[:2]
    down, across = -(-height // most), -(-width // most)
    tall, wide = -(-height // down), -(-width // across)
    tops = [min(row * tall, height - tall) for row in range(down)]
    lefts = [min(column * wide, width - wide) for column in range(across)]
    return np.stack([rgb[top : top + tall, left : left + wide] for top in tops for left in lefts])
