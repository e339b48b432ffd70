"""What a user's own typed code looks like: checked by pyright in strict mode against the installed package."""

from __future__ import annotations

from typing import assert_type

from million_ird import degrade
from million_ird.config import Config
from million_ird.curate import BuildConfig, BuildSummary, build, load_config
from million_ird.errors import ConfigError, MirdError


def kept(folder: str) -> int:
    """How many pictures of a folder a build keeps."""
    settings = load_config("photos", None, ["policy.blur.min=80"])
    assert_type(settings, BuildConfig)
    summary = build([folder], "out", settings)
    assert_type(summary, BuildSummary)
    return summary.kept


def lower(config: Config, error: ConfigError) -> MirdError:
    """A subclass is what it says."""
    return error


names: list[str] = dir(degrade)
