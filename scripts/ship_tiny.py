"""Put a trained run into the package as the model `tiny`, with the configurations and logs that led to it.

    python scripts/ship_tiny.py [--share 0.3] RUN...

Each run began with the weights of the one before, and the last one's are shipped. Where the first began with `tiny`
itself, what the package holds already goes before. With a share below 1 the weights are a mean: so much of the last
run's, the rest of what it began with (Wortsman et al., CVPR 2022, "Robust fine-tuning"); a run that mends one thing
then spoils less of the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from million_ird import models
from million_ird.config import read_yaml
from million_ird.models.weights import TINY, WEIGHTS
from million_ird.tables import write_text
from million_ird.train.record import METRICS, read

MOST = 6_000_000
"""Bytes that the weights may have."""

EVERY = 50
"""Lines of the log that are kept: one of so many."""

COLUMNS = ("step", "variant", "loss", "lr", "gradient_norm")


def main(runs: list[Path], share: float = 1.0) -> None:
    """Put the last run's weights into the package, or the mean of them and of those that it began with."""
    net = models.load(runs[-1] / "model")
    if share < 1:
        mix(net, models.load(TINY if len(runs) == 1 else runs[-2] / "model"), share)
    net.save_pretrained(TINY)
    size = (TINY / WEIGHTS).stat().st_size
    if size > MOST:
        sys.exit(f"{TINY / WEIGHTS}: {size:,} bytes are more than {MOST:,}")
    configs: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    if read_yaml(runs[0] / "train.yaml")["init"] == "tiny":
        configs = json.loads((TINY / "train.json").read_text())
        kept = [json.loads(line) for line in (TINY / METRICS).read_text().splitlines()]
    for number, run in enumerate(runs, len(configs)):
        config = read_yaml(run / "train.yaml")
        # Where the photos lay on the machine that trained says nothing to others.
        config["data"]["tasks"] = [task.partition("=")[0] for task in config["data"]["tasks"]]
        config["init"], config["data"]["recipe"] = (Path(x).name for x in (config["init"], config["data"]["recipe"]))
        if run == runs[-1]:
            config["share"] = share
        configs.append(config)
        for line in read(run, "step"):
            if line["step"] % EVERY == 0:
                kept.append({"run": number, **{name: line[name] for name in COLUMNS}})
    write_text(TINY / "train.json", json.dumps(configs, indent=1) + "\n")
    write_text(TINY / METRICS, "".join(json.dumps(line) + "\n" for line in kept))
    print(f"{TINY}: {size:,} bytes of weights, {len(kept)} lines of the log")


def mix(net: Any, before: Any, share: float) -> None:
    """Let the network's weights be `share` of them and the rest those of `before`."""
    former = before.state_dict()
    for name, weight in net.state_dict().items():  # apart from the graph of gradients
        weight.lerp_(former[name], 1 - share)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="of the last run's weights (default: %(default)s)")
    given = parser.parse_args()
    main(given.runs, given.share)
