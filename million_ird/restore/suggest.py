"""What a picture seems to need: degradations that the artefact estimator sees, and a network's adapters for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from million_ird import sources
from million_ird.errors import BadImage, InputError
from million_ird.images import decode
from million_ird.meters import Frame
from million_ird.meters.artefacts import Artefacts

_BLURS = ("gaussian", "defocus", "motion")

NAMES: Mapping[str, tuple[str, ...]] = {
    "noise": ("denoise", "denoising", "noise"),
    "jpeg": ("dejpeg", "jpeg", "artefacts", "compression"),
    "blur": ("deblur", "deblurring", "blur"),
    "upscaled": ("realesrgan", "sr", "resize", "upscaled"),
    "haze": ("dehaze", "dehazing", "haze"),
    "lowlight": ("lowlight", "low_light", "low-light"),
    "rain": ("derain", "deraining", "rain"),
    "snow": ("desnow", "desnowing", "snow"),
}
"""Degradation -> what adapters for it may be called; the first is the built-in recipe that makes it."""

NOISE, QUALITY, SURE = 4.0, 70.0, 0.5
"""From which sigma, up to which JPEG quality and from which score something counts as seen;"""

WIDTH, FACTOR = 0.5, 1.2
"""and from which width of blur, px, and which factor: scores and sizes come of rows of their own and may disagree."""


@dataclass(frozen=True)
class Seen:
    """What was seen in one picture.

    Attributes:
        uri: the input.
        status: "ok", or why it could not be read, as in `records.STATUSES`; "too_small" below 96 px.
        detail: of a failure, what was found.
        seen: degradation, one of `NAMES`, -> how much of it, in words.
        adapters: those of the network that are called after them, as `--adapter` takes them; "" = none.
        values: all that the estimator gave.
    """

    uri: str
    status: str
    detail: str = ""
    seen: dict[str, str] = field(default_factory=dict)
    adapters: str = ""
    values: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def suggest(
    inputs: Sequence[str],
    adapters: Sequence[str] = (),
    tell: Callable[[Seen], None] = lambda seen: None,
) -> list[Seen]:
    """Look at every picture of `inputs`; nothing is written.

    Args:
        inputs: folders, images, archives, globs, fsspec addresses, as `mird build` takes them.
        adapters: names of the adapters that there are.
        tell: told of each picture, as soon as it is known.

    Raises:
        InputError: there is no such input, or no picture in any.
        ConfigError: onnxruntime is not installed.
    """
    meter = Artefacts()
    specs = sources.resolve(inputs)
    found: list[Seen] = []
    with sources.Reader(specs) as reader:
        for spec in specs:
            source = spec.open()
            try:
                for item in source.items(Counter()):
                    found.append(_one(meter, reader, item, adapters))
                    tell(found[-1])
            finally:
                source.close()
    if not found:
        raise InputError(f"no pictures in {', '.join(map(str, inputs))}")
    return found


def _one(meter: Artefacts, reader: sources.Reader, item: Any, adapters: Sequence[str]) -> Seen:
    try:
        if item.status:
            raise BadImage(item.status, item.detail)
        rgb = decode(reader.read(item)).rgb
    except BadImage as error:
        return Seen(item.uri, error.status, error.detail)
    given = dict(zip((name.removeprefix("artefacts_") for name in meter.columns), meter(Frame(rgb)), strict=True))
    values = {name: value for name, value in given.items() if value is not None}
    if not values:
        return Seen(item.uri, "too_small", "the estimator takes pictures of 96 px or more a side")
    seen = degradations(values)
    return Seen(item.uri, "ok", "", seen, mixture(seen, adapters), values)


def degradations(values: Mapping[str, float]) -> dict[str, str]:
    """What counts as seen among the estimator's values, by name without `artefacts_`, and how much of it, in words."""
    seen = {}
    if values["noise"] >= NOISE:
        seen["noise"] = f"sigma {values['noise']:.0f}"
    if values["quality"] <= QUALITY:
        seen["jpeg"] = f"quality {values['quality']:.0f}"
    if sum(values[kind] for kind in _BLURS) >= SURE and values["blur"] >= WIDTH:
        seen["blur"] = f"{max(_BLURS, key=lambda kind: values[kind])}, {values['blur']:.1f} px"
    if values["upscaled"] >= SURE and values["upscale"] >= FACTOR:
        seen["upscaled"] = f"x{values['upscale']:.1f}"
    for name in ("haze", "lowlight", "rain", "snow"):
        if values[name] >= SURE:
            seen[name] = f"{values[name]:.2f}"
    return seen


def mixture(seen: Mapping[str, str], adapters: Sequence[str]) -> str:
    """The adapters that are called after what was seen, in equal parts, as `--adapter` takes them."""
    wanted = [name for name in adapters if any(name.lower() in NAMES[one] for one in seen)]
    if len(wanted) < 2:
        return "".join(wanted)
    return ",".join(f"{name}:{1 / len(wanted):.2g}" for name in wanted)
