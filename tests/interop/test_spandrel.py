"""Our networks through the real spandrel: found by their weights, called its way, the same pictures."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
spandrel = pytest.importorskip("spandrel")

from million_ird import models  # noqa: E402
from million_ird.errors import ConfigError, InputError  # noqa: E402
from million_ird.models.spandrel import ARCHITECTURES, describe, install  # noqa: E402
from tests.models.test_reference import converter, theirs  # noqa: E402

SMALL = {"restormer": {"dim": 8, "depths": (1, 2, 1, 2), "refinement": 2}}
SMALL["promptir"] = {**SMALL["restormer"], "prompt_sizes": (8, 4, 4)}
SMALL["dynet-tiny"] = {}
SMALL["abair-tiny"] = {"dim": 8, "classes": 4}
SIZES = (16, 24), (17, 31), (5, 40), (1, 1)


def made(name, **sizes):
    """A network whose weights are far from those at the start, so that every layer shows in the output."""
    torch.manual_seed(0)
    net = models.create(name, **(SMALL.get(name, {}) | sizes)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net


def expected(net, image):
    """What spandrel promises: padded by mirroring, then repeating, to what the network takes; cut and clipped."""
    height, width = image.shape[-2:]
    rows, columns = (max(16, -(-side // 8) * 8) - side for side in (height, width))
    across = torch.nn.functional.pad(image, (0, min(columns, width - 1), 0, min(rows, height - 1)), "reflect")
    rest = columns - min(columns, width - 1), rows - min(rows, height - 1)
    with torch.no_grad():
        return net(torch.nn.functional.pad(across, (0, rest[0], 0, rest[1]), "replicate")).clip(0, 1)[
            ..., :height, :width
        ]


@pytest.fixture
def registry():
    """spandrel's own families, and ours behind them."""
    copy = spandrel.MAIN_REGISTRY.copy()
    install(copy)
    return copy


@pytest.mark.parametrize("name", SMALL)
def test_a_saved_network_is_found_by_its_weights_and_gives_the_same_picture(name, registry, tmp_path):
    net = made(name)
    net.save_pretrained(tmp_path)
    model = spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "model.safetensors")
    assert isinstance(model, spandrel.ImageModelDescriptor)
    assert model.architecture.id == f"mird-{net.family}" and model.purpose == "Restoration"
    assert (model.scale, model.input_channels, model.output_channels) == (1, 3, 3)
    for size in SIZES:
        image = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(size[1]))
        assert torch.allclose(model(image), expected(net, image), atol=1e-6), size


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_nearly_the_same_picture(name, dtype):
    model, image = describe(made(name)), torch.rand(1, 3, 40, 56)
    full = model(image)
    half = model.to(dtype)(image.to(dtype)).float()
    assert (half - full).abs().mean() < (0.002 if dtype == torch.float16 else 0.02)


def test_the_shipped_network_is_described_with_its_variant_and_found_by_its_file(registry):
    net = models.load("tiny")
    model = describe(net)
    assert "variant l" in model.tags and model.model is net
    file = spandrel.ModelLoader(registry=registry).load_from_file(models.weights.TINY / "model.safetensors")
    assert "variant s" in file.tags
    image = torch.rand(1, 3, 33, 47)
    assert not torch.equal(file(image), model(image))
    file.model.variant = "l"
    assert torch.equal(file(image), model(image))


def test_adapters_are_there_where_a_network_is_described(tmp_path):
    net = made("abair-tiny", dim=8)
    net.add_adapter("rain")
    for parameter in net.adapter_parameters("rain").values():
        torch.nn.init.normal_(parameter, std=0.1)
    net.adapters = "rain"
    net.save_pretrained(tmp_path)
    loaded = models.load(tmp_path)
    loaded.adapters = "rain"
    model, image = describe(loaded), torch.rand(1, 3, 16, 24)
    assert "adapter rain" in model.tags and torch.allclose(model(image), expected(net, image), atol=1e-6)
    net.adapters = None
    assert not torch.allclose(model(image), expected(net, image), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("abair-tiny", {"spatial": False}),
        ("abair-tiny", {"classes": 0}),
        ("abair-tiny", {"window": 4, "norm_bias": False, "bias": True}),
        ("abair-tiny", {"refinement": 1}),
        ("dynet-tiny", {"dim": 16}),
        ("dynet-tiny", {"expansion": 2.0, "heads": (1, 1, 2, 2)}),
    ],
)
def test_sizes_are_read_from_the_weights(name, sizes, registry, tmp_path):
    net = made(name, **sizes)
    net.save_pretrained(tmp_path)
    model = spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "model.safetensors")
    if net.family == "dynet":  # how often its blocks are applied is a preset's, or has to be said
        model.model.variant = net.depths
    image = torch.rand(1, 3, 24, 40)
    assert torch.allclose(model(image), expected(net, image), atol=1e-6)


def test_windows_that_the_weights_do_not_tell_are_refused(tmp_path):
    state = made("abair-tiny", window=9, overlap=0.0).state_dict()
    with pytest.raises(InputError, match=r"no window with an overlap of 0\.5 reaches 9 px"):
        ARCHITECTURES["abair"].load(state)


@pytest.mark.parametrize("name", ["restormer", "restormer-biasfree", "promptir", "dynet"])
def test_files_of_the_published_code_are_known_too(name, registry, tmp_path):
    state = theirs(name).state_dict()
    torch.save({"state_dict": {f"net.{key}": value for key, value in state.items()}}, tmp_path / "published.ckpt")
    model = spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "published.ckpt")
    assert model.architecture.id == f"mird-{name.partition('-')[0]}"
    image = torch.rand(1, 3, 24, 40)
    assert torch.allclose(model(image), expected(converter(name)(state), image), atol=1e-6)


def test_weights_of_others_are_left_to_others(registry):
    for state in ({"conv_first.weight": torch.zeros(1)}, {}, {"patch_embed.weight": torch.zeros(1)}):
        assert not any(architecture.detect(state) for architecture in ARCHITECTURES.values())
    with pytest.raises(spandrel.UnsupportedModelError):
        registry.load({"patch_embed.weight": torch.zeros(1)})
    with pytest.raises(ConfigError, match="Linear is no network of restormer, promptir, dynet, abair"):
        describe(torch.nn.Linear(1, 1))


def test_installing_adds_our_families_once_and_none_of_spandrels_goes():
    registry = spandrel.MAIN_REGISTRY.copy()
    before = [support.architecture.id for support in registry]
    assert install(registry) == [f"mird-{family}" for family in models.registry.FAMILIES]
    assert install(registry) == []
    assert [support.architecture.id for support in registry][: len(before)] == before
    assert all(f"mird-{family}" not in spandrel.MAIN_REGISTRY for family in models.registry.FAMILIES)
