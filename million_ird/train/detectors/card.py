"""The model card of a detector."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from million_ird.train.detectors.samples import PIXELS


def card(facts: Mapping[str, Any]) -> str:
    """Markdown: what it is, what it was trained on, what it scored, where it fails."""
    config = facts["config"]
    held = facts["held_out"]
    which = "that were held out" if facts["held_out_pictures"] else "that it was trained on, none being held out"
    scores = (
        f"On {held['pictures']:.0f} photos {which}, marks in the training's styles: AUC {held['auc']:.4f}, "
        f"{held['found']:.1%} of the marked above 0.5, {held['false']:.1%} of the unmarked."
        if held
        else "Not checked."
    )
    start = "- Its weights began from chance.\n"
    if facts["init"]:
        start = (
            "- It began with the first layers of PP-OCRv4's mobile text detector (PaddleOCR, Apache-2.0;\n"
            f"  ch_PP-OCRv4_det_infer.onnx, sha256 `{facts['init']}`).\n"
        )
    return f"""# Watermark detector

Finds visible marks laid over photos: names, logos, tiles, grids, date stamps, captions, signatures. Convolutions
over luma at {PIXELS / 1e6:.2f} megapixels, most of them in bytes; {facts["parameters"]:,} parameters,
{facts["bytes"]:,} bytes.
In: `luma` (1, 1, H, W) uint8. Out: `score` (1,), 0..1, and `cells` (1, 1, H / 16, W / 16), 0..1, where.

{start}- Trained by `mird train detectors`, seed {config["seed"]}, {config["steps"]:,} steps of
  {config["batch"]} samples, in {facts["seconds"] / 60:.0f} minutes on one core
  beside {config["workers"]} that drew the samples ({facts["machine"]}, torch {facts["torch"]}).
- Pictures: {len(facts["pictures"])} clean photos from {", ".join(facts["data"])}; the marks and the decoys are drawn by
  `million_ird.degrade.watermark` and `million_ird.train.detectors.decoys`. Names and hashes of the pictures:
  watermark.json.
- sha256 of the file: `{facts["sha256"]}`.

{scores} By style, size and opacity, on other sets and styles that training never saw: docs/detectors.md.

0.5 is set so that {config["clean"]:.1%} of unmarked views of the training's pictures lie below. It is no probability.

Not for: hidden (invisible) watermarks; reading what a mark says; deciding about people. It misses marks of low contrast
on texture and very small ones; it can mistake signs, print and subtitles for marks. It is for leaving pictures out, not
for taking marks off them.

Licence: Apache-2.0. Settings: `{json.dumps(config, sort_keys=True)}`
"""
