"""The configuration of `mird train detectors`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from million_ird.config import Config


class DetectorConfig(Config):
    """How the watermark detector is trained."""

    seed: int = 0
    """Of all chance: the same seed, pictures and versions give the same file, byte for byte, on one thread."""
    init: str | None = None
    """PP-OCRv4's mobile text detector as an ONNX file (Apache-2.0; ch_PP-OCRv4_det_infer.onnx of the package
    rapidocr-onnxruntime 1.4.4), whose weights to begin with; None = from chance, which takes far longer."""
    steps: int = Field(default=24_000, ge=1)
    """Changes of the weights."""
    batch: int = Field(default=16, ge=2, multiple_of=2)
    """Samples to a step: each crop without and with a mark."""
    size: int = Field(default=224, ge=64, multiple_of=16)
    """Side of a sample, px."""
    workers: int = Field(default=1, ge=0)
    """Processes that draw them beside the one that learns, 0 = that one itself; the result is the same."""
    rise: float = Field(default=0.3, ge=0, le=1)
    """Share of the steps over which the samples get harder: from strong and large marks, no decoys, to all that there
    is."""
    rate: float = Field(default=1.5e-3, gt=0)
    """Learning rate, falling to 0 by a cosine after a short rise."""
    decay: float = Field(default=1e-3, ge=0)
    """Weight decay."""
    decoys: float = Field(default=0.1, ge=0, le=1)
    """Share of the crops that hold something which looks like a mark and is none."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """The weights that count are an average over the last steps: so much of it is kept at each."""
    whole: float = Field(default=0.5, ge=0)
    """Weight of the loss of the whole picture beside that of the cells."""
    strokes: float = Field(default=0.5, ge=0)
    """Weight of the loss of the strokes beside that of the cells."""
    clean: float = Field(default=0.995, gt=0, lt=1)
    """Share of the views of training pictures, unmarked, that shall score below 0.5."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the arithmetic; bfloat16 is twice as quick on processors that have it."""
    every: int = Field(default=100, ge=1)
    """Steps between two lines of the log."""
    watch: int = Field(default=2000, ge=1)
    """Steps between two checks on held-out pictures, which go into the log, and between two checkpoints."""
    checks: int = Field(default=200, ge=0)
    """Samples of held-out pictures that it is checked on at the end, and as many unmarked."""
