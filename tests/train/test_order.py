"""Which sample comes when: every item once in an epoch, by shares, and the same from wherever one begins."""

from __future__ import annotations

import itertools
import multiprocessing
from collections import Counter

import numpy as np
import pytest

from million_ird.train.order import BLOCK, Order, Stream

GROUPS = [7, 1, 30, 0, 12, 5, 19, 3, 8]
TOTAL = sum(GROUPS)


def epoch(order: Order, number: int) -> list[int]:
    pairs = [order(k) for k in range(number * len(order), (number + 1) * len(order))]
    assert {at for _, at in pairs} == {number}
    return [item for item, _ in pairs]


def stream(lengths: list[int], shares: list[float], seed: int = 0) -> Stream:
    return Stream([Order([n], seed, f"task{i}", 64) for i, n in enumerate(lengths)], shares, seed)


@pytest.mark.parametrize("pool", [1, 2, 4, 100])
def test_every_item_comes_once_in_every_epoch_whatever_the_row_groups(pool: int) -> None:
    order = Order(GROUPS, 3, "rain", pool)
    assert len(order) == TOTAL
    for number in range(3):
        assert sorted(epoch(order, number)) == list(range(TOTAL))


def test_the_order_is_another_in_each_epoch_of_each_seed_and_task() -> None:
    order = Order([50], 3, "rain", 1)
    orders = [
        epoch(order, 0),
        epoch(order, 1),
        epoch(Order([50], 4, "rain", 1), 0),
        epoch(Order([50], 3, "haze", 1), 0),
    ]
    assert len({tuple(one) for one in orders}) == 4
    assert all(one != sorted(one) for one in orders)


def test_a_pool_of_neighbours_is_used_up_before_the_next_and_mixed_within() -> None:
    items = epoch(Order([10] * 12, 0, "rain", 3), 0)
    groups = [item // 10 for item in items]
    for at in range(0, 120, 30):
        pool = groups[at : at + 30]
        assert sorted(Counter(pool).values()) == [10, 10, 10]
        assert sum(a != b for a, b in itertools.pairwise(pool)) > 10


def test_other_groups_are_neighbours_in_each_epoch() -> None:
    order = Order([10] * 12, 0, "rain", 2)
    groups = [[item // 10 for item in epoch(order, number)] for number in range(2)]
    pools = [[frozenset(one[at : at + 20]) for at in range(0, 120, 20)] for one in groups]
    assert set(pools[0]) != set(pools[1])


@pytest.mark.slow
def test_a_sample_is_the_same_from_any_starting_point_and_in_any_order_of_asking() -> None:
    forwards = stream([40, 25, 300], [1, 2, 3])
    places = [forwards[n] for n in range(3 * BLOCK)]
    backwards = stream([40, 25, 300], [1, 2, 3])
    asked = np.random.default_rng(0).permutation(3 * BLOCK)[:500]
    assert all(backwards[int(n)] == places[n] for n in asked)
    assert stream([40, 25, 300], [1, 2, 3])[2 * BLOCK + 17] == places[2 * BLOCK + 17]
    assert [place.number for place in places] == list(range(3 * BLOCK))


def _places(numbers: range) -> list[tuple[int, int, int]]:
    one = stream([40, 25, 300], [1, 2, 3])
    return [(place.task, place.index, place.epoch) for place in (one[n] for n in numbers)]


def test_another_process_finds_the_same_samples() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_places, (range(1500, 1600),)) == _places(range(1500, 1600))


def test_each_task_goes_through_its_items_once_before_any_comes_again() -> None:
    one = stream([40, 25, 300], [1, 2, 3], seed=5)
    seen: dict[int, list[tuple[int, int]]] = {0: [], 1: [], 2: []}
    for n in range(2 * BLOCK):
        seen[one[n].task].append((one[n].epoch, one[n].index))
    for task, length in enumerate([40, 25, 300]):
        for number in range(len(seen[task]) // length):
            part = seen[task][number * length : (number + 1) * length]
            assert sorted(part) == [(number, index) for index in range(length)]


@pytest.mark.parametrize(
    "shares", [[1, 1], [1, 2, 3], [0.001, 5, 1.7, 0.3], [7], [1e-9, 1], [120 * 200, 72135, 9 * 5144]]
)
def test_shares_hold_to_within_the_number_of_tasks_and_counts_never_fall(shares: list[float]) -> None:
    one = stream([10] * len(shares), shares)
    wanted = np.array(shares) / sum(shares)
    before = np.zeros(len(shares), int)
    for n in [*range(3000), *range(10**12, 10**12 + 300)]:
        counts = one._until(n)
        assert counts.sum() == n and (counts >= before).all()
        assert np.abs(counts - wanted * n).max() <= len(shares) + 1e-3
        before = counts


def test_within_a_block_the_tasks_are_shuffled_and_their_numbers_are_as_counted() -> None:
    one = stream([50, 80], [1, 3], seed=2)
    tasks = [one[n].task for n in range(2 * BLOCK)]
    for block in range(2):
        assert Counter(tasks[block * BLOCK : (block + 1) * BLOCK]) == {0: BLOCK // 4, 1: 3 * BLOCK // 4}
    assert tasks[:BLOCK] != tasks[BLOCK:] and tasks[:BLOCK] != sorted(tasks[:BLOCK])
    assert tasks != [stream([50, 80], [1, 3], seed=3)[n].task for n in range(2 * BLOCK)]


def test_an_epoch_ends_when_the_longest_task_is_through() -> None:
    assert stream([100, 20], [100, 20]).epoch == 120
    assert stream([100, 20], [100, 20 * 10]).epoch == 300
    assert stream([64], [1]).epoch == 64


def test_little_is_remembered_however_far_a_run_goes() -> None:
    order = Order([10] * 400, 0, "rain", 2)
    for k in range(0, 3 * len(order), 7):
        order(k)
    assert len(order._pools) <= 4 and len(order._epochs) <= 4
