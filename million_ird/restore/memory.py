"""How much memory there is, how much a picture will take, and how glibc is kept from giving it back too often."""

from __future__ import annotations

import ctypes
import os
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from million_ird.restore.patches import blocks_run_by

SHARE = 0.8
"""Of the memory that is free, how much a picture may take; the estimate knows no kernel's own buffers."""
CONSTANT = 256 << 20
"""Bytes set aside for one patch's work and what kernels keep."""
LARGE = 1 << 30
"""Bytes beyond which what glibc keeps is given back between uses."""
_KEEP = 0, 32 << 20, 2**31 - 1, 256 << 20
_GIVE_BACK = 65536, 32 << 20, 128 << 20, 0
_tuned = False
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def tune_malloc() -> bool:
    """Let glibc keep freed memory instead of handing it back to the kernel after each large tensor.

    Each mapped page costs a fault when it is first written; a network frees and asks for the same sizes all the time.
    Call it before the first tensor is made. Says whether it took; elsewhere than on glibc it does nothing.
    """
    global _tuned
    _tuned = _mallopt(*_KEEP)
    return _tuned


def suit_malloc(needed: int) -> None:
    """Where `tune_malloc` was called: give a picture that takes this much back what lies idle.

    Kept memory falls into pieces that the largest maps don't fit in: 11 GB where 6 were in use.
    """
    if _tuned:
        _mallopt(*(_KEEP if needed < LARGE else _GIVE_BACK))


def _mallopt(maps: int, threshold: int, trim: int, pad: int) -> bool:
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc_trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    # M_MMAP_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD of malloc.h
    done = [mallopt(-4, maps), mallopt(-3, threshold), mallopt(-1, trim), mallopt(-2, pad)]
    if maps:
        malloc_trim(0)
    return all(done)


def available(device: torch.device) -> int:
    """Bytes that can be had on a device without pushing anything out; for a CPU also within the container's limit."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min([_machine(), *_containers()])


def _machine() -> int:
    try:
        import psutil

        return int(psutil.virtual_memory().available)
    except ImportError:
        pass
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30  # nothing says; a size that most machines have


def _containers() -> list[int]:
    found = []
    for limit, used in _CGROUPS:
        try:
            left = int(Path(limit).read_text()) - int(Path(used).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
        found.append(max(left, 0))
    return found


def estimate(net: nn.Module, height: int, width: int) -> int:
    """Bytes that one picture takes on the network's device, run patch by patch, beyond the network itself.

    Two small pictures are run, and what is alive after each operation is counted. Every tensor has a fixed number of
    bytes or so many per pixel, so two sizes give the course at any size, and its highest point.

    Args:
        net: a network of this package, where it is to run, under the autocast it is to run in.
        height: of the picture, px.
        width: of the picture, px.
    """
    small, large = _courses(net)
    side = _side(net)
    first, second = side * side, 4 * side * side
    if len(small) != len(large):  # what the network does depends on what it sees: its highest point, in proportion
        return CONSTANT + max(large) * height * width // second
    slopes = [(b - a) / (second - first) for a, b in zip(small, large, strict=True)]
    return CONSTANT + int(max(a + slope * (height * width - first) for a, slope in zip(small, slopes, strict=True)))


_known: weakref.WeakKeyDictionary[nn.Module, dict[Any, tuple[list[int], list[int]]]] = weakref.WeakKeyDictionary()


def _side(net: Any) -> int:
    return 4 * int(getattr(net, "multiple", 8))


def _courses(net: nn.Module) -> tuple[list[int], list[int]]:
    """Bytes alive after each operation, for a picture of 4 x 4 multiples and for one of 8 x 8."""
    device = next(net.parameters()).device
    key = device, torch.is_autocast_enabled(device.type)
    known = _known.setdefault(net, {})
    if key not in known:
        known[key] = course(net, _side(net)), course(net, 2 * _side(net))
    return known[key]


def course(net: nn.Module, side: int) -> list[int]:
    """Bytes alive after each operation of a square picture; a block counts as the map that it gives."""
    device = next(net.parameters()).device
    torch.clear_autocast_cache()  # so that each run makes the same tensors
    with torch.no_grad(), blocks_run_by(net, lambda _, x: x.clone()), Alive() as alive:
        for tensor in (*net.parameters(), *net.buffers()):
            alive.know(tensor)
        net(torch.zeros(1, 3, side, side, device=device))
    return alive.course


class Alive(TorchDispatchMode):
    """Counts the bytes of all tensors made within and not yet freed; `course` has the count after each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.course: list[int] = []
        self._bytes = 0
        self._seen: set[int] = set()

    def know(self, tensor: torch.Tensor, size: int = 0) -> None:
        """Take a tensor's storage for `size` bytes from here on."""
        storage = tensor.untyped_storage()
        name = storage._cdata
        if name not in self._seen:
            self._seen.add(name)
            self._bytes += size
            weakref.finalize(storage, self._forget, name, size)

    def _forget(self, name: int, size: int) -> None:
        self._seen.discard(name)
        self._bytes -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.know(tensor, tensor.untyped_storage().nbytes())
        self.course.append(self._bytes)
        return out
