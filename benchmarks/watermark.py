"""The watermark detector on photos and styles that its training never saw.

    OMP_NUM_THREADS=1 python benchmarks/watermark.py [--model FILE] [--out FILE.json] [--rounds 4] [--sets NAME...]
        [--threshold 0.75] [--learnt FOLDER...]

Marks of `HELD_OUT` (fonts, logos and layouts that `TRAINING` has none of) over these sets, half saved as JPEG,
against the same photos untouched, as found and as JPEG of the same quality; AUC, recall at 2 % false positives and
at the shipped threshold, by opacity, size, contrast and layout. Then untouched photos: these sets, the held-out
fifth of cid22; decoys (signs, print, screens, subtitles, wires) over them; and the time for one megapixel, in processor
time, best of many. With `--learnt`, folders that it was trained on: the photos that training saw, and those held out.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from testdata import TEST_DATA, need

from million_ird.curate.settings import load_config
from million_ird.degrade.watermark import HELD_OUT, TRAINING, Marked, Style, stamp
from million_ird.degrade.watermark.lettering import between
from million_ird.images import decode, encode_jpeg
from million_ird.meters import Frame
from million_ird.meters.watermark import OURS, Watermark
from million_ird.rng import rng_for
from million_ird.train.detectors.decoys import DECOYS
from million_ird.train.detectors.samples import HEIGHTS, load, photos
from million_ird.train.detectors.training import auc

SEED = 2024
OPACITIES = (0.15, 0.3, 0.5, 0.75, 1.001)
HIGH = (0.0, 0.025, 0.045, 0.075, 1.0)
CONTRASTS = (0, 12, 20, 40, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=OURS, help="an ONNX file; default: the shipped one")
    parser.add_argument("--rounds", type=int, default=4, help="marks on each photo")
    parser.add_argument("--sets", nargs="+", default=["kodak24", "cbsd68"], help="folders of the test data")
    parser.add_argument("--out", type=Path, help="figures as JSON")
    parser.add_argument("--threshold", type=float, help="default: the rule of the preset `photos`")
    parser.add_argument("--learnt", type=Path, nargs="+", default=[], help="folders that it was trained on")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    need(*given.sets, "cid22")
    meter = Watermark(model=given.model)
    limit = given.threshold or load_config("photos").policy.watermark.max
    print(f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}; threshold {limit}\n")
    figures: dict[str, Any] = {"threshold": limit}
    sets = {
        name: [read(path) for path in photos([TEST_DATA / name]) + photos([TEST_DATA / name], held=True)]
        for name in given.sets
    }
    test = [picture for pictures in sets.values() for picture in pictures]
    sets["cid22, held out"] = [read(path) for path in photos([TEST_DATA / "cid22"], held=True)]

    untouched = {name: scores(meter, pictures) for name, pictures in sets.items()}
    compressed = scores(meter, [saved(p, n) for n, p in enumerate(test)])
    clean = np.concatenate([*(untouched[name] for name in given.sets), compressed])
    figures["untouched"] = {name: share(found, limit) for name, found in untouched.items()}
    every = np.concatenate(list(untouched.values()))
    figures["untouched"]["all"] = share(every, limit)
    print(
        table(
            "untouched photos",
            [("set", "photos", f"above {limit}", "above 0.5")],
            [
                (name, len(found), f"{share(found, limit):.1%}", f"{share(found, 0.5):.1%}")
                for name, found in [*untouched.items(), ("all", every)]
            ],
        )
    )
    for title, style in (("held-out styles", HELD_OUT), ("training's styles", TRAINING)):
        figures[title] = marks(meter, test, style, given.rounds, clean, limit, title)
    if given.learnt:
        figures["learnt"] = learnt(meter, given.learnt)
    figures["decoys"] = decoys(meter, test, limit)
    figures["milliseconds"] = timing(meter)
    print(
        "milliseconds for one megapixel, one core: "
        + ", ".join(f"{k} {v:.2f}" for k, v in figures["milliseconds"].items())
    )
    if given.out:
        given.out.write_text(json.dumps(figures, indent=2) + "\n")


def read(path: Path) -> Any:
    return decode(path.read_bytes()).rgb


def saved(picture: Any, number: int) -> Any:
    """The picture after JPEG of a drawn quality."""
    return decode(encode_jpeg(picture, round(between(rng_for(SEED, "quality", number), 50, 95)))).rgb


def scores(meter: Watermark, pictures: Iterable[Any]) -> Any:
    return np.array([meter(Frame(picture))[0] for picture in pictures])


def share(found: Any, limit: float) -> float:
    return float((np.asarray(found) > limit).mean())


def marks(
    meter: Watermark, pictures: Sequence[Any], style: Style, rounds: int, clean: Any, limit: float, title: str
) -> dict[str, Any]:
    """Recall over the style's marks, in all and by what they look like."""
    made: list[tuple[Marked, float]] = []
    found = []
    for number in range(rounds * len(pictures)):
        mark = stamp(pictures[number % len(pictures)], rng_for(SEED, title, number), style)
        image = saved(mark.image, number) if number // len(pictures) % 2 else mark.image
        made.append((mark, mark.height / (image.shape[0] * image.shape[1]) ** 0.5))
        found.append(meter(Frame(image))[0])
    got = np.array(found)
    strict = float(np.quantile(clean, 0.98))
    figures: dict[str, Any] = {
        "marks": len(got),
        "auc": auc(clean, got),
        "recall at 2 %": share(got, strict),
        "recall at the threshold": share(got, limit),
    }
    print(
        f"{title}: {len(got)} marks, AUC {figures['auc']:.4f}, recall {figures['recall at 2 %']:.1%} at 2 % false "
        f"positives (score {strict:.3f}), {figures['recall at the threshold']:.1%} at {limit}, "
        f"{share(got, 0.5):.1%} at 0.5\n"
    )
    groups: list[tuple[str, Callable[[Marked, float], Any], Sequence[float] | None]] = [
        ("opacity", lambda mark, _: mark.opacity, OPACITIES),
        ("height of capitals, share of sqrt(area)", lambda _, size: size, HIGH),
        ("contrast, grey levels", lambda mark, _: mark.contrast, CONTRASTS),
        ("layout", lambda mark, _: mark.layout, None),
        ("effect", lambda mark, _: mark.effect, None),
    ]
    for name, of, bins in groups:
        values = [of(*one) for one in made]
        if bins is None:
            cases = [(str(value), np.array([v == value for v in values])) for value in sorted(set(values))]
        else:
            cases = [
                (
                    f"{lo:g} to {min(hi, 1) if bins is not CONTRASTS else hi:g}",
                    (np.array(values) >= lo) & (np.array(values) < hi),
                )
                for lo, hi in pairwise(bins)
            ]
        rows = [
            (case, int(which.sum()), f"{share(got[which], strict):.1%}", f"{share(got[which], limit):.1%}")
            for case, which in cases
            if which.any()
        ]
        figures[name] = {
            row[0]: {"marks": row[1], "recall": share(got[which], strict)}
            for row, (_, which) in zip(rows, [c for c in cases if c[1].any()], strict=True)
        }
        print(table(f"{title}, by {name}", [(name, "marks", "recall at 2 %", f"above {limit}")], rows))
    return figures


def learnt(meter: Watermark, folders: Sequence[Path]) -> dict[str, Any]:
    """How much better it is on photos that it was trained on than on the others of their folders."""
    found = {}
    for name, held, rounds in (("seen in training", False, 2), ("held out", True, 8)):
        pictures = [rgb for path in photos(folders, held) if (rgb := load(path)) is not None]
        count = rounds * len(pictures)
        marked = (stamp(pictures[n % len(pictures)], rng_for(SEED, name, n)).image for n in range(count))
        clean, got = scores(meter, pictures), scores(meter, marked)
        found[name] = {"photos": len(clean), "marks": len(got), "auc": auc(clean, got)}
    head = [("photos", "number", "marks", "AUC")]
    rows = [(name, one["photos"], one["marks"], f"{one['auc']:.4f}") for name, one in found.items()]
    print(table("training's folders, training's styles", head, rows))
    return found


def decoys(meter: Watermark, pictures: Sequence[Any], limit: float) -> dict[str, float]:
    """What is part of the scene: how much of it is taken for a mark."""
    out, rows = {}, []
    for name, draw in DECOYS.items():
        found = []
        for number, picture in enumerate(pictures):
            rng = rng_for(SEED, name, number)
            scale = (picture.shape[0] * picture.shape[1] / 2**18) ** 0.5
            found.append(meter(Frame(draw(picture, rng, HELD_OUT, between(rng, *HEIGHTS, log=True) * scale)))[0])
        out[name] = share(found, limit)
        rows.append((name, len(found), f"{out[name]:.1%}"))
    print(table("decoys in held-out fonts", [("kind", "pictures", f"above {limit}")], rows))
    return out


def timing(meter: Watermark) -> dict[str, float]:
    """Processor time for 1152 x 864 px: with luma and its half there already, as after the other meters; and alone."""
    picture = np.random.default_rng(0).integers(0, 256, (864, 1152, 3), np.uint8)
    shared = Frame(picture)
    meter(shared)
    best = {"beside the other meters": 9e9, "alone": 9e9}
    for _ in range(60):
        for name, make in (("beside the other meters", lambda: shared), ("alone", lambda: Frame(picture))):
            began = time.process_time()
            meter(make())
            best[name] = min(best[name], (time.process_time() - began) * 1000)
    return {name: round(value, 2) for name, value in best.items()}


def table(title: str, head: list[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]) -> str:
    cells = [tuple(map(str, row)) for row in [*head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join([f"{title}:", "", *lines, ""])


if __name__ == "__main__":
    main()
