"""Distributions: four forms, checked when made, drawn in few digits."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pytest

from million_ird.config import Config, validate
from million_ird.degrade.dist import (
    Among,
    Between,
    Choice,
    Log,
    Names,
    Spec,
    draw,
    draw_name,
    draw_seed,
    draw_whole,
    pick,
)
from million_ird.errors import ConfigError
from million_ird.rng import key_for, rng_for


class Thing(Config):
    """Has one field of each kind."""

    size: Annotated[Spec, Between(0, 100)] = 1
    count: Annotated[Spec, Between(1, 9, whole=True)] = (2, 4)
    name: Annotated[Names, Among(("a", "b"))] = "a"


@pytest.fixture
def rng():
    return rng_for(1, "test")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 101}, "size: 101 is outside 0 to 100"),
        ({"size": [5, 2]}, "size: empty range: 5 is above 2"),
        ({"size": [1, 2, 3]}, "size: a range has two ends"),
        ({"size": {"log": [0, 2]}}, "size: log needs ends above 0"),
        ({"size": {"log": [1, 2], "p": 3}}, "size: unknown p beside log"),
        ({"size": {"choice": []}}, "size: choice needs a list"),
        ({"size": {"choice": [1, 200]}}, "size: 200 is outside"),
        ({"size": {"choice": [1, 2], "p": [1]}}, "size: p has 1 weights for 2 values"),
        ({"size": {"choice": [1, 2], "p": [0, 0]}}, "not all 0"),
        ({"size": float("nan")}, "size: expected a finite number"),
        ({"size": "big"}, "size: expected a number"),
        ({"size": True}, "size: expected a number"),
        ({"count": 2.5}, "count: 2.5 is not a whole number"),
        ({"name": "c"}, "name: expected one of a, b"),
        ({"name": {"choice": ["a", "c"]}}, "name: expected one of a, b"),
        ({"sise": 3}, "sise: unknown key; did you mean 'size'"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(fields, message):
    with pytest.raises(ConfigError) as caught:
        validate(Thing, fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "size", [3, [1, 5], {"log": [1.0, 10.0]}, {"choice": [1, 2]}, {"choice": [1, 2], "p": [0.9, 0.1]}]
)
def test_what_yaml_says_is_what_comes_back(size):
    thing = validate(Thing, {"size": size})
    plain = thing.model_dump(mode="json")["size"]
    assert plain == size
    assert validate(Thing, {"size": plain}) == thing


def test_a_range_is_uniform_and_stays_within(rng):
    values = np.array([draw((2.0, 6.0), rng) for _ in range(4000)])
    assert 2 <= values.min() < 2.02
    assert 5.98 < values.max() <= 6
    assert abs(values.mean() - 4) < 0.08
    assert abs(values.var() - 16 / 12) < 0.08


def test_log_uniform_is_uniform_in_the_logarithm(rng):
    values = np.log10([draw(Log(log=(0.01, 100)), rng) for _ in range(4000)])
    assert abs(values.mean()) < 0.08
    assert abs(values.var() - 16 / 12) < 0.08


def test_whole_numbers_are_all_alike_likely(rng):
    counts = np.bincount([draw_whole((2, 5), rng) for _ in range(8000)], minlength=7)
    assert counts[:2].sum() == counts[6:].sum() == 0
    assert np.all(abs(counts[2:6] - 2000) < 200)


def test_weights_are_what_is_chosen_by(rng):
    names = Choice(choice=("a", "b"), p=(3, 1))
    share = np.mean([draw_name(names, rng) == "a" for _ in range(4000)])
    assert abs(share - 0.75) < 0.03
    assert {pick(rng, 3, (0, 1, 0)) for _ in range(50)} == {1}


def test_drawn_numbers_are_short_and_seeds_survive_json(rng):
    assert all(len(repr(draw((0.0, 1.0), rng))) <= 12 for _ in range(200))
    assert all(float(draw_seed(rng)).is_integer() and draw_seed(rng) < 2**53 for _ in range(200))


def test_keys_of_neighbours_have_nothing_in_common():
    keys = {
        key_for(seed, image, view, path) for seed in (0, 1) for image in "ab" for view in (0, 1) for path in ("0", "1")
    }
    assert len(keys) == 16
    first, second = (rng_for(0, "a", view, "0").random(20000) for view in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert key_for(1, "1") != key_for(11, "")
