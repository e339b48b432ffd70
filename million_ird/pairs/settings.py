"""The configuration of `mird degrade`, and how it is written down so that it repeats the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from million_ird.config import Config, differences, load, merge, to_yaml, validate
from million_ird.degrade.recipe import Recipe, dump
from million_ird.degrade.recipe import load as load_recipe
from million_ird.errors import ConfigError
from million_ird.execute.settings import Running
from million_ird.images import Limits

FREE = ("run",)
"""Sections that may change between two calls on one folder: they change no byte of the result."""


class Run(Running):
    """How the work is done; none of it changes the result."""

    price_per_core_hour: float = Field(default=0.05, ge=0)
    """For the cost estimate of --dry-run, in your currency."""


class DegradeConfig(Config):
    """Everything that `mird degrade` can be told."""

    input: str = ""
    """The clean images: a folder, an archive, a `mird build` output, Parquet files, a dataset saved by `datasets`."""
    recipe: str | dict[str, Any] = ""
    """What is done to them: the name of a built-in recipe, a recipe's file, or a recipe itself."""
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    """Of all chance."""
    per_image: int = Field(default=1, ge=1, le=1_000_000)
    """Samples made of each image."""
    size: int | None = Field(default=None, ge=1)
    """Side of the square that is cut out at random for each sample, before it is degraded, px; smaller images are
    skipped; null = whole images."""
    format: Literal["parquet", "folder", "webdataset"] = "parquet"
    """parquet = what datasets.load_dataset opens best; folder = lq/, hq/ and mask/ of PNGs; webdataset = tars."""
    virtual: bool = False
    """Write the traces and no pixels: images are not decoded, and the pairs can be rendered from the traces."""
    limit: int | None = Field(default=None, ge=1)
    """Take only the first so many images; null = all."""
    shard_images: int | None = Field(default=None, ge=1)
    """Images in one output file, the unit of resume; null = by the number of images, about 1000 samples at most."""
    row_group: int = Field(default=100, ge=1)
    """Largest number of rows in a Parquet row group; groups end before 64 MB of pixels too."""
    limits: Limits = Limits()
    """Sizes beyond which an image is not decoded."""
    run: Run = Run()
    """How the work is done."""

    @property
    def pipeline(self) -> Recipe:
        """The recipe as a pipeline.

        Raises:
            ConfigError: there is none, it is wrong, or it has more than 16 classes.
        """
        if not self.recipe:
            raise ConfigError("--recipe is missing: name a recipe (`mird degrade --list`) or a recipe file")
        return load_recipe(self.recipe)


def load_config(file: str | Path | None = None, sets: Sequence[str] = ()) -> DegradeConfig:
    """Defaults, file and `--set`, merged and checked.

    Raises:
        ConfigError: naming the field, the value and what is allowed.
    """
    return load(DegradeConfig, file=file, sets=sets)


def as_config(value: DegradeConfig | Mapping[str, Any] | None) -> DegradeConfig:
    """What `degrade_dataset(config=...)` takes: None = the defaults; a mapping is laid on top of them."""
    return value if isinstance(value, DegradeConfig) else validate(DegradeConfig, merge({}, value or {}))


def completed(config: DegradeConfig, source: str | Path | None = None) -> DegradeConfig:
    """The configuration with its recipe written out and its input as an absolute address: it means the same anywhere.

    Raises:
        ConfigError: the recipe is missing or wrong.
    """
    path = str(source) if source is not None else config.input
    if path and "://" not in path:
        path = str(Path(path).expanduser().absolute())
    return config.model_copy(update={"input": path, "recipe": dump(config.pipeline)})


def as_yaml(config: DegradeConfig, *, comments: bool = False) -> str:
    """A configuration as YAML that `load_config` reads back; the recipe as people write recipes."""
    if not isinstance(config.recipe, dict):
        return to_yaml(config, comments=comments)
    text = to_yaml(config, comments=comments, leave_out={"recipe"})
    return text + _recipe_yaml(config)


def _recipe_yaml(config: DegradeConfig) -> str:
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 120, "default_flow_style": None}
    return yaml.safe_dump({"recipe": config.recipe}, **options)


def public(config: DegradeConfig) -> str:
    """A configuration as YAML without the paths of this machine and without `run`, which changes no result."""
    shown = config.model_copy(update={"input": Path(config.input).name})
    text = to_yaml(shown, leave_out={"recipe", *FREE})
    return text + _recipe_yaml(config)


def changes(old: DegradeConfig, new: DegradeConfig) -> list[str]:
    """What differs between two configurations of one folder, as `recipe.pipeline.0.sigma: 25 -> 50`."""
    return differences(*(_tree(config.model_dump(mode="json", exclude=set(FREE))) for config in (old, new)))


def _tree(value: Any) -> Any:
    """Lists of mappings as mappings by number, so that a difference is named where it is and not as two whole lists."""
    if isinstance(value, Mapping):
        return {key: _tree(inner) for key, inner in value.items()}
    if isinstance(value, list) and any(isinstance(inner, (Mapping, list)) for inner in value):
        return {str(index): _tree(inner) for index, inner in enumerate(value)}
    return value
