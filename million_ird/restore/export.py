"""A network to one file that runs without this package, ONNX or a program of torch.export; checked first."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from million_ird.errors import ConfigError, MirdError
from million_ird.restore.picture import check_weights
from million_ird.tables import whole

FORMATS = ("onnx", "torch")
TOLERANCE = 1e-4
"""Largest difference between the file's output and the network's, of the largest value."""
EXAMPLE = 2, 3, 64, 96
"""Shape of the images that the network is traced with."""
SHAPES = (1, 3, 64, 96), (3, 3, 136, 72)
"""Shapes that the file is checked at, neither of them the one that it was made with."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how far its output is from the network's at each of `SHAPES`."""

    path: str
    format: str
    bytes: int
    differences: tuple[float, ...]


def export(net: nn.Module, out: str | Path, kind: str = "onnx") -> Exported:
    """Write a network as it stands (variant, adapters).

    The file takes `image` (B, 3, H, W) float32, of any B and of H and W that are multiples of `net.multiple`, two at
    least, and gives `restored`, of the same shape, not clipped.

    Args:
        net: a network of `million_ird.models`.
        out: the file.
        kind: "onnx", or "torch" for `torch.export.load`.

    Raises:
        ConfigError: unknown format; or the adapters differ from image to image, or the weights are not float32.
        MirdError: a package is missing, or the file's output is another.
        OutputError: the file cannot be written.
    """
    if kind not in FORMATS:
        raise ConfigError(f"format {kind}: unknown; known: {', '.join(FORMATS)}")
    if _by_picture(net):
        raise ConfigError(
            "export: a file cannot choose adapters by the picture; name them (--adapter NAME or A:0.5,B:0.5)"
        )
    check_weights(net)
    training, device = net.training, next(net.parameters()).device
    net.cpu().eval()
    try:
        with torch.no_grad(), _quiet(), tempfile.TemporaryDirectory() as scratch:
            data, answer = (_onnx if kind == "onnx" else _torch)(net, Path(scratch))
            differences = tuple(_difference(net, answer, shape) for shape in SHAPES)
    finally:
        net.to(device).train(training)
    if max(differences) > TOLERANCE:
        raise MirdError(f"export: output differs from the network's by {max(differences):.2g}; nothing was written")
    with whole(out) as file:
        file.write(data)
    return Exported(str(out), kind, len(data), differences)


def _by_picture(net: nn.Module) -> bool:
    """Whether what the adapters do differs from image to image."""
    asked = getattr(net, "adapters", None)
    return asked.ndim > 1 if isinstance(asked, Tensor) else isinstance(asked, (list, tuple)) or asked == "auto"


def _free(net: Any) -> dict[int, Any]:
    """What may vary of the shape (B, 3, H, W). Maps of one row or column are laid out in another way; hence two."""
    images, rows, columns = (
        torch.export.Dim(name, min=least) for name, least in (("images", 1), ("rows", 2), ("columns", 2))
    )
    return {0: images, 2: int(net.multiple) * rows, 3: int(net.multiple) * columns}


def _onnx(net: nn.Module, scratch: Path) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MirdError(f'{error.name} is not installed: pip install "million-ird[export]"') from None
    path = scratch / "net.onnx"
    with contextlib.redirect_stdout(io.StringIO()):  # where the exporter reports its progress
        torch.onnx.export(
            net,
            (torch.rand(EXAMPLE),),
            path,
            dynamo=True,
            input_names=["image"],
            output_names=["restored"],
            dynamic_shapes={"image": _free(net)},
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return path.read_bytes(), lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


def _torch(net: nn.Module, scratch: Path) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    program = torch.export.export(net, (torch.rand(EXAMPLE),), dynamic_shapes={"image": _free(net)})
    path = scratch / "net.pt2"
    torch.export.save(program, path)
    return path.read_bytes(), torch.export.load(path).module()


def _difference(net: nn.Module, answer: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> float:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(shape[2]))
    expected = net(image)
    return float((answer(image) - expected).abs().max() / expected.abs().max().clamp_min(1))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's warnings are about its own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
