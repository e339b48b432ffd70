"""How well pictures are restored: metrics by name, named protocols, tables.

from million_ird.evaluate import metrics

metrics.score(output, target, ("psnr", "ssim_gaussian11"))   # (H, W, 3) RGB floats in [0, 1]
"""
