"""GFLOPs of the networks, counted while they run on shapes alone.

    python benchmarks/flops.py                  at 224 x 224, as the papers have it
    python benchmarks/flops.py --size 256

"paper": 2 per multiply-add of convolutions and linear layers and 1 per element of a GELU; the products of the
attention are left out. "published": all products of the published network. "ours": all products that this package
performs for the same result: the output projection is folded into the attention, and inner channels are rounded up.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import published
import torch
from torch.utils.flop_counter import FlopCounterMode

from million_ird import models

aten = torch.ops.aten
PRODUCTS = (aten.convolution, aten.mm, aten.addmm, aten.bmm, aten.baddbmm)


def count(net: torch.nn.Module, size: int) -> dict[Any, int]:
    """Operation -> FLOPs of one image; a GELU counts 1 per element."""
    elements = {aten.gelu: lambda *_shapes, out_shape, **_: math.prod(out_shape)}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=elements) as counter:
        net(torch.empty(1, 3, size, size, device="meta"))
    return dict(counter.get_flop_counts()["Global"])


def rows(size: int) -> list[tuple[str, float, float, float]]:
    """(network, paper, published, ours) in GFLOPs."""
    with torch.device("meta"):
        pairs = {
            "restormer": (published.Restormer(), models.create("restormer")),
            "promptir": (published.PromptIR(), models.create("promptir")),
            "dynet-l": (published.DyNet(frequencies=(4, 6, 6, 8)), models.create("dynet-l")),
            "dynet-s": (published.DyNet(frequencies=(2, 3, 3, 4)), models.create("dynet-s")),
        }
    out = []
    for name, (theirs, ours) in pairs.items():
        counts = count(theirs, size)
        paper = sum(counts.get(op, 0) for op in (aten.convolution, aten.addmm, aten.gelu))
        whole, own = (sum(c.get(op, 0) for op in PRODUCTS) for c in (counts, count(ours, size)))
        out.append((name, paper / 1e9, whole / 1e9, own / 1e9))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="height and width (default: 224)")
    size = parser.parse_args().size
    print(f"GFLOPs of one image of {size} x {size}")
    print(f"{'':10} {'paper':>10} {'published':>10} {'ours':>10}")
    found = {name: values for name, *values in rows(size)}
    for name, values in found.items():
        print(f"{name:10}", *(f"{value:10.3f}" for value in values))
    saved = 1 - found["dynet-s"][0] / found["dynet-l"][0]
    print(f"dynet-s against dynet-l, as the paper counts: {saved:.2%} fewer")


if __name__ == "__main__":
    main()
