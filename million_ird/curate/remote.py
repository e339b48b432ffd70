"""A build whose output is an address: which of its files are mirrored there, what a task fetches before it works, and
how the dataset is put in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from million_ird.curate.blocklist import TOMBSTONES
from million_ird.curate.plan import LISTED, PLAN, STORE, Plan
from million_ird.curate.reuse import WRITTEN
from million_ird.curate.settings import BuildConfig, Run
from million_ird.curate.writers import file_name
from million_ird.errors import BadImage, InputError
from million_ird.mirror import DIARY, Mirror, Mounted, Rules, checked, mounted, peeked
from million_ird.records import Item
from million_ird.sources import Reader, SourceSpec
from million_ird.sources.web.store import index_rows, stored
from million_ird.tables import part_path, read_json, write_json

README = "dataset/README.md"
"""Of the dataset, the one file that has a copy here: it is written last, so that it says that the others are there."""
_FILES = frozenset(
    (
        *("build.yaml", PLAN, LISTED, "merge.json", "state.json", "decisions.parquet", "report.html", DIARY),
        *(TOMBSTONES, WRITTEN.as_posix(), README),
    )
)
_FOLDERS = ("ledger/", f"{STORE}/", "crawl/")


def _mirrored(name: str) -> bool:
    return name in _FILES or name.startswith(_FOLDERS)


RULES = Rules(
    mirrored=_mirrored,
    pulled=lambda name: _mirrored(name) and not (name.startswith(f"{STORE}/") and name.endswith(".tar")),
    # What came over the network is never asked for again; all else is made again from the journals.
    ahead=lambda name: name.startswith((f"{STORE}/", "crawl/")),
    outlives=(TOMBSTONES,),
)


@contextmanager
def mounted_build(
    address: str,
    config: BuildConfig | Mapping[str, Any] | None,
    fresh: bool = False,
    watch: Callable[..., None] = lambda *progress: None,
) -> Iterator[Mounted]:
    """The address of a build as a working folder, locked against other machines; see `mirror.mounted`."""
    run = _run(config)
    with mounted(
        address, run.scratch, run.lease_seconds, RULES, fresh=fresh, waiting=lambda: watch("wait for a lease", 0, 0)
    ) as mount:
        yield mount


@contextmanager
def mounted_again(address: str, watch: Callable[..., None] = lambda *progress: None) -> Iterator[Mounted]:
    """As `mounted_build`, of a build that is there.

    Raises:
        InputError: there is none.
    """
    _must_exist(address)
    with mounted_build(address, None, watch=watch) as mount:
        yield mount


def _must_exist(address: str) -> None:
    if Mirror(checked(address)).look("build.yaml") is None:
        raise InputError(f"{address}: no build here; `mird build SOURCE --out {address}` makes one")


@contextmanager
def read_only(address: str) -> Iterator[Path]:
    """What a build has at an address, but for its images, as a folder to be read; see `mirror.peeked`.

    Raises:
        InputError: there is none.
    """
    _must_exist(address)
    with peeked(address, None, RULES) as folder:
        yield folder


def _run(config: BuildConfig | Mapping[str, Any] | None) -> Run:
    """The `run` section, before the rest is looked at."""
    if isinstance(config, BuildConfig):
        return config.run
    return Run.model_validate((config or {}).get("run") or {})


def push_plan(mount: Mounted | None) -> None:
    """Put the plan at the address: plan.json last, so that it says that the listing is there."""
    if mount:
        mount.push_below("crawl")
        mount.push([LISTED])
        mount.push([PLAN])
        mount.push(name for name in ("merge.json",) if (mount.folder / name).exists())


def part_name(shard: int, name: str = "base") -> str:
    """A ledger part as it is called at the address."""
    return part_path(Path("ledger") / name, shard).as_posix()


def index_name(shard: int) -> str:
    """The index of a fetched shard as it is called at the address."""
    return part_path(Path(STORE), shard).as_posix()


def tar_names(folder: Path, shard: int) -> list[str]:
    """The tars of a fetched shard, by its index; none where it was not fetched."""
    if not stored(folder / STORE, shard):
        return []
    return sorted({f"{STORE}/{row['tar']}" for row in index_rows(folder / STORE, shard, ["tar"]) if row["tar"]})


def bring_shard(mirror: Mirror, specs: Sequence[SourceSpec], shard: int, *, part: bool = False) -> None:
    """What a task must know of a shard: the listing, the index of what was fetched, and its ledger part."""
    names = [LISTED, *([index_name(shard)] if any(spec.web for spec in specs) else [])]
    mirror.bring([*names, *([part_name(shard)] if part else [])])


def push_fetched(mount: Mounted, shard: int) -> None:
    """Put what was fetched for a shard where other machines find it, the index last."""
    here = [name for name in tar_names(mount.folder, shard) if (mount.folder / name).exists()]
    mount.push(here)
    mount.push([index_name(shard)])


def after_measuring(mount: Mounted | None, shard: int) -> None:
    """A shard's part from another machine; and room here, which what was fetched for it no longer needs."""
    if mount:
        mount.mirror.bring([part_name(shard)])
        for name in tar_names(mount.folder, shard):
            (mount.folder / name).unlink(missing_ok=True)


def push_brought(mount: Mounted | None) -> None:
    """Put what was taken over from other builds at the address."""
    if mount:
        mount.push_below(STORE, last=".parquet")
        mount.push_below("ledger")


def bring_tars(mount: Mounted | None, plan: Plan, *rows: Sequence[int]) -> None:
    """What was fetched for some rows, whole: a pass reads nearly all of it."""
    if mount:
        shards = sorted({plan.shard_of(row) for some in rows for row in some})
        mount.mirror.bring([name for shard in shards for name in tar_names(mount.folder, shard)])


def plan_mark(folder: Path) -> str:
    """A name for the plan that lies in a working folder: journals of another one are not this one's."""
    return f"{(folder / LISTED).stat().st_mtime_ns:x}"


class StoreReader(Reader):
    """As `Reader`; of tars that are not here, it reads single images at the address.

    Args:
        specs, store: as `Reader` takes them.
        mirror: where else the store lies; None = nowhere.
    """

    def __init__(self, specs: Sequence[SourceSpec], store: Path, mirror: Mirror | None) -> None:
        super().__init__(specs, store)
        self._folder, self._mirror = store, mirror
        self._web = {spec.label for spec in specs if spec.web}

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read`."""
        tar = item.path.decode("utf-8", "replace") if item.source in self._web else ""
        if self._mirror is None or not tar or (self._folder / tar).exists():
            return super().read(item, count)
        length = item.size if count < 0 else min(count, item.size)
        try:
            data = self._mirror.read(f"{STORE}/{tar}", item.offset, item.offset + length)
        except FileNotFoundError:
            raise BadImage("unreadable", f"{STORE}/{tar}: gone") from None
        if len(data) < length:
            raise BadImage("truncated", f"{STORE}/{tar} ends too early")
        return data


def take_over_there(
    mount: Mounted, partial: str, wanted: Sequence[str], config: BuildConfig
) -> dict[int, dict[str, Any]]:
    """As `reuse.take_over`, of a dataset at an address: the store copies, no byte comes here.

    Args:
        mount: of the build.
        partial: folder in which the new dataset is gathered.
        wanted: `contents` of each of its files.
        config: for the format.

    Returns:
        File number -> "samples", "bytes" and "files" of those that need not be written.
    """
    known: dict[str, Any] = read_json(mount.folder / WRITTEN) or {}
    there = mount.mirror.listed("dataset") if known else {}
    pairs, taken = [], {}
    for number, content in enumerate(wanted):
        name, row = file_name(number, len(wanted), config), known.get(content)
        old = f"dataset/{row['name']}" if row else ""
        if name is not None and row and old in there and there[old].size == row["size"]:
            pairs.append((old, f"{partial}/{name}"))
            taken[number] = {**row["written"], "files": [name]}
    mount.mirror.copy(pairs)
    return taken


def put_in_place(mount: Mounted, partial: str, written: Sequence[tuple[str, Mapping[str, Any]]], readme: Path) -> None:
    """Move a finished dataset to dataset/, and away what was there; killed in between, the same call goes on.

    A store cannot swap folders: while it lasts there is no dataset/README.md, and it comes last.

    Args:
        mount: of the build.
        partial: folder in which it was gathered.
        written: of each file its `contents`, and its "samples", "bytes" and "files".
        readme: its card, here.
    """
    mirror = mount.mirror
    wanted = {name for _, done in written for name in done["files"]}
    mount.lease.check()
    mirror.drop([WRITTEN.as_posix(), README])
    gathered = mirror.listed(partial)
    mirror.move(
        [(f"{partial}/{name}", f"dataset/{name}") for name in sorted(wanted) if f"{partial}/{name}" in gathered]
    )
    there = {name.removeprefix("dataset/"): remote for name, remote in mirror.listed("dataset").items()}
    mirror.drop([f"dataset/{name}" for name in there if name not in wanted])
    rows = {}
    for content, done in written:
        if len(done["files"]) == 1:  # an image folder is written anew
            name = done["files"][0]
            totals = {key: done[key] for key in ("samples", "bytes")}
            rows[content] = {"name": name, "size": there[name].size, "written": totals}
    write_json(mount.folder / WRITTEN, rows)
    (mount.folder / README).parent.mkdir(exist_ok=True)
    readme.replace(mount.folder / README)
    mount.push([WRITTEN.as_posix()])
    mount.push([README])
