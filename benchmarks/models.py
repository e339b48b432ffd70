"""Speed and memory of the networks beside the same networks written the way the published code writes them.

    python benchmarks/models.py                              CPU, eager: forward, and forward + backward
    python benchmarks/models.py --compiled                   and compiled, in float32 and bfloat16 (minutes to compile)
    python benchmarks/models.py --blocks --compiled          the 44 transformer blocks of Restormer alone
    python benchmarks/models.py --device cuda                bfloat16 + compile + channels_last; done in 8 minutes

All ways of one network have the same weights and input; how far their outputs are apart stands beside the times. The
ways take turns, so that a busy machine hurts all alike; the fastest round counts. "x" is how many times faster than the
first way. TFLOP/s count the products of the published network (three times as many with backward), whoever runs it.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import gc
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import flops
import published
import torch
from torch import Tensor, nn

from million_ird import models
from million_ird.models.blocks import TransformerBlock
from million_ird.models.reference import tensors_of

THEIRS: dict[str, Callable[[], nn.Module]] = {
    "restormer": lambda: published.Restormer(biased=False),
    "promptir": published.PromptIR,
    "dynet-s": published.DyNet,
    "dynet-l": lambda: published.DyNet(frequencies=(4, 6, 6, 8)),
}

BLOCKS = ((48, 1, 1, 4), (96, 1, 1, 8), (96, 2, 2, 12), (192, 4, 4, 12), (384, 8, 8, 8))
"""Restormer's blocks: channels, heads, size divided by, how many."""

PEAK = {"H100": 989, "H200": 989, "A100": 312, "4090": 165, "L40S": 362}
"""bfloat16 TFLOP/s without sparsity, from the makers' data sheets; cards are found by a part of their name."""


@dataclass(frozen=True)
class Way:
    """One way to run a network."""

    label: str
    ours: bool = True
    bf16: bool = False
    compiled: bool = False
    tf32: bool = False


CPU = (Way("published, eager", ours=False), Way("ours, eager"))
CPU_COMPILED = (Way("ours, compiled", compiled=True), Way("ours, compiled, bf16", bf16=True, compiled=True))
CUDA = (
    Way("published, fp32, TF32 off", ours=False),
    Way("published, fp32, TF32 on", ours=False, tf32=True),
    Way("ours, fp32, TF32 on", tf32=True),
    Way("ours, bf16", bf16=True, tf32=True),
    Way("ours, bf16, compiled", bf16=True, compiled=True, tf32=True),
)


class Stack(nn.Module):
    """Blocks of several sizes, each applied to its own tensor as often as it counts; what comes out is their means."""

    def __init__(self, blocks: list[nn.Module], batch: int, size: int, ours: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.shapes: list[torch.Size] = []
        generator = torch.Generator().manual_seed(0)
        for index, (dim, _, down, _) in enumerate(BLOCKS):
            x = torch.randn(batch, dim, size // down, size // down, generator=generator)
            x = x.permute(0, 2, 3, 1) if ours else x
            self.shapes.append(x.shape)
            self.register_buffer(f"x{index}", x.flatten(1).contiguous())  # `.to(channels_last)` would turn a 4D one

    def forward(self, _image: Tensor) -> Tensor:
        out = []
        for index, (block, sizes) in enumerate(zip(self.blocks, BLOCKS, strict=True)):
            x = self.get_buffer(f"x{index}").view(self.shapes[index])
            for _ in range(sizes[-1]):
                x = block(x)
            out.append(x.abs().mean())
        return torch.stack(out)


def stacks(batch: int, size: int) -> tuple[nn.Module, Callable[[], nn.Module]]:
    theirs = [published.Block(dim, heads, 2.66, False) for dim, heads, _, _ in BLOCKS]

    def ours() -> nn.Module:
        blocks: list[nn.Module] = []
        for (dim, heads, _, _), block in zip(BLOCKS, theirs, strict=True):
            own = TransformerBlock(dim, heads, 2.66, norm_bias=False)
            own.load_state_dict(tensors_of(block.state_dict()))
            blocks.append(own)
        return Stack(blocks, batch, size, True)

    return Stack(list(theirs), batch, size, False), ours


def networks(name: str) -> tuple[nn.Module, Callable[[], nn.Module]]:
    theirs = THEIRS[name]()

    def ours() -> nn.Module:
        net = getattr(models, name.partition("-")[0]).from_reference(theirs.state_dict())
        if name == "dynet-l":
            net.variant = "l"
        return net

    return theirs, ours


def prepared(net: nn.Module, way: Way, device: str, training: bool) -> nn.Module:
    """On the device, in the way's type and memory format; blocks are compiled one by one, in place."""
    net = net.to(device)
    if way.bf16 and device == "cuda" and not training:
        net = net.to(torch.bfloat16)
    if way.ours:
        net = net.to(memory_format=torch.channels_last)
    if way.compiled:
        for module in net.modules():
            if isinstance(module, TransformerBlock):
                module.compile(dynamic=False)
    return net.train(training)


@contextlib.contextmanager
def setting(way: Way, device: str) -> Iterator[None]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = way.tf32
    with torch.autocast(device, torch.bfloat16, enabled=way.bf16):
        yield


def step(net: nn.Module, image: Tensor, way: Way, training: bool) -> Tensor:
    """Forward; or forward and backward of the mean difference to the input."""
    device = image.device.type
    image = image.to(next(net.parameters()).dtype)
    if not training:
        with torch.inference_mode(), setting(way, device):
            return net(image)
    net.zero_grad(set_to_none=True)
    with setting(way, device):
        out = net(image)
        loss = (out.float() - image).abs().mean() if out.ndim == 4 else out.float().sum()
    loss.backward()
    return out.detach()


def clock(run: Callable[[], Any], device: str, repeats: int, now: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one run."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3 / repeats
    begin = now()
    for _ in range(repeats):
        run()
    return (now() - begin) / repeats


def kept(run: Callable[[], Any], net: nn.Module) -> int:
    """Bytes that a forward pass keeps for backward, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(seen.values())


def memory(net: nn.Module, image: Tensor, way: Way, training: bool) -> float:
    """GiB: on a GPU the peak of a step, on a CPU what is kept for backward (0 = not known)."""
    if image.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step(net, image, way, training)
        return torch.cuda.max_memory_allocated() / 2**30
    if not training or way.compiled:
        return 0.0
    return kept(lambda: step(net, image, way, training), net) / 2**30


def compare(pair: tuple[nn.Module, Callable[[], nn.Module]], ways: tuple[Way, ...], training: bool, args: Any) -> None:
    """One table: the ways of one network, forward or forward and backward."""
    theirs, ours = pair
    image = torch.rand(args.batch, 3, args.size, args.size, device=args.device)
    work = flops.count(copy.deepcopy(theirs).to("meta"), args.size) if args.giga else {}
    giga = sum(work.get(op, 0) for op in flops.PRODUCTS) * args.batch * (3 if training else 1) / 1e9
    now = time.process_time if args.cpu_time else time.perf_counter
    nets, outputs, times = [], [], []
    for way in ways:
        began = time.perf_counter()
        net = prepared(ours() if way.ours else copy.deepcopy(theirs), way, args.device, training)
        outputs.append(step(net, image, way, training).float())
        for _ in range(args.warm):
            step(net, image, way, training)
        nets.append(net)
        times.append([])
        if way.compiled:
            print(f"  ({way.label}: compiled and warm after {time.perf_counter() - began:.0f} s)", flush=True)
    for _ in range(args.rounds):
        for net, way, found in zip(nets, ways, times, strict=True):
            run = functools.partial(step, net, image, way, training)
            found.append(clock(run, args.device, args.repeats, now))
    best = [min(found) for found in times]
    for net, way, seconds, output in zip(nets, ways, best, outputs, strict=True):
        apart = float((output - outputs[0]).abs().max() / outputs[0].abs().max())
        rate = giga / 1e3 / seconds
        space = memory(net, image, way, training)
        print(
            f"  {way.label:26} {seconds * 1e3:9.1f} ms  x{best[0] / seconds:5.2f} {args.batch / seconds:8.1f} images/s",
            f"{rate:7.3f} TFLOP/s {of_peak(rate, args)}" if giga else "",
            f"{space:6.2f} GiB" if space else "",
            f"apart {apart:.0e}",
            flush=True,
        )
    del nets, net  # pyright: ignore[reportPossiblyUnboundVariable]
    gc.collect()


def of_peak(rate: float, args: Any) -> str:
    return f"{rate / args.peak:6.1%} of peak" if args.peak else ""


def measured_peak() -> float:
    """bfloat16 TFLOP/s of a product of two 8192 x 8192 matrices: what this card reaches, whatever its sheet says."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        torch.mm(a, b)
    return 2 * 8192**3 / min(clock(lambda: a @ b, "cuda", 10) for _ in range(3)) / 1e12


def introduce(args: Any) -> None:
    args.peak = 0.0
    if args.device == "cuda":
        name = torch.cuda.get_device_name()
        sheet = next((peak for card, peak in PEAK.items() if card in name), 0)
        args.peak = sheet or measured_peak()
        peaks = f"bf16 peak {sheet or 'unknown'} by its sheet, {measured_peak():.0f} measured"
        print(f"{name}, torch {torch.__version__}; {peaks}")
        torch.backends.cudnn.benchmark = True
    else:
        torch.set_num_threads(args.threads)
        seconds = "CPU seconds" if args.cpu_time else "wall clock"
        print(f"{platform.machine()} CPU, {args.threads} threads, torch {torch.__version__}, {seconds}")
    torch._dynamo.config.recompile_limit = 64  # one for each size of block
    torch.manual_seed(0)


def parse() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--models", help=f"of {', '.join(THEIRS)} (default: restormer, promptir; on CUDA restormer, dynet-s)"
    )
    parser.add_argument("--blocks", action="store_true", help="Restormer's blocks alone, instead of networks")
    parser.add_argument("--compiled", action="store_true", help="on a CPU, compiled code too (always on CUDA)")
    parser.add_argument(
        "--size", type=int, help="height and width (default: 128; on CUDA 256 forward, 128 with backward)"
    )
    parser.add_argument("--batch", type=int, help="images (default: 1; on CUDA 8)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds, not the clock's: for a busy machine")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=["forward", "backward"], help="one of the two tables")
    parser.add_argument("--minutes", type=float, default=7, help="on CUDA no new table is begun after (default: 7)")
    return parser.parse_args()


def main() -> None:
    args = parse()
    cuda, began, asked = args.device == "cuda", time.monotonic(), args.size
    names = args.models.split(",") if args.models else ["restormer", "dynet-s" if cuda else "promptir"]
    args.batch, args.repeats, args.warm = args.batch or (8 if cuda else 1), 5 if cuda else 1, 2 if cuda else 1
    args.giga = not args.blocks
    introduce(args)
    ways = CUDA if cuda else CPU + (CPU_COMPILED if args.compiled else ())
    for name in ["blocks"] if args.blocks else names:
        for training in (False, True):
            if args.only == ("forward" if training else "backward"):
                continue
            if cuda and time.monotonic() - began > 60 * args.minutes:
                print(f"{name}: left out, {args.minutes:g} minutes are over")
                continue
            args.size = asked or (256 if cuda and not training else 128)
            what = "forward + backward" if training else "forward"
            print(f"{name}, {what}, {args.batch} x 3 x {args.size} x {args.size}", flush=True)
            compare(stacks(args.batch, args.size) if args.blocks else networks(name), ways, training, args)


if __name__ == "__main__":
    main()
