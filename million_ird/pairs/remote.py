"""A run whose output is an address: which of its files are mirrored there, and how its parts are put in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from million_ird.mirror import DIARY, Mirror, Mounted, Rules, files_below, mounted
from million_ird.pairs.plan import LISTED
from million_ird.pairs.settings import Run
from million_ird.pairs.writers import IMAGES, TRACES
from million_ird.tables import whole

PARTIAL = "partial"
"""Where parts are gathered until all are there."""
_OURS = ("degrade.yaml", "versions.json")
_FILES = frozenset([*_OURS, "plan.json", LISTED, "done.json", "classes.json", "skipped.jsonl", "README.md", DIARY])


def _mirrored(name: str) -> bool:
    return name in _FILES or name.startswith(f"{PARTIAL}/done/")


RULES = Rules(mirrored=_mirrored, pulled=_mirrored, outlives=_OURS)


@contextmanager
def mounted_run(
    address: str, run: Run, fresh: bool = False, watch: Callable[[str, int, int], None] = lambda *progress: None
) -> Iterator[Mounted]:
    """The address of a run as a working folder, locked against other machines; see `mirror.mounted`."""
    with mounted(
        address, run.scratch, run.lease_seconds, RULES, fresh=fresh, waiting=lambda: watch("wait for a lease", 0, 0)
    ) as mount:
        yield mount


def clear_part(mirror: Mirror, shard: int) -> None:
    """Delete what an older run left here of a part, which may have had another form."""
    partial = mirror.folder / PARTIAL
    shutil.rmtree(partial / "parts" / f"{shard:05d}", ignore_errors=True)
    for path in (partial / "files").glob(f"train-{shard:05d}-of-*"):
        path.unlink()


def put_part(mirror: Mirror, shard: int) -> None:
    """Put the files of a part at the address; here they are deleted."""
    partial = mirror.folder / PARTIAL
    files = [f"files/{path.name}" for path in (partial / "files").glob(f"train-{shard:05d}-of-*")]
    files += [f"parts/{shard:05d}/{name}" for name in files_below(partial / "parts" / f"{shard:05d}")]
    mirror.push(f"{PARTIAL}/{name}" for name in files)
    for name in files:
        (partial / name).unlink()


def put_in_place(mount: Mounted, shards: int) -> None:
    """Move what the parts hold to its place at the address; may be killed and done again at any point.

    Here a result that is a folder is an empty one: that it is there says that it is there.
    """
    mirror, out = mount.mirror, mount.folder
    mount.lease.check()
    traces = [f"{PARTIAL}/parts/{shard:05d}/{TRACES}" for shard in range(shards)]
    gathered = mirror.listed(PARTIAL)
    if traces[0] in gathered:
        mirror.bring(traces, gathered)
        with whole(out / TRACES) as file:
            for name in traces:
                with (out / name).open("rb") as lines:
                    shutil.copyfileobj(lines, file)
        mount.push([TRACES])
    moves = []
    for name in sorted(gathered):
        part = Path(name).parts  # partial/files/NAME or partial/parts/00000/lq/NAME
        if part[1] == "files":
            moves.append((name, f"data/{part[2]}"))
        elif part[1] == "parts" and part[3] in IMAGES:
            moves.append((name, "/".join(part[3:])))
    mirror.move(moves)
    for folder in ("data", *IMAGES):
        if mirror.listed(folder):
            (out / folder).mkdir(exist_ok=True)
