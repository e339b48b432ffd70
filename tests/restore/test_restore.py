"""One picture through a network: any size and kind of pixel, in patches, in tiles, with local attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from million_ird import models
from million_ird.errors import ConfigError, InputError, MirdError
from million_ird.restore import memory, restore
from million_ird.restore import picture as module
from million_ird.restore.patches import blocks_run_by, even, exact_block, spans
from million_ird.restore.picture import Way, choose
from million_ird.restore.tiles import pieces
from million_ird.restore.tlc import cells, local_block

KINDS = (np.uint8, np.uint16, np.float32, np.float64)


@pytest.fixture(scope="module", params=["dynet-tiny", "abair-tiny"])
def net(request):
    torch.manual_seed(0)
    net = models.create(request.param, dim=8, refinement=1).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    if request.param == "abair-tiny":
        net.add_adapter("rain")
        net.add_adapter("haze")
    return net


@pytest.fixture(scope="module")
def identity():
    """A network that is the identity, as every one is before training if its last layer starts at zero."""
    torch.manual_seed(0)
    net = models.create("dynet-tiny", dim=8, refinement=1).eval()
    torch.nn.init.zeros_(net.output.weight)
    return net


class Blur(torch.nn.Module):
    """A network with local support: the mean of 9 x 9 pixels, mirrored at the border."""

    multiple = 8

    def __init__(self):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def forward(self, image):
        return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(image, (4, 4, 4, 4), "reflect"), 9, 1)


def picture(*shape, kind=np.uint8, seed=0):
    values = np.random.default_rng(seed).random(shape)
    return values.astype(kind) if kind in (np.float32, np.float64) else (values * np.iinfo(kind).max).astype(kind)


def plain(net, image):
    with torch.no_grad():
        out = net(torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0))
    return out[0].permute(1, 2, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["auto", "exact", "tile", "tlc"])
def test_the_identity_gives_every_bit_back_in_any_size_and_kind(identity, mode, kind):
    for shape in [(1, 1, 3), (5, 3, 4), (7, 9), (8, 8, 1), (33, 20, 3), (41, 100, 2)]:
        image = picture(*shape, kind=kind)
        out = restore(identity, image, mode, tile=32, overlap=8, window=64)
        assert out.shape == image.shape
        assert out.dtype == image.dtype
        if kind in (np.uint8, np.uint16):
            assert np.array_equal(out, image)
        else:
            assert np.allclose(out, image, atol=1e-6)


def test_the_identity_gives_crops_of_photos_back_bit_for_bit_in_every_mode(identity, real):
    for path in sorted(real("kodak24").glob("*.png"))[:3]:
        image = np.asarray(Image.open(path).convert("RGB"))[100:301, 60:207]
        for options in ({}, {"mode": "tile", "tile": 96}, {"mode": "tlc"}, {"dtype": "bf16"}):
            assert np.array_equal(restore(identity, image, **options), image)


def test_a_picture_smaller_than_its_padding_is_restored(net):
    for shape in [(1, 1, 3), (2, 1, 3), (3, 17, 3)]:
        out = restore(net, picture(*shape, kind=np.float32))
        assert out.shape == shape
        assert np.isfinite(out).all()


@pytest.mark.parametrize("values", [500, 5_000, 30_000])
def test_patches_give_what_one_piece_gives(net, values):
    image = picture(72, 104, 3, kind=np.float32)
    expected = plain(net, image)
    with blocks_run_by(net, exact_block(values)):
        found = plain(net, image)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_patches_leave_no_trace_in_the_network(net):
    before = {name: dict(module.__dict__) for name, module in net.named_modules()}
    with pytest.raises(RuntimeError), blocks_run_by(net, exact_block(500)):
        raise RuntimeError
    assert all("forward" not in module.__dict__ for module in net.modules())
    assert before.keys() == dict(net.named_modules()).keys()


def test_exact_is_the_network_clipped(net):
    image = picture(40, 56, 3, kind=np.float32)
    assert np.allclose(restore(net, image, mode="exact"), plain(net, image).clamp(0, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize("overlap", [0, 8, 32])
@pytest.mark.parametrize("length", [1, 64, 65, 100, 129, 500])
def test_weights_of_tiles_add_up_to_one(length, overlap):
    total = np.zeros(length)
    for piece in pieces(length, 64, overlap):
        assert piece.stop - piece.start == min(length, 64)
        assert piece.weight.min() >= 0
        total[piece.start : piece.stop] += piece.weight
    assert np.allclose(total, 1, atol=1e-6)


def test_tiles_of_a_network_that_looks_near_show_no_seams():
    image = picture(152, 208, 3)
    untiled = restore(Blur(), image, mode="exact")
    tiled = restore(Blur(), image, mode="tile", tile=64, overlap=32)
    differences = np.abs(tiled.astype(int) - untiled.astype(int))
    assert differences.mean() < 0.5
    assert differences.max() <= 1  # nothing but rounding


def test_grey_is_the_mean_of_the_colours_and_alpha_is_carried():
    rgba = picture(20, 24, 4)
    out = restore(Blur(), rgba)
    assert np.array_equal(out[..., 3], rgba[..., 3])
    assert np.array_equal(out[..., :3], restore(Blur(), rgba[..., :3]))
    grey = rgba[..., 0]
    assert np.array_equal(restore(Blur(), grey), restore(Blur(), np.repeat(grey[..., None], 3, 2))[..., 0])


def test_a_window_that_holds_the_picture_is_the_whole_picture(net):
    image = picture(40, 56, 3, kind=np.float32)
    assert np.array_equal(restore(net, image, mode="tlc", window=400), restore(net, image, mode="exact"))


def test_local_attention_does_not_see_what_is_beyond_its_window():
    block = models.create("dynet-tiny").encoder_level1
    x = torch.rand(1, 20, 160, 12)
    changed = x.clone()
    changed[:, :, 140:] *= 3  # more than a window away from the left end
    run = local_block(20, 40, 10**6)
    with torch.no_grad():
        assert torch.equal(run(block, x)[:, :, :60], run(block, changed)[:, :, :60])
        assert not torch.equal(block(x)[:, :, :60], block(changed)[:, :, :60])


def test_local_attention_leaves_no_edges_between_its_cells():
    """On a smooth map, steps across the borders of cells are no larger than those within cells."""
    torch.manual_seed(0)
    block = models.create("dynet-tiny").encoder_level1
    waves = torch.linspace(0, 6, 160)[:, None] * torch.rand(12) * 2 + torch.rand(12) * 6  # (W, C)
    x = waves.sin().expand(1, 20, 160, 12).contiguous()
    with torch.no_grad():
        change = (local_block(20, 40, 10**6)(block, x) - block(x))[:, 4:-4, 4:-4]
    steps = change.diff(dim=2).abs().amax((0, 1, 3))  # of neighbouring columns
    borders = torch.tensor([span.own.start - 5 for span in cells(160, 40)[1:]])  # 4 columns are cut off
    inner = torch.ones_like(steps, dtype=torch.bool)
    inner[borders] = False
    assert change.abs().max() > 1e-4
    assert steps[borders].max() <= 1.5 * steps[inner].max()


def test_cells_and_patches_cover_an_axis():
    for length in (1, 7, 64, 333):
        for found in (cells(length, 40), spans(even(length, 10)), spans([0, length], 8)):
            assert [*range(length)] == [index for span in found for index in range(length)[span.own]]
            assert all([*range(length)[s.outer]][s.inner] == [*range(length)[s.own]] for s in found)


def test_auto_is_exact_where_it_fits_and_tiles_where_not(net):
    needed = memory.estimate(net, 1000, 1000)
    assert choose(net, 1000, 1000, "auto", 512, budget=needed) == Way("exact", 512)
    assert choose(net, 1000, 1000, "auto", 512, budget=needed - 1) == Way("tile", 512)
    assert choose(net, 1000, 1000, "auto", 512, budget=memory.estimate(net, 256, 256)) == Way("tile", 256)
    with pytest.raises(InputError, match="use mode tile"):
        choose(net, 1000, 1000, "exact", 512, budget=needed - 1)
    assert restore(net, picture(200, 40, 3), tile=128, budget=1).shape == (200, 40, 3)


def test_auto_goes_to_tiles_where_the_card_turns_out_to_be_full(identity, monkeypatch):
    whole = module._whole

    def full(net, light, *options):
        if len(light) > 64:
            raise torch.OutOfMemoryError
        return whole(net, light, *options)

    monkeypatch.setattr(module, "_whole", full)
    image = picture(100, 80, 3)
    assert np.array_equal(restore(identity, image, tile=64), image)
    with pytest.raises(torch.OutOfMemoryError):
        restore(identity, image, mode="exact")


def test_the_estimate_is_what_is_alive_at_most(net):
    for side in (64, 256):
        assert max(memory.course(net, side)) + memory.CONSTANT == pytest.approx(
            memory.estimate(net, side, side), rel=0.02
        )


@pytest.mark.parametrize("name", ["restormer", "promptir", "dynet-s"])
def test_no_map_is_alive_that_is_not_needed_any_more(name):
    """At full size a block's input and output are, of 2C channels each, and the picture; where the skip (C) is joined,
    it and what is beside it (C) are, the sum of both (2C), and less than 2C of half the size."""
    depths = {"small": (1, 2, 1, 1)} if name == "dynet-s" else {"depths": (1, 2, 1, 1)}
    net = models.create(name, dim=8, heads=(1, 1, 1, 1), refinement=2, **depths).eval()
    side = 128
    assert max(memory.course(net, side)) < (6 * 8 + 3) * side * side * 4


def test_a_network_is_left_as_it_was(net):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.train()
    restore(net, picture(16, 16, 3))
    assert net.training
    net.eval()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_tiles_of_one_picture_share_what_was_seen_of_it():
    net = models.create("abair-tiny", dim=8).eval()
    net.add_adapter("rain")
    net.add_adapter("haze")
    net.adapters = "auto"
    calls = []
    net.estimator.register_forward_hook(lambda *_: calls.append(1))
    image = picture(100, 200, 3)
    memory.estimate(net, 64, 64)
    calls.clear()
    restore(net, image, mode="tile", tile=64, overlap=16)
    assert len(calls) == 1
    assert set(net.seen) == {"rain", "haze"}


@pytest.mark.parametrize(
    "image",
    [picture(4, 4, 5), picture(4), picture(0, 4, 3), picture(4, 4, 3).astype(np.int32), picture(4, 4, 3) / 100.0],
    ids=["five channels", "a row", "nothing", "int32", "floats beyond 1"],
)
def test_an_image_of_another_kind_is_refused(identity, image):
    with pytest.raises(ValueError, match=r"expected|floats must be"):
        restore(identity, image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "mode best: unknown"),
        ({"tile": 8}, "tile 8"),
        ({"tile": 64, "overlap": 33}, "overlap 33"),
        ({"window": 1}, "window 1"),
        ({"dtype": "fp8"}, "dtype fp8"),
    ],
)
def test_a_wrong_argument_is_named(identity, options, message):
    with pytest.raises(ConfigError, match=message):
        restore(identity, picture(8, 8, 3), **options)


def test_a_network_that_gives_no_numbers_is_an_error(identity):
    broken = models.create("dynet-tiny", dim=8, refinement=1)
    torch.nn.init.constant_(broken.output.weight, torch.nan)
    with pytest.raises(MirdError, match="no finite numbers"):
        restore(broken, picture(8, 8, 3))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_refused(kind):
    with pytest.raises(ConfigError, match=r"weights are (bfloat16|float64); call net\.float\(\)"):
        restore(models.create("dynet-tiny", dim=8, refinement=1).to(kind), picture(8, 8, 3))
