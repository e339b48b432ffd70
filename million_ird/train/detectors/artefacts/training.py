"""The training of the artefact estimator: a seeded loop on the processor, then the file and its card."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from million_ird.degrade.op import Bytes
from million_ird.errors import InputError
from million_ird.meters.artefacts import COLUMNS, SIDE
from million_ird.models.weights import read_tensors, write_tensors
from million_ird.tables import locked
from million_ird.train.checkpoint import Position, State
from million_ird.train.detectors.artefacts.card import card
from million_ird.train.detectors.artefacts.export import to_onnx, values
from million_ird.train.detectors.artefacts.net import HEADS, UNITS, Estimator, look, pooled
from million_ird.train.detectors.artefacts.samples import KINDS, LABELS, WEATHER, Samples
from million_ird.train.detectors.artefacts.settings import ArtefactConfig
from million_ird.train.detectors.progress import Progress
from million_ird.train.detectors.samples import hashes_of, load, photos
from million_ird.train.detectors.training import Trained, auc, need_onnx, one_thread, share, trained

LOG = "artefacts.jsonl"

Tell = Callable[[int, Mapping[str, float]], None]

_KIND = HEADS.index(KINDS[0])
_TOGETHER = 16
_PART = 512  # samples that a run keeps in one file, a whole number of times `_TOGETHER`
_LOGITS = ("upscaled", *WEATHER)


def train_artefacts(
    data: Sequence[str | Path], out: str | Path, config: ArtefactConfig | None = None, tell: Tell | None = None
) -> Trained:
    """Train the artefact estimator; write artefacts.onnx, artefacts.md (its card), artefacts.json and artefacts.jsonl.

    A run that was cut off goes on from the pictures that it has made and its last checkpoint, to the same bytes.

    Args:
        data: folders of clean photos, of which every fifth is held out; files; or `packages`. JPEGs are made half as
            large, so that nothing is left of what they lost.
        out: the folder of the run.
        config: how.
        tell: is told of every step, and before the first of pictures that were made.

    Raises:
        InputError: no pictures; or the folder holds a run with another configuration or other pictures.
        MirdError: the package `onnx` is missing.
        OutputError: the folder can't be written, or another run works in it.
    """
    config = config or ArtefactConfig()
    need_onnx()
    paths = photos(data)
    pictures, held = clean(paths), clean(photos(data, held=True))
    unused = [str(path) for path in paths if path not in pictures]
    if not pictures:
        raise InputError(f"--data: no picture of {SIDE} px or more to train on")
    out = Path(out)
    with locked(out), one_thread():
        hashes = hashes_of(pictures)
        progress = Progress.of(out, "artefacts", config.model_dump(), hashes, LOG)
        if progress.finished:
            return trained(progress, config.steps, unused)
        net, log = fit(list(pictures.values()), config, tell, progress)
        seconds, busy = progress.seconds, progress.busy
        figures = check(net, list((held or pictures).values()), config)
        facts = {
            "data": sorted({Path(name).name for name in data}),
            "pictures": hashes,
            "config": config.model_dump(),
            "parameters": sum(p.numel() for p in net.parameters()),
            "held_out": figures,
            "held_out_pictures": len(held),
        }
        notes = {
            "title": "million-ird artefact estimator",
            "values": json.dumps(list(COLUMNS)),
            "training": json.dumps(facts["config"], sort_keys=True),
        }
        model = to_onnx(net, notes)
        facts |= {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)}
        facts |= {
            "seconds": round(seconds),
            "processor_seconds": round(busy),
            "torch": torch.__version__,
            "machine": platform.machine(),
        }
        progress.deliver(model, card(facts), log, facts)
    return Trained(str(out), str(progress.model), config.steps, len(pictures), seconds, figures, unused)


def clean(paths: Sequence[Path]) -> dict[Path, Bytes]:
    """The pictures that can be used, JPEGs at half their size."""
    found: dict[Path, Bytes] = {}
    for path in paths:
        rgb = load(path, SIDE)
        if rgb is not None and path.suffix.lower() in (".jpg", ".jpeg"):
            rgb = cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA)
        if rgb is not None and min(rgb.shape[:2]) >= SIDE:
            found[path] = np.ascontiguousarray(rgb, np.uint8)
    return found


def fit(
    pictures: Sequence[Bytes], config: ArtefactConfig, tell: Tell | None = None, progress: Progress | None = None
) -> tuple[Estimator, list[dict[str, float]]]:
    """The loop.

    Args:
        pictures: to train on.
        config: how.
        tell: is told of every step, and before the first of pictures that were made.
        progress: where it goes on from, and where it keeps what it reaches.

    Returns:
        The network, ready to be asked, and the log.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = Estimator()
        seen, combs, labels = made(Samples(pictures, config.seed), config.pool, tell, progress)
        everything = pooled(seen)
        net.middle, net.spread = everything.mean(0), everything.std(0) + 1e-3
        del everything
        optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay)
        state = State(net, optimiser, {}, Position())
        log = progress.take_up(state) if progress else []
        heard: list[dict[str, float]] = []
        net.train()
        drawn = enumerate(draws(config, seen.shape[1]))
        for step, (chosen, which) in islice(drawn, state.position.step, config.steps):
            rate = config.rate * share(step, config.steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            parts = losses(net(seen[chosen][:, which], combs[chosen][:, which].float()), labels[chosen])
            loss = torch.stack(list(parts.values())).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            state.position.step = state.position.updates = step + 1
            heard.append({"loss": loss.item(), **{name: part.item() for name, part in parts.items()}})
            if tell is not None:
                tell(step + 1, {"loss": loss.item()})
            watched = (step + 1) % config.watch == 0
            if watched or (step + 1) % config.every == 0 or step + 1 == config.steps:
                means = {name: round(float(np.mean([one[name] for one in heard])), 4) for name in heard[0]}
                log.append({"step": step + 1, **means, "rate": round(rate, 7)})
                heard.clear()
            if watched and progress:
                progress.keep(state, log)
    return net.eval(), log


def draws(config: ArtefactConfig, patches: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What each step learns from: numbers of the pool, and which of their patches; by torch's chance."""
    while True:
        chosen = torch.randint(config.pool, (config.batch,))
        count = int(torch.randint(config.fewest, patches + 1, ()))
        yield chosen, torch.randperm(patches)[:count]


def made(
    samples: Samples, count: int, tell: Tell | None = None, progress: Progress | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """`pool` of the first so many samples; a run keeps it in parts until it is done, since most of its time is this."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, count, _PART):
        file = progress.place / f"pool-{start:07d}.safetensors" if progress else None
        if file and file.is_file():
            part = read_tensors(file)
            found.append((part["seen"], part["combs"], part["labels"]))
            continue
        found.append(pool(samples, range(start, min(start + _PART, count)), tell))
        if progress and file:
            write_tensors(file, dict(zip(("seen", "combs", "labels"), found[-1], strict=True)))
            progress.note()
    return joined(found)


def pool(samples: Samples, numbers: range, tell: Tell | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """What `look` sees of samples, the combs in half precision, and their labels.

    Args:
        samples: to take them from.
        numbers: which.
        tell: is told {"made": how many of all} now and then, at step 0.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, len(numbers), _TOGETHER):
        some = [samples[number] for number in numbers[start : start + _TOGETHER]]
        seen, combs = look(torch.from_numpy(np.stack([one.patches for one in some])))
        found.append((seen, combs.half(), torch.from_numpy(np.stack([one.labels for one in some]))))
        if tell is not None:
            tell(0, {"made": numbers[start] + len(some)})
    return joined(found)


def joined(found: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """One after the other."""
    seen, combs, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return seen, combs, labels


def losses(given: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """By head: mean absolute error in `UNITS` of what is asked, cross entropy of kinds, and of presences."""
    label = dict(zip(LABELS, labels.unbind(1), strict=True))
    found = {}
    for name, unit in UNITS.items():
        asked = ~torch.isnan(label[name])
        wanted = torch.where(asked, label[name], 0) / unit
        apart = (given[:, HEADS.index(name)] - wanted).abs() * asked
        found[name] = apart.sum() / asked.sum().clamp(min=1)
    found["kind"] = F.cross_entropy(given[:, _KIND : _KIND + len(KINDS)], label["kind"].long())
    for name in _LOGITS:
        found[name] = F.binary_cross_entropy_with_logits(given[:, HEADS.index(name)], label[name])
    return found


@torch.no_grad()
def check(net: Estimator, pictures: Sequence[Bytes], config: ArtefactConfig) -> dict[str, float]:
    """How far it is off on other pictures, degraded alike: mean absolute errors, share of right kinds, AUC."""
    if not config.checks:
        return {}
    seen, combs, asked = pool(Samples(pictures, config.seed + 1), range(config.checks))
    given, labels = values(net(seen, combs.float())).numpy(), asked.numpy()
    names = (name.removeprefix("artefacts_") for name in COLUMNS)
    found: dict[str, Any] = dict(zip(names, given.T, strict=True))
    label: dict[str, Any] = dict(zip(LABELS, labels.T, strict=True))
    kinds = np.stack([1 - sum(found[kind] for kind in KINDS[1:]), *(found[kind] for kind in KINDS[1:])])
    off = {
        "noise": found["noise"] - label["noise"],
        "quality": found["quality"] - label["quality"],
        "blur": found["blur"] - label["extent"],
        "octaves": np.log2(found["upscale"]) - label["octaves"],
    }
    figures = {f"{name}_mae": round(float(np.nanmean(np.abs(apart))), 4) for name, apart in off.items()}
    figures["kind_right"] = round(float((kinds.argmax(0) == label["kind"]).mean()), 4)
    for name in _LOGITS:
        there = label[name] == 1
        if there.any() and not there.all():
            figures[f"{name}_auc"] = round(auc(found[name][~there], found[name][there]), 4)
    return figures
