"""ABAIR's three phases (arXiv 2411.18412): the network with a head that tells degradations apart, one adapter for each
task on the frozen network, and the estimator that chooses among them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from million_ird.errors import ConfigError, InputError
from million_ird.models import adapter_files
from million_ird.models.adapters import attach
from million_ird.models.estimator import MODES
from million_ird.models.lowrank import AdapterConfig
from million_ird.train.losses import segmentation
from million_ird.train.settings import TrainConfig
from million_ird.train.stage import Set, Stage
from million_ird.train.tasks import IGNORED, Task


class Pretraining(Stage):
    """L1 and, weighted, the cross-entropy of the segmentation head."""

    def __init__(self, config: TrainConfig, device: torch.device, tasks: list[Task]) -> None:
        super().__init__(config, device)
        self._weight = config.loss.segmentation
        self._classes = tasks[0].recipe.classes if tasks[0].recipe else ()
        for task in tasks:
            if self._weight and (task.recipe is None or task.recipe.classes != self._classes):
                raise ConfigError(
                    f"data {task.name}: the segmentation head needs clean images and one list of classes; "
                    "set loss.segmentation=0 to train without it"
                )

    def prepare(self, net: Any) -> nn.Module:
        """The network; its head has a row for each class of the recipe.

        Raises:
            ConfigError: it has another number of rows.
        """
        if not self._weight:
            if net.head is not None:
                net.remove_head()
        elif net.head is None or net.config.classes != len(self._classes):
            raise ConfigError(
                f"sizes.classes: the recipe has {len(self._classes)} classes ({', '.join(self._classes)}), the head "
                f"{net.config.classes}; give --set sizes.classes={len(self._classes)}"
            )
        return net

    def __call__(self, net: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; its parts, and how many pixels of which class were taken for which."""
        if not self._weight:
            return super().__call__(net, batch)
        output, logits = net(batch["lq"], segment=True)
        loss, parts = self.loss(output, batch["hq"])
        entropy = segmentation(logits, batch["target"])
        parts |= {"segmentation": entropy.detach(), "confusion": confusion(logits.detach(), batch["target"])}
        return loss + self._weight * entropy, parts

    def figures(self, means: dict[str, Tensor]) -> dict[str, float]:
        """The same for any number of parts and processes: pixels are counted over all of a step."""
        table = means.pop("confusion", None)
        return super().figures(means if table is None else means | scores(table))


def confusion(logits: Tensor, target: Tensor) -> Tensor:
    """(K, K) float32 pixels by class and by what logits (B, K, H, W) take them for; ignored ones left out."""
    kinds = logits.shape[1]
    known = target != IGNORED
    pairs = target[known] * kinds + logits.argmax(1)[known]
    return torch.bincount(pairs, minlength=kinds * kinds).view(kinds, kinds).float()


def scores(table: Tensor) -> dict[str, Tensor]:
    """`pixel_accuracy`, the share of labelled pixels that are told right, and `miou`, the mean of intersection over
    union of the classes that are there or seen."""
    hits, union = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    present = union > 0
    least = torch.finfo(torch.float32).tiny
    return {
        "pixel_accuracy": hits.sum() / table.sum().clamp_min(least),
        "miou": (hits / union.clamp_min(least)).sum() / present.sum().clamp_min(1),
    }


class Adapting(Stage):
    """One adapter learns; everything else is frozen, and checked to be what it was."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self._task, self._before = config.task, ""

    def prepare(self, net: Any) -> nn.Module:
        """The network without its head, with the adapter, which alone learns."""
        if getattr(net, "head", None) is not None:
            net.remove_head()
        net = attach(net)
        keys = ("kind", "rank", "alpha", "targets", "depthwise")
        net.add_adapter(self._task, AdapterConfig(**{key: getattr(self.config.abair, key) for key in keys}))
        net.trainable(self._task)
        net.adapters = {self._task: 1.0}
        self._before = frozen_hash(net, self._task)
        return net

    def views(self, net: nn.Module, name: str) -> dict[str, dict[str, Any]]:
        """With the adapter, and the base alone."""
        return {"": {"adapters": {self._task: 1.0}}, "base": {"adapters": None}}

    def states(self, net: Any) -> list[dict[str, Any]]:
        return [{"adapters": {self._task: 1.0}}]

    def judged(self, label: str) -> bool:
        return label == ""

    def frozen(self, net: Any) -> str:
        return frozen_hash(net, self._task)

    def finish(self, net: Any, sets: Sequence[Set] = ()) -> dict[str, Any]:
        """Prove that nothing but the adapter has changed.

        Raises:
            AssertionError: something has; this is a bug.
        """
        after = frozen_hash(net, self._task)
        if after != self._before:
            raise AssertionError("the frozen base changed while its adapter was trained")
        return {"base_sha256": after, "base_unchanged": True}


def frozen_hash(net: Any, task: str) -> str:
    """sha256 over names and bytes of every tensor but the adapter's and the estimator's."""
    own = {id(tensor) for tensor in net.adapter_parameters(task).values()}
    digest = hashlib.sha256()
    for name, tensor in sorted(net.named_parameters()):
        if id(tensor) not in own and not name.startswith("estimator."):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Estimating(Stage):
    """The estimator learns which adapters an image needs, on single and on mixed degradations."""

    def __init__(self, config: TrainConfig, device: torch.device, tasks: list[Task]) -> None:
        super().__init__(config, device)
        self._names = [task.name for task in tasks]
        self._recipes = {task.name: task.recipe for task in tasks}
        self._net: Any = None

    def prepare(self, net: Any) -> nn.Module:
        """The network with its adapters; the estimator alone learns.

        Raises:
            ConfigError: an adapter is there twice; or a task is called after no adapter, and none mends the classes of
                its recipe.
        """
        if getattr(net, "head", None) is not None:
            net.remove_head()
        for folder in self.config.adapters:
            for path in adapters_in(Path(folder)):
                if path.name in net.adapter_names:
                    raise ConfigError(
                        f"adapters: {folder}: the network has an adapter {path.name} already; leave it out"
                    )
                net.load_adapter(path)
        if len(net.adapter_names) < 2:
            raise ConfigError("adapters: the estimator needs two or more to choose from; name their runs (--adapters)")
        net.adapters = None
        net.trainable("estimator")
        self._net = net
        self._rows = {name: self._targets(name) for name in self._names}
        return net

    def _targets(self, task: str) -> Tensor:
        """(K, N): the adapters that each class of a task's recipe asks for; one row for a task that is an adapter's."""
        names = self._net.adapter_names
        if task in names:
            return F.one_hot(torch.tensor([names.index(task)]), len(names)).float()
        recipe = self._recipes[task]
        wanted = {kind: self._adapter(kind) for kind in (recipe.classes if recipe else ())}
        if not wanted or None in wanted.values():
            lost = ", ".join(kind for kind, name in wanted.items() if name is None) or task
            raise ConfigError(
                f"data {task}: no adapter mends {lost}; the adapters are {', '.join(names)}; name the one for each "
                "class (--set abair.classes.CLASS=ADAPTER), or name the task after an adapter"
            )
        return torch.stack([F.one_hot(torch.tensor(names.index(name)), len(names)).float() for name in wanted.values()])

    def _adapter(self, kind: str) -> str | None:
        names = self._net.adapter_names
        known = {"noise": "denoise", "jpeg": "dejpeg", "rain": "derain", "haze": "dehaze", "blur": "deblur"}
        asked = self.config.abair.classes.get(kind)
        candidates = (asked,) if asked else (kind, known.get(kind), f"de{kind}")
        return next((name for name in candidates if name in names), None)

    def wanted(self, batch: Mapping[str, Any], device: torch.device) -> Tensor:
        """(B, N): shares of the adapters that each image needs."""
        rows = []
        for task, kinds in zip(batch["task"], batch["kinds"], strict=True):
            table = self._rows[task]
            row = table[0] if len(table) == 1 else kinds.cpu() @ table
            rows.append(row / row.sum().clamp_min(1))
        return torch.stack(rows).to(device)

    def learner(self, net: Any) -> nn.Module:
        """The estimator."""
        return net.estimator

    def __call__(self, estimator: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy against the shares, and how often the first choice is one that the image needs."""
        wanted = self.wanted(batch, batch["lq"].device)
        logits = estimator(batch["lq"])
        hits = wanted.gather(1, logits.argmax(1, keepdim=True)) > 0
        return F.cross_entropy(logits.float(), wanted), {"accuracy": hits.float().mean()}

    def views(self, net: Any, name: str) -> dict[str, dict[str, Any]]:
        """The ways of blending; the base alone; and the right adapter, where a set is named after one."""
        found: dict[str, dict[str, Any]] = {mode: {"blend": mode, "adapters": "auto"} for mode in MODES}
        found["base"] = {"adapters": None}
        if name in net.adapter_names:
            found["oracle"] = {"adapters": {name: 1.0}}
        return found

    def states(self, net: Any) -> list[dict[str, Any]]:
        return [{"adapters": None}]

    def judged(self, label: str) -> bool:
        return label == MODES[0]

    @torch.inference_mode()
    def finish(self, net: Any, sets: Sequence[Set] = ()) -> dict[str, Any]:
        """`confusion`: of each set of validation, how many of its crops each adapter was the first choice for."""
        device = next(net.parameters()).device
        rows: dict[str, list[int]] = {}
        for one in sets:
            chosen = [int(net.estimator(lq[None].to(device)).argmax()) for lq, _ in one.pairs]
            rows[one.name] = [chosen.count(index) for index in range(len(net.adapter_names))]
        return {"confusion": {"columns": net.adapter_names, "rows": rows}} if rows else {}


def adapters_in(folder: Path) -> list[Path]:
    """The adapters' folders of a run, of a saved network, or the folder itself.

    Raises:
        InputError: there is none.
    """
    if (folder / adapter_files.DESCRIPTION).is_file():
        return [folder]
    for parent in (folder / "model" / adapter_files.FOLDER, folder / adapter_files.FOLDER, folder):
        found = sorted(path.parent for path in parent.glob(f"*/{adapter_files.DESCRIPTION}"))
        if found:
            return found
    raise InputError(f"--adapters {folder}: there is no adapter in it")
