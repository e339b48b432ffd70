"""Ledgers of finished builds put behind one another: which sources, inputs and shards the new build has from them."""

from __future__ import annotations

import filecmp
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from million_ird.config import differences
from million_ird.curate.carry import MERGE, Origin, Shard, carry_file, remember
from million_ird.curate.contaminated import recogniser
from million_ird.curate.plan import CRAWL, LISTED, PLAN, Plan, load_plan, write_plan
from million_ird.curate.settings import BuildConfig
from million_ird.curate.workspace import stored_config
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.records import Item
from million_ird.sources import SourceSpec
from million_ird.tables import part_path, read_json

Bools = NDArray[np.bool_]
_OPTION = "--from"


@dataclass(frozen=True)
class Ledger:
    """A finished build that is taken over.

    Attributes:
        folder: of the build, absolute.
        config: by which it was measured.
        plan: what it measured.
    """

    folder: Path
    config: BuildConfig
    plan: Plan

    def listed(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The inputs of a shard as they were listed."""
        with (self.folder / LISTED).open("rb") as file:
            return pq.ParquetFile(file).read_row_group(shard, list(columns) if columns else None)

    def keys(self, shard: int, labels: dict[str, str], wanted: set[str]) -> NDArray[np.bytes_]:
        """(n,) keys that a shard's inputs have under new labels of their sources; b"" for sources not wanted."""
        table = self.listed(shard, ["source", "uri"])
        pairs = zip(table.column("source").to_pylist(), table.column("uri").to_pylist(), strict=True)
        found = [Item(labels[source], uri, b"").key if labels[source] in wanted else "" for source, uri in pairs]
        return np.array(found, "S32")


@dataclass
class Merge:
    """What a build has of the ledgers it is made from.

    Attributes:
        ledgers: in their order.
        plan: their plans behind one another: of inputs that several have, the first counts.
        labels: for each ledger, its sources' labels -> those they have here.
        files: of sources that the web gave to be read in place (a list, an archive): label -> the file.
        gone: (ledger, shard) -> (n,) bool, inputs that an earlier ledger has; shards that lose none are not here.
    """

    ledgers: tuple[Ledger, ...]
    plan: Plan
    labels: list[dict[str, str]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    gone: dict[tuple[int, int], Bools] = field(default_factory=dict)

    def triage(self) -> bool:
        """Whether a ledger was measured by the header first."""
        return any(ledger.config.measure.triage for ledger in self.ledgers)

    def check(self, config: BuildConfig, out: Path | None) -> None:
        """Refuse ledgers that were measured otherwise than the new build measures, and a folder (None = an empty one)
        that holds another build.

        Raises:
            ConfigError, OutputError: naming what differs.
        """
        for ledger in self.ledgers:
            found = differences(_measured_by(ledger.config, config), _measured_by(config, config))
            if found:
                raise ConfigError(
                    f"{_OPTION} {ledger.folder}: measured by another configuration ({'; '.join(found)}): choose the "
                    "same, or build it anew"
                )
        limit = config.sources.limit
        if limit is not None and limit < self.plan.inputs:
            raise ConfigError(f"sources.limit: {limit}, but the ledgers hold {self.plan.inputs} inputs; leave it out")
        if out is not None and (out / PLAN).exists():
            was = [Path(one["folder"]) for one in (read_json(out / MERGE) or {"ledgers": []})["ledgers"]]
            if was != [ledger.folder for ledger in self.ledgers]:
                what = f"a merge of {', '.join(map(str, was))}" if was else "a build of its own"
                raise OutputError(f"--out {out} holds {what}: choose another --out, or start over with --fresh")

    def write(self, out: Path) -> Plan:
        """Write the plan, and where the parts of its shards come from; `carry.bring` fetches them."""
        for spec in self.plan.sources:
            if spec.label in self.files:
                carry_file(self.files[spec.label], Path(spec.root) / spec.paths[0])
        origins = [Origin(str(one.folder), labels) for one, labels in zip(self.ledgers, self.labels, strict=True)]
        remember(out, origins, [self._shard(number, shard) for number, shard in self._shards()])
        write_plan(out, self.plan, (self._group(number, shard) for number, shard in self._shards()))
        return self.plan

    def _shards(self) -> Iterator[tuple[int, int]]:
        for number, ledger in enumerate(self.ledgers):
            for shard in range(ledger.plan.shards):
                if not self.gone.get((number, shard), np.zeros(1, bool)).all():
                    yield number, shard

    def _shard(self, number: int, shard: int) -> Shard:
        renamed = any(old != new for old, new in self.labels[number].items())
        return Shard(number, shard, not renamed and (number, shard) not in self.gone)

    def _group(self, number: int, shard: int) -> pa.Table:
        table = self.ledgers[number].listed(shard)
        labels = [self.labels[number][name] for name in table.column("source").to_pylist()]
        table = table.set_column(table.column_names.index("source"), "source", pa.array(labels, pa.string()))
        gone = self.gone.get((number, shard))
        return table if gone is None else table.filter(pa.array(~gone))


def open_ledgers(names: Sequence[str | Path], out: str | Path) -> list[Ledger]:
    """The builds that a command line names, each by its folder or by the folder `ledger` in it.

    Raises:
        InputError: one is no finished build, is named twice, or is the folder to work in.
    """
    found: list[Ledger] = []
    for name in names:
        ledger = _opened(name)
        folder, plan = ledger.folder, ledger.plan
        if folder == Path(out).expanduser().resolve():
            raise InputError(f"{_OPTION} {name}: that is the folder to work in; give another --out")
        if any(folder == one.folder for one in found):
            raise InputError(f"{_OPTION} {name}: this ledger is given twice; name it once")
        missing = sum(not part_path(folder / "ledger" / "base", shard).exists() for shard in range(plan.shards))
        if missing:
            raise InputError(
                f"{_OPTION} {name}: not finished, {missing} of {plan.shards} shards are not measured; run "
                f"`mird build --out {folder} --config {folder / 'build.yaml'}` first"
            )
        found.append(ledger)
    return found


def _opened(name: str | Path) -> Ledger:
    if "://" in str(name):
        raise InputError(f"{_OPTION} {name}: a ledger is a folder of this machine; copy it here first")
    folder = _home(Path(name).expanduser().resolve())
    plan = load_plan(folder) if folder.is_dir() else None
    if plan is None or not (folder / "build.yaml").exists():
        raise InputError(f"{_OPTION} {name}: no build here ({PLAN} or build.yaml is missing)")
    return Ledger(folder, stored_config(folder), plan)


def _home(path: Path) -> Path:
    return path.parent if path.name == "ledger" and not (path / PLAN).exists() else path


def stored_by(name: str | Path) -> dict[str, Any]:
    """The configuration of a ledger, without its limit: what a build from it goes by where nothing else is said.

    Raises:
        InputError: there is no build.
    """
    config = _opened(name).config
    return config.model_copy(update={"sources": config.sources.model_copy(update={"limit": None})}).model_dump(
        mode="json"
    )


def is_build(name: str | Path) -> bool:
    """Whether a path is the folder of a build, or the ledger in it."""
    home = _home(Path(name).expanduser().absolute())
    return (home / PLAN).is_file() and (home / "build.yaml").is_file()


def merged(ledgers: Sequence[Ledger], out: str | Path) -> Merge:
    """Put the plans of ledgers behind one another, for a build in the folder `out`; nothing is written.

    A source that two ledgers have is one source: of inputs with the same key the first ledger's counts. Other sources
    keep their labels, or get those that a build of all sources at once would give them, and with them other keys.
    What was passed over is added up, but for ledgers that bring no source of their own.
    """
    made = Merge(tuple(ledgers), Plan((), 0, (), {}, ()))
    sources: list[SourceSpec] = []
    skipped: Counter[str] = Counter()
    paths: list[str] = []
    starts: list[int] = []
    inputs = 0
    for number, ledger in enumerate(ledgers):
        labels, shared = _added(made, sources, ledger, Path(out).absolute() / CRAWL)
        made.labels.append(labels)
        if len(shared) < len(labels):
            skipped.update(ledger.plan.skipped)
        paths += ledger.config.sources.paths if ledger.plan.paths is None else ledger.plan.paths
        known = _known(made, number, shared)
        for shard in range(ledger.plan.shards):
            count = ledger.plan.count(shard)
            if len(known):
                gone = np.isin(ledger.keys(shard, labels, shared), known)
                if gone.any():
                    made.gone[number, shard] = gone
                    count -= int(gone.sum())
            if count:
                starts.append(inputs)
                inputs += count
    made.plan = Plan(tuple(sources), inputs, tuple(starts), dict(skipped), tuple(dict.fromkeys(paths)))
    return made


def _known(made: Merge, number: int, shared: set[str]) -> NDArray[np.bytes_]:
    """Keys that ledgers before this one have of the sources that it shares with them."""
    found = [
        ledger.keys(shard, made.labels[other], shared)
        for other, ledger in enumerate(made.ledgers[:number])
        if shared.intersection(made.labels[other].values())
        for shard in range(ledger.plan.shards)
    ]
    keys = np.unique(np.concatenate(found)) if found else np.empty(0, "S32")
    return keys[keys != b""]


def _added(made: Merge, sources: list[SourceSpec], ledger: Ledger, crawl: Path) -> tuple[dict[str, str], set[str]]:
    """Add a ledger's sources to those so far; its labels -> the new ones, and which of these were there already."""
    own = {spec.label for spec in ledger.plan.sources}
    labels: dict[str, str] = {}
    shared: set[str] = set()
    for spec in ledger.plan.sources:
        held = _held(ledger.folder, spec)
        twin = next((one for one in sources if _same(one, spec, made.files.get(one.label), held)), None)
        if twin is not None:
            labels[spec.label] = twin.label
            shared.add(twin.label)
            continue
        labels[spec.label] = label = _free(spec.label, own, {one.label for one in sources})
        spec = replace(spec, label=label)
        if held is not None:
            taken = any(one.label in made.files and one.paths == spec.paths for one in sources)
            spec = replace(spec, root=str(crawl / label if taken else crawl))
            made.files[label] = held
        sources.append(spec)
    return labels, shared


def _held(folder: Path, spec: SourceSpec) -> Path | None:
    """The file of a source that the web gave, in the build's own folder; None for all other sources."""
    root, crawl = Path(spec.root).resolve(), folder / CRAWL
    if spec.protocol or (spec.web and spec.kind != "list") or crawl not in (root, root.parent) or len(spec.paths) != 1:
        return None
    return root / spec.paths[0]


def _same(one: SourceSpec, other: SourceSpec, file: Path | None, held: Path | None) -> bool:
    """Whether two sources lie in one place; those that were brought from the web, whether they are the same file."""
    if file is not None and held is not None:
        return one.kind == other.kind and filecmp.cmp(file, held, shallow=False)
    return (one.protocol, one.root, one.paths) == (other.protocol, other.root, other.paths)


def _free(label: str, own: set[str], taken: set[str]) -> str:
    """A label that is not taken: `photos`, else `photos-2` and so on; `photos-2` beside a `photos` was counted so."""
    stem = re.sub(r"-\d+$", "", label)
    base = stem if stem in own else label
    found, count = label, 1
    while found in taken:
        count += 1
        found = f"{base}-{count}"
    return found


def _measured_by(config: BuildConfig, new: BuildConfig) -> dict[str, Any]:
    """What a ledger's values rest on, as far as the new build asks for them."""
    measure, asked = config.measure, new.measure
    known = recogniser(new.policy)
    found = recogniser(config.policy) if known else None
    onnx = {name: file.model_dump(mode="json", exclude={"path", "help"}) for name, file in measure.onnx.items()}
    return {
        "limits": config.limits.model_dump(mode="json"),
        "dedup": config.dedup.model_dump(mode="json"),
        "measure": {
            # Measured without triage, there is more than is needed with it; the other way round there is less.
            "triage": bool(measure.triage) and not asked.triage,
            "meters": [name for name in asked.meters if name in measure.meters],
            "options": {name: values for name, values in measure.options.items() if name in asked.meters},
            "onnx": {name: file for name, file in onnx.items() if name in asked.onnx},
        },
        "policy": {"contaminated": {"sets": found.name if found else None}},
    }
