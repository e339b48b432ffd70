"""The optimiser: even steps for matrices, AdamW for the rest, exact resume."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from million_ird.train.checkpoint import latest
from million_ird.train.muon import Muon, even, is_matrix
from million_ird.train.run import train
from tests.train.runs import config, losses, photos, weights


@pytest.mark.parametrize("shape", [(8, 8), (12, 108), (96, 24), (3, 20, 50)])
def test_singular_values_come_near_to_one_and_directions_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = even(matrix)
    assert found.shape == matrix.shape
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.mT @ found @ right.mT
    values = turned.diagonal(dim1=-2, dim2=-1)
    assert values.min() > 0.4 and values.max() < 1.3
    assert (turned - torch.diag_embed(values)).abs().max() < 1e-3


def test_matrices_are_told_from_what_is_none():
    yes = nn.Conv2d(12, 24, 1).weight, nn.Conv2d(12, 12, 3).weight, nn.Linear(20, 9).weight
    no = nn.Conv2d(24, 24, 3, groups=24).weight, nn.Conv2d(12, 3, 3).weight, nn.Linear(20, 4).weight, torch.ones(64)
    assert all(map(is_matrix, yes)) and not any(map(is_matrix, no))


def test_a_step_is_as_long_as_said_and_the_rest_is_adamw():
    torch.manual_seed(0)
    full, deep = nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3, groups=16)
    net = nn.Sequential(full, deep)
    twin = copy.deepcopy(net)
    before = full.weight.detach().clone()
    optimisers = [
        kind([{"params": list(one.parameters())}], lr=1e-2, weight_decay=0.1)
        for one, kind in ((net, Muon), (twin, torch.optim.AdamW))
    ]
    for one, optimiser in zip((net, twin), optimisers, strict=True):
        one(torch.ones(1, 8, 9, 9)).square().sum().backward()
        optimiser.step()
    way = (before * (1 - 1e-3) - full.weight.detach()).flatten(1)
    values = torch.linalg.svdvals(way) / (1e-2 * 0.2 * 72**0.5)
    assert values[0] > 0.5 and values[0] < 1.3
    others = dict(twin.named_parameters())
    for name, tensor in net.named_parameters():
        assert torch.equal(tensor, others[name]) == (name != "0.weight")


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    data = str(photos(tmp_path / "photos"))
    settings = config("dynet", "pretrain", [data], optim__kind="muon", steps=5)
    train(settings, tmp_path / "whole")

    def tell(position, figures):
        if position.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "run", tell=tell)
    assert latest(tmp_path / "run" / "checkpoints") is not None
    train(settings, tmp_path / "run", resume=True)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    one, two = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all(torch.equal(one[name], two[name]) for name in two)
