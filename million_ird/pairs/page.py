"""The page of a preview: pictures with their masks, what was drawn, and how much each class takes away. No script."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from importlib.resources import files

from million_ird.degrade.labels import colours
from million_ird.images import encode_jpeg
from million_ird.pairs.charts import chart, parameters, text
from million_ird.pairs.settings import DegradeConfig, public
from million_ird.pairs.shots import Picture, Shot, Survey

SHOWN = 12
"""Samples shown with pictures."""


def page(survey: Survey, config: DegradeConfig) -> str:
    """The HTML: ASCII text with no address outside itself and no script."""
    style = files("million_ird.pairs").joinpath("page.css").read_text("ascii")
    title = text(f"Preview of {survey.recipe or 'a recipe'}")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" '
            f"content=\"default-src 'none'; img-src data:; style-src {_digest(style)}\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{style}</style></head><body>",
            f"<h1>{title}</h1>",
            f"<p>{text(survey.about)}</p>" if survey.about else "",
            f"<p>{_counted(survey, config)}</p>",
            _skipped(survey),
            "<h2>Classes</h2>",
            _classes(survey),
            "<h2>Samples</h2>",
            *(_sample(shot, survey) for shot in survey.shots[:SHOWN]),
            "<h2>What was drawn</h2>",
            _parameters(survey),
            "<h2>Recipe and settings</h2>",
            f"<details><summary>as YAML</summary><pre>{text(public(config))}</pre></details>",
            "</body></html>\n",
        ]
    )


def _counted(survey: Survey, config: DegradeConfig) -> str:
    images = len({shot.uri for shot in survey.shots})
    clean = sum(not shot.labels for shot in survey.shots)
    where = f"crops of {config.size} px" if config.size else "whole images"
    return f"{len(survey.shots)} samples of {images} images, {where}, seed {config.seed}; {clean} were left clean."


def _skipped(survey: Survey) -> str:
    if not survey.skipped:
        return ""
    rows = "".join(f"<li>{text(uri)}: {text(why)}</li>" for uri, why in survey.skipped)
    return f"<p>Could not be used:</p><ul>{rows}</ul>"


def _classes(survey: Survey) -> str:
    """A table: colour, class, in how many samples, its share of the area there, and PSNR within it."""
    rows = []
    for bit, name in enumerate(survey.classes):
        levels = [shot.class_psnr[name] for shot in survey.shots if name in shot.class_psnr]
        shares = [shot.share[name] for shot in survey.shots if name in shot.share]
        area = f"{100 * sum(shares) / len(shares):.0f} %" if shares else ""
        charted = chart([level for level in levels if math.isfinite(level)], _hex(bit)) if levels else ""
        rows.append(
            f"<tr><td>{_swatch(bit)}</td><td>{text(name)}</td><td>{len(shares)}</td><td>{area}</td><td>{charted}</td></tr>"
        )
    head = "<tr><th></th><th>class</th><th>samples</th><th>area in these</th><th>PSNR within it, dB</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _sample(shot: Shot, survey: Survey) -> str:
    pictures = (("input", shot.hq), ("result", shot.lq), ("mask", shot.overlay))
    cells = "".join(
        f'<div><img alt="{name}" src="{_data_url(picture)}"><small>{name}</small></div>'
        for name, picture in pictures
        if picture is not None
    )
    labels = "".join(
        f"<span>{_swatch(survey.classes.index(name))} {text(name)} {100 * shot.share[name]:.0f} %, "
        f"{shot.class_psnr[name]:.1f} dB</span>"
        for name in shot.labels
    )
    trace = text(json.dumps(shot.trace, indent=1))
    return (
        f"<section><h3>{text(shot.name)} <small>{text(shot.uri)}</small></h3>"
        f'<p class="labels">{labels or "left clean"}<span>all: {shot.psnr:.1f} dB</span></p>'
        f'<div class="row">{cells}</div><details><summary>trace</summary><pre>{trace}</pre></details></section>'
    )


def _parameters(survey: Survey) -> str:
    found = parameters(shot.trace for shot in survey.shots)
    cells = "".join(
        f"<figure><figcaption>{text(name)} <small>{len(values)}</small></figcaption>{chart(values)}</figure>"
        for name, values in sorted(found.items())
    )
    psnr = chart([shot.psnr for shot in survey.shots])
    whole = f"<figure><figcaption>PSNR of the whole picture, dB</figcaption>{psnr}</figure>"
    return f'<div class="charts">{whole}{cells}</div>'


def _swatch(bit: int) -> str:
    square = f'<rect width="12" height="12" fill="{_hex(bit)}"/>'
    return f'<svg class="swatch" viewBox="0 0 12 12" width="12" height="12">{square}</svg>'


def _hex(bit: int) -> str:
    red, green, blue = colours()[bit + 1].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _data_url(picture: Picture) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(picture, 90)).decode('ascii')}"


def _digest(style: str) -> str:
    """The source expression by which the Content-Security-Policy admits this one inline style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode('ascii')}'"
