"""`mird degrade --only`: one sample, or all of one image, rendered again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from million_ird.errors import BadImage, InputError
from million_ird.pairs.folder import STATE, stored_config
from million_ird.pairs.plan import Entry, listing, load_plan, shard_entries
from million_ird.pairs.render import Renderer, Sample
from million_ird.pairs.settings import DegradeConfig
from million_ird.pairs.stored import stored
from million_ird.pairs.writers import IMAGES, TRACES, compact
from million_ird.sources import SourceSpec
from million_ird.tables import whole

_INDEX = re.compile(r"(.+)_(\d{3,})")


def find(
    wanted: str, config: DegradeConfig | None, out: Path | None
) -> tuple[DegradeConfig, tuple[SourceSpec, ...], Entry, int | None]:
    """The image that is meant, and which of its samples; None = all.

    Args:
        wanted: the image's id or uri, or the name of the image or of one sample.
        config: completed; None = that of the run in `out`.
        out: folder of a run, or None.

    Raises:
        InputError: there is none.
    """
    if config is None:
        if out is None:
            raise InputError("--only needs INPUT and --recipe, or --out with a run in it")
        config = stored_config(out)
        plan = load_plan(out)
        if plan is None:
            raise InputError(f"--out {out}: nothing is planned here yet; name INPUT and --recipe")
        specs, entries = plan.sources, _planned(out, plan.shards)
        if (out / STATE).exists() and (uri := _uri_of(wanted, config, out)):
            wanted = uri
    else:
        plan, listed = listing(config, str(out.resolve()) if out else "")
        specs, entries = plan.sources, iter(listed)
    all_entries = list(entries)
    entry, index = _match(wanted, all_entries) or _by_bytes(wanted, all_entries, specs, config) or (None, None)
    if entry is None:
        raise InputError(f"--only {wanted}: no image has this id, uri or name")
    if index is not None and index >= config.per_image:
        raise InputError(f"--only {wanted}: index {index} is beyond per_image, {config.per_image}")
    return config, specs, entry, index


def render(config: DegradeConfig, specs: tuple[SourceSpec, ...], entry: Entry, index: int | None) -> list[Sample]:
    """The samples of an image, or one of them.

    Raises:
        InputError: it cannot be used.
    """
    with Renderer(specs, config) as renderer:
        try:
            return [sample for sample in renderer.samples(entry) if index is None or sample.index == index]
        except BadImage as bad:
            raise InputError(f"{entry.item.uri}: {bad}") from None


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Samples as files below a folder: lq/, hq/, mask/ and traces.jsonl."""
    lines = []
    for sample in samples:
        for name in IMAGES if sample.lq else ():
            with whole(folder / name / f"{sample.name}.png") as file:
                file.write(getattr(sample, name))
        lines.append(compact(sample.facts()))
    with whole(folder / TRACES) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def _planned(out: Path, shards: int) -> Iterator[Entry]:
    for shard in range(shards):
        yield from shard_entries(out, shard)


def _match(wanted: str, entries: list[Entry]) -> tuple[Entry, int | None] | None:
    for entry in entries:
        if wanted in (entry.item.uri, entry.name) or (entry.id and wanted == entry.id):
            return entry, None
    named = _INDEX.fullmatch(wanted)
    for entry in entries if named else ():
        if named and entry.name == named[1]:
            return entry, int(named[2])
    return None


def _uri_of(wanted: str, config: DegradeConfig, out: Path) -> str:
    """The uri of an id among what was written; "" where there is none."""
    return next((facts["uri"] for facts in stored(out, config).facts() if facts["id"] == wanted), "")


def _by_bytes(
    wanted: str, entries: list[Entry], specs: tuple[SourceSpec, ...], config: DegradeConfig
) -> tuple[Entry, int | None] | None:
    """By the sha256 of the file, where `wanted` can be one."""
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        return None
    with Renderer(specs, config) as renderer:
        for entry in entries:
            try:
                if not entry.id and renderer.id_of(entry) == wanted:
                    return entry, None
            except BadImage:
                continue
    return None
