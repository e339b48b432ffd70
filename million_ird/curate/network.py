"""What `mird build` asks of the web: which shards are fetched, judged by what, and kept from what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from million_ird.curate.blocklist import Blocklist
from million_ird.curate.plan import STORE, Plan, listed_items, web_shards
from million_ird.curate.remote import push_fetched
from million_ird.curate.rules import header_judge
from million_ird.curate.settings import BuildConfig
from million_ird.curate.workspace import Workspace
from million_ird.records import Item
from million_ird.sources import SourceSpec
from million_ird.sources.web import need_web
from million_ird.sources.web.answer import heals_later
from million_ird.sources.web.store import Row, index_rows, located, stored

ROBOTS = "robots.sqlite"


@contextmanager
def fetched(
    space: Workspace, plan: Plan, config: BuildConfig, shards: Sequence[int], only: frozenset[str] | None
) -> Iterator[tuple[Iterable[int | None], Callable[[], str] | None]]:
    """Shards as they become ready to be measured, None where one has to wait; and what tells of the traffic.

    Args:
        space: the run's folder.
        plan: its plan.
        config: its `fetch` section and the rules that a header can fail.
        shards: to be measured.
        only: keys that are fetched again, where they failed, or whole, where their head had been enough; None = all
            that was never fetched.
    """
    store = space.out / STORE
    web = {spec.label: spec.kind == "site" for spec in plan.sources if spec.web}
    wanted = []
    if web:
        on_web = set(web_shards(space.out, plan))
        wanted = [shard for shard in shards if shard in on_web and (only is not None or not stored(store, shard))]
    if not wanted:
        yield shards, None
        return
    need_web()
    from million_ird.sources.web.downloads import Downloads, Work

    def again(row: Row) -> bool:
        asked = only is not None and row["key"] in only
        return asked and (bool(row["facts"]) or heals_later(row["error"], row["detail"]))

    work = Work(store, wanted, lambda shard: listed_items(space.out, shard), web, only or frozenset(), again)
    judge = header_judge(config.policy) if config.measure.triage else None
    refuse = Blocklist.of(config.fetch.blocklist, space.out)
    (space.out / "cache").mkdir(exist_ok=True)
    with Downloads(work, config.fetch, judge, refuse, space.out / "cache" / ROBOTS) as downloads:
        traffic = downloads.traffic
        yield chain((shard for shard in shards if shard not in set(wanted)), _shipped(space, downloads)), traffic.text
    facts = {**asdict(traffic), "errors": dict(traffic.errors)}
    space.event("fetch", **{name: facts[name] for name in ("done", "good", "bytes", "saved", "errors")})


def _shipped(space: Workspace, downloads: Iterable[int | None]) -> Iterator[int | None]:
    """Shards as they are fetched, and put at the address of the run, where it has one."""
    for shard in downloads:
        if shard is not None and space.mount:
            push_fetched(space.mount, shard)
        yield shard


def fetch_sample(
    items: list[Item], specs: Sequence[SourceSpec], config: BuildConfig, folder: Path
) -> tuple[list[Item], float, float, float]:
    """A few items, those of the web fetched into a folder; and per item of the web: requests, bytes, seconds."""
    web = {spec.label: False for spec in specs if spec.web}
    if not any(item.source in web for item in items):
        return items, 0.0, 0.0, 0.0
    from million_ird.sources.web.downloads import Downloads, Work

    judge = header_judge(config.policy) if config.measure.triage else None
    work = Work(folder, [0], lambda shard: items, web)
    with Downloads(work, config.fetch, judge, Blocklist.of(config.fetch.blocklist, folder), None) as downloads:
        for ready in downloads:
            time.sleep(0.01 if ready is None else 0)
    rows = [row for row, item in zip(index_rows(folder, 0), items, strict=True) if item.source in web]
    means = [sum(row[name] for row in rows) / len(rows) for name in ("requests", "received", "seconds")]
    return located(folder, 0, items), means[0], means[1], means[2]
