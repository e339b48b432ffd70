"""The learning rate as a function of the step alone."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, top: float, floor: float, warmup: int) -> float:
    """Rate of step `step` (0 .. steps - 1): up to `top` in a line within `warmup` steps, then down a cosine, which
    reaches `floor` with the last step."""
    if step < warmup:
        return top * (step + 1) / warmup
    left = max(steps - 1 - warmup, 1)
    done = min((step - warmup) / left, 1.0)
    return floor + (top - floor) * (1 + math.cos(math.pi * done)) / 2
