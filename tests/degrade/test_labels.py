"""Views of a label mask."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from million_ird import degrade as D
from million_ird.degrade.labels import IGNORE, colours

MASK = np.array([[0, 1, 1], [4, 5, 0]], np.uint16)


def test_one_class_per_pixel_is_the_last_bit_and_keeps_clean_and_ignore_apart():
    view, table = D.palette(MASK, 3)
    assert view.tolist() == [[0, 1, 1], [3, 3, 0]]
    ignore = np.array([[True, False, False], [False, False, True]])
    assert D.palette(MASK, 3, ignore)[0].tolist() == [[IGNORE, 1, 1], [3, 3, IGNORE]]
    assert table.shape == (256, 3)
    assert len({tuple(row) for row in colours()[:17].tolist()}) == 17


def test_classes_of_the_image_are_those_with_a_pixel():
    assert D.multi_hot(MASK, 4).tolist() == [1, 0, 1, 0]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools and numpy 2
def test_run_lengths_are_read_by_the_coco_tools():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 8, (17, 23)).astype(np.uint16)
    found = D.coco_rle(mask, ("a", "b", "c"))
    assert [one["category"] for one in found] == ["a", "b", "c"]
    for bit, one in enumerate(found):
        own = (mask >> bit & 1).astype(np.uint8)
        packed = coco.frPyObjects(one["segmentation"], 17, 23)
        assert np.array_equal(coco.decode(packed), own)
        assert one["area"] == own.sum() == coco.area(packed)
        assert one["bbox"] == coco.toBbox(packed).tolist()
    assert D.coco_rle(np.zeros((3, 3), np.uint16), ("a",)) == []
