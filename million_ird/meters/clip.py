"""CLIP: an embedding of each picture, scores by prompts and by linear heads; in batches, on the GPU where there is
one."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from million_ird.config import Config
from million_ird.errors import ConfigError
from million_ird.meters.files import pinned

_WHERE = "passes.clip"


class Prompts(Config):
    """Two ensembles of sentences; the score is how much nearer a picture is to the first, 0..1."""

    positive: tuple[str, ...] = Field(min_length=1)
    """What is looked for, said in several ways."""
    negative: tuple[str, ...] = Field(min_length=1)
    """What it is to be told from."""


class Head(Config):
    """A linear layer on the embedding: `weight` (1, D) or (D,) and maybe `bias`, in a .safetensors file."""

    path: str
    """The file."""
    sha256: str | None = None
    """Of that file; null = taken when a build begins."""
    activation: Literal["none", "sigmoid"] = "none"
    """What is done to the number."""
    normalised: bool = True
    """Whether the layer takes embeddings of length 1, as most do."""
    help: str = "output of a linear head on a CLIP embedding"
    """Unit, range and direction, in words."""


_PHOTO = ("a photo", "a photograph of a real scene", "a natural photo without text")
PROMPTS: dict[str, Prompts] = {
    "watermark": Prompts(
        positive=(
            "a photo with a watermark",
            "a stock photo with a watermark across it",
            "an image with a logo overlay",
        ),
        negative=("a photo without a watermark", "a clean photo", *_PHOTO[:1]),
    ),
    "product": Prompts(
        positive=("a product shot on a white background", "a catalogue photo of an isolated object", "packshot"),
        negative=_PHOTO,
    ),
    "screenshot": Prompts(
        positive=("a screenshot", "a scanned document", "a page of text", "a slide with a chart"), negative=_PHOTO
    ),
    "rendering": Prompts(
        positive=("a 3d rendering", "an illustration", "a drawing", "a computer game screenshot", "a cartoon"),
        negative=_PHOTO,
    ),
    "collage": Prompts(
        positive=("a collage of several photos", "a grid of pictures", "photos side by side"), negative=_PHOTO
    ),
}
"""Questions that a run asks where its configuration has none of its own."""


class Clip(Config):
    """The CLIP pass, over what all cheaper rules keep; needs the extra `clip`."""

    enabled: bool = False
    """Whether it runs."""
    model: str = ""
    """A folder with open_clip_config.json and weights; hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION; or a name of
    open_clip's, for example ViT-B-32, with `pretrained`."""
    pretrained: str = ""
    """Of a model by name: open_clip's tag of its weights, or their file."""
    sha256: str | None = None
    """Of the folder's files, or of the file of weights; null = taken when a build begins. Others are refused."""
    resize: Literal["shortest", "longest", "squash"] | None = None
    """How a picture is brought to the model's size; null = as the model was trained. squash sees the corners, too."""
    scores: dict[str, Prompts] = Field(default_factory=lambda: dict(PROMPTS))
    """Questions: NAME gives the column clip_NAME, 0..1; policy.clip.NAME rules on it."""
    heads: dict[str, Head] = Field(default_factory=dict)
    """Linear heads (aesthetic, NSFW): NAME gives the column clip_NAME; policy.clip.NAME rules on it."""
    device: str = "auto"
    """auto = the GPU where there is one; or cpu, cuda, cuda:1."""
    batch: int = Field(default=64, ge=1)
    """Pictures at a time."""

    @model_validator(mode="after")
    def _complete(self) -> Clip:
        if self.enabled and not self.model:
            raise ValueError("model: name a folder, hf-hub:ORG/NAME or a model of open_clip")
        check_names([*self.scores, *self.heads])
        return self

    def columns(self) -> dict[str, str]:
        """Column -> unit, range and direction."""
        asked = {
            f"clip_{name}": "0..1, nearer to the prompts that are looked for; higher = surer" for name in self.scores
        }
        return asked | {f"clip_{name}": head.help for name, head in self.heads.items()}

    def mark(self) -> str:
        """What the embeddings rest on; parts with another mark are measured anew."""
        files = [self.model, self.pretrained] if self.sha256 is None else [self.sha256]
        return _hash([*files, self.resize])

    def marks(self) -> dict[str, str]:
        """Column -> what its scores rest on besides; those with another mark are computed anew from the embeddings."""
        asked = {f"clip_{name}": _hash(one.model_dump()) for name, one in self.scores.items()}
        heads = {name: one.model_dump(exclude={"path", "help"}) for name, one in self.heads.items()}
        return asked | {f"clip_{name}": _hash(one) for name, one in heads.items()}


class ClipModel:
    """A loaded model, its text embeddings and heads.

    Args:
        config: which.

    Raises:
        ConfigError: open_clip is missing, or the model, its weights or a head cannot be had.
    """

    def __init__(self, config: Clip) -> None:
        try:
            import open_clip
            import torch
            from open_clip.transform import PreprocessCfg, image_transform_v2
            from safetensors import SafetensorError
        except ImportError:
            raise ConfigError(f"{_WHERE}.enabled: needs open_clip; pip install 'million-ird[clip]'") from None
        self._torch = torch
        self.config = config
        self.device = device_of(config.device, f"{_WHERE}.device")
        name, self.revision = _located(config.model)
        if ":" not in name and not config.pretrained:
            raise ConfigError(
                f"{_WHERE}.pretrained: {config.model} is no folder here; of a model by name, name its weights"
            )
        resized = {"resize_mode": config.resize} if config.resize else None
        try:
            with _unlogged():  # what open_clip and the Hub's client say of a failure is said once, by us
                model: Any = open_clip.create_model(
                    name, config.pretrained or None, force_preprocess_cfg=resized, require_pretrained=True
                )
                tokenizer = open_clip.get_tokenizer(name)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise ConfigError(f"{_WHERE}.model: {config.model}: {one_line(error)}") from None
        model.eval()
        self.sha256 = _hash_of(model.state_dict())
        self.logit_scale = float(model.logit_scale.detach().exp())
        preprocess: Any = PreprocessCfg(**model.visual.preprocess_cfg)
        self._transform: Any = image_transform_v2(preprocess, is_train=False)
        side = preprocess.size
        self.side = max(side) if isinstance(side, (tuple, list)) else int(side)
        self._texts = {name: self._ensembles(model, tokenizer, one) for name, one in config.scores.items()}
        self.width = int(self._embed_text(model, tokenizer, ("a photo",)).shape[-1])
        self._heads = {name: _head(name, head, self.width) for name, head in config.heads.items()}
        self.precision = "fp16" if self.device.startswith("cuda") else "fp32"
        self._model = model.to(self.device)
        if self.precision == "fp16":
            self._model = self._model.half()

    def facts(self) -> dict[str, Any]:
        """What the ledger says of the model."""
        return {
            "model": self.config.model,
            "pretrained": self.config.pretrained,
            "revision": self.revision,
            "sha256": self.sha256,
            "precision": self.precision,
        }

    def prepare(self, rgb: NDArray[np.uint8]) -> Any:
        """(H, W, 3) uint8 -> what `embed` takes; threads may call it."""
        from PIL import Image

        return self._transform(Image.fromarray(rgb))

    def embed(self, pictures: Sequence[Any]) -> NDArray[np.float16]:
        """(N, D) embeddings of prepared pictures, as the model gives them."""
        torch = self._torch
        with torch.inference_mode():
            batch = torch.stack(list(pictures)).to(self.device)
            found = self._model.encode_image(batch.half() if self.precision == "fp16" else batch)
        return found.float().cpu().numpy().astype(np.float16)

    def scores(self, embeddings: NDArray[np.float16]) -> dict[str, NDArray[np.float32]]:
        """Column -> (N,) scores of (N, D) embeddings; the same for an embedding whatever stands beside it."""
        exact = embeddings.astype(np.float64)
        unit = exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-12)
        found = {}
        for name, texts in self._texts.items():
            near = (unit[:, None] * texts[None]).sum(-1) * self.logit_scale
            found[f"clip_{name}"] = _sigmoid(near[:, 0] - near[:, 1])
        for name, (weight, bias) in self._heads.items():
            head = self.config.heads[name]
            number = ((unit if head.normalised else exact) * weight).sum(1) + bias
            found[f"clip_{name}"] = _sigmoid(number) if head.activation == "sigmoid" else number
        return {name: values.astype(np.float32) for name, values in found.items()}

    def _ensembles(self, model: Any, tokenizer: Any, prompts: Prompts) -> NDArray[np.float64]:
        """(2, D): the mean direction of each ensemble (Radford et al. 2021, section 3.1.4)."""
        sides = [self._embed_text(model, tokenizer, texts) for texts in (prompts.positive, prompts.negative)]
        means = np.stack([(s / np.linalg.norm(s, axis=1, keepdims=True)).mean(0) for s in sides])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def _embed_text(self, model: Any, tokenizer: Any, texts: Sequence[str]) -> NDArray[np.float64]:
        with self._torch.inference_mode():
            return model.encode_text(tokenizer(list(texts))).double().numpy()


def with_hashes(config: Clip) -> Clip:
    """The same with the hashes of every head's file and, of a model in a local folder, of the folder.

    Raises:
        ConfigError: a file is missing, or another one than its hash says.
    """
    found: dict[str, Any] = {"heads": {}}
    for name, head in config.heads.items():
        path, sha256 = pinned(head.path, head.sha256, f"{_WHERE}.heads.{name}")
        found["heads"][name] = head.model_copy(update={"path": path, "sha256": sha256})
    folder, file = (Path(name).expanduser() for name in (config.model, config.pretrained))
    if config.enabled and config.model and folder.is_dir():
        found["model"], found["sha256"] = pinned(folder, config.sha256, _WHERE, "model")
    elif config.enabled and config.pretrained and file.is_file():
        found["pretrained"], found["sha256"] = pinned(file, config.sha256, _WHERE, "pretrained")
    return config.model_copy(update=found)


def check_names(names: Sequence[str]) -> None:
    """Refuse names that make no column, and those given twice.

    Raises:
        ValueError: naming one.
    """
    for name in names:
        if not name.replace("_", "a").isalnum() or not name.isascii() or name != name.lower() or names.count(name) > 1:
            raise ValueError(f"{name}: a name is a-z, 0-9 and _, and stands once")


@contextmanager
def _unlogged() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def device_of(wanted: str, where: str) -> str:
    """A device of torch's by name; "auto" = the GPU where there is one.

    Raises:
        ConfigError: there is none of that name.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"{where}: {wanted}: {one_line(error)}") from None
    return wanted


def one_line(error: BaseException) -> str:
    """What an error says, on one line and not too long."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def _located(model: str) -> tuple[str, str | None]:
    """The name by which open_clip finds a model, and its revision on the Hub."""
    if model.startswith("hf-hub:"):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError

        name, _, revision = model.removeprefix("hf-hub:").partition("@")
        failures: Any = (OSError, ValueError, HfHubHTTPError.__bases__[0])
        patterns = ["open_clip_*", "*.json", "*.txt", "*.model"]
        try:
            folder = snapshot_download(
                name, revision=revision or None, allow_patterns=patterns, ignore_patterns="*.bin"
            )
        except failures as error:
            raise ConfigError(f"{_WHERE}.model: {model}: {one_line(error)}") from None
        return f"local-dir:{folder}", Path(folder).name
    folder = Path(model).expanduser()
    return (f"local-dir:{folder.absolute()}", None) if folder.is_dir() else (model, None)


def _head(name: str, head: Head, width: int) -> tuple[NDArray[np.float64], float]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    where = f"{_WHERE}.heads.{name}.path: {head.path}"
    try:
        tensors = load_file(head.path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ConfigError(f"{where}: {one_line(error)}") from None
    found = {key.rpartition(".")[2]: value.astype(np.float64).ravel() for key, value in tensors.items()}
    weight, bias = found.get("weight", np.zeros(0)), found.get("bias", np.zeros(1))
    if len(tensors) > 2 or len(found) != len(tensors) or len(weight) != width or len(bias) != 1:
        shapes = ", ".join(f"{key} {value.shape}" for key, value in tensors.items())
        raise ConfigError(f"{where}: holds {shapes}; needs weight (1, {width}) and may hold bias (1)")
    return weight, float(bias[0])


def _hash_of(state: Mapping[str, Any]) -> str:
    """Of all weights, whatever file they came in."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode())
        found.update(np.ascontiguousarray(state[name].detach().cpu().float().numpy()).tobytes())
    return found.hexdigest()


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
