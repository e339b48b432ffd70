"""Masking takes away exactly what it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from million_ird import degrade as D


@pytest.mark.parametrize("patch", [1, 4, 16, 32])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.3, 0.75, 1.0])
@pytest.mark.parametrize("layout", ["random", "block"])
def test_the_share_of_masked_cells_is_exact(photo, patch, ratio, layout):
    image = np.ascontiguousarray(photo[:128, :128])
    cells = (128 // patch) ** 2
    for seed in range(3):
        out = D.Mask(patch=patch, ratio=ratio, layout=layout)(image, seed=seed)
        grid = out.mask.reshape(128 // patch, patch, 128 // patch, patch).swapaxes(1, 2).reshape(cells, -1)
        assert np.all(grid == grid[:, :1])
        assert int(grid[:, 0].sum()) == int(ratio * cells + 0.5)
        assert np.array_equal(out.lq[out.mask == 0], image[out.mask == 0])


def test_cells_that_the_border_cuts_are_cells(photo):
    image = np.ascontiguousarray(photo[:50, :70])
    mask = D.Mask(patch=16, ratio=0.5)(image, seed=1).mask
    assert mask[::16, ::16].shape == (4, 5)
    assert mask[::16, ::16].sum() == 10


def test_what_stands_in_a_masked_cell_is_what_was_asked_for(photo):
    image = np.ascontiguousarray(photo[:64, :64])
    for fill, value in (("black", 0), ("grey", 128), ("white", 255)):
        out = D.Mask(fill=fill)(image, seed=1)
        assert np.all(out.lq[out.mask == 1] == value)
    mean = D.Mask(fill="mean")(image, seed=1)
    assert np.abs(mean.lq[mean.mask == 1] - image.mean(axis=(0, 1))).max() <= 0.5
    noise = D.Mask(fill="noise", ratio=1.0)(image, seed=1).lq
    assert np.all(np.bincount(noise.ravel(), minlength=256) > 15)


def test_blocks_hang_together_and_single_cells_do_not(photo):
    image = np.ascontiguousarray(photo[:256, :256])
    pieces = {
        layout: np.mean([ndimage.label(D.Mask(layout=layout)(image, seed=s).mask)[1] for s in range(5)])
        for layout in ("random", "block")
    }
    assert pieces["block"] * 4 < pieces["random"]


def test_every_cell_is_masked_as_often_as_any_other():
    image = np.zeros((64, 64, 3), np.uint8)
    counts = sum(D.Mask(patch=16, ratio=0.5)(image, seed=seed).mask[::16, ::16].astype(int) for seed in range(400))
    assert np.all(np.abs(counts - 200) < 55)
