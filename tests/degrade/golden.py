"""Makes the golden pictures that tests/degrade/test_ops.py compares with: run it after a version of an op is raised.

python -m tests.degrade.golden
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage import data

from million_ird.degrade.registry import find
from tests.degrade.test_ops import GOLDEN, PLAIN, drawn, small


def main() -> None:
    """Write one PNG per op."""
    GOLDEN.mkdir(exist_ok=True)
    for name in PLAIN:
        out, _ = find(name).apply(small(np.ascontiguousarray(data.astronaut())), drawn(name, (40, 56), seed=7))
        cv2.imwrite(str(GOLDEN / f"{name}.png"), out[..., ::-1])


if __name__ == "__main__":
    main()
