"""The card of a dataset that `mird build` wrote, with its pixels or without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from million_ird.cards.markdown import citation, folded, head, inline, size_class, table

_PATHS = {"parquet": "data/train-*.parquet", "webdataset": "data/train-*.tar", "imagefolder": "data/train/**"}

PICTURES = "card"
"""Folder of the card's pictures, beside it."""


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
class Threshold:
    """One number that decided.

    Attributes:
        key: of the configuration that sets it, for example "policy.blur.min".
        column: the measurement.
        bound: "min" or "max".
        value: of the threshold.
    """

    key: str
    column: str
    bound: str
    value: float


@dataclass(frozen=True)
class Stored:
    """What lies in the files, for the viewer of the Hub.

    Attributes:
        features: one entry per column, as `dataset_info` has them; empty where they are not known.
        samples: rows.
        data_bytes: of the rows, unpacked.
        file_bytes: of the files.
    """

    features: Sequence[Mapping[str, Any]]
    samples: int
    data_bytes: int
    file_bytes: int


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
        thresholds: what decided; empty where that is not told.
        pictures: measurement -> path of its histogram, relative to the card.
        contamination: test sets that images were compared with; None where that is not told.
        licence: the Hub's name of the licence of all images, "" where they have several or none.
        stored: what lies in the files; None where that is not told.
        repo: ORG/NAME it is published as, "" where it is not.
        contact: whom to write to, "" = the discussions of the repository.
        commit: hash of the configuration, hex; "" where it is not told.
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
    thresholds: Sequence[Threshold] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    contamination: Sequence[str] | None = None
    licence: str = ""
    stored: Stored | None = None
    repo: str = ""
    contact: str = ""
    commit: str = ""


def dataset_card(facts: DatasetFacts) -> str:
    """The text of README.md."""
    patches = "" if facts.samples == facts.images else f", cut into {facts.samples:,} patches"
    where = facts.repo or "PATH_OF_THIS_FOLDER"
    parts = [
        head(_head(facts)),
        f"# {inline(facts.name)}",
        f"{facts.images:,} of {facts.inputs:,} images kept{patches}; {facts.bytes / 1e6:,.1f} MB of image data. "
        f"Made with `mird build` of million-ird {facts.version}.",
        "## Load\n\n```python\nfrom datasets import load_dataset\n\n"
        f'dataset = load_dataset("{where}", split="train")\n```',
        *_decided(facts),
        *_origins(facts),
        "## Columns\n\n" + _columns(facts.columns),
        "## Build it again\n\nWith the same sources and this configuration as `build.yaml`, "
        "`mird build SOURCE --out DIR --config build.yaml` makes the same dataset, byte for byte."
        + (f" Hash of the configuration: `{facts.commit}`." if facts.commit else "")
        + "\n\n"
        + folded("build.yaml", facts.config),
        "## Citation\n\n" + _citation(facts),
    ]
    return "\n\n".join(parts) + "\n"


def index_card(facts: DatasetFacts, kept: int, dropped: int) -> str:
    """The text of README.md of a dataset without pixels.

    Args:
        facts: of the build.
        kept, dropped: rows of its two parts.
    """
    where = facts.repo or "ORG/NAME"
    configs = [("kept", kept), ("dropped", dropped)]
    top = _head(facts) | {
        "task_categories": None,
        "size_categories": [size_class(kept + dropped)],
        "configs": [
            {"config_name": name, "data_files": [{"split": "train", "path": f"{name}/*.parquet"}]}
            for name, rows in configs
            if rows
        ],
        "dataset_info": None,
    }
    tags = ["image-restoration", "million-ird", "url-index"]
    parts = [
        head(top | {"tags": tags}),
        f"# {inline(facts.name)}: index",
        f"Addresses, hashes, measurements and decisions of {kept + dropped:,} images, of which {kept:,} are kept, "
        f"and no pixels. Made with `mird publish index` of million-ird {facts.version}.",
        "## Rebuild the dataset\n\nThis fetches the kept images from where they lie, measures and decides again:\n\n"
        f"```\nmird build hf://datasets/{where}/kept --out DIR --config build.yaml\n"
        f"mird publish index INDEX --verify DIR\n```\n\nThe second line compares what came with `sha256` and `phash` "
        "and says what has rotted: gone, changed, or the same picture in another file. INDEX is a downloaded copy of "
        "this repository.",
        *_decided(facts),
        *_origins(facts),
        "## Columns\n\n" + _index_columns(facts.columns),
        "## Configuration\n\n" + folded("build.yaml", facts.config),
        "## Citation\n\n" + _citation(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _head(facts: DatasetFacts) -> dict[str, Any]:
    return {
        "pretty_name": facts.name,
        "license": facts.licence or "other",
        "license_name": None if facts.licence else "see-sources",
        "task_categories": ["image-to-image"],
        "tags": ["image-restoration", "million-ird"],
        "size_categories": [size_class(facts.samples)],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": _PATHS[facts.format]}]},
        ],
        "dataset_info": _info(facts.stored) if facts.stored and facts.stored.features else None,
    }


def _info(stored: Stored) -> dict[str, Any]:
    split = {"name": "train", "num_bytes": stored.data_bytes, "num_examples": stored.samples}
    return {
        "features": [dict(feature) for feature in stored.features],
        "splits": [split],
        "download_size": stored.file_bytes,
        "dataset_size": stored.data_bytes,
    }


def _decided(facts: DatasetFacts) -> list[str]:
    """What was dropped, by which numbers, out of what."""
    parts = ["## What was dropped, and why\n\n" + _funnel(facts)]
    if facts.thresholds:
        signs = {"min": "at least", "max": "at most"}
        rows = [[f"`{x.key}`", f"`{x.column}`", signs[x.bound], f"{x.value:g}"] for x in facts.thresholds]
        parts.append("## Thresholds\n\n" + table(("key", "measurement", "passes", "value"), rows, right=(3,)))
    if facts.pictures:
        shown = [f"![Histogram of {name}]({path})" for name, path in facts.pictures.items()]
        text = "Grey: all that were measured; blue: kept; red: thresholds."
        parts.append("## Measurements\n\n" + text + "\n\n" + "\n".join(shown))
    if facts.contamination is not None:
        parts.append("## Contamination\n\n" + _contamination(facts))
    return parts


def _origins(facts: DatasetFacts) -> list[str]:
    """Where images are from, on which terms, and how one gets out."""
    return [
        "## Sources and rights\n\n" + _rights(facts),
        *(["## From the web\n\n" + _web(facts.web)] if facts.web else []),
        "## Contact and removal\n\n" + _removal(facts),
    ]


def _contamination(facts: DatasetFacts) -> str:
    if not facts.contamination:
        return "Images were not compared with test sets (`policy.contaminated` was off)."
    names = ", ".join(inline(name) for name in facts.contamination)
    return f"Compared with {names}: {facts.reasons.get('contaminated', 0):,} images dropped."


def _removal(facts: DatasetFacts) -> str:
    whom = inline(facts.contact) if facts.contact else "the discussions of this repository (tab Community)"
    return (
        f"Contact: {whom}. Who holds rights in an image, or is shown in one, names it by `id` or `uri` and need give "
        "no reason. It is taken out together with its copies by `mird remove`, no later build of this dataset takes it "
        "in again, and the next version is published without it."
    )


def _citation(facts: DatasetFacts) -> str:
    note = f"million-ird {facts.version}" + (f", configuration {facts.commit}" if facts.commit else "")
    return citation("dataset", facts.name, facts.repo, note)


def _funnel(facts: DatasetFacts) -> str:
    rows = ["| step | images | left |", "|---|---:|---:|", f"| inputs | | {facts.inputs:,} |"]
    left = facts.inputs
    for reason, count in facts.reasons.items():
        left -= count
        rows.append(f"| `{reason}` | −{count:,} | {left:,} |")
    rows.append(f"| **kept** | | **{facts.images:,}** |")
    return "\n".join(rows)


def _rights(facts: DatasetFacts) -> str:
    lines = [f"Read from: {', '.join(inline(source) for source in facts.sources)}."]
    stated = {name: count for name, count in facts.credits.items() if name}
    lines.append(
        f"{sum(stated.values()):,} of {facts.images:,} kept images name their creator, rights or licence in their own "
        "metadata (column `meta`). Rights stay with the creators; check the terms of each source before you share this."
    )
    for name, count in list(stated.items())[:10]:
        lines.append(f"- {inline(name)}: {count:,}")
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
        f"- {title}: " + ", ".join(f"{inline(name)} {count:,}" for name, count in found.items())
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
        ["`image`", "the picture"],
        ["`id`", "sha256 of the input's bytes"],
        ["`uri`", "where it lay in its source"],
        ["`width`, `height`", "px"],
        *([f"`{name}`", inline(text)] for name, text in columns.items()),
        ["`meta`", "JSON: credit, EXIF turn, what was done to decode it, metadata that came with it"],
    ]
    return table(("column", "meaning"), rows)


def _index_columns(columns: Mapping[str, str]) -> str:
    rows = [
        ["`url`", "where it lies; empty for what came from no address"],
        ["`uri`, `source`", "what it is called in its source, and that source"],
        ["`sha256`", "of the file's bytes"],
        ["`phash`", "perceptual hash, 64 bits"],
        ["`bytes`, `format`, `width`, `height`", "of the file; px"],
        ["`keep`, `reason`, `value`, `threshold`", "what was decided, and why"],
        ["`kept_as`", "sha256 of the copy that was kept for it"],
        ["`licence`, `author`, `page_url`", "what was said of it"],
        *([f"`{name}`", inline(text)] for name, text in columns.items()),
    ]
    return table(("column", "meaning"), rows)
