"""Our networks as spandrel describes networks, for programs that load them through it.

from spandrel import ModelLoader
from million_ird.models.spandrel import describe, install

install()                                            # once: adds our families to spandrel's MAIN_REGISTRY
model = ModelLoader().load_from_file("RUN/model/model.safetensors")
restored = model(image)                              # (1, 3, H, W) in [0, 1], any H and W, to the same
model = describe(models.load("RUN/model"))           # with what a file of weights does not hold

A file of weights holds no variant, no adapters and no estimator: of it DyNet is variant "s" until `model.model.variant`
is set, and ABAIR is its base. Files of the published code of Restormer, PromptIR and DyNet are known, too. spandrel is
an optional package (`pip install spandrel`, MIT).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from million_ird.config import validate
from million_ird.errors import ConfigError, InputError
from million_ird.models import promptir, reference, restormer
from million_ird.models.abair import Abair
from million_ird.models.dynet import DyNet, DyNetConfig
from million_ird.models.dynet import from_reference as read_dynet
from million_ird.models.unet import UNet

try:
    import spandrel
except ImportError:
    raise ConfigError("spandrel is not installed: pip install spandrel") from None

__all__ = ["ARCHITECTURES", "MirdArchitecture", "describe", "install"]

EVERY = ("patch_embed.weight", "down1_2.weight", "up4_3.weight", "reduce_chan_level2.weight", "output.weight")
"""Weights that all our families have."""
HEAD, WINDOWS = "head.classify.weight", ".attn.offsets"
"""Weights that ABAIR alone has."""
OVERLAP = 0.5
"""Overlap of ABAIR's windows, which its weights do not tell: the one that its configuration has by default."""


class MirdArchitecture(spandrel.Architecture[UNet]):
    """One family: knows its weights among others, and makes the network that they belong to."""

    def __init__(self, family: Family) -> None:
        name = f"{family.title} (million-ird)"
        super().__init__(id=f"mird-{family.name}", name=name, detect=lambda state: _family_of(state) == family.name)
        self._family = family

    def load(self, state_dict: Mapping[str, Any]) -> spandrel.ImageModelDescriptor[UNet]:
        """The network of these weights.

        Raises:
            InputError: naming the tensors that are missing, unknown or of the wrong shape.
        """
        return self.describe(self._family.read(state_dict))

    def describe(self, net: UNet) -> spandrel.ImageModelDescriptor[UNet]:
        """A network of this family as it stands: variant, adapters."""
        return spandrel.ImageModelDescriptor(
            net,
            net.state_dict(),
            architecture=self,
            purpose="Restoration",
            tags=_tags(net),
            supports_half=True,
            supports_bfloat16=True,
            scale=1,
            input_channels=3,
            output_channels=3,
            # Two at least: a map of one row or column is laid out in another way.
            size_requirements=spandrel.SizeRequirements(minimum=2 * net.multiple, multiple_of=net.multiple),
            # Attention is between channels, by sums over the whole picture: a tile is another picture to it.
            tiling=spandrel.ModelTiling.DISCOURAGED,
        )


@dataclass(frozen=True)
class Family:
    """A family and how its weights are read.

    Attributes:
        name: as in `million_ird.models.registry.FAMILIES`.
        title: as people write it.
        read: state dict -> network.
    """

    name: str
    title: str
    read: Callable[[Mapping[str, Any]], UNet]


def install(registry: spandrel.ArchRegistry = spandrel.MAIN_REGISTRY) -> list[str]:
    """Add our families to a registry of spandrel, behind those that it has; gives the ids of those that were new.

    A second call adds nothing.
    """
    supports = [spandrel.ArchSupport.from_architecture(architecture) for architecture in ARCHITECTURES.values()]
    return [str(added.architecture.id) for added in registry.add(*supports, ignore_duplicates=True)]


def describe(net: Any) -> spandrel.ImageModelDescriptor[UNet]:
    """A network of `million_ird.models` in spandrel's terms: same weights, variant and adapters; it is not copied.

    Raises:
        ConfigError: it is of no family that there is.
    """
    family = getattr(net, "family", "")
    if family not in ARCHITECTURES:
        raise ConfigError(f"describe: {type(net).__name__} is no network of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[family].describe(net)


def _family_of(state_dict: Mapping[str, Any]) -> str | None:
    """Whose weights these are, by their names: ours or those of the published code; None = nobody's."""
    names = {str(name) for name in state_dict}
    while names and (prefix := next((p for p in reference.PREFIXES if all(n.startswith(p) for n in names)), None)):
        names = {name.removeprefix(prefix) for name in names}
    for pattern, ours in reference.RENAMED:
        names = {pattern.sub(ours, name) for name in names}
    if not names.issuperset(EVERY):
        return None
    prompted = "prompt1.prompt_param" in names
    if "encoder_level1.attn.temperature" in names:
        return "dynet" if prompted else None
    if "encoder_level1.0.attn.temperature" not in names:
        return None
    if HEAD in names or any(name.endswith(WINDOWS) for name in names):
        return "abair" if prompted else None
    return "promptir" if prompted else "restormer"


def _tags(net: Any) -> list[str]:
    """Width, what the pictures pass, adapters."""
    tags = [f"{net.config.dim}dim", "-".join(str(depth) for depth in net.depths)]
    if isinstance(net, DyNet):
        tags.append(f"variant {net.variant}" if isinstance(net.variant, str) else "variant of its own")
    return [*tags, *(f"adapter {name}" for name in getattr(net, "adapter_names", ()))]


def _dynet(state_dict: Mapping[str, Any]) -> DyNet:
    """With the repetitions of the preset that has these sizes, if there is one; else the published ones."""
    net = read_dynet(state_dict)
    for preset in DyNetConfig.presets.values():
        known = validate(DyNetConfig, preset)
        own = {"small": known.small, "large": known.large}
        same = net.config.model_copy(update=own) == known.model_copy(
            update={"variant": net.variant, "prompt_dims": net.config.prompt_dims}
        )
        if same and known.widths == net.config.widths:
            net.reconfigure(**own)
            net.variant = net.variant  # its depths, by the new numbers
    return net


def _abair(state_dict: Mapping[str, Any]) -> Abair:
    """The base and its head."""
    tensors = reference.tensors_of(state_dict)
    found = reference.sizes(tensors) | reference.prompts(tensors) | {"depths": reference.depths(tensors)}
    offsets = next((tensor for name, tensor in tensors.items() if name.endswith(WINDOWS)), None)
    found |= {"spatial": False} if offsets is None else {"window": _window(offsets), "overlap": OVERLAP}
    head = tensors.get(HEAD)
    return reference.fill(Abair, found | {"classes": 0 if head is None else len(head)}, tensors)


def _window(offsets: Tensor) -> int:
    """The window w of which w + w * OVERLAP / 2 rows and columns are reached: offsets (h, r, r)."""
    reach = (offsets.shape[-1] + 1) // 2
    for window in range(1, reach + 1):
        if window + int(window * OVERLAP / 2) == reach:
            return window
    raise InputError(f"attn.offsets: no window with an overlap of {OVERLAP} reaches {reach} px; use describe(load(…))")


_FAMILIES = (
    Family("restormer", "Restormer", restormer.from_reference),
    Family("promptir", "PromptIR", promptir.from_reference),
    Family("dynet", "DyNet", _dynet),
    Family("abair", "ABAIR", _abair),
)

ARCHITECTURES: Mapping[str, MirdArchitecture] = {family.name: MirdArchitecture(family) for family in _FAMILIES}
"""Family -> how spandrel is told of it."""
