"""The stages of `mird build` on one folder: measure, decide, export, report. A stage that is done is not done again."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from million_ird import __version__
from million_ird.cards import DatasetFacts, dataset_card
from million_ird.curate.carry import bring
from million_ird.curate.contaminated import recogniser
from million_ird.curate.credit import credit_of, parsed
from million_ird.curate.decide import Verdicts, decisions, judge
from million_ird.curate.duplicates import near_edges
from million_ird.curate.export import export_dataset
from million_ird.curate.gather import survey
from million_ird.curate.ledger import check_hash, fitted, measurement_columns, part_names, schema, thumbs
from million_ird.curate.measure import MeasureShard
from million_ird.curate.network import fetched
from million_ird.curate.passes.columns import filled_columns
from million_ird.curate.passes.ledger import enabled, read_passes
from million_ird.curate.passes.run import notes, run_passes
from million_ird.curate.plan import STORE, Plan, web_shards
from million_ird.curate.remote import StoreReader, after_measuring, bring_tars, part_name, push_brought
from million_ird.curate.report import render
from million_ird.curate.settings import BuildConfig
from million_ird.curate.similar import similar_rows
from million_ird.curate.summary import BuildSummary
from million_ird.curate.traffic import Traffic, traffic, web_facts
from million_ird.curate.workspace import Workspace, public, without_folders
from million_ird.execute import Executor, WorkerEvent, make
from million_ird.mirror import Mirror
from million_ird.sources.web.answer import heals_later
from million_ird.sources.web.store import index_rows
from million_ird.tables import part_path, read_parts, write_table, write_text

Watch = Callable[..., None]
"""Called with (stage, done, total) as the work goes on, and where the web is read with a note on its traffic; stages:
"list", "merge" (shards), "measure", "decide", "export", "report"."""


@dataclass
class Pipeline:
    """One call's way through the stages.

    Attributes:
        space: the run's folder, locked.
        plan: what there is to do.
        config: by which rules.
        watch: told of progress.
    """

    space: Workspace
    plan: Plan
    config: BuildConfig
    watch: Watch

    @property
    def out(self) -> Path:
        return self.space.out

    @property
    def mirror(self) -> Mirror | None:
        """What tasks fetch from and put to, where the output is an address."""
        return self.space.mount.mirror if self.space.mount else None

    @property
    def ledger(self) -> Path:
        return self.out / "ledger" / "base"

    def run(self, retry_failed: bool = False) -> BuildSummary:
        measured = self.measure()
        self.fit()
        if retry_failed:
            measured += self.retry_failed()
        state, marks = self.space.state(), self.marks()
        if not measured and all(state.get(name) == mark for name, mark in marks.items()) and self._all_written():
            return BuildSummary(**{**state["summary"], "out": self.space.name, "up_to_date": True})
        verdicts = self.judged()
        if "unmeasured" in verdicts.counts():
            measured += self.measure_missing(verdicts)
            verdicts = self.judged()
        verdicts, seen = self.passed(verdicts)
        self.write_decisions(verdicts)
        totals = self.export(verdicts)
        self.write_report(verdicts)
        summary = self.summary(verdicts, totals, notes(self.config))
        self.space.remember(**self.marks(), summary={**asdict(summary), "out": "", "remedy": ""})
        return BuildSummary(**{**asdict(summary), "measured": measured + seen})

    def measure(self) -> int:
        """Bring the shards that other builds have measured, and measure those that have no part then; how many inputs
        these were."""
        brought = bring(self.out, self.plan, partial(self.watch, "merge"))
        if brought:
            push_brought(self.space.mount)
            self.space.event("merge", shards=len(brought), inputs=sum(map(self.plan.count, brought)))
        missing = [shard for shard in range(self.plan.shards) if not part_path(self.ledger, shard).exists()]
        return self._measure(missing, None)

    def fit(self) -> None:
        """Give parts that were written before a meter was added its columns, so that every reader finds them."""
        names = set(schema(self.config).names)
        for shard in range(self.plan.shards):
            if not names <= set(part_names(self.ledger, shard)):
                part = read_parts(self.ledger, shard + 1, first=shard)
                write_table(part_path(self.ledger, shard), fitted(part, self.config))
                self.space.push(part_name(shard))

    def measure_missing(self, verdicts: Verdicts) -> int:
        """Measure the rows that are `unmeasured`, each shard's part written anew."""
        code = verdicts.reasons.index("unmeasured") + 1
        rows = np.flatnonzero((verdicts.code == code) & ~np.any([*verdicts.waiting.values(), verdicts.code < 0], 0))
        keys = read_parts(self.ledger, self.plan.shards, ["key"]).column("key").take(pa.array(rows)).to_pylist()
        return self._measure(sorted({self.plan.shard_of(int(row)) for row in rows}), frozenset(keys))

    def passed(self, verdicts: Verdicts) -> tuple[Verdicts, int]:
        """Run the passes on what all else keeps, the second on what the first keeps, until nothing waits: where one
        drops the best of a cluster, the next best is seen, too. The verdicts then, and how many rows were measured."""
        seen = 0
        while waiting := {name: np.flatnonzero(rows).tolist() for name, rows in verdicts.waiting.items() if rows.any()}:
            first = {name: waiting[name] for name in list(waiting)[:1]}
            bring_tars(self.space.mount, self.plan, *first.values())
            for name, shard, count in run_passes(self.out, self.plan, self.config, first, self.watch):
                self.space.push(part_name(shard, name))
                self.space.event("pass", ran=name, shard=shard, measured=count)
                seen += count
            verdicts = self.judged()
        return verdicts, seen

    def retry_failed(self) -> int:
        """Fetch again what failed and may have healed, and measure it; how many inputs that was."""
        keys: set[str] = set()
        shards = []
        for shard in web_shards(self.out, self.plan):
            rows = index_rows(self.out / STORE, shard, ["key", "error", "detail"])
            # What was fetched before a kill, and not measured after it, is in the store, but the ledger knows nothing.
            part = read_parts(self.ledger, shard + 1, ["key", "status"], first=shard).to_pylist()
            failed = {row["key"] for row in part if row["status"] == "fetch_failed"}
            found = {
                row["key"]
                for row in rows
                if heals_later(row["error"], row["detail"]) or (not row["error"] and row["key"] in failed)
            }
            if found:
                keys |= found
                shards.append(shard)
        return self._measure(shards, frozenset(keys))

    def _measure(self, shards: list[int], only: frozenset[str] | None) -> int:
        if not shards:
            return 0
        total = len(only) if only is not None else sum(map(self.plan.count, shards))
        task = MeasureShard(str(self.out), self.plan.sources, self.config, self.space.run, only, self.mirror)
        with fetched(self.space, self.plan, self.config, shards, only) as (ready, note):
            for shard, statuses in self._execute("measure", task, ready, len(shards), total, note):
                after_measuring(self.space.mount, shard)
                self.space.event("shard", shard=shard, statuses=statuses)
        return total

    def _execute(
        self,
        stage: str,
        task: Any,
        shards: Iterable[int | None],
        count: int,
        total: int,
        note: Callable[[], str] | None = None,
    ) -> Iterator[tuple[int, Any]]:
        done = 0

        def progress(count: int) -> None:
            nonlocal done
            done += count
            self.watch(stage, done, total, *([note()] if note else []))

        self.watch(stage, 0, total)
        yield from self._executor(stage, count).run(task, shards, progress)

    def _executor(self, stage: str, shards: int) -> Executor:
        run = self.config.run
        workers = run.workers
        if run.executor == "local":
            workers = min(os.cpu_count() or 1 if workers is None else workers, shards)
            # One file of images that were decoded before needs no process of its own.
            if stage == "export" and workers == 1:
                workers = 0
        unseen = self.mirror is not None and not self.mirror.shared
        if unseen or any(spec.protocol == "memory" for spec in self.plan.sources):
            workers = 0  # what lies in the memory of this process is seen by no other
        seconds = self.config.limits.seconds_per_image
        return make(run.executor, workers, run.ray_address, seconds, self.out / "logs", self._on_death)

    def _on_death(self, event: WorkerEvent) -> None:
        self.space.event("worker died", "warning", shard=event.shard, why=event.why, said=without_folders(event.said))

    def judged(self) -> Verdicts:
        """The verdicts on the ledger as it lies on disk."""
        self.watch("decide", 0, self.plan.inputs)
        names = ["key", "id", "uri", "status", "width", "height", "bytes", "meters", "phash"]
        table = self.table([*names, *measurement_columns(self.config)])
        check_hash(table, self.config)
        hashes = pc.fill_null(table.column("phash"), 0).to_numpy().astype(np.uint64, copy=False)
        verdicts = judge(
            table,
            self.config,
            measurement_columns(self.config),
            lambda nodes: near_edges(self.out, hashes, lambda: thumbs(self.table(["thumb"])), nodes, self.config),
            read_passes(self.out, self.plan.shards, self.config, table.column("key")),
            lambda rows: similar_rows(self.out, self.plan, self.config, table.column("key"), rows),
        )
        self.watch("decide", self.plan.inputs, self.plan.inputs)
        return verdicts

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The ledger in plan order."""
        parts = (read_parts(self.ledger, shard + 1, columns, first=shard) for shard in range(self.plan.shards))
        return pa.concat_tables([fitted(part, self.config, columns) for part in parts])

    def write_decisions(self, verdicts: Verdicts) -> None:
        write_table(self.out / "decisions.parquet", decisions(self.table(["key", "id", "uri"]), verdicts))
        self.space.push("decisions.parquet")
        self.space.remember(decisions=self.marks()["decisions"])

    def export(self, verdicts: Verdicts) -> dict[str, int]:
        """Write the dataset, unless it holds these very decisions already."""
        state, mark = self.space.state(), self.marks()["dataset"]
        if state.get("dataset") == mark and (self.out / "dataset" / "README.md").exists():
            return state["totals"]
        table = self.table(["key", "id", "bytes"])

        def finish(folder: Path, totals: dict[str, int]) -> None:
            write_text(folder / "README.md", dataset_card(self._card(verdicts, totals)))

        def run(task: Any, files: Sequence[int]) -> Iterator[tuple[int, Any]]:
            yield from self._execute("export", task, files, len(files), verdicts.kept)

        keep = pa.array(verdicts.code == 0)
        totals = export_dataset(self.out, self.plan, table, keep, self.config, run, finish, self.space.mount)
        self.space.remember(dataset=mark, totals=totals)
        self.space.event("export", totals=totals)
        return totals

    def write_report(self, verdicts: Verdicts) -> None:
        self.watch("report", 0, 1)
        columns = measurement_columns(self.config)
        table = self.table(["uri", "status", "width", "height", "bytes", *columns])
        settings = self.config.report
        with StoreReader(self.plan.sources, self.out / STORE, self.mirror) as reader:
            data = survey(self.out, self.plan, table, verdicts, self.config, reader, self._traffic())
            page = render(data, seed=self.config.seed, exact_rows=settings.exact_rows, samples=settings.samples)
        write_text(self.out / "report.html", page)
        self.space.push("report.html")
        self.space.remember(report=self.marks()["report"])
        self.watch("report", 1, 1)

    def _traffic(self) -> Traffic | None:
        shards = web_shards(self.out, self.plan)
        return traffic(self.out / STORE, shards) if shards else None

    def marks(self) -> dict[str, str]:
        """What goes into each stage, as one hash: a stage whose mark is in the state needs no second run."""
        folders = [self.ledger, *(self.out / "ledger" / name for name in enabled(self.config))]
        parts = [part_path(folder, shard) for folder in folders for shard in range(self.plan.shards)]
        facts = [part.stat() for part in parts if part.parent == self.ledger or part.exists()]
        ledger = [[part.st_size, part.st_mtime_ns] for part in facts]
        config = self.config.model_dump(mode="json")
        pins = self.config.policy.pins.file
        pinned = Path(pins).read_bytes().hex() if pins and Path(pins).exists() else ""
        known = recogniser(self.config.policy)
        config["policy"]["contaminated"]["digest"] = known.name if known else ""
        decided = [__version__, ledger, config["policy"], config["dedup"], config["measure"], config["passes"], pinned]
        return {
            "decisions": _hash(decided),
            "dataset": _hash([decided, config["export"]]),
            "report": _hash([decided, config["report"], config["export"]["name"], config["seed"]]),
        }

    def _all_written(self) -> bool:
        return all((self.out / name).exists() for name in ("decisions.parquet", "dataset/README.md", "report.html"))

    def summary(self, verdicts: Verdicts, totals: dict[str, int], warnings: Sequence[str]) -> BuildSummary:
        counts = verdicts.counts()
        found = [*warnings]
        if verdicts.unknown_pins:
            found.append(f"policy.pins: {len(verdicts.unknown_pins)} match no input, first: {verdicts.unknown_pins[0]}")
        if counts.get("crashed"):
            found.append(f"{counts['crashed']} inputs crashed their worker; see run.jsonl")
        return BuildSummary(
            self.space.name,
            self.plan.inputs,
            verdicts.kept,
            counts,
            self.plan.skipped,
            totals,
            warnings=tuple(found),
            remedy=self.again() if counts.get("unmeasured") else "",
        )

    def again(self) -> str:
        """The command that goes on by the configuration that lies here."""
        return f"mird build --out {self.space.name} --config {self.out / 'build.yaml'}"

    def _card(self, verdicts: Verdicts, totals: dict[str, int]) -> DatasetFacts:
        metas = self.table(["meta"]).column("meta").filter(pa.array(verdicts.code == 0)).to_pylist()
        credit = Counter(credit_of(parsed(text)) for text in metas)
        return DatasetFacts(
            name=self.config.export.name or self.out.resolve().name,
            format=self.config.export.format,
            inputs=self.plan.inputs,
            images=verdicts.kept,
            samples=totals["samples"],
            bytes=totals["bytes"],
            reasons=verdicts.counts(),
            sources=list(dict.fromkeys(spec.public for spec in self.plan.sources)),
            credits=dict(sorted(credit.items(), key=lambda pair: (-pair[1], pair[0]))),
            columns={name: column.help for name, column in filled_columns(self.config).items()},
            config=public(self.config),
            version=__version__,
            web=web_facts(web) if (web := self._traffic()) else None,
        )


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
