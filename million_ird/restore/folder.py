"""Files and folders of pictures through a network, each to a file of the same name in another folder."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from million_ird import sources, tables
from million_ird.errors import BadImage, InputError, MirdError, OutputError
from million_ird.records import Item
from million_ird.restore import files
from million_ird.restore.picture import Way, check, run

RECORD = "restore.json"
Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """How pictures are restored; see `restore` for the first seven."""

    mode: str = "auto"
    tile: int = 512
    overlap: int = 32
    device: str = "auto"
    dtype: str = "auto"
    window: int = 384
    budget: int | None = None
    format: str = "png"
    """"png", or "same" for the format of the input, where it is one of `files.KINDS` by its name; else PNG."""


@dataclass(frozen=True)
class Job:
    """One picture: where it lies, and where it goes below the output folder."""

    item: Item
    target: str


@dataclass(frozen=True)
class Done:
    """What became of one picture.

    Attributes:
        uri, out: the input, and the file written (relative to the output folder; "" = none).
        status: "ok", "there" (was there already), or why not, as in `records.STATUSES`; "failed" for anything else.
        detail: of a failure, what was found.
        mode: "exact", "tile" or "tlc"; and `tile`, the side of a tile, px.
        seconds: reading, restoring and writing.
        seen: adapter -> probability, where the network looked at the picture to choose.
    """

    uri: str
    out: str
    status: str
    detail: str = ""
    mode: str = ""
    tile: int = 0
    seconds: float = 0.0
    seen: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What became of all pictures."""

    out: str
    seconds: float
    pictures: list[Done]
    skipped: dict[str, int]

    def count(self, *statuses: str) -> int:
        """How many have one of these statuses."""
        return sum(done.status in statuses for done in self.pictures)

    @property
    def failed(self) -> int:
        """How many could not be restored."""
        return len(self.pictures) - self.count("ok", "there")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        counts = {"restored": self.count("ok"), "there": self.count("there"), "failed": self.failed}
        return {"out": self.out, "seconds": self.seconds, **counts, "skipped": self.skipped} | {
            "pictures": [asdict(done) for done in self.pictures]
        }


def restore_files(
    net: Any,
    inputs: Sequence[str],
    out: str | Path,
    settings: Settings = Settings(),
    *,
    fresh: bool = False,
    watch: Watch = lambda stage, done, total: None,
    tell: Callable[[Done], None] = lambda done: None,
) -> Summary:
    """Restore every picture of `inputs` into the folder `out`.

    A picture keeps its name and its folders below the input; where several folders or archives are given, each has a
    folder of its own. What is there already from the same network and settings is left; a picture that cannot be used
    is told of and passed over.

    Args:
        net: the network, as `restore` takes it.
        inputs: folders, images, archives, globs, fsspec addresses, as `mird build` takes them.
        out: folder, made where it is not there. What is written are `out`/NAME and `out`/restore.json.
        settings: how.
        fresh: write over what is there, whatever it comes from (but never over an input).
        watch: told (stage, done, total).
        tell: told what became of each picture, as soon as it is known.

    Raises:
        ConfigError: a setting is not one that `restore` takes.
        InputError: there is no such input, or no picture in it; two pictures would go to one file; an input would be
            written over.
        OutputError: `out` holds something else and not `fresh`, or cannot be written.
    """
    began = time.monotonic()
    check(settings.mode, settings.tile, settings.overlap, settings.window)
    folder = Path(out)
    specs = sources.resolve(inputs)
    skipped: Counter[str] = Counter()
    jobs = plan(specs, folder, settings.format, skipped)
    if not jobs:
        seen = "; ".join(f"{count} {kind}" for kind, count in skipped.items())
        raise InputError(f"no pictures in {', '.join(inputs)}" + (f" (passed over: {seen})" if seen else ""))
    _guard_inputs(specs, jobs, folder)
    there = _claim(net, jobs, folder, settings, fresh)
    pictures: list[Done] = []
    with sources.Reader(specs) as reader:
        for index, job in enumerate(jobs):
            watch("restore", index, len(jobs))
            if job.target in there:
                done = Done(job.item.uri, job.target, "there")
            else:
                done = _one(net, reader, job, folder, settings, watch if len(jobs) == 1 else None)
            pictures.append(done)
            tell(done)
        watch("restore", len(jobs), len(jobs))
    return Summary(str(out), time.monotonic() - began, pictures, dict(skipped))


def plan(specs: Sequence[sources.SourceSpec], out: Path, kind: str, skipped: Counter[str]) -> list[Job]:
    """Every picture, in order, and where it goes; `skipped` counts what is passed over."""
    several = len(specs) > 1
    names: list[tuple[Item, PurePosixPath]] = []
    for spec in specs:
        source = spec.open(str(out.resolve()))
        try:
            for item in source.items(skipped):
                apart = several and spec.kind != "files"
                names.append((item, PurePosixPath(spec.label if apart else "", _relative(item))))
        finally:
            source.close()
    wanted = Counter(str(_target(name, kind)) for _, name in names)
    taken: dict[str, str] = {}
    jobs = []
    for item, name in names:
        target = str(_target(name, kind))
        if wanted[target] > 1 and target != str(name):  # a.jpg and a.png would both be a.png
            target = f"{name}.png"
        if target in taken:
            raise InputError(f"{taken[target]} and {item.uri}: both would be written to {target}; restore them apart")
        taken[target] = item.uri
        jobs.append(Job(item, target))
    return jobs


def _relative(item: Item) -> PurePosixPath:
    name = item.uri.partition("::")[2] if item.member >= 0 else os.fsdecode(item.path)
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
    return PurePosixPath(*parts)


def _target(name: PurePosixPath, kind: str) -> PurePosixPath:
    if kind == "same" and name.suffix.lower() in files.KINDS:
        return name
    if name.suffix.lower() in (*files.KINDS, *files.ONLY_READ):
        return name.with_suffix(".png")
    return PurePosixPath(f"{name}.png")


def _guard_inputs(specs: Sequence[sources.SourceSpec], jobs: Sequence[Job], out: Path) -> None:
    """Raise `InputError` where an output would be written over an input, by whatever name."""
    roots = {spec.label: Path(spec.root) for spec in specs if not spec.protocol}
    inputs = {}
    for job in jobs:
        root = roots.get(job.item.source)
        if root is not None:
            path = root / os.fsdecode(job.item.path)
            inputs[_identity(path)] = path
    inputs.pop(None, None)
    for job in jobs:
        target = out / job.target
        if _identity(target) in inputs:
            raise InputError(f"{target}: is an input and would be written over; choose another --out")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _claim(net: Any, jobs: Sequence[Job], out: Path, settings: Settings, fresh: bool) -> set[str]:
    """The targets that are there already and stay; writes down what `out` is made with."""
    own = {"weights": fingerprint(net), **asdict(settings)}
    for name in ("device", "budget"):  # another machine may go on
        del own[name]
    own |= {name: getattr(net, name) for name in ("variant", "adapters", "blend") if hasattr(net, name)}
    own = {name: value if isinstance(value, (str, int)) else str(value) for name, value in own.items()}
    found = {} if fresh else tables.read_json(out / RECORD) or {}
    there = {job.target for job in jobs if (out / job.target).exists()}
    if fresh:
        there = set()
    if there and not found:
        raise OutputError(f"{out / min(there)}: is there, and not from `mird restore`; choose another --out or --fresh")
    other = [f"{name} {found.get(name)}, now {value}" for name, value in own.items() if found.get(name) != value]
    if found and other:
        raise OutputError(f"{out}: was made with {other[0]}; choose another --out, or --fresh to restore all again")
    tables.write_json(out / RECORD, own)
    return there


def fingerprint(net: Any) -> str:
    """16 hex digits of all weights, and of what else the adapters are."""
    found = hashlib.blake2b(repr(getattr(net, "adapter_configs", {})).encode(), digest_size=8)
    for name, tensor in net.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def _one(net: Any, reader: sources.Reader, job: Job, out: Path, settings: Settings, watch: Watch | None) -> Done:
    began = time.monotonic()
    try:
        data, way = _restored(net, reader, job, settings, watch)
    except BadImage as error:
        return Done(job.item.uri, "", error.status, error.detail)
    except torch.OutOfMemoryError:
        return Done(job.item.uri, "", "failed", "the device's memory is full; choose mode tile and a smaller tile")
    except MirdError as error:
        return Done(job.item.uri, "", "failed", str(error))
    with tables.whole(out / job.target) as file:
        file.write(data)
    seen = {}
    if getattr(net, "adapters", None) == "auto":
        seen = {name: shares[0] for name, shares in net.seen.items()}
    return Done(job.item.uri, job.target, "ok", "", way.mode, way.tile, time.monotonic() - began, seen)


def _restored(net: Any, reader: sources.Reader, job: Job, settings: Settings, watch: Watch | None) -> tuple[bytes, Way]:
    item = job.item
    if item.status:
        raise BadImage(item.status, item.detail)
    picture = files.read(reader.read(item))
    options = asdict(settings)
    del options["format"]
    pixels, way = run(net, picture.pixels, **options, watch=_tiles(watch))
    return files.write(replace(picture, pixels=pixels), files.KINDS[PurePosixPath(job.target).suffix.lower()]), way


def _tiles(watch: Watch | None) -> Callable[[int, int], None]:
    if watch is None:
        return lambda done, total: None
    return lambda done, total: watch("tiles", done, total) if total > 1 else None
