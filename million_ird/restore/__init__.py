"""Pictures through a network: one (`restore`), or files and folders (`folder`); and networks to files (`export`).

from million_ird import models
from million_ird.restore import restore

net = models.load("tiny")
sharp = restore(net, image)                # (H, W, 3) uint8, uint16 or float in [0, 1]; any size
sharp = restore(net, image, mode="tile")   # exact | tile | tlc
"""

from million_ird.restore.memory import tune_malloc
from million_ird.restore.picture import Way, restore

__all__ = ["Way", "restore", "tune_malloc"]
