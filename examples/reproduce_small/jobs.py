"""What is done: data laid ready, a training, a score. Each is kept below --out and done once."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rows import SETS, seconds
from trainings import FIVE, TRAININGS, Scope, config_of, recipe_of, run_folder, seed_of

PAIRED = 100
"""Pictures of each paired set; Rain100L, for one, has 200."""
SMOKE_SIDE = 96
METRICS = ("psnr", "ssim_gaussian11")
TOLD = 60.0
"""Seconds between two lines of one training."""


@dataclass(frozen=True)
class Job:
    """A training (`set` is ""), or a score of what it made.

    Attributes:
        training: name.
        seed: that it is run with.
        set, view: of the score.
    """

    training: str
    seed: int
    set: str = ""
    view: str = ""

    @property
    def needs(self) -> tuple[Job, ...]:
        """The trainings that must be done before."""
        if self.set:
            return (Job(self.training, self.seed),)
        return tuple(Job(name, seed_of(name, self.seed)) for name in TRAININGS[self.training].needs)

    @property
    def text(self) -> str:
        """For people."""
        what = f"scored  {self.set}{f' ({self.view})' if self.view else ''} of" if self.set else "trained"
        return f"{what} {self.training}, seed {self.seed}"

    def seconds(self, scale: float) -> float:
        """Of one core, to expect."""
        if self.set:
            return seconds(self.set, self.training, self.view)
        return TRAININGS[self.training].seconds(scale)

    def done(self, scope: Scope) -> bool:
        """Whether its result is there."""
        return bool(score(self, scope)) if self.set else _trained(run_folder(self.training, self.seed, scope))

    def run(self, scope: Scope) -> float:
        """Do it, going on where it was left; seconds that it took.

        Raises:
            MirdError: as `mird train` and `mird eval`.
            KeyboardInterrupt: it was told to stop.
        """
        import cv2
        import torch

        from million_ird.restore import tune_malloc

        tune_malloc()
        cv2.setNumThreads(scope.threads)
        if scope.device == "cpu":
            torch.set_num_threads(scope.threads)
        began = time.monotonic()
        (_evaluate if self.set else _train)(self, scope)
        return time.monotonic() - began


def _trained(folder: Path) -> bool:
    from million_ird.tables import read_json

    return (read_json(folder / "summary.json") or {}).get("status") == "done"


def _train(job: Job, scope: Scope) -> None:
    from million_ird.train.run import train

    folder = run_folder(job.training, job.seed, scope)
    config = config_of(job.training, job.seed, scope)
    said = time.monotonic()

    def tell(position: Any, figures: Any) -> None:
        nonlocal said
        if time.monotonic() - said > TOLD:
            said = time.monotonic()
            where = f"step {position.step:,} of {config.steps:,}, loss {figures['loss']:.4f}"
            print(f"  {job.training}, seed {job.seed}: {where}", file=sys.stderr, flush=True)

    outcome = train(config, folder, resume=(folder / "train.yaml").is_file(), tell=tell)
    if outcome.status != "done":  # it was told to, and has left a checkpoint
        raise KeyboardInterrupt
    for part in ("checkpoints", "best", "samples"):  # of hundreds of runs the models are enough
        shutil.rmtree(folder / part, ignore_errors=True)


def _score_file(job: Job, scope: Scope) -> Path:
    run = run_folder(job.training, job.seed, scope).name
    return scope.out / "scores" / run / f"{job.view or 'plain'}-{job.set}.json"


def score(job: Job, scope: Scope) -> dict[str, Any] | None:
    """What was scored: {"images", "output": {metric: mean}, "input": ..., "per_image"}; None where there is none yet,
    or its test set was declared otherwise."""
    from million_ird.tables import read_json

    found = read_json(_score_file(job, scope))
    return found if found and found["declared"] == _declared(job.set) else None


def _declared(name: str) -> dict[str, Any]:
    one = asdict(SETS[name])
    return {**one, "recipe": Path(one["recipe"]).stem}


def _evaluate(job: Job, scope: Scope) -> None:
    from million_ird import models
    from million_ird.evaluate.protocols import STRICT
    from million_ird.evaluate.run import evaluate
    from million_ird.evaluate.sets import Spec, open_set
    from million_ird.restore import restore
    from million_ird.tables import write_json

    wanted = SETS[job.set]
    folder, limit = str(scope.data / wanted.folder), 1 if scope.smoke else wanted.limit
    test = open_set(Spec(job.set, "clean", folder, wanted.sigma, wanted.recipe, limit=limit))
    net = seen_as(models.load(run_folder(job.training, job.seed, scope) / "model"), job.view)
    net.to(scope.device)
    found = evaluate(test.samples(STRICT), lambda image: restore(net, image, dtype="fp32"), STRICT, METRICS)
    value = {"declared": _declared(job.set), "images": len(found.rows)}
    value |= {side: found.mean(side) for side in ("output", "input")}
    value["per_image"] = [{"name": row.name, "output": row.output, "input": row.input} for row in found.rows]
    write_json(_score_file(job, scope), value)


def seen_as(net: Any, view: str) -> Any:
    """The network as a row looks at it: a variant of DyNet, or adapters of ABAIR."""
    from million_ird.models.estimator import MODES

    if view in ("s", "l"):
        net.variant = view
    elif view in MODES:
        net.blend, net.adapters = view, "auto"
    elif view:
        net.adapters = view
    return net


def lay_ready(scope: Scope, jobs: Iterable[Job], say: Callable[[str], None]) -> Scope:
    """Check --data, link the training photos into one folder, and make the paired sets where one of the jobs asks for
    them; a smoke test gets small copies of a few pictures.

    Raises:
        InputError: a folder of --data is missing.
    """
    from dataclasses import replace

    from million_ird.errors import InputError

    for name in ("bsds500/train", "cid22", "cbsd68", "kodak24"):
        if not _pictures(scope.data / name):
            raise InputError(
                f"--data {scope.data}: has no pictures in {name}; README.md says which sets it has to hold"
            )
    if scope.smoke:
        small = scope.out / "small"
        _whole(small, lambda folder: _cut_small(scope.data, folder))
        scope = replace(scope, data=small)
    _whole(scope.photos, lambda folder: _link(scope.data, folder))
    if any("{pairs}" in text for job in jobs for text in TRAININGS[job.training].data):
        for task in FIVE:
            if not (scope.pairs / task).exists():
                say(f"making pairs: {task}")
            _whole(scope.pairs / task, lambda folder, task=task: _pair(scope.data, folder, task))
    return scope


def _whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder if it is not there, whole or not at all."""
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    fill(partial)
    partial.rename(folder)


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))


def _link(data: Path, folder: Path) -> None:
    for name in ("bsds500/train", "cid22"):
        for path in _pictures(data / name):
            target = folder / f"{name.partition('/')[0]}-{path.name}"
            try:
                target.symlink_to(path.resolve())
            except OSError:  # Windows without the right to do so
                shutil.copyfile(path, target)


def _pair(data: Path, folder: Path, task: str) -> None:
    """Each picture degraded once and for all, as paired sets are."""
    from million_ird.degrade import recipe
    from million_ird.evaluate.sets import read
    from million_ird.images import encode_png
    from million_ird.tables import whole

    pipe = recipe.load(recipe_of(task))
    for path in _pictures(data / "bsds500" / "train")[:PAIRED]:
        out = pipe(read(path), seed=0, image_id=path.stem, view=0)
        for part, picture in (("lq", out.lq), ("hq", out.hq)):
            with whole(folder / part / f"{path.stem}.png") as file:
                file.write(encode_png(picture))


def _cut_small(data: Path, folder: Path) -> None:
    from million_ird.evaluate.sets import read
    from million_ird.images import encode_png
    from million_ird.tables import whole

    for name in ("bsds500/train", "cid22", "cbsd68", "kodak24"):
        for path in _pictures(data / name)[:2]:
            picture = read(path)
            top, left = ((length - SMOKE_SIDE) // 2 for length in picture.shape[:2])
            with whole(folder / name / f"{path.stem}.png") as file:
                file.write(encode_png(picture[top : top + SMOKE_SIDE, left : left + SMOKE_SIDE].copy()))
