"""Squares cut from an image; each must pass the flat and blur rules on its own, as in LSDIR and Million-IRD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from million_ird.curate.rules import fails_one, lines
from million_ird.curate.settings import BuildConfig
from million_ird.curate.survey import Line
from million_ird.curate.writers import Sample
from million_ird.images import decode, encode_jpeg, encode_png, read_header
from million_ird.meters import Frame, Meter, create

PATCH_METERS = ("blur", "flat")
"""Meters that run on each patch, and rules of the same names that it must pass."""


def cut(
    data: bytes, facts: dict[str, Any], meters: Sequence[Meter], asked: Sequence[Line], config: BuildConfig
) -> Iterator[Sample]:
    """The passing patches of one encoded image, on a grid without overlap, centred in the image.

    A patch is stored as PNG (or JPEG where `export.image` is jpeg); its row carries `patch_x` and `patch_y`, px from
    the image's corner, its own values of the columns that `meters` fill, and the image's other ones.

    Args:
        data: the file's bytes.
        facts: the image's dataset columns.
        meters: what is measured of each patch.
        asked: what each patch must pass.
        config: its `export` section.
    """
    side = config.export.patch or 0
    rgb = decode(data, read_header(data, config.limits)).rgb
    height, width = rgb.shape[:2]
    left, top = width % side // 2, height % side // 2
    as_jpeg = config.export.image == "jpeg"
    for y in range(top, height - side + 1, side):
        for x in range(left, width - side + 1, side):
            patch = np.ascontiguousarray(rgb[y : y + side, x : x + side])
            frame = Frame(patch)
            own = {c: v for meter in meters for c, v in zip(meter.columns, meter(frame), strict=True)}
            if any(fails_one(line, own[line.column]) for line in asked):
                continue
            image = encode_jpeg(patch, config.export.jpeg_quality) if as_jpeg else encode_png(patch)
            place = {"width": side, "height": side, "patch_x": x, "patch_y": y}
            yield Sample(f"{x:05d}_{y:05d}", ".jpg" if as_jpeg else ".png", image, {**facts, **own, **place})


def patch_meters(config: BuildConfig) -> list[Meter]:
    """The meters that patches are judged by."""
    return [create(name, config.measure.options.get(name)) for name in PATCH_METERS]


def patch_lines(config: BuildConfig) -> list[Line]:
    """The enabled lines that patches are judged by."""
    return [line for line in lines(config.policy) if line.enabled and line.reason in PATCH_METERS]
