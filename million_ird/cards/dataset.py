"""The card of a dataset that `mird build` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

_PATHS = {"parquet": "data/train-*.parquet", "webdataset": "data/train-*.tar", "imagefolder": "data/train/**"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class WebFacts:
    """What a card tells of the web.

    Attributes:
        inputs: URLs.
        fetched: of these.
        errors: class of failure or refusal -> inputs.
        signals: what owners said about use -> inputs.
        hosts: host -> inputs fetched, of the largest.
        all_hosts: how many there were.
        first, last: when, UTC, ISO 8601.
        disobeyed: inputs that were fetched without asking robots.txt and opt-out signals.
    """

    inputs: int
    fetched: int
    errors: Mapping[str, int]
    signals: Mapping[str, int]
    hosts: Mapping[str, int]
    all_hosts: int
    first: str
    last: str
    disobeyed: int


@dataclass(frozen=True)
class DatasetFacts:
    """What a card tells.

    Attributes:
        name: title.
        format: of `export.format`.
        inputs: rows of the ledger.
        images: inputs kept.
        samples: rows of the dataset (images or patches).
        bytes: of the images.
        reasons: dropped inputs by reason, in cascade order.
        sources: labels of what was read.
        credits: inputs kept by what they say of rights or licence; "" = nothing.
        columns: measurement -> what it means.
        config: the configuration, as YAML without paths of a machine.
        version: of million-ird.
        web: what was fetched; None where nothing was.
    """

    name: str
    format: str
    inputs: int
    images: int
    samples: int
    bytes: int
    reasons: Mapping[str, int]
    sources: Sequence[str]
    credits: Mapping[str, int]
    columns: Mapping[str, str]
    config: str
    version: str
    web: WebFacts | None = None


def dataset_card(facts: DatasetFacts) -> str:
    """The text of README.md."""
    head = {
        "pretty_name": facts.name,
        "license": "other",
        "license_name": "see-sources",
        "task_categories": ["image-to-image"],
        "tags": ["image-restoration", "million-ird"],
        "size_categories": [_size(facts.samples)],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": _PATHS[facts.format]}]},
        ],
    }
    patches = "" if facts.samples == facts.images else f", cut into {facts.samples:,} patches"
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {_inline(facts.name)}",
        f"{facts.images:,} of {facts.inputs:,} images kept{patches}; {facts.bytes / 1e6:,.1f} MB of image data. "
        f"Made with `mird build` of million-ird {facts.version}.",
        "## Load\n\n```python\nfrom datasets import load_dataset\n\n"
        'dataset = load_dataset("PATH_OF_THIS_FOLDER", split="train")\n```',
        "## What was dropped, and why\n\n" + _funnel(facts),
        "## Sources and rights\n\n" + _rights(facts),
        *(["## From the web\n\n" + _web(facts.web)] if facts.web else []),
        "## Columns\n\n" + _columns(facts.columns),
        "## Build it again\n\nWith the same sources and this configuration as `build.yaml`, "
        "`mird build SOURCE --out DIR --config build.yaml` makes the same dataset, byte for byte.\n\n"
        f"<details><summary>build.yaml</summary>\n\n```yaml\n{facts.config}```\n\n</details>",
    ]
    return "\n\n".join(parts) + "\n"


def _funnel(facts: DatasetFacts) -> str:
    rows = ["| step | images | left |", "|---|---:|---:|", f"| inputs | | {facts.inputs:,} |"]
    left = facts.inputs
    for reason, count in facts.reasons.items():
        left -= count
        rows.append(f"| `{reason}` | −{count:,} | {left:,} |")
    rows.append(f"| **kept** | | **{facts.images:,}** |")
    return "\n".join(rows)


def _rights(facts: DatasetFacts) -> str:
    lines = [f"Read from: {', '.join(_inline(source) for source in facts.sources)}."]
    stated = {name: count for name, count in facts.credits.items() if name}
    lines.append(
        f"{sum(stated.values()):,} of {facts.images:,} kept images name their creator, rights or licence in their own "
        "metadata (column `meta`). Rights stay with the creators; check the terms of each source before you share this."
    )
    for name, count in list(stated.items())[:10]:
        lines.append(f"- {_inline(name)}: {count:,}")
    return "\n\n".join(lines[:2]) + ("\n\n" + "\n".join(lines[2:]) if lines[2:] else "")


def _web(web: WebFacts) -> str:
    manners = (
        "robots.txt (RFC 9309) and opt-out signals (X-Robots-Tag, meta tags, tdm-reservation, Content-Usage) were "
        "obeyed."
        if not web.disobeyed
        else f"**robots.txt and opt-out signals were NOT obeyed for {web.disobeyed:,} of them: `fetch.obey` was off.**"
    )
    counted = [("not fetched", web.errors), ("said by owners", web.signals), ("hosts with the most images", web.hosts)]
    lists = [
        f"- {title}: " + ", ".join(f"{_inline(name)} {count:,}" for name, count in found.items())
        for title, found in counted
        if found
    ]
    when = web.first[:10] if web.first[:10] == web.last[:10] else f"{web.first[:10]} to {web.last[:10]}"
    return (
        f"{web.fetched:,} of {web.inputs:,} URLs of {web.all_hosts:,} hosts were fetched, {when}. {manners} What was "
        "observed of each image stands in `meta`: address, time, headers, signals. `mird remove` takes images out for "
        "good by URL or id.\n\n" + "\n".join(lists)
    )


def _columns(columns: Mapping[str, str]) -> str:
    rows = [
        "| column | meaning |",
        "|---|---|",
        "| `image` | the picture |",
        "| `id` | sha256 of the input's bytes |",
        "| `uri` | where it lay in its source |",
        "| `width`, `height` | px |",
        *(f"| `{name}` | {_inline(text)} |" for name, text in columns.items()),
        "| `meta` | JSON: credit, EXIF turn, what was done to decode it, metadata that came with it |",
    ]
    return "\n".join(rows)


def _size(samples: int) -> str:
    return next((name for limit, name in _SIZES if samples < limit), "1M<n<10M")


def _inline(text: str) -> str:
    """Foreign text on one line of Markdown."""
    clean = " ".join(text.split())
    return "".join("\\" + c if c in "|`<>[]*_#\\" else c for c in clean)
