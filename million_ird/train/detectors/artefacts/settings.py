"""The configuration of `mird train detectors --only artefacts`."""

from __future__ import annotations

from pydantic import Field

from million_ird.config import Config


class ArtefactConfig(Config):
    """How the artefact estimator is trained."""

    seed: int = 0
    """Of all chance: the same seed, pictures and versions give the same file, byte for byte, on one thread."""
    pool: int = Field(default=20_000, ge=2)
    """Degraded pictures that are made beforehand and looked at once, 30 kB of memory each. To make one takes a
    hundred times as long as to learn from it once."""
    steps: int = Field(default=12_000, ge=1)
    """Changes of the weights."""
    batch: int = Field(default=128, ge=2)
    """Pictures to a step, each seen in a random choice of its patches."""
    fewest: int = Field(default=5, ge=1, le=9)
    """Patches of a picture that are seen in a step, at least; up to all nine."""
    rate: float = Field(default=3e-3, gt=0)
    """Learning rate, falling to 0 by a cosine after a short rise."""
    decay: float = Field(default=1e-2, ge=0)
    """Weight decay."""
    every: int = Field(default=200, ge=1)
    """Steps between two lines of the log."""
    watch: int = Field(default=2000, ge=1)
    """Steps between two checkpoints."""
    checks: int = Field(default=400, ge=0)
    """Degraded parts of held-out pictures that it is checked on at the end."""
