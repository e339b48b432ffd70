"""The learning rate: a line up, a cosine down, and nothing but a function of the step."""

from __future__ import annotations

import itertools
import math

import pytest

from million_ird.train.schedule import learning_rate

TOP, FLOOR = 2e-4, 1e-6


def rates(steps: int, warmup: int, floor: float = FLOOR) -> list[float]:
    return [learning_rate(step, steps, TOP, floor, warmup) for step in range(steps)]


@pytest.mark.parametrize(("steps", "warmup"), [(1000, 100), (1000, 0), (50, 1), (12, 10), (2, 0)])
def test_it_peaks_at_the_top_and_reaches_the_floor_with_the_very_last_step(steps: int, warmup: int) -> None:
    found = rates(steps, warmup)
    assert max(found) == TOP == found[max(warmup - 1, 0)]
    assert found[-1] == FLOOR
    assert all(rate > FLOOR for rate in found[:-1])


def test_the_warm_up_is_a_line_from_just_above_zero() -> None:
    found = rates(1000, 100)
    assert found[:100] == pytest.approx([TOP * (n + 1) / 100 for n in range(100)], rel=1e-12)


def test_after_it_the_rate_is_half_a_cosine() -> None:
    found = rates(1001, 100)
    for step in range(100, 1001):
        share = (step - 100) / 900
        assert found[step] == pytest.approx(FLOOR + (TOP - FLOOR) * (1 + math.cos(math.pi * share)) / 2, rel=1e-9)
    assert found[550] == pytest.approx((TOP + FLOOR) / 2, rel=1e-9)


def test_it_never_jumps_and_never_rises_again() -> None:
    found = rates(1000, 100)
    assert max(abs(b - a) for a, b in itertools.pairwise(found)) <= TOP / 100 * (1 + 1e-9)
    assert all(b <= a for a, b in itertools.pairwise(found[99:]))


def test_a_floor_as_high_as_the_top_is_a_constant_rate() -> None:
    assert set(rates(100, 0, floor=TOP)) == {TOP}


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 5), (5, 5), (5, 50)])
def test_runs_that_end_within_their_warm_up_have_a_rate_too(steps: int, warmup: int) -> None:
    assert all(0 < rate <= TOP for rate in rates(steps, warmup))
