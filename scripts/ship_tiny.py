"""Put a trained run into the package as the model `tiny`, with the configurations and logs that led to it.

python scripts/ship_tiny.py RUN...     each began with the weights of the one before; the last one's are shipped

Where the first began with `tiny` itself, what the package holds already goes before.
"""

from __future__ import annotations

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


def main(runs: list[Path]) -> None:
    net = models.load(runs[-1] / "model")
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
        configs.append(config)
        for line in read(run, "step"):
            if line["step"] % EVERY == 0:
                kept.append({"run": number, **{name: line[name] for name in COLUMNS}})
    write_text(TINY / "train.json", json.dumps(configs, indent=1) + "\n")
    write_text(TINY / METRICS, "".join(json.dumps(line) + "\n" for line in kept))
    print(f"{TINY}: {size:,} bytes of weights, {len(kept)} lines of the log")


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
