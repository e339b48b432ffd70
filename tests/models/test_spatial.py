"""Attention between the pixels of overlapping windows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from million_ird.models import spatial
from million_ird.models.spatial import WindowAttention


def attention_by_hand(net: WindowAttention, x: Tensor) -> Tensor:
    """The definition, pixel by pixel: (H, W, C) -> (H, W, C)."""
    height, width, dim = x.shape
    q, k, v = (net.qkv(x[None])[0]).unflatten(-1, (3, net.heads, -1)).unbind(2)  # (H, W, h, c) each
    out = torch.empty(height, width, dim)
    reach = net.window + net.margin - 1
    for i in range(height):
        for j in range(width):
            top, left = i // net.window * net.window - net.margin, j // net.window * net.window - net.margin
            rows = range(max(0, top), min(height, top + net.window + 2 * net.margin))
            columns = range(max(0, left), min(width, left + net.window + 2 * net.margin))
            keys = [(r, c) for r in rows for c in columns]
            for head in range(net.heads):
                logits = torch.stack([q[i, j, head] @ k[r, c, head] for r, c in keys]) / q.shape[-1] ** 0.5
                logits = logits + torch.stack([net.offsets[head, r - i + reach, c - j + reach] for r, c in keys])
                mixed = torch.softmax(logits, 0) @ torch.stack([v[r, c, head] for r, c in keys])
                out[i, j].unflatten(0, (net.heads, -1))[head] = mixed
    return F.linear(out, net.project_out.weight)


@pytest.mark.parametrize(("window", "overlap", "size"), [(4, 0.5, (9, 6)), (4, 1.0, (3, 5)), (2, 0.0, (4, 4))])
def test_window_attention_is_what_it_says(window: int, overlap: float, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = WindowAttention(6, 2, window, overlap)
    torch.nn.init.normal_(net.offsets)
    x = torch.randn(1, *size, 6)
    with torch.no_grad():
        assert torch.allclose(net(x)[0], attention_by_hand(net, x[0]), atol=1e-5)


def test_window_attention_in_bands_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = WindowAttention(4, 2, window=4)
    torch.nn.init.normal_(net.offsets)
    x = torch.randn(2, 18, 7, 4)
    whole = net(x)
    monkeypatch.setattr(spatial, "LOGITS_BYTES", 1)
    with torch.no_grad():
        assert len(net._bands(x)) == 5
        assert torch.allclose(net(x), whole, atol=1e-6)
