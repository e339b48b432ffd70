"""Small histograms as SVG, without a script and without an address outside of the page."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

WIDTH, HEIGHT = 240, 84
_BINS = 16
_NOT_SHOWN = ("seed",)
"""Parameters that are as good as noise."""


def parameters(traces: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Every value that was drawn: "Haze.beta" -> values, in order of first appearance; lists are taken apart."""
    found: dict[str, list[Any]] = {}
    for trace in traces:
        _collect(trace["steps"], found)
    return found


def _collect(steps: Sequence[Mapping[str, Any]], found: dict[str, list[Any]]) -> None:
    for step in steps:
        for name, value in step["params"].items():
            values = [one for one in _flat(value) if isinstance(one, (bool, int, float, str))]
            if values and not name.endswith(_NOT_SHOWN):
                found.setdefault(f"{step['op']}.{name}", []).extend(values)
        for branch in step.get("branches", ()):
            _collect(branch, found)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [inner for one in value for inner in _flat(one)]
    return [value]


def chart(values: Sequence[Any], colour: str = "") -> str:
    """A histogram of numbers, or bars of how often each name occurs."""
    numbers = [float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        return _bars(Counter(str(value) for value in values), colour)
    finite = [value for value in numbers if math.isfinite(value)]
    return _histogram(finite, colour) if finite else '<p class="none">no finite value</p>'


def _histogram(values: Sequence[float], colour: str) -> str:
    low, high = min(values), max(values)
    if low == high:
        return f'<p class="none">always {_number(low)}</p>'
    counts, _ = np.histogram(values, bins=_BINS, range=(low, high))
    step, most, middle = WIDTH / _BINS, int(counts.max()), float(np.median(values))
    bars = []
    for index, count in enumerate(counts.tolist()):
        tall = (HEIGHT - 20) * count / most
        bars.append(_bar(index * step + 0.5, HEIGHT - 16 - tall, step - 1, tall, colour, f"{count}"))
    ends = (
        f'<text x="0" y="{HEIGHT - 3}">{_number(low)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 3}" text-anchor="end">{_number(high)}</text>'
        f'<text x="{WIDTH / 2:g}" y="{HEIGHT - 3}" text-anchor="middle">median {_number(middle)}</text>'
    )
    return _svg(HEIGHT, "".join(bars) + ends)


def _bars(counts: Counter[str], colour: str) -> str:
    rows, total = [], sum(counts.values())
    for index, (name, count) in enumerate(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:8]):
        top = index * 18
        rows.append(_bar(0, top + 3, 120 * count / total, 12, colour, f"{count}"))
        rows.append(f'<text x="126" y="{top + 13}">{text(name)} {100 * count / total:.0f} %</text>')
    return _svg(18 * len(rows) // 2 + 4, "".join(rows))


def _bar(left: float, top: float, width: float, height: float, colour: str, title: str) -> str:
    fill = f' fill="{colour}"' if colour else ""
    box = f'x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f"<rect {box}{fill}><title>{title}</title></rect>"


def _svg(height: int, body: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">{body}</svg>'


def _number(value: float) -> str:
    return f"{value:.4g}"


def text(value: str) -> str:
    """Text content of an element or an attribute, ASCII only: nothing in it can end what holds it."""
    return html.escape(value).encode("ascii", "xmlcharrefreplace").decode("ascii")
