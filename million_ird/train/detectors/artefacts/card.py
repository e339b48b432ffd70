"""The model card of the artefact estimator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def card(facts: Mapping[str, Any]) -> str:
    """Markdown: what it is, what it was trained on, what it scored, where it fails."""
    config, held = facts["config"], facts["held_out"]
    scores = "Not checked."
    if held:
        rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in held.items())
        count = facts["held_out_pictures"]
        which = (
            f"{count} photos that were held out" if count else "the photos that it was trained on, none being held out"
        )
        scores = (
            f"On {config['checks']:,} degraded parts of {which}, all "
            f"that happened to them mixed as in training:\n\n| | |\n|---|---:|\n{rows}"
        )
    return f"""# Artefact estimator

Tells what has been done to a photo: sigma of noise, quality of the worst JPEG that it has been, kind and width of blur,
factor of upscaling, and whether there is haze, too little light, rain or snow. Fixed statistics of nine patches,
weighed by learnt layers, {facts["parameters"]:,} parameters, {facts["bytes"]:,} bytes.
In: `patches` (P, 3, 96, 96) uint8, RGB, at native scale. Out: `values` (12,), named in the file's metadata.

- Trained by `mird train detectors --only artefacts`, seed {config["seed"]}, {config["pool"]:,} degraded pictures,
  {config["steps"]:,} steps of {config["batch"]}, {facts["processor_seconds"] / 60:.0f} minutes of one core
  ({facts["machine"]}, torch {facts["torch"]}).
- Pictures: {len(facts["pictures"])} clean photos from {", ".join(facts["data"])}, degraded by `million_ird.degrade` as
  `million_ird.train.detectors.artefacts.samples` says. Names and hashes of the pictures: artefacts.json.
- sha256 of the file: `{facts["sha256"]}`.

{scores}

On other sets, head by head against the classical meters: docs/detectors.md.

Blur and upscaling were never both there in training, nor two kinds of weather. Noise that a camera's own processing has
smoothed is hardly seen. Quality is read off blocks that lie where an uncropped JPEG has them; after a crop that moves
them, or a change of size, it is a guess. Rain and snow are drawn, not filmed. Presences are scores, not probabilities.

Licence: Apache-2.0. Settings: `{json.dumps(config, sort_keys=True)}`
"""
