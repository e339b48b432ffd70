"""What the indexes of the store say, summed up for the card and the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from million_ird.cards import WebFacts
from million_ird.sources.web.store import index_rows

SHOWN_HOSTS = 20
_COLUMNS = ("host", "error", "size", "received", "requests", "seconds", "at", "signals", "obeyed", "facts", "offset")


@dataclass(frozen=True)
class Host:
    """One host: what was asked of it, what came, and how long an answer took, s."""

    name: str
    inputs: int
    fetched: int
    seconds: float


@dataclass(frozen=True)
class Traffic:
    """All that was fetched for a build.

    Attributes:
        inputs: of the web.
        fetched: with their bytes, or judged by their head.
        judged: by their head alone.
        errors: class -> inputs, the most frequent first.
        signals: what owners said about use -> inputs.
        hosts: how many there are.
        largest: those with the most inputs.
        slowest: those that took longest to answer, of the ones asked three times or more.
        requests: made, robots.txt not counted.
        received: bytes.
        saved: bytes of files whose head was enough.
        disobeyed: inputs for which robots.txt and signals were not asked.
        first, last: when, UTC, ISO 8601.
    """

    inputs: int
    fetched: int
    judged: int
    errors: dict[str, int]
    signals: dict[str, int]
    hosts: int
    largest: tuple[Host, ...]
    slowest: tuple[Host, ...]
    requests: int
    received: int
    saved: int
    disobeyed: int
    first: str
    last: str


def traffic(store: Path, shards: Sequence[int]) -> Traffic:
    """Read the indexes of these shards, one after the other."""
    errors: Counter[str] = Counter()
    signals: Counter[str] = Counter()
    hosts: dict[str, list[float]] = {}
    judged = requests = received = saved = disobeyed = 0
    first, last = "9", ""
    for shard in shards:
        for row in index_rows(store, shard, _COLUMNS):
            if not row["error"] and not row["facts"] and row["offset"] < 0:  # of a source that is not on the web
                continue
            errors[row["error"]] += 1
            if row["facts"] and not row["error"]:
                judged += 1
                saved += max(0, row["size"] - row["received"])
            signals.update(json.loads(row["signals"]) if row["signals"] else ())
            entry = hosts.setdefault(row["host"], [0, 0, 0.0])
            entry[0] += 1
            entry[1] += not row["error"]
            entry[2] += row["seconds"]
            requests += row["requests"]
            disobeyed += bool(row["requests"]) and not row["obeyed"]
            received += row["received"]
            if row["at"]:
                first, last = min(first, row["at"]), max(last, row["at"])
    fetched = errors.pop("", 0)
    inputs = fetched + errors.total()
    all_hosts = [Host(name, int(n), int(good), total / n) for name, (n, good, total) in hosts.items()]
    often = [host for host in all_hosts if host.inputs >= 3]
    return Traffic(
        inputs=inputs,
        fetched=fetched,
        judged=judged,
        errors=dict(errors.most_common()),
        signals=dict(signals.most_common()),
        hosts=len(hosts),
        largest=tuple(sorted(all_hosts, key=lambda host: (-host.inputs, host.name))[:SHOWN_HOSTS]),
        slowest=tuple(sorted(often, key=lambda host: (-host.seconds, host.name))[:SHOWN_HOSTS]),
        requests=requests,
        received=received,
        saved=saved,
        disobeyed=disobeyed,
        first=first if last else "",
        last=last,
    )


def web_facts(found: Traffic) -> WebFacts:
    """What of it a card tells."""
    hosts = {host.name: host.fetched for host in found.largest}
    return WebFacts(
        inputs=found.inputs,
        fetched=found.fetched,
        errors=found.errors,
        signals=found.signals,
        hosts=hosts,
        all_hosts=found.hosts,
        first=found.first,
        last=found.last,
        disobeyed=found.disobeyed,
    )
