"""Combinators: what is drawn depends on the place, not on what is drawn elsewhere."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from million_ird import degrade as D
from million_ird.degrade.op import Key


def ops(node, seed: int) -> list[str]:
    return [step["op"] for step in node.plan(Key(seed, "x", 0), (64, 64))]


def test_compose_keeps_the_order_and_one_of_takes_by_weight():
    assert ops(D.Compose([D.JPEG(), D.Mask(), D.BitDepth()]), 0) == ["JPEG", "Mask", "BitDepth"]
    counts = Counter(ops(D.OneOf([D.JPEG(), D.Mask(), D.BitDepth()], p=[3, 1, 0]), seed)[0] for seed in range(800))
    assert abs(counts["JPEG"] - 600) < 60
    assert counts["BitDepth"] == 0


def test_some_of_takes_each_at_most_once_in_order_or_shuffled():
    node = D.SomeOf([D.JPEG(), D.Mask(), D.BitDepth(), D.GaussianNoise()], n=(1, 3))
    names = ["JPEG", "Mask", "BitDepth", "GaussianNoise"]
    drawn = [ops(node, seed) for seed in range(300)]
    assert {len(found) for found in drawn} == {1, 2, 3}
    assert all(found == sorted(set(found), key=names.index) for found in drawn)
    shuffled = D.SomeOf(node.steps, n=3, shuffle=True)
    assert any(found != sorted(found, key=names.index) for found in (ops(shuffled, seed) for seed in range(20)))
    assert len(ops(D.SomeOf([D.JPEG()], n=9), 0)) == 1


def test_shuffle_takes_every_order_alike():
    node = D.Shuffle([D.JPEG(), D.Mask(), D.BitDepth()])
    counts = Counter(tuple(ops(node, seed)) for seed in range(1200))
    assert len(counts) == 6
    assert all(abs(count - 200) < 60 for count in counts.values())


def test_maybe_does_it_as_often_as_it_says():
    share = np.mean([bool(ops(D.Maybe(D.JPEG(), p=0.3), seed)) for seed in range(1000)])
    assert abs(share - 0.3) < 0.05
    assert ops(D.Maybe(D.JPEG(), p=0), 1) == []


def test_nothing_to_do_gives_the_same_picture_and_a_copy(photo):
    image = np.ascontiguousarray(photo[:20, :20])
    out = D.Compose([])(image, seed=1)
    assert np.array_equal(out.lq, image)
    assert out.lq is not image
    assert out.labels == ()
    assert not out.mask.any()


def test_changing_one_step_leaves_the_chance_of_the_others_alone():
    first = D.Compose([D.GaussianNoise(), D.JPEG()]).plan(Key(1, "x", 0), (8, 8))
    second = D.Compose([D.Maybe(D.WebP(), p=0.5), D.JPEG()]).plan(Key(1, "x", 0), (8, 8))
    assert first[-1] == second[-1]


@pytest.mark.parametrize("other", [Key(2, "x", 0), Key(1, "y", 0), Key(1, "x", 1)])
def test_another_seed_image_or_view_is_another_draw(other):
    node = D.Compose([D.GaussianNoise(), D.JPEG()])
    assert node.plan(other, (8, 8)) != node.plan(Key(1, "x", 0), (8, 8))


def test_order_batch_and_process_do_not_matter(photo):
    """A sample is a function of (image, recipe, seed, id, view), whatever is drawn before, after or between."""
    pipe, image = D.load("dynet"), np.ascontiguousarray(photo[:64, :64])
    ids = [f"{n}" for n in range(6)]
    forwards = {name: pipe(image, seed=5, image_id=name).lq.tobytes() for name in ids}
    backwards = {name: pipe(image, seed=5, image_id=name).lq.tobytes() for name in reversed(ids)}
    assert forwards == backwards
    assert len(set(forwards.values())) == 6


def test_a_chain_labels_what_each_step_could_change(photo):
    image = np.ascontiguousarray(photo[:64, :64])
    out = D.Compose([D.ImpulseNoise(amount=0.1), D.Mask(ratio=0.5)])(image, seed=3, strength=True)
    noise, mask = out.mask & 1 != 0, out.mask & 2 != 0
    assert 0.1 < noise.mean() < 0.4
    assert mask.mean() == 0.5
    assert np.array_equal(out.lq[out.mask == 0], image[out.mask == 0])
    assert np.array_equal(out.strength["noise"] > 0, noise)
    assert np.array_equal(out.strength["mask"] > 0, mask)
