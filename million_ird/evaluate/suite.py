"""All the sets of one `mird eval`: scores, what makes them doubtful, the tables and the crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from million_ird.evaluate import crops as strips
from million_ird.evaluate.contamination import Ledger, Seen, seen
from million_ird.evaluate.protocols import Protocol
from million_ird.evaluate.run import Restore, evaluate
from million_ird.evaluate.sets import Spec, TestSet
from million_ird.evaluate.table import Table

Watch = Callable[[str, int, int], None]
"""Told (stage, done, total)."""


def suite(
    model: str,
    sets: Sequence[TestSet],
    restore_for: Callable[[Spec], Restore],
    protocol: Protocol,
    metrics: tuple[str, ...],
    out: Path,
    *,
    ledgers: Sequence[Ledger] = (),
    crops: bool = True,
    facts: Mapping[str, Any] | None = None,
    watch: Watch = lambda stage, done, total: None,
    warn: Callable[[str], None] = lambda text: None,
) -> tuple[Table, list[Path]]:
    """Evaluate every set and write OUT.json with .csv, .md, .tex and a folder of crops beside it.

    Args:
        model: what the table calls it.
        sets: as `sets.open_set` gives them; their labels differ.
        restore_for: what restores the pictures of a spec; where it has `warnings`, those go into the table.
        protocol, metrics: of all sets.
        out: the JSON file.
        ledgers: of the builds that the model was trained on.
        crops: write the worst and the median picture of each set.
        facts: about the run, for the table.
        watch: told (stage, done, total).
        warn: told what makes a set's numbers doubtful, before its pictures are restored where it is known by then.

    Returns:
        The table, and all files written.
    """
    about = {test.spec.label: _facts(test, ledgers, watch) for test in sets}
    for label, found in about.items():
        for text in found["warnings"]:
            warn(f"{label}: {text}")
    scores, pictures = [], []
    for test in sets:
        label, count, restore = test.spec.label, len(test.pairs), restore_for(test.spec)
        watch(label, 0, count)

        def told(done: int, name: str, label: str = label, count: int = count) -> None:
            watch(label, done, count)

        scores.append(evaluate(test.samples(protocol), restore, protocol, metrics, told, label=label))
        for text in getattr(restore, "warnings", ()):
            about[label]["warnings"].append(text)
            warn(f"{label}: {text}")
        if crops:
            pictures += strips.write(out.with_name(f"{out.stem}_crops"), test, scores[-1], restore, protocol)
    table = Table(model, protocol, tuple(scores), facts or {}, about)
    return table, [*table.write(out), *pictures]


def _facts(test: TestSet, ledgers: Sequence[Ledger], watch: Watch) -> dict[str, Any]:
    """What is worth knowing of a set: what it is, what is missing, and which of its pictures were trained on."""
    found, spec = test.found, test.spec
    warnings = []
    if found.missing:
        warnings.append(f"{len(found.missing)} degraded pictures have no clean one (`mird data check` lists them)")
    if found.published and len(found.pairs) != found.published:
        warnings.append(f"{len(found.pairs):,} pictures here, {found.published:,} as published")
    copies: list[Seen] = []
    stage = f"{spec.label}: seen in training?"
    for ledger in ledgers:
        pictures = [(pair.name, pair.clean) for pair in test.pairs]
        copies += seen(ledger, pictures, lambda done, total: watch(stage, done, total))
    if copies:
        shown = ", ".join(f"{one.name} ({one.uri})" for one in copies[:3])
        count = len({one.name for one in copies})
        warnings.append(f"{count} of {len(test.pairs)} pictures look like pictures trained on: {shown}")
    recipe = {"recipe": spec.recipe, "seed": spec.seed} if spec.recipe else {}
    return {
        "layout": found.layout,
        "split": spec.split,
        **({} if spec.sigma is None else {"sigma": spec.sigma}),
        **recipe,
        "missing": found.missing,
        "notes": found.notes,
        "seen_in_training": [{"name": one.name, "uri": one.uri} for one in copies] if ledgers else None,
        "warnings": warnings,
    }
