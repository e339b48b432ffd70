"""A look at what a recipe does: some samples rendered, shown as one sheet and told as one page of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from million_ird.errors import BadImage, ConfigError, InputError
from million_ird.images.png import encode_png
from million_ird.pairs.page import page
from million_ird.pairs.plan import Entry, listing
from million_ird.pairs.render import Renderer
from million_ird.pairs.settings import DegradeConfig
from million_ird.pairs.sheet import sheet
from million_ird.pairs.shots import Shot, Survey, shot
from million_ird.sources import SourceSpec
from million_ird.tables import whole, write_text

SAMPLES = 64
"""Samples rendered for the numbers, of not too large pictures."""
IMAGES = 16
"""Images they are made of at most."""
PIXELS = 48_000_000
"""Pixels rendered at most, but for one sample of each image."""
ROWS = 6
"""Samples shown on the sheet."""

Only = tuple[tuple[SourceSpec, ...], Entry, int | None]
"""One image (and which of its samples; None = all) to show alone."""

Watch = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def preview(
    config: DegradeConfig,
    path: str | Path,
    *,
    only: Only | None = None,
    watch: Watch = lambda stage, done, total: None,
) -> tuple[Survey, Path, Path]:
    """Write a contact sheet, and beside it a page.

    Args:
        config: completed.
        path: of the sheet, a .png; the page has the same name with .html.
        only: show the samples of this image alone (or one of them).
        watch: told of progress.

    Returns:
        What was shown, and where the sheet and the page lie.

    Raises:
        InputError: no image can be used.
    """
    png = Path(path)
    if png.suffix.lower() != ".png":
        raise ConfigError(f"--preview {png}: the sheet is a .png")
    survey = surveyed(config, only, watch)
    with whole(png) as file:
        file.write(encode_png(sheet(survey.shots[:ROWS], survey.classes, survey.recipe or "degraded")))
    write_text(png.with_suffix(".html"), page(survey, config))
    return survey, png, png.with_suffix(".html")


def surveyed(
    config: DegradeConfig,
    only: Only | None = None,
    watch: Watch = lambda stage, done, total: None,
) -> Survey:
    """Render the samples of a preview: of up to 16 images spread over the input, a few of each, 64 in all.

    Raises:
        InputError: no image can be used.
    """
    if only is None:
        plan, listed = listing(config)
        specs, entries = plan.sources, spread(listed, IMAGES)
        indexes = list(range(-(-SAMPLES // len(entries))))
    else:
        specs, entries = only[0], [only[1]]
        indexes = list(range(min(config.per_image, SAMPLES))) if only[2] is None else [only[2]]
    shots: list[Shot] = []
    skipped: list[tuple[str, str]] = []
    watch("preview", 0, len(entries))
    with Renderer(specs, config) as renderer:
        for number, entry in enumerate(entries, 1):
            left = PIXELS // len(entries)
            try:
                for name, _, found in renderer.pictures(entry, indexes):
                    shots.append(shot(name, entry.item.uri, found))
                    left -= found.mask.size
                    if left < 0:
                        break
            except BadImage as bad:
                skipped.append((entry.item.uri, str(bad)))
            watch("preview", number, len(entries))
    if not shots:
        raise InputError(f"no image can be used; the first: {skipped[0][0]}: {skipped[0][1]}")
    recipe = config.pipeline
    return Survey(recipe.name, " ".join(recipe.about.split()), recipe.classes, telling(shots), skipped)


def spread(entries: Sequence[Entry], count: int) -> list[Entry]:
    """Some of many, evenly."""
    count = min(count, len(entries))
    return [entries[index * len(entries) // count] for index in range(count)]


def telling(shots: Sequence[Shot]) -> list[Shot]:
    """The same samples, those first that show an image or a class that was not shown before."""
    left = list(shots)
    images: set[str] = set()
    classes: set[str] = set()
    first: list[Shot] = []
    while left:
        best = max(left, key=lambda one: (len(set(one.labels) - classes), one.uri not in images))
        if not set(best.labels) - classes and best.uri in images:
            break
        left.remove(best)
        first.append(best)
        images.add(best.uri)
        classes |= set(best.labels)
    return first + left
