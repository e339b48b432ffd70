"""Networks are saved, loaded and published whole, strictly, and without running anything that a file holds."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage import data

from million_ird import degrade, models
from million_ird.errors import InputError, MirdError, OutputError
from million_ird.evaluate.metrics import psnr
from million_ird.models import weights
from million_ird.restore import restore


@pytest.fixture
def net():
    torch.manual_seed(0)
    return models.create("dynet-tiny", dim=8, heads=(1, 2, 2, 4))


@pytest.fixture
def folder(net, tmp_path):
    return net.save_pretrained(tmp_path / "model")


def test_what_is_loaded_is_what_was_saved(net, folder):
    net.variant = (1, 2, 1, 3)
    net.save_pretrained(folder)
    before = torch.random.get_rng_state()
    again = models.load(folder)
    assert torch.equal(before, torch.random.get_rng_state())
    assert again.config == net.config and again.variant == (1, 2, 1, 3)
    assert not again.training and all(p.requires_grad for p in again.parameters())
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(again(image), net(image))
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert isinstance(models.dynet.DyNet.from_pretrained(folder), models.dynet.DyNet)


def test_half_precision_stays_half(net, tmp_path):
    net.to(torch.bfloat16).save_pretrained(tmp_path)
    assert models.load(tmp_path).output.weight.dtype == torch.bfloat16


def test_a_network_of_another_class_is_refused(folder):
    with pytest.raises(InputError, match="holds a network of family dynet, not promptir"):
        models.promptir.PromptIR.from_pretrained(folder)


def change(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def without_config(folder):
    (folder / "config.json").unlink()


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(folder):
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")


def fewer(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("latent.attn.temperature")
    save_file(tensors, folder / "model.safetensors")


def more(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"stray": torch.zeros(1)}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (without_config, "is no model: config.json is missing"),
        (without_weights, "there is no such file"),
        (cut, "is no safetensors file"),
        (pickled, "is no safetensors file"),
        (fewer, r"latent\.attn\.temperature missing"),
        (more, "stray unknown"),
        (lambda f: change(f, dim=16), "of the wrong shape"),
        (lambda f: change(f, refinement=3), r"refinement\.2\.norm1\.weight, .* and \d+ more missing"),
        (lambda f: change(f, dim=-2), "dim: "),
        (lambda f: change(f, dimm=8), "dimm: unknown key; did you mean 'dim'"),
        (lambda f: change(f, model="resnet"), "model family 'resnet': unknown"),
        (lambda f: (f / "config.json").write_text("[]"), "does not say which model"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
    ],
)
def test_a_wrong_folder_is_one_clear_line(folder, harm, message):
    harm(folder)
    with pytest.raises(InputError, match=message) as caught:
        models.load(folder)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_one_clear_line(tmp_path, folder, monkeypatch):
    def unreachable(*_args, **_options):
        raise ConnectionError("the Hub does not answer\nat all")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    monkeypatch.setattr(weights, "TINY", tmp_path / "tiny")
    for source, message in (
        (tmp_path / "absent", "there is no such folder"),
        ("absent", "there is no such folder"),
        (folder / "model.safetensors", "is a file; a model is a folder"),
        ("nobody/nothing", "not from the Hub: the Hub does not answer"),
        ("tiny", "carries no weights"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            models.load(source)
        assert "\n" not in str(caught.value)


def test_a_model_on_the_hub_is_downloaded_without_what_could_run(net, folder, monkeypatch):
    asked = {}

    def download(repo, **options):
        asked.update(options, repo=repo)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    again = models.load("somebody/dynet", revision="v1")
    assert torch.equal(again.output.weight, net.output.weight)
    assert asked == {"repo": "somebody/dynet", "revision": "v1", "allow_patterns": ["*.json", "*.safetensors"]}


class Hub:
    """What `push_to_hub` calls, and what it called."""

    calls: list
    public = False

    def __init__(self, **_options):
        pass

    def create_repo(self, repo, private, exist_ok):
        self.calls.append(("create", repo, private, exist_ok))
        return f"https://hub/{repo}"

    def repo_info(self, _repo):
        return SimpleNamespace(private=not self.public)

    def upload_folder(self, repo_id, folder_path, **_options):
        self.calls.append(("upload", repo_id, models.load(folder_path).config.dim))


def test_publishing_is_private_unless_asked_otherwise(net, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    Hub.calls, Hub.public = [], False
    assert net.push_to_hub("me/net") == "https://hub/me/net"
    assert Hub.calls == [("create", "me/net", True, True), ("upload", "me/net", 8)]
    Hub.calls, Hub.public = [], True
    with pytest.raises(OutputError, match="is public on the Hub"):
        net.push_to_hub("me/net")
    assert not any(call[0] == "upload" for call in Hub.calls)
    net.push_to_hub("me/net", private=False)
    assert Hub.calls[-1][0] == "upload"


def test_unknown_names_and_sizes_are_one_clear_line():
    for name, sizes, message in (
        ("dynet-x", {}, "model dynet-x: unknown; did you mean"),
        ("dynet-s", {"dims": 4}, "dims: unknown key; did you mean 'dim'"),
        ("dynet-s", {"dim": 7}, "dim: "),
        ("restormer", {"heads": (1, 2, 5, 8)}, "192 channels do not divide into 5 heads"),
        ("promptir", {"prompt_dims": (64, 128, 321)}, "321 channels do not divide into 4 heads"),
    ):
        with pytest.raises(MirdError, match=message) as caught:
            models.create(name, **sizes)
        assert "\n" not in str(caught.value)


def test_listing_the_models_imports_no_torch():
    code = "import sys; from million_ird import models; models.names(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "safetensors", "huggingface_hub", "pyarrow"} & set(loaded)


def test_the_shipped_model_is_small_and_takes_noise_away():
    assert (weights.TINY / "model.safetensors").stat().st_size < 6_000_000
    net = models.load("tiny")
    y, x = torch.meshgrid(torch.linspace(0, 6, 96), torch.linspace(0, 6, 96), indexing="ij")
    clean = torch.stack([0.5 + 0.3 * torch.sin(x), 0.5 + 0.3 * torch.cos(y), 0.5 + 0.2 * torch.sin(x + y)])[None]
    noisy = clean + 25 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        restored = net(noisy)
    before, after = ((picture - clean).square().mean().sqrt() for picture in (noisy, restored))
    assert float(after) < 0.5 * float(before)


@pytest.mark.parametrize(("recipe", "least"), [("dehaze", 6.0), ("lowlight", 7.0), ("dejpeg", 0.08)])
def test_the_shipped_model_restores_photos(recipe, least):
    net, gained = models.load("tiny"), []
    for name, photo in (("coffee", data.coffee()[100:356, 100:356]), ("rocket", data.rocket()[100:356, 200:456])):
        clean = np.ascontiguousarray(photo)
        spoilt = degrade.load(recipe)(clean, seed=0, image_id=name).lq
        gained.append(psnr(restore(net, spoilt) / 255, clean / 255) - psnr(spoilt / 255, clean / 255))
    assert min(gained) > 0 and np.mean(gained) > least
