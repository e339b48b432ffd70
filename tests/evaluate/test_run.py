"""Sets through a network to tables: what is scored, what is written, and what is said of test pictures seen before."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from skimage import data

from million_ird.errors import ConfigError, InputError
from million_ird.evaluate import contamination, crops, metrics
from million_ird.evaluate.protocols import PUBLISHED, STRICT
from million_ird.evaluate.run import Sample, Scores, evaluate
from million_ird.evaluate.sets import open_set, parse
from million_ird.evaluate.suite import suite


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def clean(tmp_path):
    """Three crops of 61 x 75 px."""
    for number, photo in enumerate((data.astronaut(), data.coffee(), data.chelsea())):
        save(tmp_path / "clean" / f"{number}.png", np.ascontiguousarray(photo[100:161, 100:175]))
    return tmp_path / "clean"


def identity(image):
    return image


def test_the_inputs_own_score_stands_beside_the_outputs(clean):
    test = open_set(parse(f"photos={clean},sigma=25"))
    samples = list(test.samples(STRICT))
    restore = {sample.input.tobytes(): sample.target for sample in samples}

    def oracle(image):
        return restore[np.rint(image * 255).astype(np.uint8).tobytes()] / 255

    scores = evaluate(samples, oracle, "strict", ("psnr", "ssim"))
    assert scores.mean() == {"psnr": float("inf"), "ssim": 1}
    given = scores.mean("input")["psnr"]
    assert given is not None
    assert 20 < given < 21  # 20 log10(255 / 25) = 20.17, and clipping takes some noise away
    same = evaluate(test.samples(STRICT), identity, "strict", ("psnr", "ssim"))
    assert same.mean() == same.mean("input")
    assert [row.name for row in same.rows] == ["0.png", "1.png", "2.png"]


def test_the_network_sees_float_pictures_of_the_protocols_size(clean):
    seen = []

    def restore(image):
        seen.append((image.shape, image.dtype, image.min() >= 0, image.max() <= 1))
        return image

    test = open_set(parse(f"photos={clean},sigma=25"))
    evaluate(test.samples(PUBLISHED), restore, "published", ("psnr",))
    evaluate(test.samples(STRICT), restore, "strict", ("psnr",))
    assert seen[0] == ((48, 64, 3), np.float32, True, True)
    assert seen[3] == ((61, 75, 3), np.float32, True, True)


def test_samples_in_memory_are_cut_by_the_protocol_too():
    chance = np.random.default_rng(0)
    sample = Sample("a", chance.random((33, 47, 3)), chance.random((33, 47, 3)))
    (row,) = evaluate([sample], identity, "published", ("psnr",), with_input=False).rows
    assert (row.width, row.height) == (32, 32)
    assert row.input == {"psnr": None}
    cut = [PUBLISHED.cut(image).astype(np.float32) for image in (sample.input, sample.target)]
    assert row.output["psnr"] == pytest.approx(metrics.psnr(*cut), abs=1e-5)


@pytest.mark.parametrize(
    ("restore", "message"),
    [
        (lambda image: image[:-1], r"0.png: the network gave \(60, 75, 3\)"),
        (lambda image: image * np.nan, "no finite numbers"),
    ],
)
def test_a_broken_output_is_named(clean, restore, message):
    with pytest.raises(InputError, match=message):
        evaluate(open_set(parse(f"photos={clean},sigma=25")).samples(STRICT), restore)


def test_no_pictures_are_no_score():
    with pytest.raises(InputError, match="no pictures"):
        evaluate([], identity, label="val")


def test_worst_is_by_the_first_metric(clean):
    scores = evaluate(open_set(parse(f"photos={clean},sigma=25")).samples(STRICT), identity, "strict", ("psnr", "ssim"))
    ranked = scores.ranked()
    values = [row.output["psnr"] for row in ranked]
    assert values == sorted(values)
    turned = Scores(
        "", ("niqe",), tuple(type(row)(row.name, 1, 1, {"niqe": row.output["psnr"]}, {}, 0) for row in ranked)
    )
    assert [row.name for row in turned.ranked()] == [row.name for row in reversed(ranked)]


def test_a_recipe_degrades_by_the_pictures_name(clean):
    test = open_set(parse(f"photos={clean},recipe=dejpeg"))
    first = {sample.name: sample.input for sample in test.samples(STRICT)}
    only = {sample.name: sample.input for sample in test.samples(STRICT, {"2.png"})}
    assert list(only) == ["2.png"]
    assert np.array_equal(only["2.png"], first["2.png"])
    other = open_set(parse(f"photos={clean},recipe=dejpeg,seed=1"))
    assert any(not np.array_equal(sample.input, first[sample.name]) for sample in other.samples(STRICT))


@pytest.mark.parametrize("protocol", [PUBLISHED, STRICT], ids=lambda protocol: protocol.name)
def test_a_single_picture_comes_out_as_among_all(clean, protocol):
    test = open_set(parse(f"photos={clean},sigma=25"))
    whole = {sample.name: sample.input for sample in test.samples(protocol)}
    (one,) = test.samples(protocol, {"2.png"})
    assert np.array_equal(one.input, whole["2.png"])


def test_pairs_are_scored_as_they_lie(tmp_path, clean):
    target = np.asarray(Image.open(clean / "0.png"))
    save(tmp_path / "set" / "lq" / "a.png", target // 2)
    save(tmp_path / "set" / "hq" / "a.png", target)
    for text in (f"mine={tmp_path / 'set'}", f"mine=pairs:{tmp_path / 'set'}", f"pairs={tmp_path / 'set'}"):
        (sample,) = open_set(parse(text)).samples(STRICT)
        assert np.array_equal(sample.input, target // 2)
        assert np.array_equal(sample.target, target)
    save(tmp_path / "set" / "hq" / "a.png", target[:-1])
    with pytest.raises(InputError, match=r"75x61 px, its target a\.png has 75x60 px"):
        list(open_set(parse(f"mine={tmp_path / 'set'}")).samples(STRICT))


def test_what_on_says():
    spec = parse("dark=lolv1:/data/LOL,limit=3,variant=s,adapter=low_light,split=train")
    assert (spec.name, spec.layout, spec.path) == ("dark", "lolv1", "/data/LOL")
    assert (spec.limit, spec.variant, spec.adapter, spec.split) == (3, "s", "low_light", "train")
    assert parse("k=/a,b/c,sigma=15").path == "/a,b/c"
    assert parse("k=/a,sigma=15").label == "k, sigma 15"
    assert parse("k=/a,recipe=derain").label == "k, derain"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cbsd68", "give NAME=PATH"),
        ("a=/x,sigam=25", "'sigam=25' is no option"),
        ("a=/x,sigma=much", "are numbers"),
        ("a=/x,sigma=-1", "sigma from 0 to 255"),
        ("a=/x,sigma=5,recipe=derain", "not both"),
        ("a=rain100:/x", "layout rain100 is unknown"),
    ],
)
def test_a_wrong_on_is_one_line(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_clean_pictures_need_something_that_degrades_them(clean, tmp_path):
    with pytest.raises(InputError, match=r"add ,sigma=25 or ,recipe=NAME"):
        open_set(parse(f"photos={clean}"))
    save(tmp_path / "set" / "lq" / "a.png", np.zeros((8, 8, 3), np.uint8))
    save(tmp_path / "set" / "hq" / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="degraded pictures of its own"):
        open_set(parse(f"photos={tmp_path / 'set'},sigma=25"))


@pytest.fixture
def written(clean, tmp_path):
    sets = [open_set(parse(f"photos={clean},sigma={sigma}")) for sigma in (15, 50)]
    names = ("psnr", "ssim_gaussian11", "niqe")
    return suite("tiny", sets, lambda spec: identity, STRICT, names, tmp_path / "out" / "table.json")


def test_the_tables_hold_the_same_numbers(written, tmp_path):
    table, files = written
    out = tmp_path / "out"
    assert [path.name for path in files[:4]] == ["table.json", "table.csv", "table.md", "table.tex"]
    found = json.loads((out / "table.json").read_text())
    assert found["protocol"]["name"] == "strict"
    assert [one["name"] for one in found["sets"]] == ["photos, sigma 15", "photos, sigma 50"]
    lines = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert len(lines) == 6
    first = found["sets"][0]
    assert float(lines[0]["psnr"]) == pytest.approx(first["per_image"][0]["output"]["psnr"], abs=1e-6)
    assert lines[0]["niqe"] == ""  # too small to have one
    assert first["mean"]["output"]["niqe"] is None
    mean = sum(float(line["psnr"]) for line in lines[:3]) / 3
    assert first["mean"]["output"]["psnr"] == pytest.approx(mean, abs=1e-5)
    cell = f"{mean:.2f} ({mean:.2f})"
    assert f"| photos, sigma 15 | 3 | {cell} |" in (out / "table.md").read_text()
    assert f"photos, sigma 15 & 3 & {cell} &" in (out / "table.tex").read_text()
    both = [one["mean"]["output"]["psnr"] for one in found["sets"]]
    assert found["average"]["output"]["psnr"] == pytest.approx(sum(both) / 2)
    assert STRICT.about in (out / "table.md").read_text()
    assert str(tmp_path) not in (out / "table.json").read_text()
    assert table.rows()[-1][0] == "average of the rows"


def test_equal_pictures_make_json_that_others_can_read(clean, tmp_path):
    sets = [open_set(parse(f"photos={clean},sigma=0"))]
    suite("tiny", sets, lambda spec: identity, STRICT, ("psnr",), tmp_path / "t.json", crops=False)

    def refuse(word):
        raise AssertionError(word)

    found = json.loads((tmp_path / "t.json").read_text(), parse_constant=refuse)
    assert float(found["sets"][0]["mean"]["output"]["psnr"]) == float("inf")
    assert not (tmp_path / "t_crops").exists()


def test_crops_show_the_worst_and_the_median_picture(written, tmp_path):
    table, files = written
    worst = table.scores[0].ranked()[0].name.removesuffix(".png")
    median = table.scores[0].ranked()[1].name.removesuffix(".png")
    names = [path.name for path in files[4:6]]
    assert names == [f"photos_sigma_15-worst-{worst}.png", f"photos_sigma_15-median-{median}.png"]
    strip = np.asarray(Image.open(files[4]))
    assert strip.shape == (61, 3 * 75 + 2 * crops.GAP, 3)
    test = open_set(parse(f"photos={tmp_path / 'clean'},sigma=15"))
    (sample,) = test.samples(STRICT, {f"{worst}.png"})
    assert np.array_equal(strip[:, :75], sample.input)
    assert np.array_equal(strip[:, -75:], sample.target)


def test_a_crop_lies_where_the_error_is():
    target = np.zeros((40, 50, 3))
    output = target.copy()
    output[30:34, 41:45] = 1
    found = crops.strip(target, output, target, side=8)
    assert found.shape == (8, 3 * 8 + 2 * crops.GAP, 3)
    assert (found[:, 8 + crops.GAP : 16 + crops.GAP] == 255).sum() == 4 * 4 * 3


def test_missing_pictures_are_warned_of(tmp_path):
    picture = np.zeros((16, 16, 3), np.uint8)
    for file in ("rainy/rain-1.png", "gt/norain-1.png", "rainy/rain-2.png"):
        save(tmp_path / "rain" / file, picture)
    sets = [open_set(parse(f"rain100l={tmp_path / 'rain'}"))]
    said = []
    table, _ = suite(
        "tiny", sets, lambda spec: identity, STRICT, ("psnr",), tmp_path / "t.json", crops=False, warn=said.append
    )
    assert said[0] == "rain100l: 1 degraded pictures have no clean one (`mird data check` lists them)"
    assert "1 pictures here, 100 as published" in said[1]
    assert said[1] in "\n".join(f"{label}: {text}" for label, text in table.warnings())


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    """A build of the small corpus, as it would be trained on."""
    from million_ird.curate import build
    from tests.conftest import SMALL

    out = tmp_path_factory.mktemp("trained") / "out"
    build([corpus], out, SMALL)
    return out


def test_test_pictures_that_were_trained_on_are_named(corpus, built, tmp_path):
    photo = Image.open(corpus / "03.png").convert("RGB")
    (tmp_path / "set").mkdir()
    photo.resize((120, 120), Image.Resampling.LANCZOS).save(tmp_path / "set" / "copy.jpg", quality=80)
    save(tmp_path / "set" / "new.png", np.ascontiguousarray(data.rocket()[200:360, 200:360]))
    ledger = contamination.ledger_of(built)
    assert ledger.hash == ("phash", "fast")
    assert ledger.kept is not None
    pictures = [(path.name, path) for path in sorted((tmp_path / "set").iterdir())]
    assert contamination.seen(ledger, pictures) == [contamination.Seen("copy.jpg", "03.png")]
    said = []
    sets = [open_set(parse(f"mine={tmp_path / 'set'},sigma=25"))]
    table, _ = suite(
        *("m", sets, lambda spec: identity, STRICT, ("psnr",), tmp_path / "t.json"),
        ledgers=[ledger],
        crops=False,
        warn=said.append,
    )
    assert said == ["mine, sigma 25: 1 of 2 pictures look like pictures trained on: copy.jpg (03.png)"]
    assert table.as_dict()["sets"][0]["seen_in_training"] == [{"name": "copy.jpg", "uri": "03.png"}]


def test_pictures_that_the_build_dropped_were_not_trained_on(corpus, built):
    dropped = contamination.ledger_of(built)
    noisy = [("noisy.png", corpus / "noisy.png")]
    assert contamination.seen(dropped, noisy) == []
    everything = contamination.Ledger(built, dropped.parts, dropped.hash, dropped.distance, dropped.flips, None)
    assert contamination.seen(everything, noisy) == [contamination.Seen("noisy.png", "noisy.png")]


def test_a_trained_models_folder_names_its_build(built, tmp_path):
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "train.yaml").write_text(f"data:\n  inputs: ['denoise={built / 'dataset'},recipe=denoise']\n")
    assert contamination.near_by(run / "model") == [built]
    assert contamination.near_by(tmp_path) == []
    with pytest.raises(InputError, match="no ledger here"):
        contamination.ledger_of(tmp_path)


def test_a_pair_of_two_sizes_names_the_command_that_lists_them(tmp_path):
    save(tmp_path / "p" / "lq" / "a.png", np.zeros((16, 15, 3), np.uint8))
    save(tmp_path / "p" / "hq" / "a.png", np.zeros((16, 16, 3), np.uint8))
    test = open_set(parse(f"odd={tmp_path / 'p'}"))
    with pytest.raises(InputError, match=rf"15x16 px.*run `mird data check pairs {re.escape(str(tmp_path / 'p'))}`"):
        list(test.samples(STRICT))
