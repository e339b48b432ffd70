"""ROC curves as SVG, one small panel for each thing that is to be found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

OURS, THEIRS = "#1f4e9e", "#e08a3c"
SIDE, COLUMNS = 130, 6

Curve = tuple[str, bool, NDArray[np.float64], NDArray[np.float64]]
"""What is found, whether by the network, scores where it is not there, and where it is."""


def svg(curves: Sequence[Curve]) -> str:
    """A panel for each title: the network's curve blue, the classical meter's orange."""
    panels: dict[str, list[str]] = {}
    for title, ours, without, there in curves:
        limits = np.concatenate([[np.inf], np.unique(np.concatenate([without, there]))[::-1], [-np.inf]])
        points = " ".join(f"{100 * (without >= t).mean():.1f},{100 - 100 * (there >= t).mean():.1f}" for t in limits)
        line = f'<polyline points="{points}" fill="none" stroke="{OURS if ours else THEIRS}" stroke-width="1.5"/>'
        panels.setdefault(title, []).append(line)
    parts = []
    for number, (title, lines) in enumerate(panels.items()):
        x, y = number % COLUMNS * SIDE + 10, number // COLUMNS * SIDE + 34
        frame = '<rect width="100" height="100" fill="none" stroke="#999"/>'
        label = f'<text y="-5" font-size="9" font-family="sans-serif">{title}</text>'
        parts.append(f'<g transform="translate({x} {y})">{frame}{"".join(lines)}{label}</g>')
    width, height = COLUMNS * SIDE, -(-len(panels) // COLUMNS) * SIDE + 20
    key = "false positives across, found upwards; blue: the network, orange: the classical meter"
    words = f'<text x="10" y="14" font-size="10" font-family="sans-serif">{key}</text>'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
    return f'{start}<rect width="100%" height="100%" fill="white"/>{words}{"".join(parts)}</svg>\n'
