"""The passes of large models: on what is kept, resumed, decided from their ledgers; with a tiny CLIP of noise."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from million_ird.curate import build
from million_ird.curate.estimate import estimate
from million_ird.curate.explain import explain
from million_ird.curate.passes.run import _ahead
from million_ird.curate.remove import remove
from million_ird.curate.review.desk import Desk
from million_ird.curate.settings import load_config
from million_ird.curate.stages import decide
from million_ird.errors import ConfigError
from million_ird.meters.clip import Clip, ClipModel, Head, Prompts
from million_ird.meters.iqa import Pyiqa, PyiqaModel, column_of, tiles

open_clip = pytest.importorskip("open_clip", reason="the CLIP pass needs the extra `clip`")
WIDTH = 16
PROMPTS = {"dog": {"positive": ["a dog", "a photo of a dog"], "negative": ["a cat"]}}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def clip_folder(folder: Path, seed: int = 0) -> Path:
    """A CLIP of one layer as open_clip keeps them on disk."""
    folder.mkdir(parents=True)
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    model = {"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
    torch.manual_seed(seed)
    made = open_clip.CLIP(WIDTH, vision_cfg=vision, text_cfg=text)
    state = {name: value.detach().numpy().copy() for name, value in made.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head that takes the first number of an embedding."""
    path = tmp_path_factory.mktemp("heads") / "first.safetensors"
    weight = np.zeros((1, WIDTH), np.float32)
    weight[0, 0] = 1
    save_file({"weight": weight, "bias": np.array([0.5], np.float32)}, path)
    return path


@pytest.fixture(scope="module")
def folder(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures: eight of their own, one small (dropped by its size), and a smaller copy of the first."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        top, left = 90 * (number % 4), 200 * (number // 4)
        Image.fromarray(photo[top : top + 120, left : left + 160]).save(folder / f"{number}.png")
    Image.fromarray(photo[:60, :60]).save(folder / "small.png")
    Image.fromarray(photo[:120, :160]).resize((150, 112), Image.Resampling.LANCZOS).save(folder / "copy.png")
    return folder


def settings(model: Path, clip: dict[str, Any] | None = None, **policy: Any) -> dict[str, Any]:
    rules = ("flat", "noise", "compression", "exposure", "greyscale", "border", "product", "upscaled", "iqa", "blur")
    asked = {"enabled": True, "model": str(model), "device": "cpu", "batch": 3, "scores": PROMPTS, **(clip or {})}
    return {
        "measure": {"meters": ["exposure"]},
        "passes": {"clip": asked},
        "policy": {
            **{name: {"enabled": False} for name in rules},
            "resolution": {"enabled": True, "min_side": 96},
            "near_duplicate": {"enabled": True},
            **policy,
        },
        "run": {"workers": 0, "shard_size": 4},
        "report": {"samples": 0},
    }


def rows_of(out: Path, name: str = "clip") -> dict[str, dict[str, Any]]:
    """The rows of a pass by uri."""
    base = [
        row for part in sorted((out / "ledger" / "base").glob("*")) for row in pq.ParquetFile(part).read().to_pylist()
    ]
    uris = {row["key"]: row["uri"] for row in base}
    parts = sorted((out / "ledger" / name).glob("*.parquet"))
    return {uris[row["key"]]: row for part in parts for row in pq.ParquetFile(part).read().to_pylist()}


def decided(out: Path) -> dict[str, dict[str, Any]]:
    return {row["uri"]: row for row in pq.ParquetFile(out / "decisions.parquet").read().to_pylist()}


# -- the model


def test_embeddings_and_scores_are_the_models(model: Path, head: Path, photo: np.ndarray) -> None:
    heads = {
        "first": Head(path=str(head)),
        "raw": Head(path=str(head), normalised=False),
        "sure": Head(path=str(head), activation="sigmoid"),
    }
    asked = {"dog": Prompts(positive=("a dog", "a big dog"), negative=("a cat",))}
    clip = ClipModel(Clip(enabled=True, model=str(model), device="cpu", scores=asked, heads=heads))
    pictures = [photo[:100, :80], photo[100:300, 50:90]]
    found = clip.embed([clip.prepare(picture) for picture in pictures])
    assert found.shape == (2, WIDTH) and found.dtype == np.float16
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{model}")
    with torch.inference_mode():
        batch = torch.stack([transform(Image.fromarray(picture)) for picture in pictures])
        image = theirs.encode_image(batch)
        texts = theirs.encode_text(open_clip.get_tokenizer(f"local-dir:{model}")(["a dog", "a big dog", "a cat"]))
        texts = torch.nn.functional.normalize(texts, dim=-1)
        sides = torch.nn.functional.normalize(torch.stack([texts[:2].mean(0), texts[2]]), dim=-1)
        logits = theirs.logit_scale.exp() * torch.nn.functional.normalize(image, dim=-1) @ sides.T
    assert np.allclose(found, image.numpy(), rtol=2e-3, atol=1e-3)
    scores = clip.scores(found)
    assert np.allclose(scores["clip_dog"], logits.softmax(-1)[:, 0].numpy(), atol=5e-3)
    unit = found.astype(float) / np.linalg.norm(found.astype(float), axis=1, keepdims=True)
    assert np.allclose(scores["clip_first"], unit[:, 0] + 0.5)
    assert np.allclose(scores["clip_raw"], found[:, 0].astype(float) + 0.5)
    assert np.allclose(scores["clip_sure"], 1 / (1 + np.exp(-unit[:, 0] - 0.5)))


def test_the_default_questions_have_columns(model: Path) -> None:
    clip = ClipModel(Clip(enabled=True, model=str(model), device="cpu"))
    scores = clip.scores(np.ones((1, WIDTH), np.float16))
    assert list(scores) == [f"clip_{name}" for name in ("watermark", "product", "screenshot", "rendering", "collage")]
    assert all(0 <= values[0] <= 1 for values in scores.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "EMPTY"}, r"passes\.clip\.model: .*config file missing"),
        ({"model": "WEIGHTLESS"}, r"passes\.clip\.model: .*could not be loaded"),
        ({"model": "ViT-Z-99", "pretrained": "openai"}, r"passes\.clip\.model: ViT-Z-99: .*not found"),
        ({"model": "ViT-B-32"}, r"passes\.clip\.pretrained: ViT-B-32 is no folder here"),
        ({"device": "cuda:77"}, r"passes\.clip\.device: cuda:77: "),
        ({"heads": {"h": {"path": "none.safetensors"}}}, r"passes\.clip\.heads\.h\.path: .*none\.safetensors"),
        ({"heads": {"h": {"path": "WRONG"}}}, r"passes\.clip\.heads\.h\.path: .*needs weight \(1, 16\)"),
    ],
)
def test_what_cannot_be_had_is_one_line_before_anything_is_read(
    model: Path, folder: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    (tmp_path / "EMPTY").mkdir()
    shutil.copytree(model, tmp_path / "WEIGHTLESS")
    (tmp_path / "WEIGHTLESS" / "open_clip_model.safetensors").unlink()
    save_file({"weight": np.zeros((1, 5), np.float32)}, tmp_path / "WRONG")
    text = json.dumps(changes)
    for name in ("EMPTY", "WEIGHTLESS", "WRONG"):
        text = text.replace(name, str(tmp_path / name))
    with pytest.raises(ConfigError, match=words) as error:
        build([folder], tmp_path / "out", settings(model, json.loads(text)))
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_weights_that_are_no_weights_are_one_line(model: Path, folder: Path, tmp_path: Path, caplog: Any) -> None:
    broken = Path(shutil.copytree(model, tmp_path / "broken"))
    (broken / "open_clip_model.safetensors").write_bytes(b"junk" * 25)
    with pytest.raises(ConfigError, match=r"passes\.clip\.model: .*broken") as error:
        build([folder], tmp_path / "out", settings(broken))
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists() and not caplog.records


def test_wrong_rules_and_names_are_refused(model: Path) -> None:
    for sets, words in (
        (["passes.clip.enabled=true"], "passes.clip: model"),
        (["policy.clip={dog: {most: 1}}"], "clip.dog takes min and max"),
        (["passes.clip.scores={'Big Dog': {positive: [a], negative: [b]}}"], "[bB]ig Dog: a name is"),
        (["passes.pyiqa.metrics=[niqe, niqe]"], "stands twice"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_config(sets=sets)
    with pytest.raises(ConfigError, match=r"policy\.clip\.dog\.max: passes\.clip is off"):
        build(["nowhere"], "elsewhere", {"policy": {"clip": {"dog": {"max": 1}}}})
    with pytest.raises(ConfigError, match=r"policy\.clip\.cat\.max: .*known: dog"):
        build(["nowhere"], "elsewhere", settings(model) | {"policy": {"clip": {"cat": {"max": 1}}}})


# -- in a build


def test_runs_on_what_is_kept_and_says_what_it_rests_on(model: Path, folder: Path, head: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = build([folder], out, settings(model, {"heads": {"first": {"path": str(head)}}}))
    assert summary.kept == 8 and summary.reasons == {"resolution": 1, "near_duplicate": 1}
    rows = rows_of(out)
    assert set(rows) == {f"{number}.png" for number in range(8)}, "neither the small one nor the copy"
    part = pq.ParquetFile(out / "ledger" / "clip" / "part-00000.parquet").schema_arrow
    assert part.names == ["key", "error", "embedding", "clip_dog", "clip_first"]
    assert str(part.field("embedding").type) == f"fixed_size_list<element: halffloat>[{WIDTH}]"
    facts = json.loads(part.metadata[b"mird.pass"])
    assert facts["model"] == str(model) and len(facts["sha256"]) == 64 and facts["precision"] == "fp32"
    assert all(0 <= row["clip_dog"] <= 1 and len(row["embedding"]) == WIDTH for row in rows.values())
    for page in (out / "report.html", out / "dataset" / "README.md"):
        assert str(model.parent) not in page.read_text("utf-8") and str(head.parent) not in page.read_text("utf-8")
    assert build([folder], out, settings(model, {"heads": {"first": {"path": str(head)}}})).up_to_date


def test_rules_on_it_are_asked_last_and_decided_without_the_model(model: Path, folder: Path, tmp_path: Path) -> None:
    gone = Path(shutil.copytree(model, tmp_path / "model"))
    out = tmp_path / "out"
    build([folder], out, settings(gone))
    scores = {uri: row["clip_dog"] for uri, row in rows_of(out).items()}
    middle = float(np.median(list(scores.values())))
    shutil.rmtree(gone)
    (tmp_path / "model").mkdir()  # the folder is a name here; what was in it is gone
    summary = decide(out, lambda config: load_config(config.model_dump(), sets=[f"policy.clip.dog.max={middle}"]))
    dropped = {uri for uri, row in decided(out).items() if row["reason"] == "clip_dog"}
    assert dropped == {uri for uri, score in scores.items() if np.float32(score) > np.float32(middle)} != set()
    waits = {uri for uri, row in decided(out).items() if row["reason"] == "unmeasured"}
    assert waits == ({"copy.png"} if "0.png" in dropped else set()), "what takes the place of one that fell"
    for uri in dropped:
        assert decided(out)[uri]["value"] == pytest.approx(scores[uri]) and decided(out)[uri]["threshold"] == middle
    assert summary.kept + sum(summary.reasons.values()) == 10


def test_the_next_of_a_cluster_is_seen_when_the_best_falls(model: Path, folder: Path, tmp_path: Path) -> None:
    build([folder], tmp_path / "first", settings(model))
    best = rows_of(tmp_path / "first")["0.png"]["clip_dog"]
    out = tmp_path / "fell"
    below = np.nextafter(np.float32(best), np.float32(0))
    others = [row["clip_dog"] for uri, row in rows_of(tmp_path / "first").items() if uri != "0.png"]
    summary = build(
        [folder],
        out,
        {**settings(model), "policy": {**settings(model)["policy"], "clip": {"dog": {"max": float(below)}}}},
    )
    assert "copy.png" in rows_of(out), "the copy is asked about once its better fell"
    verdicts = decided(out)
    assert not verdicts["0.png"]["keep"]
    assert verdicts["copy.png"]["keep"] == (rows_of(out)["copy.png"]["clip_dog"] <= below)
    assert summary.kept == sum(score <= below for score in others) + verdicts["copy.png"]["keep"]
    assert "unmeasured" not in summary.reasons


def test_a_killed_pass_reads_only_what_is_missing_and_ends_the_same(model: Path, folder: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    config = settings(model)
    build([folder], whole, config)
    build([folder], cut, config)
    (cut / "ledger" / "clip" / "part-00001.parquet").unlink()
    again = build([folder], cut, config)
    lost = pq.ParquetFile(whole / "ledger" / "clip" / "part-00001.parquet").metadata.num_rows
    assert again.measured == lost > 0
    for part in (whole / "ledger" / "clip").iterdir():
        assert part.read_bytes() == (cut / "ledger" / "clip" / part.name).read_bytes()


def test_what_is_removed_leaves_its_embedding_too(model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build([folder], out, settings(model))
    ids = {row["uri"]: row["id"] for row in decided(out).values()}
    others = {uri: row for uri, row in rows_of(out).items() if uri != "3.png"}
    remove(out, [ids["3.png"]])
    assert rows_of(out) == others, "without 3.png, and all else as it was"


def test_a_dry_run_finds_a_model_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    with pytest.raises(ConfigError, match=str(gone)):
        estimate([folder], settings(gone))


def test_new_prompts_are_scored_from_the_embeddings_and_a_new_model_reads_again(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    photos, out = Path(shutil.copytree(folder, tmp_path / "photos")), tmp_path / "out"
    build([photos], out, settings(model))
    before = rows_of(out)
    more = {"scores": {**PROMPTS, "sky": {"positive": ["the sky"], "negative": ["the sea"]}}}
    rescored = build([photos], out, settings(model, more))
    after = rows_of(out)
    assert rescored.measured == 0 and "clip_sky" in after["0.png"]
    assert {uri: row["clip_dog"] for uri, row in before.items()} == {uri: row["clip_dog"] for uri, row in after.items()}
    other = clip_folder(tmp_path / "other", seed=1)
    assert build([photos], out, settings(other, more)).measured == 8
    assert rows_of(out)["0.png"]["embedding"] != after["0.png"]["embedding"]


def test_other_weights_in_the_same_folder_are_another_model(model: Path, folder: Path, tmp_path: Path) -> None:
    own, out = Path(shutil.copytree(model, tmp_path / "own")), tmp_path / "out"
    build([folder], out, settings(own))
    before = rows_of(out)
    clip_folder(tmp_path / "other", seed=1)
    shutil.copy(tmp_path / "other" / "open_clip_model.safetensors", own)
    with pytest.raises(ConfigError, match=r"passes\.clip\.sha256: .*own is another file"):
        build([folder], out, load_config({}, out / "build.yaml"))
    assert build([folder], out, settings(own)).measured == 8
    assert all(rows_of(out)[uri]["embedding"] != row["embedding"] for uri, row in before.items())


def test_a_head_is_the_one_that_its_hash_says(model: Path, folder: Path, head: Path, tmp_path: Path) -> None:
    wrong = {"heads": {"first": {"path": str(head), "sha256": "deadbeef"}}}
    with pytest.raises(ConfigError, match=r"passes\.clip\.heads\.first\.sha256: .*is another file"):
        build([folder], tmp_path / "out", settings(model, wrong))
    right = {"heads": {"first": {"path": str(head), "sha256": hashlib.sha256(head.read_bytes()).hexdigest()}}}
    assert build([folder], tmp_path / "out", settings(model, right)).kept == 8


def test_a_picture_that_is_gone_by_then_is_a_row_with_an_error(model: Path, folder: Path, tmp_path: Path) -> None:
    photos, out = Path(shutil.copytree(folder, tmp_path / "photos")), tmp_path / "out"
    plain = settings(model)
    build([photos], out, {**plain, "passes": {}})
    (photos / "5.png").write_bytes(b"no picture any more")
    config = load_config({**plain, "policy": {**plain["policy"], "pins": {"drop": ["5.png"]}}})
    build([photos], out, config)
    assert "5.png" not in rows_of(out), "what is dropped by hand is not looked at"
    shutil.rmtree(out / "ledger" / "clip")
    with pytest.raises(Exception, match=r"5\.png"):
        build([photos], out, plain)
    rows = rows_of(out)
    assert "unsupported" in rows["5.png"]["error"] and rows["5.png"]["clip_dog"] is None
    assert rows["4.png"]["error"] is None


def test_batches_come_in_order_whatever_is_read_first() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as threads:
        for count in (0, 1, 3, 7):
            found = list(_ahead(threads, lambda item: item, list(range(count)), 3, 4))
            assert [one for batch in found for one in batch] == list(range(count))
            assert all(len(batch) == 3 for batch in found[:-1])


def test_its_scores_can_be_reviewed(model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build([folder], out, settings(model))
    desk = Desk(out)
    choice = desk.choice("clip_dog", "max")
    shown = desk.view(choice, None, 0.9)
    scores = {uri: row["clip_dog"] for uri, row in rows_of(out).items()}
    assert {one["uri"]: one["value"] for one in shown["next"]} == pytest.approx(scores)
    assert choice.key == "policy.clip.dog.max"
    desk.close()


# -- pyiqa

STAND_IN = '''
"""Stands in for pyiqa, which is not ours to install: two metrics with its interface."""
import torch
__version__ = "0.0"
def list_models(metric_mode=None):
    return ["dark", "bright", "absent"]
class Metric(torch.nn.Module):
    def __init__(self, lower):
        super().__init__()
        self.lower_better = lower
    def forward(self, batch):
        if batch.shape[-1] < 4:
            raise RuntimeError("too small")
        mean = batch.mean(dim=(1, 2, 3))
        return (1 - mean if self.lower_better else mean)[:, None]
def create_metric(name, device=None):
    if name == "absent":
        raise OSError("no weights here: the Hub cannot be reached")
    return Metric(name == "dark").to(device)
'''


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "pyiqa.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    yield
    sys.modules.pop("pyiqa", None)


def test_metrics_are_means_over_equal_tiles(stand_in: None) -> None:
    rng = np.random.default_rng(0)
    model = PyiqaModel(Pyiqa(enabled=True, metrics=("dark", "bright"), tile=224, device="cpu", batch=2))
    pictures = [
        rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((100, 90), (448, 300), (100, 90), (3, 3), (600, 50))
    ]
    found = model.measure([model.prepare(picture) for picture in pictures])
    for index in (0, 1, 2):
        assert found[index]["pyiqa_bright"] == pytest.approx(pictures[index].mean() / 255, abs=1e-5)
        assert found[index]["pyiqa_dark"] == pytest.approx(1 - pictures[index].mean() / 255, abs=1e-5)
    assert found[3] == {"pyiqa_dark": None, "pyiqa_bright": None}, "a metric may not take a picture"
    assert tiles(pictures[1], 224).shape == (4, 224, 150, 3) and tiles(pictures[4], 224).shape == (3, 200, 50, 3)
    covered = tiles(np.arange(500 * 3, dtype=np.uint16).reshape(500, 1, 3), 224)
    assert len(np.unique(covered)) == 1500
    assert column_of("clipiqa+") == "pyiqa_clipiqa_plus" and column_of("topiq_nr-face") == "pyiqa_topiq_nr_face"


def test_pyiqa_in_a_build_by_direction_and_with_its_licence(stand_in: None, folder: Path, tmp_path: Path) -> None:
    plain = settings(folder)
    plain["passes"] = {"pyiqa": {"enabled": True, "metrics": ["dark", "bright"], "device": "cpu"}}
    out = tmp_path / "out"
    summary = build([folder], out, plain)
    assert summary.kept == 8 and any("non-commercial" in warning for warning in summary.warnings)
    values = {uri: row["pyiqa_dark"] for uri, row in rows_of(out, "pyiqa").items()}
    assert len(values) == 8
    facts = json.loads(
        pq.ParquetFile(out / "ledger" / "pyiqa" / "part-00000.parquet").schema_arrow.metadata[b"mird.pass"]
    )
    assert facts["lower_better"] == {"pyiqa_dark": True, "pyiqa_bright": False}
    middle = float(np.median(list(values.values())))
    plain["policy"]["pyiqa"] = {"dark": {"max": middle}}
    again = build([folder], out, plain)
    dropped = {uri for uri, row in decided(out).items() if row["reason"] == "pyiqa_dark"}
    assert {uri for uri, value in values.items() if value > middle} <= dropped and again.reasons["pyiqa_dark"] == len(
        dropped
    )
    plain["policy"]["pyiqa"] = {"bright": {"max": 0.5}}
    with pytest.raises(
        ConfigError, match=r"policy\.pyiqa\.bright\.max: higher is better here; set policy\.pyiqa\.bright\.min"
    ):
        build([folder], out, plain)


def test_a_metric_that_cannot_be_had_is_one_line_before_the_run(stand_in: None, folder: Path, tmp_path: Path) -> None:
    plain = settings(folder)
    for metric, words in (
        ("absent", "absent or its weights cannot be had: no weights"),
        ("psnr", "no no-reference metric"),
    ):
        plain["passes"] = {"pyiqa": {"enabled": True, "metrics": [metric], "device": "cpu"}}
        with pytest.raises(ConfigError, match=words):
            build([folder], tmp_path / "out", plain)
    assert not (tmp_path / "out").exists()


def test_the_preset_with_the_papers_gates_lies_on_million_ird() -> None:
    config = load_config("million-ird-iqa")
    assert config.policy.pyiqa == {"niqe": {"max": 6.0}, "brisque": {"max": 40.0}, "nima": {"min": 4.5}}
    assert set(config.passes.pyiqa.metrics) == config.policy.pyiqa.keys()
    assert config.policy.resolution == load_config("million-ird").policy.resolution


def test_without_pyiqa_the_remedy_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ConfigError, match=r"passes\.pyiqa\.enabled: .*pip install 'million-ird\[iqa\]'"):
        build([folder], tmp_path / "out", {"passes": {"pyiqa": {"enabled": True}}})


# -- where its columns are seen


def limited(model: Path, **limits: float) -> dict[str, Any]:
    """Settings with a rule on the pass."""
    plain = settings(model)
    return {**plain, "policy": {**plain["policy"], "clip": {"dog": limits}}}


def test_explain_tells_what_a_pass_measured_and_what_its_rules_said(model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build([folder], out, limited(model, max=1.0, min=0.0))
    score = rows_of(out)["3.png"]["clip_dog"]
    seen, unseen = explain(out, "3.png")[0], explain(out, "small.png")[0]
    assert list(seen.measurements)[-1] == "clip_dog" and seen.measurements["clip_dog"] == score
    asked = [one for one in seen.asked if one.column == "clip_dog"]
    assert [(one.value, one.bound, one.threshold, one.verdict) for one in asked] == [
        (score, "max", 1.0, "pass"),
        (score, "min", 0.0, "pass"),
    ]
    assert seen.asked[-2:] == asked, "the passes are asked last"
    assert unseen.measurements["clip_dog"] is None
    assert [one.verdict for one in unseen.asked if one.column == "clip_dog"] == ["not measured", "not measured"]
    decide(out, lambda config: load_config(config.model_dump(), sets=[f"policy.clip.dog.min={score + 1e-3}"]))
    fallen = explain(out, "3.png")[0]
    assert fallen.decision["reason"] == "clip_dog" and fallen.asked[-1].verdict == "fail"


@pytest.mark.parametrize("kind", ["parquet", "imagefolder", "webdataset"])
def test_the_dataset_has_the_scores_as_columns_and_new_ones_are_written(
    model: Path, folder: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    plain = settings(model) | {"export": {"format": kind}}
    build([folder], out, plain)
    measured = {uri: row["clip_dog"] for uri, row in rows_of(out).items()}
    assert {row["uri"]: row["clip_dog"] for row in dataset_rows(out, kind)} == measured != {}
    more = {"scores": {**PROMPTS, "sky": {"positive": ["the sky"], "negative": ["the sea"]}}}
    build([folder], out, settings(model, more) | {"export": {"format": kind}})
    skies = {uri: row["clip_sky"] for uri, row in rows_of(out).items()}
    assert {row["uri"]: row["clip_sky"] for row in dataset_rows(out, kind)} == skies
    build([folder], out, plain | {"passes": {}})
    assert all("clip_dog" not in row for row in dataset_rows(out, kind)), "a pass that is off leaves nothing"


def dataset_rows(out: Path, kind: str) -> list[dict[str, Any]]:
    """The rows of a dataset, but for the images."""
    data = out / "dataset" / "data"
    if kind == "parquet":
        (part,) = data.glob("*.parquet")
        return [{key: row[key] for key in row if key != "image"} for row in pq.ParquetFile(part).read().to_pylist()]
    if kind == "imagefolder":
        lines = [line for path in sorted(data.rglob("metadata.jsonl")) for line in path.read_text("utf-8").splitlines()]
        return [json.loads(line) for line in lines]
    (tar,) = data.glob("*.tar")
    with tarfile.open(tar) as members:
        found = [members.extractfile(one) for one in members.getmembers() if one.name.endswith(".json")]
        return [json.loads(one.read()) for one in found if one is not None]


def test_scores_that_changed_are_never_taken_from_the_former_dataset(model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build([folder], out, settings(model))
    (part,) = (out / "dataset" / "data").glob("*.parquet")
    before = part.stat().st_ino
    build([folder], out, limited(model, max=1.0))
    assert part.stat().st_ino == before, "the same rows with the same scores: the file is taken over"
    other = clip_folder(tmp_path / "other", seed=1)
    build([folder], out, settings(other))
    assert {row["uri"]: row["clip_dog"] for row in dataset_rows(out, "parquet")} == {
        uri: row["clip_dog"] for uri, row in rows_of(out).items()
    }


def test_the_report_shows_the_scores_and_its_lines_decide_as_decide_does(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the report's page is tested through playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the report's page is tested in Chromium: no `chromium` on the path")
    out = tmp_path / "out"
    build([folder], out, settings(model))
    scores = sorted(row["clip_dog"] for row in rows_of(out).values())
    first = float((scores[3] + scores[4]) / 2)
    build([folder], out, limited(model, max=first))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(reduced_motion="reduce")
        page.goto((out / "report.html").as_uri())
        page.wait_for_selector("html[data-ready]")
        assert "0..1, nearer to the prompts" in page.locator('article[data-column="clip_dog"]').text_content()
        for limit in (first, 1.0, float((scores[1] + scores[2]) / 2), 0.0):
            page.locator('input[type=number][aria-label="policy.clip.dog.max"]').fill(str(limit))
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            kept = int(page.evaluate('Number(document.querySelector("#now data").value)'))
            moved = [f"policy.clip.dog.max={limit}"]
            said = decide(out, lambda config, sets=moved: load_config(config.model_dump(), sets=sets), preview=True)
            assert kept == said.kept, limit
        browser.close()
