"""From the folder of a build to what its card tells."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from million_ird import __version__
from million_ird.cards import PICTURES, DatasetFacts, Threshold, WebFacts, histogram
from million_ird.cards.markdown import slug
from million_ird.config import to_yaml, validate
from million_ird.curate.credit import credit_of, hub_licence, licence_of, parsed
from million_ird.curate.ledger import measurement_columns
from million_ird.curate.passes.columns import filled_columns
from million_ird.curate.plan import STORE, Plan, load_plan, web_shards
from million_ird.curate.rules import DERIVED, lines, reasons, values
from million_ird.curate.settings import BuildConfig
from million_ird.curate.survey import Line
from million_ird.curate.traffic import traffic, web_facts
from million_ird.curate.workspace import stored_config
from million_ird.errors import InputError, OutputError
from million_ird.publish.places import bare
from million_ird.sources.web.guard import SCHEMES
from million_ird.tables import read_json, read_parts


@dataclass(frozen=True)
class Build:
    """A finished build, as far as it is to be told.

    Attributes:
        out: its folder.
        config: as it was resolved.
        plan: its sources and shards.
        decisions: of decisions.parquet, in plan order.
    """

    out: Path
    config: BuildConfig
    plan: Plan
    decisions: pa.Table

    @classmethod
    def of(cls, folder: str | Path) -> Build:
        """Read one.

        Raises:
            InputError: there is no finished build.
        """
        out = Path(folder)
        if not (out / "build.yaml").is_file():
            raise InputError(f"{out}: no build here (build.yaml is missing); name the --out of `mird build`")
        plan = load_plan(out)
        if plan is None or not (out / "decisions.parquet").is_file():
            raise InputError(f"{out}: this build is not finished; run the same `mird build` again")
        with (out / "decisions.parquet").open("rb") as file:
            decided = pq.read_table(file)
        if decided.num_rows != plan.inputs:
            raise OutputError(f"{out / 'decisions.parquet'}: is of another build; run the same `mird build` again")
        return cls(out, stored_config(out), plan, decided)

    @property
    def keep(self) -> np.ndarray:
        """(N,) bool."""
        return self.decisions.column("keep").to_numpy(zero_copy_only=False)

    def table(self, columns: list[str]) -> pa.Table:
        """The ledger in plan order."""
        return read_parts(self.out / "ledger" / "base", self.plan.shards, columns)

    @property
    def recipe(self) -> str:
        """The configuration as YAML without what belongs to this machine alone."""
        data = bare(self.config.model_dump(mode="json"))
        data["fetch"]["hosts"] = {}
        return to_yaml(validate(BuildConfig, data), leave_out={"run"})

    @property
    def commit(self) -> str:
        """Hash of `recipe`, 16 hex digits."""
        return digest(self.recipe)


def digest(text: str) -> str:
    """Hash of a configuration, 16 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def described(build: Build, repo: str = "", contact: str = "") -> tuple[DatasetFacts, dict[str, bytes]]:
    """What a card tells of a build, and the pictures that belong to it: path relative to the card -> PNG.

    Raises:
        OutputError: a part of the ledger is missing.
    """
    config, keep = build.config, build.keep
    columns = measurement_columns(config)
    asked = [line for line in lines(config.policy, config.measure.triage) if line.enabled]
    drawn = _pictures(build, list(dict.fromkeys([*(x.column for x in asked), *columns])), asked)
    metas = build.table(["meta"]).column("meta").filter(pa.array(keep)).to_pylist()
    credit = Counter(credit_of(parsed(text)) for text in metas)
    stated = {hub_licence(licence_of(parsed(text))) for text in metas}
    totals = (read_json(build.out / "state.json") or {}).get("totals", {})
    facts = DatasetFacts(
        name=config.export.name or build.out.resolve().name,
        format=config.export.format,
        inputs=build.plan.inputs,
        images=int(keep.sum()),
        samples=totals.get("samples", int(keep.sum())),
        bytes=totals.get("bytes", 0),
        reasons=_reasons(build),
        sources=list(dict.fromkeys(spec.public for spec in build.plan.sources)),
        credits=dict(sorted(credit.items(), key=lambda pair: (-pair[1], pair[0]))),
        columns={name: column.help for name, column in filled_columns(config).items()},
        config=build.recipe,
        version=__version__,
        web=_web(build),
        thresholds=[Threshold(line.key, line.column, line.bound, line.value) for line in asked],
        pictures={name: path for name, (path, _) in drawn.items()},
        contamination=config.policy.contaminated.sets if config.policy.contaminated.enabled else (),
        licence=stated.pop() if len(stated) == 1 else "",
        repo=repo,
        contact=contact or config.fetch.contact,
        commit=build.commit,
    )
    return facts, dict(drawn.values())


def _pictures(build: Build, names: list[str], asked: list[Line]) -> dict[str, tuple[str, bytes]]:
    """Measurement -> path and PNG of its histogram; only of what was measured, one column in memory at a time."""
    out = {}
    known = read_parts(build.out / "ledger" / "base", min(1, build.plan.shards)).schema.names
    for name in names:
        if name not in DERIVED and name not in known:
            continue
        table = build.table(["width", "height"] if name in DERIVED else [name])
        limits = [line.value for line in asked if line.column == name]
        if picture := histogram(name, values(table, name), build.keep, limits):
            out[name] = (f"{PICTURES}/{slug(name)}.png", picture)
    return out


def _reasons(build: Build) -> dict[str, int]:
    """Dropped inputs by reason, in cascade order."""
    found = Counter(build.decisions.column("reason").to_pylist())
    del found[None]
    known = [name for name in reasons(build.config.policy) if name in found]
    return {name: found[name] for name in [*known, *sorted(found.keys() - set(known))]}


def _web(build: Build) -> WebFacts | None:
    shards = web_shards(build.out, build.plan)
    return web_facts(traffic(build.out / STORE, shards)) if shards else None


def address_of(uri: str) -> str:
    """A URI that is an address of the web; "" of anything else."""
    return uri if uri.partition("://")[0] in SCHEMES and "://" in uri else ""
