"""Nodes made of nodes: chains, choices, orders. They vanish when drawn; only the chosen ops are left in a trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from million_ird.degrade.dist import Between, Spec, check_weights, draw_whole, pick
from million_ird.degrade.op import Key, Node, Shape, Step
from million_ird.rng import Chance


def _node(value: Any) -> Node:
    from million_ird.degrade.recipe import node_of

    return node_of(value)


AnyNode = Annotated[SerializeAsAny[Node], BeforeValidator(_node)]
"""A node, or its mapping: `{op: GaussianNoise, sigma: [0, 55]}`."""

Nodes = Annotated[tuple[AnyNode, ...], Field(min_length=1)]


class Compose(Node):
    """All steps, in order."""

    parts: ClassVar = ("steps",)

    steps: tuple[AnyNode, ...] = ()
    """What is done, first to last; nothing = the picture stays as it is."""

    def __init__(self, steps: Sequence[Any] = (), **fields: Any) -> None:
        super().__init__(**{"steps": tuple(steps), **fields})

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        return [step for index, node in enumerate(self.steps) for step in node.plan(key.at(index), shape)]


class OneOf(Node):
    """One of several, by weight."""

    parts: ClassVar = ("steps",)

    steps: Nodes
    """The candidates."""
    p: tuple[float, ...] | None = None
    """Weights, one per candidate; None = all alike."""

    def __init__(self, steps: Sequence[Any] = (), p: Sequence[float] | None = None, **fields: Any) -> None:
        super().__init__(**{"steps": tuple(steps), "p": None if p is None else tuple(p), **fields})

    @model_validator(mode="after")
    def _weights(self) -> OneOf:
        check_weights(self.p, len(self.steps))
        return self

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        index = pick(key.rng(), len(self.steps), self.p)
        return self.steps[index].plan(key.at(index), shape)


class SomeOf(Node):
    """Several of the candidates, each at most once, in the order in which they stand (or shuffled)."""

    parts: ClassVar = ("steps",)

    steps: Nodes
    """The candidates."""
    n: Annotated[Spec, Between(0, 64, whole=True)] = 1
    """How many; more than there are = all."""
    shuffle: bool = False
    """Do them in a random order."""

    def __init__(self, steps: Sequence[Any] = (), n: Any = 1, **fields: Any) -> None:
        super().__init__(**{"steps": tuple(steps), "n": n, **fields})

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        rng = key.rng()
        count = min(draw_whole(self.n, rng), len(self.steps))
        chosen = permutation(len(self.steps), rng)[:count]
        order = chosen if self.shuffle else sorted(chosen)
        return [step for index in order for step in self.steps[index].plan(key.at(index), shape)]


class Shuffle(Node):
    """All steps, in a random order."""

    parts: ClassVar = ("steps",)

    steps: Nodes
    """What is done."""

    def __init__(self, steps: Sequence[Any] = (), **fields: Any) -> None:
        super().__init__(**{"steps": tuple(steps), **fields})

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        order = permutation(len(self.steps), key.rng())
        return [step for index in order for step in self.steps[index].plan(key.at(index), shape)]


class Maybe(Node):
    """A step, or nothing."""

    parts: ClassVar = ("step",)

    step: AnyNode
    """What may be done."""
    p: float = Field(0.5, ge=0, le=1)
    """Probability that it is."""

    def __init__(self, step: Any = None, p: float = 0.5, **fields: Any) -> None:
        super().__init__(**{"step": step, "p": p, **fields})

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        return self.step.plan(key.at(0), shape) if key.rng().random() < self.p else []


def permutation(count: int, rng: Chance) -> list[int]:
    """A random order of `count` things (Fisher-Yates on `random()` alone, which numpy keeps stable)."""
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = int((last + 1) * rng.random())
        order[last], order[other] = order[other], order[last]
    return order
