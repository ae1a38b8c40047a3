"""Settings that anybody may have written: what YAML means, and what no file of settings can do."""

import os
import time
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.models import make_spec

from geoseg.core.errors import SpecError, shown
from geoseg.spec import (
    ClassifySpec,
    ModelSpec,
    OutputSpec,
    PredictSpec,
    SampleSpec,
    TrainSpec,
    VectorizeSpec,
    load_train_spec,
    load_yaml,
    parse_json,
    parse_spec,
)
from geoseg.spec.branch import BRANCH_FIELDS

CONFIG: dict[str, Any] = {
    "name": "m",
    "data": {"tiles": "tiles.csv", "bands": ["red"]},
    "classes": [{"id": 0, "name": "ground", "color": "#000000"}, {"id": 1, "name": "water", "color": "#0000ff"}],
    "network": {"architecture": "pointwise", "multiple": 1},
}
TENS = ",".join(["*{0}"] * 10)
ALIASES = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{TENS.format(before)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
"""10 to the power of 10 numbers in 400 letters."""
MERGES = "a: &a {" + ",".join(f"k{i}: 1" for i in range(99)) + "}\nb: {<<: [" + ",".join(["*a"] * 17) + "]}\n"


def refused(tmp_path: Path, text: str | bytes) -> str:
    """What is said of a file of settings, without its path; within two seconds, on one line."""
    path = tmp_path / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.monotonic()
    with pytest.raises(SpecError) as caught:
        load_yaml(path)
    message = str(caught.value)
    assert time.monotonic() - started < 5
    assert len(message) < 500 + len(str(path))
    assert "\n" not in message
    return message.replace(str(path), "c.yaml")


def read(tmp_path: Path, text: str) -> dict[str, Any]:
    (tmp_path / "c.yaml").write_text(text)
    return load_yaml(tmp_path / "c.yaml")


def wrong(changes: dict[str, Any]) -> str:
    """What is said of a training config with these changes."""
    with pytest.raises(SpecError) as caught:
        parse_spec(TrainSpec, CONFIG | changes, source="c.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    "text", ["NO", "no", "Yes", "on", "OFF", "y", "010", "08", "1_000", "0x1F", "0b1", "1e3", "12:30", "2001-01-01"]
)
def test_what_yaml_1_1_takes_for_something_else_stays_the_text_that_it_is(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, f"{text}: [{text}, {{a: {text}}}]") == {text: [text, {"a": text}]}


def test_numbers_truth_values_and_nothing_are_read_as_such(tmp_path: Path) -> None:
    text = "[1, -2, +3, 0, 1.5, -.5, 2., 1.5e-3, .inf, true, False, null, ~, '1', !!str 2]"
    assert read(tmp_path, f"a: {text}")["a"] == [
        1, -2, 3, 0, 1.5, -0.5, 2.0, 0.0015, float("inf"), True, False, None, None, "1", "2",
    ]  # fmt: skip


def test_fields_still_understand_yes_no_and_exponents(tmp_path: Path) -> None:
    text = yaml.safe_dump(CONFIG) + "optimizer: {learning_rate: 1e-3}\naugment: {d4: no}\nepochs: 010\n"
    spec = parse_spec(TrainSpec, read(tmp_path, text), source="c.yaml")
    assert (spec.optimizer.learning_rate, spec.augment.d4, spec.epochs) == (0.001, False, 10)


def test_labels_no_and_010_are_classes_of_those_names(tmp_path: Path) -> None:
    config = yaml.safe_dump(CONFIG).replace("bands:", "label_values: {NO: water, 010: ground, 7: water}\n  bands:")
    (tmp_path / "c.yaml").write_text(config)
    assert load_train_spec(tmp_path / "c.yaml").data.label_values == {"NO": "water", "010": "ground", 7: "water"}


@pytest.mark.parametrize(("key", "kind"), [(True, "a truth value"), (1.5, "a number with a fraction")])
def test_labels_that_yaml_takes_for_something_else_are_to_be_quoted(key: Any, kind: str) -> None:
    said = wrong({"data": CONFIG["data"] | {"label_values": {key: "water"}}})
    assert f"read as {kind}: put the label in quotes" in said
    said = wrong({"data": CONFIG["data"] | {"label_values": {"1": key}}})
    assert f"read as {kind}: put the label in quotes" in said


def test_a_name_that_yaml_takes_for_a_number_is_to_be_quoted() -> None:
    classes = [CONFIG["classes"][0], CONFIG["classes"][1] | {"name": 2020}]
    assert "classes.1.name = 2020: give text, in quotes" in wrong({"classes": classes})


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]))
NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats()


@given(st.recursive(st.none() | st.booleans() | NUMBERS | WORDS, st.lists))
def test_what_python_writes_as_yaml_is_read_again(tmp_path_factory: Any, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(yaml.safe_dump({"a": value}, allow_unicode=True), "utf-8")
    assert repr(load_yaml(path)) == repr({"a": value})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2", "line 2: 'a' stands there twice"),
        ("x:\n  a: [1", "line 2: while parsing a flow sequence"),
        ("a: !!int abc", "line 1: 'abc' is no int"),
        ("a: !!int ''", "line 1: '' is no int"),
        ("a: !!bool maybe", "'maybe' is no bool"),
        ("a: !!timestamp 2001-99-99", "line 1: could not determine a constructor"),
        ("a: !!python/name:os.system x", "line 1: could not determine a constructor"),
        ("a: " + "9" * 5000, "line 1: '999"),
        ("a: " + "9" * 70, "give a number of less than 60 digits"),
        ('a: "\\ud800"', "half a character"),
        ("a: " + "[" * 2000, "line 1: more than 32 levels"),
        ("a: " + "{a: " * 2000, "line 1: more than 32 levels"),
        ("a:\n" + "".join(" " * i + "- \n" for i in range(1, 200)), "more than 32 levels"),
        ("a: &a [*a]", "more than 32 levels"),
        ("a: &a {b: *a}", "more than 32 levels"),
        (ALIASES, "more than 200,000 values"),
        (MERGES, "line 2: << names more than 16 mappings"),
        ("? [1]\n: 2", "line 1: a name is a list or a mapping"),
        ("a: *b", "undefined alias"),
        ("a: \x07", "special characters are not allowed"),
        (b"a: \xe9t\xe9", "save it as UTF-8"),
        ("a: " + "x" * 10**6, "a text of 1,000,000 characters"),
        ("a: 1\n---\na: 2", "line 2: expected a single document"),
        ("- 1", "holds no settings"),
        ("", "holds no settings"),
    ],
)
def test_a_file_that_is_no_settings_is_refused_on_a_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    assert says in refused(tmp_path, text)


def test_utf_16_is_understood(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes("a: é".encode("utf-16"))
    assert load_yaml(tmp_path / "c.yaml") == {"a": "é"}


def test_files_without_an_end_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SpecError, match="it is a pipe"):
        load_yaml(tmp_path / "pipe.yaml")
    with pytest.raises(SpecError, match="it is a device"):
        load_yaml("/dev/zero")
    with pytest.raises(SpecError, match="Is a directory"):
        load_yaml(tmp_path)
    with pytest.raises(SpecError, match="null byte"):
        load_yaml("a\0b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 10**6, "is not JSON"),
        ('{"a": ' * 40 + "1" + "}" * 40, "more than 32 levels"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ('{"a": ' + "9" * 70 + "}", "less than 60 digits"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"\\udfff": 1}', "half a character"),
        ('{"a": "' + "x" * 10**6 + '"}', "1,000,000 characters"),
        ("[" + "1," * 300_000 + "1]", "200,000 values"),
    ],
)
def test_json_that_is_no_settings_is_refused_on_a_line(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        parse_json(text, "the bundle")
    assert len(str(caught.value)) < 300


def test_a_dash_in_the_name_of_a_setting_is_answered_with_the_underscore() -> None:
    assert wrong({"batch-size": 8}).startswith("c.yaml: unknown setting 'batch-size', did you mean batch_size?")
    said = wrong({"data": CONFIG["data"] | {"label-values": {}}})
    assert said.startswith("c.yaml: unknown setting 'data.label-values', did you mean label_values?")


@pytest.mark.parametrize("name", [8, None, True, "", "a b", "x" * 10**5, "é", "0", "\ud800"[:0]])
def test_any_name_that_is_no_setting_is_one_line(name: Any) -> None:
    assert len(wrong({name: 8})) < 1200


@pytest.mark.parametrize(
    "value", [["x"] * 100_000, {"x": {"y": [1] * 10_000}}, "x" * 100_000, [[[["x"] * 50] * 50]], {1: 2}]
)
@pytest.mark.parametrize("field", ["name", "epochs", "network", "classes", "ema", "device", "data", "context"])
def test_a_wrong_value_is_shown_in_part(field: str, value: Any) -> None:
    said = wrong({field: value})
    assert "\n" not in said
    assert len(said) < 1200


def test_names_are_lines_of_some_letters() -> None:
    values = make_spec().model_dump(mode="json")
    for name in ("x" * 10**5, "a\nb", "\x1b[31mred", ""):
        for changes in ({"name": name}, {"bands": [name]}, {"classes": [values["classes"][0] | {"name": name}]}):
            with pytest.raises(SpecError) as caught:
                parse_spec(ModelSpec, values | changes, source="bundle")
            assert len(str(caught.value)) < 400
            assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"tile": 1},
        {"tile": 10**9},
        {"network": {"architecture": "pointwise", "multiple": 10**12}},
        {"normalization": {"mean": [0.0], "std": [0.0]}},
        {"normalization": {"mean": [0.0], "std": [1e-50]}},
        {"normalization": {"mean": [float("nan")], "std": [1.0]}},
        {"normalization": {"mean": [1e300], "std": [1.0]}},
        {"normalization": {"mean": [0.0], "std": [float("inf")]}},
        {"resolution_m": float("nan")},
        {"resolution_m": float("inf")},
        {"resolution_m": 1e-300},
        {"classes": [{"id": i, "name": f"c{i}", "color": "#000000"} for i in (*range(255), 3)]},
        {"context": {"levels": [{"ratio": 10**9}]}},
        {"context": {"levels": [{"ratio": 4}] * 100}},
        {"refine": {"ratios": [2**i for i in range(1, 40)]}},
        {"refine": {"channels": 10**9}},
    ],
)
def test_a_model_beyond_all_measure_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        parse_spec(ModelSpec, make_spec().model_dump(mode="json") | changes, source="bundle")


def test_what_is_shown_of_a_value_is_short() -> None:
    assert shown("abc") == "'abc'"
    assert shown([1, 2]) == "[1, 2]"
    for value in ("x" * 10**6, 10**5000, [[["x"] * 99] * 99] * 99, {"x" * 999: 10**999}):
        assert len(shown(value)) <= 80


def test_messages_are_short_and_keep_secrets_however_long_what_they_quote_is() -> None:
    for value in ("x" * 10**6, "a " * 10**6, "http://u:p@" * 10**5, "x://" * 10**5, "\ud800" * 10**6):
        started = time.monotonic()
        assert len(str(SpecError(f"{value} is wrong"))) <= 4000
        assert len(shown(value)) <= 80
        assert time.monotonic() - started < 5
    for url in ("https://user:" + "pw" * 60 + "@host/x.tif", "https://host/x.tif?sig=" + "pw" * 60):
        for shape in (url, [url], {"a": [url]}, (url, url)):
            assert "pwpw" not in shown(shape)
            assert "pwpw" not in str(SpecError(f"x = {shown(shape)}"))


def test_half_a_message_keeps_the_secrets_of_the_other_half() -> None:
    message = "x" * 19_000 + " https://user:" + "pw" * 1000 + "@host/x"
    assert "pwpw" not in str(SpecError(message))


def test_settings_of_a_prediction_are_written_flat_and_read_in_parts() -> None:
    spec = parse_spec(PredictSpec, {"tile": 64, "simplify": "1px", "stac": False, "batch_size": 2}, source="settings")
    assert (spec.classify.tile, spec.vector.simplify, spec.output.stac, spec.run.batch_size) == (64, "1px", False, 2)
    assert PredictSpec(classify=ClassifySpec(tile=64), simplify="1px", stac=False, batch_size=2) == spec
    assert spec.with_settings(tile=128).flat() == spec.flat() | {"tile": 128}


def test_no_setting_of_a_prediction_stands_in_two_parts() -> None:
    for kind in (PredictSpec, VectorizeSpec):
        names = [name for part in kind.parts().values() for name in part.settings()]
        assert len(names) == len(set(names)) == len(kind.settings())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"tile": 1}, "settings: tile = 1: it must be greater than or equal to 32"),
        ({"tile": 64, "overlap": 60}, "settings: overlap 60 is more than half of tile 64: lower it or raise the tile"),
        ({"min_area": "x"}, "settings: min_area = 'x': give a number of metres or square metres without a unit"),
        ({"tilee": 64}, "settings: unknown setting 'tilee', did you mean tile?; known here: "),
        ({"classify": {"tile": 64}}, "settings: unknown setting 'classify'"),
        ({"tile": "x", "stac": 7}, "settings: tile = 'x': give a whole number"),
        ({"bands": [0]}, "settings: bands.0 = 0: it must be greater than or equal to 1"),
    ],
)
def test_a_mistake_in_a_setting_of_a_prediction_is_named_as_it_was_written(settings: Any, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(PredictSpec, settings, source="settings")
    assert str(caught.value).startswith(problem)


def test_every_field_that_holds_a_branch_is_known_as_one():
    for spec in (ModelSpec, TrainSpec):
        kinds = {name: get_args(field.annotation) for name, field in spec.model_fields.items()}
        held = {name for name, types in kinds.items() if any(hasattr(one, "training_views") for one in types)}
        assert held | {"surroundings"} == set(BRANCH_FIELDS)


@pytest.mark.parametrize(
    ("kind", "needed", "name", "value"),
    [
        (OutputSpec, "scores", "scores_type", "uint8"),
        (OutputSpec, "uncertainty", "uncertainty_by", "margin"),
        (ClassifySpec, "match", "match_by", "histogram"),
        (SampleSpec, "stratified", "min_per_class", 5),
        (ClassifySpec, "crf", "crf_radius", 3),
    ],
)
def test_a_setting_that_changes_nothing_without_another_is_refused(kind, needed, name, value):
    with pytest.raises(SpecError, match=f"{name} changes nothing without {needed}: set {needed} too"):
        parse_spec(kind, {name: value}, source="settings")
    given = True if kind.model_fields[needed].annotation is bool else "file.tif"
    parse_spec(kind, {name: value, needed: given}, source="settings")
    parse_spec(kind, kind().model_dump(), source="settings")  # defaults that are written out say nothing


@pytest.mark.parametrize("name", ["rescale", "adapt"])
def test_none_in_words_is_none(name):
    assert getattr(parse_spec(ClassifySpec, {name: "none"}, source="settings"), name) is None
