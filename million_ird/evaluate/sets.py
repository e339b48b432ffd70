"""Test sets: what `--on` says, the pictures that it means, and their samples, one at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.recipe import Recipe, load
from million_ird.errors import BadImage, ConfigError, InputError
from million_ird.evaluate.protocols import Protocol
from million_ird.images import decode
from million_ird.sources.layouts import LAYOUTS, Found, Pair, find

OPTIONS = ("sigma", "recipe", "variant", "adapter", "limit", "split", "seed")
USAGE = "give NAME=PATH or NAME=LAYOUT:PATH, then options after commas: " + ", ".join(f"{name}=" for name in OPTIONS)


@dataclass(frozen=True)
class Sample:
    """One picture to restore.

    Attributes:
        name: of it within its set.
        input: (H, W, 3) RGB, uint8 or float in [0, 1]: degraded.
        target: same shape and kind: clean.
    """

    name: str
    input: NDArray[Any]
    target: NDArray[Any]


@dataclass(frozen=True)
class Spec:
    """One `--on`.

    Attributes:
        name: what the set is called.
        layout: how it lies on disk, one of `LAYOUTS`; None: by `name`, else as it looks.
        path: its folder.
        sigma: of Gaussian noise, grey levels of 255; None = none asked for.
        recipe: name or file of what degrades clean pictures; "" = none.
        variant, adapter: of the network; "" = as the command has it.
        limit: pictures at most, the first in sorted order; 0 = all.
        split: "test" or "train".
        seed: of the recipe's chance.
    """

    name: str
    layout: str | None
    path: str
    sigma: float | None = None
    recipe: str = ""
    variant: str = ""
    adapter: str = ""
    limit: int = 0
    split: str = "test"
    seed: int = 0

    @property
    def label(self) -> str:
        """What stands in the table: the name, and what was done to the pictures and by whom."""
        noise = [] if self.sigma is None else [f"sigma {self.sigma:g}"]
        recipe = [Path(self.recipe).stem] if self.recipe else []
        seed = [f"seed {self.seed}"] if self.seed else []
        who = [word for word in (self.variant, self.adapter) if word]
        part = ["train"] if self.split == "train" else []
        first = [f"first {self.limit}"] if self.limit else []
        return ", ".join([self.name, *noise, *recipe, *seed, *part, *first, *who])


@dataclass(frozen=True)
class TestSet:
    """A spec with the pairs that it means and the recipe that degrades them.

    Attributes:
        spec: what was asked for.
        found: what lies in the folder.
        pairs: those that are taken.
        recipe: of the spec, loaded; None = no recipe.
    """

    __test__ = False  # no test of pytest's

    spec: Spec
    found: Found
    pairs: list[Pair]
    recipe: Recipe | None = field(default=None, repr=False)

    def samples(self, protocol: Protocol, only: Collection[str] | None = None) -> Iterator[Sample]:
        """The samples in sorted order, each decoded when it is asked for; all of them or those named in `only`.

        Raises:
            InputError: a file is no image, or the two of a pair differ in size.
        """
        noise = protocol.noise()
        for pair in self.pairs:
            wanted = only is None or pair.name in only
            if not wanted and not (self.spec.sigma and protocol.sequential):  # the stream runs through all pictures
                continue
            sample = self._sample(pair, protocol, noise)
            if wanted:
                yield sample

    def _sample(self, pair: Pair, protocol: Protocol, noise: Any) -> Sample:
        target = read(pair.clean)
        given = target if pair.degraded is None else read(pair.degraded)
        if given.shape != target.shape:
            raise InputError(
                f"{pair.degraded}: {given.shape[1]}x{given.shape[0]} px, its target {pair.clean.name} has "
                f"{target.shape[1]}x{target.shape[0]} px; run `mird data check {_layout(self.spec)} {self.spec.path}`"
            )
        try:
            given, target = (np.ascontiguousarray(protocol.cut(image)) for image in (given, target))
        except ValueError as error:
            raise InputError(f"{pair.clean}: {error}; leave it out") from None
        if self.spec.sigma:
            given = noise(target, self.spec.sigma, pair.name)
        if self.recipe is not None:
            given = self.recipe(target, seed=self.spec.seed, image_id=pair.name, view=0).lq
        return Sample(pair.name, given, target)


def read(file: Path) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) RGB uint8.

    Raises:
        InputError: naming the file.
    """
    try:
        return decode(file.read_bytes()).rgb
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    except BadImage as error:
        raise InputError(f"{file}: {error}") from None


def parse(text: str) -> Spec:
    """One `--on`: NAME=PATH or NAME=LAYOUT:PATH, then options after commas.

    Raises:
        ConfigError: it is not of this form.
    """
    head, *rest = text.split(",")
    options: dict[str, str] = {}
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals and not options:
            head += f",{part}"  # a comma in the path
        elif not equals or key not in OPTIONS or not value:
            raise ConfigError(f"--on {text}: {part!r} is no option; {USAGE}")
        else:
            options[key] = value
    name, equals, path = head.partition("=")
    if not (name and equals and path):
        raise ConfigError(f"--on {text}: {USAGE}")
    layout, colon, below = path.partition(":")
    known = colon and layout in LAYOUTS
    if colon and not known and len(layout) > 1 and not Path(path).exists():
        raise ConfigError(f"--on {text}: layout {layout} is unknown; known: {', '.join(LAYOUTS)}")
    return _spec(text, name, layout if known else None, below if known else path, options)


def _spec(text: str, name: str, layout: str | None, path: str, options: dict[str, str]) -> Spec:
    values: dict[str, Any] = dict(options)
    try:
        values.update({key: int(options[key]) for key in ("limit", "seed") if key in options})
        if "sigma" in options:
            values["sigma"] = float(options["sigma"])
    except ValueError:
        raise ConfigError(f"--on {text}: sigma, limit and seed are numbers") from None
    if values.get("limit", 0) < 0 or not 0 <= values.get("sigma", 0) <= 255:
        raise ConfigError(f"--on {text}: limit is 0 or more, sigma from 0 to 255")
    if "sigma" in values and "recipe" in values:
        raise ConfigError(f"--on {text}: sigma or recipe, not both")
    return Spec(name, layout, path, **values)


def open_set(spec: Spec) -> TestSet:
    """The pictures of a spec.

    Raises:
        InputError: the folder is not laid out as expected, or nothing degrades its clean pictures.
        ConfigError: its recipe is wrong.
    """
    layout = _layout(spec)
    found = find(layout, spec.path, spec.split)
    paired = any(pair.degraded for pair in found.pairs)
    if not found.pairs:
        raise InputError(f"{spec.path}: no pair is whole; run `mird data check {layout} {spec.path}`")
    if paired and (spec.recipe or spec.sigma is not None):
        raise InputError(f"{spec.name}: {layout} has degraded pictures of its own; leave sigma and recipe out")
    if not paired and not spec.recipe and spec.sigma is None:
        raise InputError(f"{spec.name}: clean pictures; add ,sigma=25 or ,recipe=NAME (sigma=0: as they are)")
    recipe = load(spec.recipe) if spec.recipe else None
    return TestSet(spec, found, found.pairs[: spec.limit or None], recipe)


def _layout(spec: Spec) -> str:
    return spec.layout or (spec.name if spec.name in LAYOUTS else _guess(spec.path))


def _guess(path: str) -> str:
    return "pairs" if Path(path, "lq").is_dir() and Path(path, "hq").is_dir() else "clean"
