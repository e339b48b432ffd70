"""`mird config`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from million_ird.cli.build import Preset
from million_ird.cli.output import Output, Verbose

if TYPE_CHECKING:
    from million_ird.config import Config

EXAMPLE = "Example: mird config build --preset lsdir > build.yaml"


class What(StrEnum):
    """Commands that take a configuration."""

    build = "build"
    degrade = "degrade"
    train = "train"
    watermark = "watermark"
    artefacts = "artefacts"


def command(
    what: Annotated[What, typer.Argument(help="Which command's; watermark, artefacts: `train detectors`'.")],
    preset: Annotated[Preset, typer.Option(help="Of build: whose numbers to print.")] = Preset.photos,
    verbose: Verbose = False,
) -> None:
    """Print the defaults as commented YAML."""
    output = Output(verbose=verbose)
    with output.guarded():
        from million_ird.config import to_yaml

        output.result({}, to_yaml(_defaults(what, preset), comments=True).rstrip())


def _defaults(what: What, preset: Preset) -> Config:
    if what is What.degrade:
        from million_ird.pairs.settings import DegradeConfig

        return DegradeConfig()
    if what is What.train:
        from million_ird.train.settings import load_config as load_train

        return load_train("dynet", "pretrain")
    if what in (What.watermark, What.artefacts):
        from million_ird.cli.restore import need_torch

        need_torch()
        from million_ird.train.detectors import DetectorConfig
        from million_ird.train.detectors.artefacts import ArtefactConfig

        return DetectorConfig() if what is What.watermark else ArtefactConfig()
    from million_ird.curate.settings import load_config

    return load_config(preset.value)
