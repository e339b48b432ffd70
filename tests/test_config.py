"""Configuration: strict, merged in order, and written back as it was read."""

from __future__ import annotations

import pytest
import yaml

from million_ird.config import Config, differences, load, merge, parse_sets, read_yaml, to_yaml
from million_ird.curate.settings import PRESETS, BuildConfig, load_config
from million_ird.errors import ConfigError


class Inner(Config):
    sigma: float = 1.5
    """Width, px."""


class Outer(Config):
    inner: Inner = Inner()
    """A section."""
    names: tuple[str, ...] = ("a",)
    """Some names."""


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("inner.sgima=2", "inner.sgima: unknown key; did you mean 'sigma'"),
        ("iner.sigma=2", "iner: unknown key; did you mean 'inner'"),
        ("inner.sigma=wide", "inner.sigma: input should be a valid number.*'wide'"),
        ("inner", "expected a.b.c=value"),
        ("inner.sigma=[", "not valid YAML"),
    ],
)
def test_a_wrong_key_or_value_is_one_line_that_names_it(assignment, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(Outer, sets=[assignment])
    assert "\n" not in str(caught.value)


def test_later_layers_win(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("inner: {sigma: 3}\nnames: [x, y]\n")
    assert load(Outer, preset={"inner": {"sigma": 2}}).inner.sigma == 2
    assert load(Outer, preset={"inner": {"sigma": 2}}, file=file).inner.sigma == 3
    found = load(Outer, file=file, sets=["inner.sigma=4", "names=[z]"])
    assert (found.inner.sigma, found.names) == (4, ("z",))


def test_yaml_goes_round_and_carries_the_field_docs():
    config = Outer(inner=Inner(sigma=0.1), names=("a b", "c: d"))
    text = to_yaml(config, comments=True)
    assert load(Outer, preset=yaml.safe_load(text)) == config
    assert "# Width, px." in text


@pytest.mark.parametrize("content", ["a: 1\nb: 2\na: 3\n", "b:\n  - {c: 1,\n     a: 2, a: 3}\n"])
def test_a_key_that_stands_twice_is_refused(tmp_path, content):
    file = tmp_path / "twice.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"twice\.yaml, line [23]: 'a' stands twice"):
        read_yaml(file)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "\x00"])
def test_a_broken_file_is_one_line_that_names_it(tmp_path, content):
    file = tmp_path / "broken.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"broken\.yaml") as caught:
        load(Outer, file=file)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"missing\.yaml does not exist"):
        load(Outer, file=tmp_path / "missing.yaml")


def test_merge_sets_and_differences():
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    assert parse_sets(["a.b=1", "a.c=text", "d=null"]) == {"a": {"b": 1, "c": "text"}, "d": None}
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}) == ["a.b: 1 -> 3"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_loads_and_its_yaml_gives_it_back(name):
    config = load_config(name)
    assert load_config({}, sets=[]) != config
    assert BuildConfig.model_validate(yaml.safe_load(to_yaml(config, comments=True))) == config


def test_an_unknown_preset_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"fotos.*photos, lsdir, million-ird"):
        load_config("fotos")
