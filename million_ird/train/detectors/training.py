"""The training of the watermark detector: a seeded loop on the processor, the offset, then the file and its card."""

from __future__ import annotations

import copy
import hashlib
import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from million_ird.degrade.op import Bytes
from million_ird.degrade.watermark import stamp
from million_ird.errors import InputError, MirdError
from million_ird.meters import Frame
from million_ird.meters.watermark import seen
from million_ird.rng import rng_for
from million_ird.tables import locked
from million_ird.train import average
from million_ird.train.checkpoint import Position, State
from million_ird.train.detectors.card import card
from million_ird.train.detectors.drawing import Batch, batches
from million_ird.train.detectors.export import scales_of, to_onnx
from million_ird.train.detectors.net import Coach, Detector, judged, pooled
from million_ird.train.detectors.progress import Progress
from million_ird.train.detectors.samples import PIXELS, hashes_of, load, photos
from million_ird.train.detectors.settings import DetectorConfig
from million_ird.train.detectors.start import begin
from million_ird.train.muon import Muon

Tell = Callable[[int, Mapping[str, float]], None]

Ask = Callable[[Sequence[Bytes]], Any]
"""What a network says of pictures: (N,) logits, above 0 where the rule would drop one."""

_HARD = 0.3
"""Share of the steps after which hard swish, with which the weights to begin with were learnt, has become ReLU."""

_SCALED = 200
"""So many pictures set the scales of the file's bytes."""


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        out: its folder.
        model: the ONNX file.
        steps, pictures, seconds: how much went in.
        figures: scores on held-out pictures; where there are none, on those trained on.
        unused: files that could not be read or are too small, of those trained on.
    """

    out: str
    model: str
    steps: int
    pictures: int
    seconds: float
    figures: Mapping[str, float]
    unused: Sequence[str] = ()


def train_watermark(
    data: Sequence[str | Path], out: str | Path, config: DetectorConfig | None = None, tell: Tell | None = None
) -> Trained:
    """Train the watermark detector; write watermark.onnx, watermark.md (its card), watermark.json and metrics.jsonl.

    A run that was cut off goes on from its last checkpoint, to the same bytes.

    Args:
        data: folders of clean photos, of which every fifth is held out; files; or `packages`.
        out: the folder of the run.
        config: how.
        tell: is told of every step.

    Raises:
        InputError: no pictures; or the folder holds a run with another configuration or other pictures.
        MirdError: the package `onnx` is missing.
        OutputError: the folder can't be written, or another run works in it.
    """
    config = config or DetectorConfig()
    need_onnx()
    paths = photos(data)
    loaded = {path: rgb for path in paths if (rgb := load(path)) is not None}
    pictures, unused = list(loaded.values()), [str(path) for path in paths if path not in loaded]
    held = [rgb for path in photos(data, held=True) if (rgb := load(path)) is not None]
    if not pictures:
        raise InputError("--data: no picture to train on")
    out = Path(out)
    with locked(out), one_thread():
        hashes = hashes_of(loaded)
        progress = Progress.of(out, "watermark", config.model_dump(exclude={"workers"}), hashes)
        if progress.finished:
            return trained(progress, config.steps, unused)
        net, log = fit(pictures, config, tell, held, progress)
        notes = {
            "title": "million-ird watermark detector",
            "training": config.model_dump_json(exclude={"init", "workers"}),
        }
        scales = scales_of(net, [seen(Frame(picture), PIXELS) for picture in pictures[:_SCALED]])
        net.offset = torch.tensor(offset(asked(to_onnx(net, notes, scales)), pictures, config))
        model = to_onnx(net, notes, scales)
        seconds = progress.seconds
        figures = check(asked(model), held or pictures, config)
        facts = {
            "data": sorted({Path(name).name for name in data}),
            "pictures": hashes,
            "config": config.model_dump(exclude={"init"}),
            "init": None if config.init is None else hashlib.sha256(Path(config.init).read_bytes()).hexdigest(),
            "parameters": sum(p.numel() for part in (*net.steps(), net.head) for p in part.parameters()),
            "held_out": figures,
            "held_out_pictures": len(held),
        }
        facts |= {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)}
        facts |= {"seconds": round(seconds), "torch": torch.__version__, "machine": platform.machine()}
        progress.deliver(model, card(facts), log, facts)
    return Trained(str(out), str(progress.model), config.steps, len(pictures), seconds, figures, unused)


def trained(progress: Progress, steps: int, unused: Sequence[str]) -> Trained:
    """What a finished run gave."""
    facts = progress.finished or {}
    count, seconds, figures = len(facts["pictures"]), facts["seconds"], facts["held_out"]
    return Trained(str(progress.folder), str(progress.model), steps, count, seconds, figures, unused)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order: the same bytes again."""
    threads, opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(opencv)


def need_onnx() -> None:
    """Raise `MirdError` where the package that writes the files is missing."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MirdError('onnx is not installed: pip install "million-ird[export]"') from None


def fit(
    pictures: Sequence[Bytes],
    config: DetectorConfig,
    tell: Tell | None = None,
    held: Sequence[Bytes] = (),
    progress: Progress | None = None,
) -> tuple[Detector, list[dict[str, float]]]:
    """The loop.

    Args:
        pictures: to train on.
        config: how.
        tell: is told of every step.
        held: other pictures, for the checks on the way.
        progress: where it goes on from, and where it keeps what it reaches.

    Returns:
        The network, ready to be asked, and the log.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = Detector().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.init is not None:
            begin(net, config.init)
        coach = Coach(net)
    mean = copy.deepcopy(coach).eval()
    averaged, learning = ({k: v for k, v in x.state_dict().items() if v.is_floating_point()} for x in (mean, coach))
    optimiser = Muon([{"params": coach.parameters()}], lr=config.rate, weight_decay=config.decay)
    state = State(coach, optimiser, averaged, Position())
    log = progress.take_up(state) if progress else []
    first = state.position.step
    losses: list[float] = []
    coach.train()
    for step, batch in enumerate(batches(pictures, config, first), first):
        rate = config.rate * share(step, config.steps)
        if config.init is not None:
            soft = max(0.0, 1 - step / (_HARD * config.steps))
            net.soften(soft)
            mean.net.soften(soft)
        for group in optimiser.param_groups:
            group["lr"] = rate
        losses.append(learn(coach, optimiser, batch, config))
        average.update(averaged, learning, config.ema, step)
        state.position.step = state.position.updates = step + 1
        if tell is not None:
            tell(step + 1, {"loss": losses[-1]})
        watched = (step + 1) % config.watch == 0
        if watched or (step + 1) % config.every == 0 or step + 1 == config.steps:
            line = {"step": step + 1, "loss": round(float(np.mean(losses)), 5), "rate": round(rate, 7)}
            losses.clear()
            if held and watched:
                found = check(lambda images: scores(mean.net, images), held, config)
                line |= {"auc": found["auc"]} if found else {}
            log.append(line)
        if watched and progress:
            progress.keep(state, log)
    mean.net.soften(0.0)
    return mean.net, log


def learn(coach: Coach, optimiser: Muon, batch: Batch, config: DetectorConfig) -> float:
    """One change of the weights; returns the loss."""
    with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
        cells, strokes = coach(batch.images)
    loss = loss_of(cells.float(), strokes.float(), batch, config)
    coach.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(coach.parameters(), 5.0)
    optimiser.step()
    return loss.item()


def share(step: int, steps: int) -> float:
    """Of the learning rate: up over the first 5 %, then down to 0 by a cosine."""
    rise = max(1, round(0.05 * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def loss_of(cells: Tensor, strokes: Tensor, batch: Batch, config: DetectorConfig) -> Tensor:
    """Cross entropy of the cells that are asked about, of the pictures, and of the strokes."""
    asked = batch.cells >= 0
    by_cell = F.binary_cross_entropy_with_logits(cells[asked], batch.cells[asked].float())
    by_picture = F.binary_cross_entropy_with_logits(pooled(cells), batch.marked)
    by_stroke = F.binary_cross_entropy_with_logits(strokes, batch.strokes / 255)
    return by_cell + config.whole * by_picture + config.strokes * by_stroke


@torch.no_grad()
def scores(net: Detector, images: Sequence[Bytes]) -> Any:
    """Logits of pictures of any size, (N,) float64."""
    planes = [seen(Frame(image), PIXELS) for image in images]
    return np.array([float(judged(net, torch.from_numpy(plane.copy())[None, None])) for plane in planes])


def offset(ask: Ask, pictures: Sequence[Bytes], config: DetectorConfig) -> float:
    """The logit below which `config.clean` of the unmarked views of the pictures lie: whole, mirrored, and in parts."""
    views: list[Bytes] = []
    for number, picture in enumerate(pictures):
        rng = rng_for(config.seed, "offset", number)
        views += [picture, np.ascontiguousarray(picture[:, ::-1])]
        for _ in range(3):
            side = max(48, round(min(picture.shape[:2]) * (0.4 + 0.6 * rng.random())))
            side = min(side, *picture.shape[:2])
            top = int(rng.random() * (picture.shape[0] - side + 1))
            left = int(rng.random() * (picture.shape[1] - side + 1))
            views.append(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return float(np.quantile(ask(views), config.clean))


def asked(model: bytes) -> Ask:
    """How a file answers."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def ask(images: Sequence[Bytes]) -> Any:
        planes = (seen(Frame(image), PIXELS)[None, None] for image in images)
        score = np.array([np.asarray(session.run(["score"], {"luma": plane})[0])[0] for plane in planes], np.float64)
        return np.log(np.maximum(score, 1e-30)) - np.log(np.maximum(1 - score, 1e-30))

    return ask


def check(ask: Ask, pictures: Sequence[Bytes], config: DetectorConfig) -> dict[str, float]:
    """How well marks of the training's styles are told from none, on other pictures: AUC, and shares above 0."""
    if not config.checks:
        return {}
    clean = [pictures[number % len(pictures)] for number in range(min(config.checks, len(pictures)))]
    marked = []
    for number in range(config.checks):
        rng = rng_for(config.seed, "check", number)
        marked.append(stamp(pictures[number % len(pictures)], rng).image)
    below, above = ask(clean), ask(marked)
    return {
        "auc": round(auc(below, above), 4),
        "found": round(float((above > 0).mean()), 4),
        "false": round(float((below > 0).mean()), 4),
        "pictures": len(pictures),
    }


def auc(below: Any, above: Any) -> float:
    """Area under the ROC curve: how often a marked picture scores higher than a clean one; a tie counts half."""
    below, above = np.sort(np.asarray(below, np.float64)), np.asarray(above, np.float64)
    less, not_more = np.searchsorted(below, above, "left"), np.searchsorted(below, above, "right")
    return float((less + not_more).sum() / 2 / (len(below) * len(above)))
