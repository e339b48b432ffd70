"""Networks as files: a folder with config.json and model.safetensors, here or on the Hugging Face Hub.

Loading is strict (every tensor, no other, of the right shape) and never runs code from a file: weights are safetensors;
a checkpoint of the published code is unpickled with `weights_only`.
"""

from __future__ import annotations

import json
import pickle
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from million_ird import __version__
from million_ird.config import validate
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.models import registry
from million_ird.tables import whole

CONFIG = "config.json"
WEIGHTS = "model.safetensors"

TINY = Path(__file__).parent / "tiny"
"""The small model that ships with the package: `load("tiny")`."""

NAMED = 5
"""Names that an error spells out; the rest are counted."""


class Pretrained:
    """What makes a network one that is saved, loaded and published; beside nn.Module among a class's bases.

    A network made by `load` starts on the meta device: buffers that are not in the state dict stay there, so have none.
    """

    Config: ClassVar[Any]
    family: ClassVar[str]
    config: Any

    def reconfigure(self, **changes: Any) -> None:
        """Change fields of `config` that need no other weights.

        Raises:
            ConfigError: a value is not allowed.
        """
        self.config = validate(type(self.config), {**self.config.model_dump(), **changes})

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write config.json and model.safetensors, each whole or not at all; returns the folder."""
        folder = Path(folder)
        write_tensors(folder / WEIGHTS, self.state_dict())  # pyright: ignore[reportAttributeAccessIssue]
        described = {"million_ird": __version__, "model": self.family, **self.config.model_dump(mode="json")}
        with whole(folder / CONFIG) as file:
            file.write((json.dumps(described, indent=2) + "\n").encode())
        return folder

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None) -> Self:
        """`load`, for a network of this class.

        Raises:
            InputError: as `load`; or it is a network of another family.
        """
        net = load(source, revision)
        if not isinstance(net, cls):
            raise InputError(f"{source}: holds a network of family {net.family}, not {cls.family}")
        return net

    def push_to_hub(self, repo: str, *, private: bool = True, revision: str | None = None, message: str = "") -> str:
        """Upload what `save_pretrained` writes; returns the address. Private unless asked otherwise.

        Raises:
            OutputError: the repository exists and is public, though this asks for a private one; or the Hub refuses.
        """
        from huggingface_hub import HfApi

        hub = HfApi(library_name="million-ird", library_version=__version__)
        try:
            address = str(hub.create_repo(repo, private=private, exist_ok=True))
            if private and not hub.repo_info(repo).private:
                raise OutputError(f"{repo}: is public on the Hub; make it private there, or ask for a public upload")
            with tempfile.TemporaryDirectory() as folder:
                self.save_pretrained(folder)
                message = message or f"{self.family}, million-ird {__version__}"
                hub.upload_folder(
                    repo_id=repo,
                    folder_path=folder,
                    revision=revision,
                    commit_message=message,
                    delete_patterns=["adapters/*"],  # those that this network no longer has
                )
        except _hub_errors() as error:
            raise OutputError(f"{repo}: upload failed: {_first_line(error)}") from error
        return address


def load(source: str | Path, revision: str | None = None) -> Any:
    """A network with its weights, and its adapters if there are any, in evaluation mode.

    Args:
        source: a folder of `save_pretrained`; the name of a repository on the Hub; or "tiny", the small model that
            ships with the package.
        revision: branch, tag or commit on the Hub.

    Raises:
        InputError: there is no such thing, or its files do not make a network.
    """
    folder = find(source, revision)
    described = _read_config(folder / CONFIG)
    cls = registry.family(str(described.pop("model", None)))
    described.pop("million_ird", None)
    try:
        config = validate(cls.Config, described)
    except ConfigError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from None
    with torch.device("meta"):
        net = cls(config)
    fill(net, read_tensors(folder / WEIGHTS), str(folder / WEIGHTS))
    if (folder / "adapters").is_dir():
        from million_ird.models import adapters

        net = adapters.load_all(net, folder)
    return net.eval()


def find(source: str | Path, revision: str | None = None) -> Path:
    """The folder that holds a model, downloaded if it is on the Hub.

    Raises:
        InputError: there is no such folder, and the Hub has no such model or does not answer.
    """
    if source == "tiny":
        if not (TINY / WEIGHTS).is_file():
            raise InputError("model tiny: this installation carries no weights for it; name a folder or a Hub model")
        return TINY
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(
            f"{folder}: is a file; a model is a folder (for checkpoints of the published code: from_reference)"
        )
    if str(source).count("/") != 1 or str(source).startswith((".", "/", "~")):
        raise InputError(
            f"model {source}: there is no such folder; name one of save_pretrained, ORG/NAME of the Hub, or tiny"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), revision=revision, allow_patterns=["*.json", "*.safetensors"]))
    except _hub_errors() as error:
        raise InputError(f"model {source}: no such folder, and not from the Hub: {_first_line(error)}") from error


def fill(net: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Put tensors into a network: all that it has and no other. They keep their type and are not copied.

    Raises:
        InputError: as `check`.
    """
    check(net.state_dict(), tensors, origin)
    net.load_state_dict(dict(tensors), assign=True)


def check(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], origin: str, whose: str = "this network") -> None:
    """That `tensors`, read from `origin`, are all that `own` has and no others, of the same shapes.

    Raises:
        InputError: naming the tensors that are missing, unknown or of the wrong shape.
    """
    wrong = [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    shapes = [f"{name} ({list(tensors[name].shape)}, not {list(own[name].shape)})" for name in wrong]
    missing = [name for name in own if name not in tensors]
    unknown = [name for name in tensors if name not in own]
    found = {"missing": missing, "unknown": unknown, "of the wrong shape": shapes}
    faults = [f"{listed(names)} {fault}" for fault, names in found.items() if names]
    if faults:
        raise InputError(f"{origin}: not the weights of {whose}: {'; '.join(faults)}")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file, whole or not at all."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path) as file:
        file.write(safetensors.save(ready, metadata={"format": "pt"}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        InputError: it is missing or no safetensors file.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        # Copies, since a tensor that looks into the file starts at any byte, and is as short-lived as the file.
        return {name: tensor.clone() for name, tensor in safetensors.load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: is no safetensors file: {_first_line(error)}") from None


def read_checkpoint(path: str | Path) -> Mapping[str, Any]:
    """What a checkpoint of the published code holds: safetensors, or a pickle of tensors and plain values alone.

    Raises:
        InputError: it is missing, or holds anything else; nothing in it is run.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's protocol
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"{path}: is no checkpoint of tensors alone: {_first_line(error)}") from None
    if not isinstance(found, Mapping):
        raise InputError(f"{path}: holds a {type(found).__name__}, not named tensors")
    return found


def listed(names: list[str]) -> str:
    """The first names, and how many more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _read_config(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path.parent}: is no model: {CONFIG} is missing") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {_first_line(error)}") from None
    if not isinstance(described, dict) or "model" not in described:
        raise InputError(f"{path}: does not say which model it describes (save_pretrained writes it)")
    return described


def _hub_errors() -> tuple[type[BaseException], ...]:
    """What huggingface_hub raises for names, answers and connections; its HTTP client differs by version."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, *HfHubHTTPError.__bases__)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
