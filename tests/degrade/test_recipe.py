"""Recipes: what is built in works, what is wrong is named by its path, what is included can be changed."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
import yaml

from million_ird import degrade as D
from million_ird.degrade.recipe import dump, load, read
from million_ird.degrade.registry import COMBINATORS, OPS
from million_ird.errors import ConfigError

FOLDER = files("million_ird.degrade") / "recipes"
NAMED = {"dynet", "abair", "denoise", "derain", "dehaze", "deblur", "lowlight", "dejpeg", "desnow", "debit", "mixed"}
"""What the interface promises, with realesrgan."""


def test_all_promised_recipes_are_there():
    assert NAMED | {"realesrgan"} <= set(D.builtin())


@pytest.mark.parametrize("name", D.builtin())
def test_a_built_in_recipe_runs_and_says_what_it_is(name, photo):
    recipe = load(name)
    assert recipe.name == name
    assert len(recipe.about) > 40
    image = np.ascontiguousarray(photo[:96, :128])
    changed = []
    for seed in range(6):
        out = recipe(image, seed=seed, image_id="x")
        assert out.lq.shape == image.shape
        assert np.array_equal(out.lq[out.mask == 0], image[out.mask == 0])
        assert set(out.labels) <= set(recipe.classes)
        assert len(json.dumps(out.trace, separators=(",", ":"))) < 4096
        assert np.array_equal(D.replay(image, json.loads(json.dumps(out.trace))), out.lq)
        changed.append((out.lq != image).any())
    assert any(changed)


@pytest.mark.parametrize("name", D.builtin())
def test_a_recipe_written_out_and_read_again_is_the_same(name, photo):
    recipe = load(name)
    again = load(json.loads(json.dumps(dump(recipe))))
    image = np.ascontiguousarray(photo[:64, :64])
    assert again.classes == recipe.classes
    assert again(image, seed=3).trace == recipe(image, seed=3).trace


@pytest.mark.parametrize("name", D.builtin())
def test_built_in_recipes_fit_the_schema_that_ships_for_editors(name):
    schema = json.loads((FOLDER / "recipe.schema.json").read_text())
    assert schema == json.loads(json.dumps(D.schema())), "run `mird degrade --schema` into recipes/recipe.schema.json"
    jsonschema.validate(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"pipeline": [{"op": "GaussianNoise", "sigma": [0, 900]}]}, schema)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ([{"op": "GausianNoise"}], "pipeline.0: op GausianNoise: unknown; did you mean 'GaussianNoise'"),
        (
            [{"op": "GaussianNoise", "sigmma": 3}],
            "pipeline.0 (GaussianNoise): sigmma: unknown key; did you mean 'sigma'",
        ),
        (
            [{"op": "OneOf", "steps": [{"op": "JPEG"}, {"op": "GaussianNoise", "sigma": [5, 2]}]}],
            "pipeline.0.steps.1 (GaussianNoise): sigma: empty range",
        ),
        ([{"op": "OneOf", "steps": [{"op": "JPEG"}], "p": [0.1, 2]}], "p has 2 weights for 1 values"),
        ([{"op": "OneOf"}], "pipeline.0 (OneOf): steps:"),
        ([{"op": "CutMix"}], "pipeline.0 (CutMix): branches:"),
        ([{"op": "CutMix", "branches": [{"op": "JPEG"}], "shares": [0.2, 0.3]}], "shares has 2 values for 1 branches"),
        ([{"op": "CutMix", "branches": [{"op": "JPEG"}, {"op": "Mask"}], "shares": [0.8, 0.3]}], "more than the whole"),
        ([{"op": "Maybe"}], "pipeline.0 (Maybe)"),
        ([{"sigma": 3}], "pipeline.0: `op` is missing"),
        (["JPEG"], "pipeline.0: expected a mapping with `op`"),
        ([{"op": "GaussianNoise", "label": "No Good"}], "label:"),
        ([{"include": "nosuch"}], "no recipe of this name"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(pipeline, message):
    with pytest.raises(ConfigError) as caught:
        load({"pipeline": pipeline})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "pipeline: []\n", "name: nothing\n"])
def test_a_recipe_file_without_a_degradation_is_refused(tmp_path, content):
    (tmp_path / "empty.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"empty\.yaml: pipeline: holds no degradation"):
        load(tmp_path / "empty.yaml")


def test_a_recipe_may_include_another_and_change_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("include: dynet\nname: mine\nset: {pipeline.0.shares: [0.2, 0.6]}\n")
    mine = load(path)
    assert mine.name == "mine"
    assert mine.classes == load("dynet").classes
    assert mine.pipeline.steps[0].shares == (0.2, 0.6)
    assert load("dynet").pipeline.steps[0].shares == (0.5, 0.3)


def test_an_included_file_is_looked_for_beside_the_file_that_includes_it(tmp_path, monkeypatch):
    folder = tmp_path / "recipes" / "base"
    folder.mkdir(parents=True)
    (folder / "noise.yaml").write_text("pipeline: [{op: GaussianNoise, sigma: 7}]\n")
    (folder / "more.yaml").write_text("pipeline: [{include: noise.yaml}, {op: JPEG}]\n")
    mine = folder.parent / "mine.yaml"
    mine.write_text("include: base/more.yaml\nname: mine\n")
    step = folder.parent / "step.yaml"
    step.write_text("pipeline: [{op: OneOf, steps: [{include: base/noise.yaml}]}]\n")
    monkeypatch.chdir(tmp_path)
    assert load(mine).classes == ("noise", "jpeg")
    assert load("recipes/mine.yaml").pipeline.steps[0].steps[0].sigma == 7
    assert load(step).classes == ("noise",)
    step.write_text("pipeline: [{include: nosuch.yaml}]\n")
    with pytest.raises(ConfigError, match=r"nosuch\.yaml"):
        load(step)
    step.write_text("pipeline: [{include: dehase}]\n")
    with pytest.raises(ConfigError, match="did you mean 'dehaze'"):
        load(step)


def test_a_recipe_may_be_a_step_of_another():
    both = load({"pipeline": [{"include": "denoise"}, {"include": "dejpeg", "set": {"pipeline.1.quality": 20}}]})
    assert both.classes == ("noise", "jpeg")
    assert both.pipeline.steps[1].steps[1].quality == 20


def test_an_override_without_a_place_and_a_circle_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"set pipeline\.7\.sigma: '7' is no place in a list of 1"):
        load({"include": "denoise", "set": {"pipeline.7.sigma": 3}})
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{one}.yaml").write_text(f"include: {tmp_path / other}.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        load(tmp_path / "a.yaml")
    (tmp_path / "c.yaml").write_text(f"pipeline:\n  - include: {tmp_path / 'c.yaml'}\n")
    with pytest.raises(ConfigError, match="circle"):
        load(tmp_path / "c.yaml")


def test_classes_have_an_order_that_the_recipe_fixes():
    noise, jpeg = {"op": "GaussianNoise"}, {"op": "JPEG"}
    assert load({"pipeline": [jpeg, noise]}).classes == ("jpeg", "noise")
    assert load({"classes": ["noise", "jpeg"], "pipeline": [jpeg, noise]}).classes == ("noise", "jpeg")
    with pytest.raises(ConfigError, match="jpeg can be set by the pipeline but is not listed"):
        load({"classes": ["noise"], "pipeline": [jpeg, noise]})


def test_more_than_sixteen_classes_are_refused_by_name():
    steps = [{"op": "GaussianNoise", "label": f"noise{n}"} for n in range(17)]
    with pytest.raises(ConfigError, match=r"16 at most .* this one has 17: noise0, noise1,.* noise16"):
        load({"pipeline": steps})
    assert len(load({"pipeline": steps[:16]}).classes) == 16


def test_dynet_is_what_the_paper_says(photo):
    image = np.ascontiguousarray(photo[:128, :128])
    recipe = load("dynet")
    bit = {name: 1 << index for index, name in enumerate(recipe.classes)}
    degraded, masked, kinds = [], [], set()
    for seed in range(40):
        out = recipe(image, seed=seed)
        cells = out.mask.reshape(8, 16, 8, 16).swapaxes(1, 2).reshape(64, 256)
        assert np.all(cells == cells[:, :1]), "a cell is one thing"
        own = cells[:, 0]
        assert not np.any((own & bit["mask"] != 0) & (own & (bit["noise"] | bit["jpeg"]) != 0)), "disjoint"
        masked.append(np.sum(own == bit["mask"]))
        degraded.append(np.sum((own != 0) & (own != bit["mask"])))
        kinds |= set(out.labels)
        assert np.all(out.lq[out.mask == bit["mask"]] == 255)
    assert set(degraded) == {32}
    assert set(masked) == {19}
    assert kinds == {"noise", "jpeg", "mask"}
    figure = load("dynet-figure")(image, seed=0)
    assert np.sum(figure.mask[::16, ::16] == bit["mask"]) == 32


def test_abair_has_its_five_classes_one_per_pixel_and_composes_half_of_the_time(photo):
    recipe = load("abair")
    assert recipe.classes == ("noise", "blur", "rain", "haze", "lowlight")
    traces = [recipe(np.ascontiguousarray(photo[:64, :64]), seed=seed).trace for seed in range(60)]
    composed = [trace["steps"][0]["op"] == "CutMix" for trace in traces]
    assert 18 <= sum(composed) <= 42
    assert {len(trace["steps"][0]["branches"]) for trace in traces if "branches" in trace["steps"][0]} == {2, 3, 4}
    assert all(len(branch) == 1 for trace in traces for step in trace["steps"] for branch in step.get("branches", ()))


def test_every_name_of_the_interface_is_exported():
    promised = (
        "GaussianNoise PoissonNoise ImpulseNoise SpeckleNoise JPEG WebP Mask Rain Raindrop Haze Snow GaussianBlur"
    )
    promised += " MotionBlur DefocusBlur LowLight BitDepth Resize Ringing Compose OneOf SomeOf Shuffle Maybe CutMix"
    promised += " load replay DegradedDataset to_albumentations from_albumentations"
    assert set(promised.split()) <= set(D.__all__)
    assert all(hasattr(D, name) for name in (*OPS, *COMBINATORS, "load", "replay", "Degraded"))
    with pytest.raises(AttributeError, match="no Nosuch"):
        _ = D.Nosuch


def test_reading_a_recipe_that_is_not_there_suggests_one():
    with pytest.raises(ConfigError, match="did you mean 'dehaze'"):
        read("dehase")
