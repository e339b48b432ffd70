"""`mird config`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from million_ird.cli.build import Preset
from million_ird.cli.output import Output, Verbose

EXAMPLE = "Example: mird config build --preset lsdir > build.yaml"


class What(StrEnum):
    """Commands that take a configuration."""

    build = "build"
    degrade = "degrade"
    train = "train"


def command(
    what: Annotated[What, typer.Argument(help="Which command's configuration.")],
    preset: Annotated[Preset, typer.Option(help="Of build: whose numbers to print.")] = Preset.photos,
    verbose: Verbose = False,
) -> None:
    """Print the defaults as commented YAML."""
    output = Output(verbose=verbose)
    with output.guarded():
        from million_ird.config import to_yaml

        if what is What.degrade:
            from million_ird.pairs.settings import DegradeConfig

            output.result({}, to_yaml(DegradeConfig(), comments=True).rstrip())
            return
        if what is What.train:
            from million_ird.train.settings import load_config as load_train

            output.result({}, to_yaml(load_train("dynet", "pretrain"), comments=True).rstrip())
            return
        from million_ird.curate.settings import load_config

        output.result({}, to_yaml(load_config(preset.value), comments=True).rstrip())
