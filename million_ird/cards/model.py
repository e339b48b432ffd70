"""The card of a network that `mird train` made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from million_ird.cards.markdown import citation, folded, head, inline, slug, table

PAPERS = {
    "restormer": ("Restormer", "2111.09881"),
    "promptir": ("PromptIR", "2306.13090"),
    "dynet": ("DyNet", "2404.02154"),
    "abair": ("ABAIR", "2411.18412"),
}
"""Family -> what it is called in print, and its arXiv number."""

_VARIANTS = {"small": "s", "large": "l"}
_USE = (
    "For research and for restoring photographs whose degradations are of the kinds named above. Not for evidence: a "
    "restored picture shows what the network takes for likely, which need not be what was there. Not for medical, "
    "forensic or biometric use."
)


@dataclass(frozen=True)
class DataFacts:
    """One set of training data.

    Attributes:
        task: name in the run.
        name: of the folder or the dataset; no path.
        kind: what it is, in words.
        images: how many; None where that is not known.
        hash: sha256 or a hash of the configuration, with its kind before a colon; "" where it cannot be told.
        recipe: what degraded it, "" where it holds pairs.
    """

    task: str
    name: str
    kind: str
    images: int | None
    hash: str
    recipe: str


@dataclass(frozen=True)
class ModelFacts:
    """What a card tells of a network.

    Attributes:
        name: title.
        family: of `million_ird.models`.
        config: the network's, as in config.json.
        parameters: how many numbers the weights hold.
        bytes: of all files of weights.
        adapters: names, () where it has none.
        data: what it was trained on; () where no run is known.
        recipe: the run's configuration as YAML without paths of a machine, "" where no run is known.
        settings: the same as a mapping.
        commit: hash of `recipe`, hex.
        status: of the run: "done", "stopped", "" = not known.
        step: how many steps it had.
        evals: what `mird eval` wrote, one per file.
        licence: the Hub's name of one, "" = not stated.
        version: of million-ird.
        repo: ORG/NAME it is published as, "" where it is not.
        contact: whom to write to, "" = the discussions of the repository.
    """

    name: str
    family: str
    config: Mapping[str, Any]
    parameters: int
    bytes: int
    version: str
    adapters: Sequence[str] = ()
    data: Sequence[DataFacts] = ()
    recipe: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    commit: str = ""
    status: str = ""
    step: int = 0
    evals: Sequence[Mapping[str, Any]] = ()
    licence: str = ""
    repo: str = ""
    contact: str = ""


def model_card(facts: ModelFacts) -> str:
    """The text of README.md."""
    title, number = PAPERS.get(facts.family, (facts.family, ""))
    paper = f"[{title}](https://arxiv.org/abs/{number})" if number else title
    where = facts.repo or "PATH_OF_THIS_FOLDER"
    parts = [
        head(_head(facts)),
        f"# {inline(facts.name)}",
        f"An image restoration network of the {paper} family: {facts.parameters / 1e6:,.2f} M parameters, "
        f"{facts.bytes / 1e6:,.1f} MB. Made with million-ird {facts.version}.",
        f"## Load\n\n```python\nfrom million_ird import models\nfrom million_ird.restore import restore\n\n"
        f'restored = restore(models.load("{where}"), image)  # (H, W, 3) uint8, uint16 or float, any size\n```\n\n'
        f"Or on the command line: `mird restore photos/ --model {where} --out restored/`.",
        "## Architecture\n\n" + _architecture(facts),
        *_training(facts),
        "## Evaluation\n\n" + ("\n\n".join(map(_evaluation, facts.evals)) or "Not evaluated by `mird eval` yet."),
        "## Intended use and limits\n\n" + _USE + _limits(facts),
        "## Licence and contact\n\n" + _licence(facts),
        "## Citation\n\n" + citation("model", facts.name, facts.repo, _note(facts, title, number)),
    ]
    return "\n\n".join(parts) + "\n"


def _head(facts: ModelFacts) -> dict[str, Any]:
    number = PAPERS.get(facts.family, ("", ""))[1]
    return {
        "library_name": "million-ird",
        "pipeline_tag": "image-to-image",
        "license": facts.licence or "other",
        "license_name": None if facts.licence else "not-stated",
        "tags": ["image-restoration", "million-ird", facts.family, *([f"arxiv:{number}"] if number else [])],
        "model-index": _results(facts) if facts.evals else None,
    }


def _results(facts: ModelFacts) -> list[dict[str, Any]]:
    """Scores as the Hub reads them; what is not finite has no place there."""
    results = []
    for table_ in facts.evals:
        for found in table_["sets"]:
            means = found["mean"]["output"]
            metrics = [
                {"name": name, "type": slug(name), "value": round(float(value), 4)}
                for name, value in means.items()
                if value is not None and math.isfinite(float(value))
            ]
            if metrics:
                results.append(
                    {
                        "task": {"type": "image-to-image", "name": "Image restoration"},
                        "dataset": {"type": slug(found["name"]), "name": found["name"]},
                        "metrics": metrics,
                    }
                )
    return [{"name": facts.name, "results": results}]


def _architecture(facts: ModelFacts) -> str:
    rows = [[inline(name), inline(str(value))] for name, value in facts.config.items() if name not in _ABOUT]
    text = table(("field", "value"), [["model", inline(facts.family)], *rows])
    found = [
        f'`net.variant = "{short}"` (blocks applied {facts.config[name]} times)'
        for name, short in _VARIANTS.items()
        if name in facts.config
    ]
    if found:
        text += f"\n\nVariants of the same weights: {'; '.join(found)}."
    if facts.adapters:
        named = ", ".join(f"`{inline(name)}`" for name in facts.adapters)
        text += f"\n\nAdapters: {named}; `net.adapters = {{NAME: 1.0}}`."
    return text


_ABOUT = ("million_ird", "model")


def _training(facts: ModelFacts) -> list[str]:
    if not facts.recipe:
        return ["## Training\n\nNot known: the weights were published without the run that made them."]
    known = facts.settings
    status = "" if facts.status in ("", "done") else f" ({facts.status} before its end)"
    steps = f"{facts.step:,} of {known.get('steps', 0):,} steps{status}"
    text = (
        f"`mird train {known.get('family')}`, stage {known.get('stage')}: {steps}, batch {known.get('batch')}, crops "
        f"of {known.get('data', {}).get('size')} px, seed {known.get('seed')}. Hash of the configuration: "
        f"`{facts.commit}`.\n\n" + folded("train.yaml", facts.recipe)
    )
    rows = [
        [
            f"`{inline(one.task)}`" if one.task else "",
            inline(one.name),
            one.kind,
            "" if one.images is None else f"{one.images:,}",
            inline(one.recipe),
            f"`{one.hash}`" if one.hash else "not known",
        ]
        for one in facts.data
    ]
    names = ("task", "data", "kind", "images", "degraded by", "hash")
    return ["## Training\n\n" + text, "## Training data\n\n" + table(names, rows, right=(3,))]


def _evaluation(found: Mapping[str, Any]) -> str:
    """One file of `mird eval` as a table: score of the output, and that of the input in brackets."""
    metrics = list(found["metrics"])
    rows = []
    for one in found["sets"]:
        mean = one["mean"]
        cells = [f"{_number(mean['output'].get(name))} ({_number(mean['input'].get(name))})" for name in metrics]
        rows.append([inline(one["name"]), f"{one['images']:,}", *cells])
    right = range(1, 2 + len(metrics))
    protocol = found.get("protocol", {})
    text = table(("set", "images", *metrics), rows, right=list(right))
    text += f"\n\nEach cell: restored (degraded input). Protocol `{protocol.get('name')}`: {protocol.get('about')}"
    warned = [f"- {inline(one['name'])}: {inline(line)}" for one in found["sets"] for line in one.get("warnings", ())]
    return text + ("\n\nWarnings:\n\n" + "\n".join(warned) if warned else "")


def _number(value: Any) -> str:
    return "-" if value is None else f"{float(value):.4g}"


def _limits(facts: ModelFacts) -> str:
    recipes = sorted({one.recipe for one in facts.data if one.recipe})
    if not recipes:
        return ""
    named = ", ".join(f"`{inline(name)}`" for name in recipes)
    return (
        f"\n\nIt has seen degradations that the recipe {named} makes, on crops; real ones differ, and stronger or "
        "other ones than these it may leave as they are or make worse."
    )


def _licence(facts: ModelFacts) -> str:
    stated = f"Weights: {inline(facts.licence)}." if facts.licence else "No licence is stated for the weights."
    whom = inline(facts.contact) if facts.contact else "the discussions of this repository (tab Community)"
    return f"{stated} The terms of the training data are those of its sources. Contact: {whom}."


def _note(facts: ModelFacts, title: str, number: str) -> str:
    family = f"; {title}, arXiv {number}" if number else ""
    return f"million-ird {facts.version}{family}" + (f"; configuration {facts.commit}" if facts.commit else "")
