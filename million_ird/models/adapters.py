"""Many small changes of one network, blended at will: per batch or per image, beside the weights or merged into them.

    net = adapters.attach(models.create("dynet-s"))        # Abair has these methods from the start
    net.add_adapter("rain", AdapterConfig(kind="lora", rank=4))
    net.trainable("rain")                                  # all else is frozen
    net.adapters = {"rain": 0.7, "haze": 0.3}              # or "rain", "rain:0.7,haze:0.3", None
    net.adapters = [{"rain": 1}, {}, {"haze": 0.5}]        # one for each image of a batch; or a (B, N) tensor
    net.merge(); net.unmerge()                             # unmerge gives back the very bits
    net.save_adapter("rain", folder); net.load_adapter(folder)

Each layer's weight is base + sum of a_i dW_i (lowrank.py, mixture.py); the network's forward pass stays as it is
written. A new adapter is zero at start, and leaves every output of the others as it was to the last bit.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from million_ird.errors import ConfigError
from million_ird.models import adapter_files
from million_ird.models.layers import Conv, Pointwise
from million_ird.models.lowrank import DELTAS, AdapterConfig
from million_ird.models.mixture import AUTO, AdaptedLayer, Mixture, adapt

__all__ = ["Adaptable", "AdapterConfig", "attach", "load_all"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Adaptable(nn.Module):
    """What an adaptable network has; before the network's class among the bases, or given to it by `attach`."""

    unadapted: ClassVar[tuple[str, ...]] = ()
    """Parts of the network that take no adapters."""
    separate: ClassVar[tuple[str, ...]] = ()
    """Parts that are saved with the adapters, not with the base."""

    @property
    def mixture(self) -> Mixture:
        """The state that the adapted layers read."""
        if "_mixture" not in self.__dict__:
            self._mixture = Mixture()
        return self._mixture

    @property
    def adapter_configs(self) -> dict[str, AdapterConfig]:
        """Name -> configuration, in the order of adding."""
        return dict(self.mixture.configs)

    @property
    def adapter_names(self) -> list[str]:
        """In the order of adding."""
        return list(self.mixture.configs)

    def add_adapter(self, name: str, config: AdapterConfig | None = None) -> None:
        """A fresh adapter; it changes nothing until it is trained or loaded, and blended in (`adapters`).

        Raises:
            ConfigError: the name is taken or no name, no layer fits the targets, or the network is merged.
        """
        config = config or AdapterConfig()
        self._unmerged("add an adapter")
        if name in self.mixture.configs:
            raise ConfigError(f"adapter {name}: there is one of this name; choose another, or remove_adapter() first")
        if not NAME.fullmatch(name) or name == AUTO or hasattr(nn.ModuleDict(), name):
            raise ConfigError(f"adapter {name!r}: not a name for an adapter; letters, digits, _ and - will do")
        for layer in [adapt(layer, self.mixture) for layer in self._targets(config)]:
            layer.deltas[name] = DELTAS[config.kind](layer.base, config)
        self.mixture.configs[name] = config

    def remove_adapter(self, name: str) -> None:
        """Forget an adapter; if the blend has it, the blend is empty afterwards.

        Raises:
            ConfigError: there is none of this name, or the network is merged.
        """
        self.mixture.known(name)
        self._unmerged("remove an adapter")
        if self.mixture.asked != AUTO and any(name == active for active, _ in self.mixture.active):
            self.adapters = None
        for _, layer in self.adapted_layers():
            if name in layer.deltas:
                del layer.deltas[name]
        del self.mixture.configs[name]

    @property
    def adapters(self) -> Any:
        """How much of which adapter, as it was set.

        None or {}: the base. A dict, a name, or "a:0.7,b:0.3": for the whole batch. A list of these or a tensor (B, N),
        columns as `adapter_names`: one for each image. "auto": as the estimator sees each image (Abair).

        Raises:
            ConfigError: (on setting) an unknown name, a number that is none, a tensor that does not fit.
        """
        return self.mixture.asked

    @adapters.setter
    def adapters(self, value: Any) -> None:
        self._unmerged("change the blend")
        if isinstance(value, str) and value == AUTO:
            self.can_decide()
            self.mixture.active = []
        else:
            self.mixture.active = self.mixture.resolve(value)
        self.mixture.asked = {} if value is None else value

    def adapted_layers(self) -> list[tuple[str, AdaptedLayer]]:
        """Every layer that has an adapter, by its path."""
        return [(path, layer) for path, layer in self.named_modules() if isinstance(layer, AdaptedLayer)]

    def adapter_parameters(self, name: str) -> dict[str, nn.Parameter]:
        """The tensors of one adapter: "latent.0.attn.qkv.down"."""
        self.mixture.known(name)
        layers = [(path, layer.deltas[name]) for path, layer in self.adapted_layers() if name in layer.deltas]
        return {f"{path}.{key}": tensor for path, delta in layers for key, tensor in delta.named_parameters()}

    def trainable(self, *parts: str) -> None:
        """Freeze all but these adapters and parts of the network ("estimator"); with none given, all learn again.

        Raises:
            ConfigError: there is neither an adapter nor a part of this name.
        """
        chosen = [self._part(part) for part in parts] or [list(self.parameters())]
        self.requires_grad_(False)
        for tensors in chosen:
            for tensor in tensors:
                tensor.requires_grad_(True)

    @torch.no_grad()
    def merge(self) -> None:
        """Write the blend into the weights, which makes the network as fast as its base; those stay aside.

        Raises:
            ConfigError: images differ in their blend, or "auto" is to decide.
        """
        mixture = self.mixture
        if mixture.merged:
            return
        if mixture.asked == AUTO or any(isinstance(a, Tensor) and a.ndim for _, a in mixture.active):
            raise ConfigError("merge: needs one blend for all images; set net.adapters to names and numbers first")
        for _, layer in self.adapted_layers():
            weight = layer.weight
            if weight is not layer.base:
                layer.aside = layer.base.detach().clone()
                layer.base.copy_(weight)
        mixture.merged = True

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the base weights back, to the last bit; the blend stays as it is, beside them."""
        for _, layer in self.adapted_layers():
            if layer.aside is not None:
                layer.base.copy_(layer.aside)
                layer.aside = None
        self.mixture.merged = False

    def save_adapter(self, name: str, folder: str | Path) -> Path:
        """Write adapter.json and adapter.safetensors, each whole or not at all; returns the folder."""
        return adapter_files.save(self, name, Path(folder))

    def load_adapter(self, folder: str | Path, name: str | None = None) -> str:
        """Add an adapter from its folder, under its own name or another; returns the name.

        Raises:
            InputError: the files are missing, or not those of an adapter of this network: all tensors and no others.
            ConfigError: as `add_adapter`.
        """
        return adapter_files.load(self, Path(folder), name)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the base as `Pretrained` does, and adapters/NAME; of a merged network only what it has become."""
        hook = self.register_state_dict_post_hook(adapter_files.without_adapters)
        try:
            folder = Path(super().save_pretrained(folder))  # type: ignore[misc]
        finally:
            hook.remove()
        adapter_files.save_all(self, folder, [] if self.mixture.merged else self.adapter_names)
        return folder

    def save_parts(self, folder: Path) -> None:
        """What a kind of network keeps beside its adapters."""

    def load_parts(self, folder: Path) -> None:
        """Read what `save_parts` wrote."""

    @contextlib.contextmanager
    def settled(self, image: Tensor) -> Iterator[None]:
        """Within, "auto" keeps to what `image` (1, 3, H, W) calls for: for the tiles of one picture."""
        self._choose(image)
        before, self.mixture.settled = self.mixture.settled, True
        try:
            yield
        finally:
            self.mixture.settled = before

    @contextlib.contextmanager
    def blended(self, image: Tensor) -> Iterator[None]:
        """Around a forward pass: decides, and lets layers that are used again and again make their weight once."""
        self._choose(image)
        outer = self.mixture.cache
        self.mixture.cache = {} if outer is None else outer
        try:
            yield
        finally:
            self.mixture.cache = outer

    def forward(self, image: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The network's own forward pass, under the blend."""
        with self.blended(image):
            return super().forward(image, *args, **kwargs)

    def can_decide(self) -> None:
        """ConfigError unless "auto" goes with this network."""
        raise ConfigError('adapters: "auto" needs a network with an estimator (abair); name the adapters instead')

    def decide(self, image: Tensor) -> Tensor:
        """What "auto" gives images (B, 3, H, W): amounts (B, N)."""
        raise NotImplementedError

    def _choose(self, image: Tensor) -> None:
        mixture = self.mixture
        if mixture.asked == AUTO and not (mixture.settled or mixture.merged):
            mixture.active = mixture.resolve(self.decide(image))
        mixture.fits(image.shape[0])  # len() would fix the batch of an exported network

    def _targets(self, config: AdapterConfig) -> list[Conv | Pointwise]:
        fit = {
            path: layer
            for path, layer in self.named_modules()
            if isinstance(layer, (Conv, Pointwise))
            and not path.startswith(tuple(f"{part}." for part in self.unadapted))
            and (config.depthwise or not isinstance(layer, Conv) or layer.groups == 1)
        }
        chosen = [layer for path, layer in fit.items() if any(fnmatch.fnmatchcase(path, t) for t in config.targets)]
        if not chosen:
            raise ConfigError(f"targets: no layer fits {', '.join(config.targets)}; layers: {', '.join(fit)}")
        return chosen

    def _part(self, name: str) -> list[nn.Parameter]:
        if name in self.mixture.configs:
            return list(self.adapter_parameters(name).values())
        part = dict(self.named_children()).get(name)
        if part is None:
            known = ", ".join([*self.adapter_names, *(path for path, _ in self.named_children())])
            raise ConfigError(f"{name}: neither an adapter nor a part of the network; known: {known}")
        return [tensor for path, tensor in part.named_parameters() if not adapter_files.is_adapter(path)]

    def _unmerged(self, what: str) -> None:
        if self.mixture.merged:
            raise ConfigError(f"cannot {what} while the adapters are merged into the weights; call unmerge() first")


@cache
def _adaptable(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (Adaptable, kind), {"__module__": kind.__module__})


def attach(net: nn.Module) -> Any:
    """The same network, with the methods of `Adaptable`; nothing else about it changes."""
    if not isinstance(net, Adaptable):
        net.__class__ = _adaptable(type(net))
    return net


def load_all(net: nn.Module, folder: str | Path) -> Any:
    """Attach and load the adapters that `save_pretrained` wrote into a folder, in their order; none is no error.

    Raises:
        InputError: as `load_adapter`.
    """
    return adapter_files.load_all(attach(net), Path(folder)) if adapter_files.any_in(Path(folder)) else net
