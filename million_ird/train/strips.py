"""What the network makes of a few samples: input | output | target, a row for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from million_ird.images.png import encode_png
from million_ird.tables import whole
from million_ird.train.batches import Samples, collate
from million_ird.train.device import Degrader
from million_ird.train.stage import Stage
from million_ird.train.validation import seen_as

ROWS = 4
"""Samples on a strip: the first of the run, so that strips can be compared."""

GAP = 4
"""White pixels between two pictures."""


@torch.inference_mode()
def write(out: Path, step: int, net: Any, stage: Stage, samples: Samples, degrade: Degrader) -> Path:
    """RUN/samples/step-0001000.png; returns its path."""
    rows = []
    views = stage.views(net, "")
    attributes = views[next(iter(views))]
    for number in range(ROWS):
        batch = degrade(collate([samples[number]]))
        with seen_as(net, attributes):
            output = net(batch["lq"])
        rows.append(_beside([picture[0].float().cpu() for picture in (batch["lq"], output, batch["hq"])]))
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    sheet = np.concatenate([part for row in rows for part in (row, gap)][:-1])
    path = out / "samples" / f"step-{step:07d}.png"
    with whole(path) as file:
        file.write(encode_png(sheet))
    return path


def _beside(pictures: list[Tensor]) -> np.ndarray:
    """(3, S, S) each -> (S, W, 3) uint8."""
    arrays = [(picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy() for picture in pictures]
    gap = np.full((arrays[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for array in arrays for part in (array, gap)][:-1], axis=1)
