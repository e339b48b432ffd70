"""Does curation help restoration? One small network, trained on a raw mixture and on what `mird build` keeps of it:

    python examples/curation_pays/run.py --data DIR --out OUT [--quick] [--seeds N] [--tasks NAME,...] [--results FILE]

Prints the table and writes OUT/results.md and OUT/results.json. What is finished is not done again, what was cut off
goes on; with --table nothing is trained. README.md beside this file says what the rows are.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arms import Arm, Curated, curate
from mixture import TESTS, Mixture, lay

SEEDS = 3
MAIN = ("raw", "random", "kept", "known")
"""The training sets that are trained on first."""
QUICK = {"width": 8, "blocks": 1, "steps": 2, "batch": 2, "size": 16, "limit": 1, "centre": 32}


def main(words: Sequence[str] | None = None) -> int:
    """Do it; 0, or 2 where the call or the data is wrong, 130 where it was interrupted."""
    from million_ird.errors import MirdError

    asked = parser().parse_args(words)
    try:
        work(asked)
    except MirdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    about = "Trains one small network on curated and on raw pictures, and prints what curation brought."
    out = argparse.ArgumentParser(prog="run.py", description=about)
    out.add_argument("--data", type=Path, default=Path("data"), help="holds bsds500/train, cid22, ...; see README.md")
    out.add_argument("--out", type=Path, default=Path("curated"), help="everything is written below it")
    out.add_argument("--seeds", type=int, help=f"how many ({SEEDS}; with --quick 1)")
    out.add_argument("--tasks", default="denoise", help="with commas: denoise, dejpeg")
    out.add_argument("--steps", type=int, help="of each training")
    out.add_argument("--results", type=Path, help="write the table to this file, too")
    out.add_argument("--table", action="store_true", help="train nothing: the table of what is there")
    out.add_argument("--quick", action="store_true", help="two steps and few pictures, to see that it runs")
    return out


def work(asked: argparse.Namespace) -> None:
    """Lay out, build, train, score, report.

    Raises:
        MirdError: the call or the data is wrong.
    """
    from learning import TASKS, Settings

    from million_ird.errors import ConfigError
    from million_ird.tables import locked

    tasks = [name.strip() for name in asked.tasks.split(",")]
    if unknown := [name for name in tasks if name not in TASKS]:
        raise ConfigError(f"--tasks {unknown[0]}: unknown; known: {', '.join(TASKS)}")
    seeds = range(asked.seeds if asked.seeds is not None else 1 if asked.quick else SEEDS)
    given = {**(QUICK if asked.quick else {}), **({} if asked.steps is None else {"steps": asked.steps})}
    settings = Settings(**given)
    if not seeds or settings.steps < 1:
        raise ConfigError("--seeds and --steps have to be 1 or more")
    with locked(asked.out, leave=("build",)):
        mixture = lay(asked.data.resolve(), asked.out, 6 if asked.quick else None)
        say(f"{len(mixture.labels)} pictures in the raw mixture")
        curated = curate(mixture, asked.data.resolve(), asked.out)
        say(f"{len(curated.arms)} training sets, {len(seeds)} seeds, tasks: {', '.join(tasks)}")
        try:
            if not asked.table:
                run_all(asked, mixture, curated, tasks, seeds, settings)
        finally:
            text = write(asked, curated, tasks, seeds, settings)
    print(text)
    say(f"written: {', '.join(str(path) for path in (asked.out / 'results.md', asked.results) if path)}")


def run_all(
    asked: argparse.Namespace,
    mixture: Mixture,
    curated: Curated,
    tasks: Sequence[str],
    seeds: Sequence[int],
    settings: Any,
) -> None:
    """Train and score what is not there yet, one after the other: the main question at all seeds, then the rest."""
    import cv2
    import learning
    import torch

    from million_ird.restore import tune_malloc
    from million_ird.tables import write_json

    tune_malloc()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    main = [arm for arm in curated.arms if arm.name in MAIN]
    rest = [arm for arm in curated.arms if arm.name not in MAIN]
    jobs = [(task, seed, arm) for task in tasks for some in (main, rest) for seed in seeds for arm in some]
    left = [job for job in jobs if not score_file(asked.out, *job, settings).exists()]
    say(f"{len(jobs)} trainings, {len(jobs) - len(left)} of them done before")
    for number, (task, seed, arm) in enumerate(left):
        began, spent = time.monotonic(), time.process_time()
        net = learning.train(learning.load(mixture.folder, arm.drawn(seed)), task, seed, settings)
        found = {name: learning.score(net, asked.data.resolve() / name, task, settings) for name in TESTS}
        write_json(score_file(asked.out, task, seed, arm, settings), found)
        told = ", ".join(f"{name} {one['output']:.2f}" for name, one in found.items())
        took = f"{time.monotonic() - began:.0f} s, {time.process_time() - spent:.0f} s of one core"
        say(f"[{number + 1}/{len(left)}] {task}, seed {seed}, {arm.name}: {told} dB ({took})")


def score_file(out: Path, task: str, seed: int, arm: Arm, settings: Any) -> Path:
    """Where a score lies: another training set or other settings have another name."""
    from learning import digest

    return out / "scores" / f"{task}-{arm.name}-{seed}-{digest([task, seed, arm.drawn(seed)], settings)}.json"


def write(
    asked: argparse.Namespace, curated: Curated, tasks: Sequence[str], seeds: Sequence[int], settings: Any
) -> str:
    """The table of all scores that are there, written and given back."""
    from learning import TASKS
    from outcome import facts, markdown

    from million_ird.tables import read_json, write_json, write_text

    scores: dict[str, dict[str, dict[int, dict[str, float]]]] = {}
    inputs: dict[str, dict[str, float]] = {}
    for task in tasks:
        for seed in seeds:
            for arm in curated.arms:
                if found := read_json(score_file(asked.out, task, seed, arm, settings)):
                    outputs = {name: one["output"] for name, one in found.items()}
                    scores.setdefault(TASKS[task][0], {}).setdefault(arm.name, {})[seed] = outputs
                    inputs[TASKS[task][0]] = {name: one["input"] for name, one in found.items()}
    text = markdown(curated, scores, inputs, facts(settings, seeds, asked.quick))
    write_json(asked.out / "results.json", {"settings": vars(settings), "scores": scores, "inputs": inputs})
    for path in (asked.out / "results.md", asked.results):
        if path:
            write_text(path, text)
    return text


def say(text: str) -> None:
    """To people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
