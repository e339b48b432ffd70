"""`mird doctor`."""

from __future__ import annotations

import os
import platform
from typing import Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose, table

EXAMPLE = "Example: mird doctor"

NEEDED = (
    "cv2",
    "fsspec",
    "filelock",
    "numpy",
    "onnxruntime",
    "PIL",
    "pyarrow",
    "pydantic",
    "rich",
    "scipy",
    "simplejpeg",
    "typer",
    "yaml",
)
OPTIONAL = {
    "torch": "train",
    "datasets": "train",
    "open_clip": "clip",
    "pyiqa": "iqa",
    "ray": "ray",
    "scrapy": "web",
    "faiss": "semantic",
    "s3fs": "s3",
    "gcsfs": "gcs",
    "imagehash": "hash",
    "pillow_heif": "heif",
    "albumentations": "albumentations",
    "onnx": "export",
    "onnxscript": "export",
}


def command(
    offline: Annotated[bool, typer.Option("--offline", help="Don't ask whether the Hub answers.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Print versions, devices and optional parts, and how to install what is missing."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from million_ird import __version__

        facts = {
            "million-ird": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": str(os.cpu_count()),
            "formats": _formats(),
            "devices": _devices(),
            "Hub": "not asked" if offline else _hub(),
            "Hub cache": os.environ.get("HF_HOME", "~/.cache/huggingface"),
        }
        parts, broken = {}, []
        for name in NEEDED:
            parts[name] = _version(name)
            if parts[name] is None:
                broken.append(name)
        extras = {name: _version(name) for name in OPTIONAL}
        rows = [[name, value] for name, value in facts.items()]
        rows += [[name, parts[name] or "BROKEN: pip install --force-reinstall million-ird"] for name in NEEDED]
        rows += [
            [name, version or f'not installed: pip install "million-ird[{OPTIONAL[name]}]"']
            for name, version in extras.items()
        ]
        output.result({**facts, "parts": parts, "optional": extras, "broken": broken}, table(rows))
        if broken:
            raise typer.Exit(1)


def _version(module: str) -> str | None:
    """The version of an importable module, None where it cannot be imported."""
    import importlib
    import importlib.util

    if importlib.util.find_spec(module) is None:
        return None
    if module in OPTIONAL:  # some take seconds to import; that they are there is enough
        from importlib.metadata import PackageNotFoundError, packages_distributions, version

        try:
            return version(packages_distributions().get(module, [module])[0])
        except PackageNotFoundError:
            return "unknown version"
    try:
        return str(getattr(importlib.import_module(module), "__version__", "installed"))
    except ImportError:
        return None


def _formats() -> str:
    from PIL import features

    from million_ird.images.header import register_heif

    found = ["jpeg", "png", "bmp", *(name for name in ("webp", "avif") if features.check(name))]
    found += ["tiff"] if features.check("libtiff") else []
    return ", ".join(found + (["heif"] if register_heif() else []))


def _devices() -> str:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return "cpu (torch is not installed)"
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join(["cpu", *names])


def _hub() -> str:
    import urllib.error
    import urllib.request

    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urllib.request.urlopen(f"{address}/api/models?limit=1", timeout=3):
            return f"{address} answers"
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        return f"{address} does not answer ({getattr(error, 'reason', error)})"
