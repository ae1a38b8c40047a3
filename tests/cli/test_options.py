"""Options on the command line and in files: each stands once, and is what it says."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from geoseg.cli import COMMANDS, main
from geoseg.cli.options import Command, config_option
from geoseg.cli.spec_options import spec_options
from geoseg.core.errors import SpecError
from geoseg.spec import PredictSpec, Spec, VectorizeSpec


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@click.command(cls=Command)
@spec_options(VectorizeSpec)
@click.option("--quiet", is_flag=True)
@click.option("--tile", type=int)
@click.option("--stac/--no-stac", default=None)
@config_option
def probe(**options: Any) -> None:
    click.echo(
        repr({name: value for name, value in options.items() if value not in (None, False, ()) or name == "stac"})
    )


def from_file(tmp_path: Path, text: str, *flags: str) -> dict[str, Any]:
    """What a command gets of a file of options."""
    (tmp_path / "o.yaml").write_text(text)
    result = CliRunner().invoke(probe, ["--config", str(tmp_path / "o.yaml"), *flags], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    given: dict[str, Any] = eval(result.output)
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize(("name", "kind"), [("predict", PredictSpec), ("vectorize", VectorizeSpec)])
def test_each_setting_is_an_option_in_its_own_words(name: str, kind: type[Spec]) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = {option.name: option for option in command.params if isinstance(option, click.Option)}
    for setting, field in kind.settings().items():
        option, words = options[setting], " ".join((field.description or "").split())
        assert (option.help or "").startswith(words.partition("; None means ")[0].rstrip("."))
        assert "None" not in (option.help or "")


def test_every_option_of_every_command_stands_once() -> None:
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert isinstance(command, Command), name
        for option in command.params:
            if (
                not isinstance(option, click.Option)
                or option.multiple
                or (option.is_flag and not option.secondary_opts)
            ):
                continue
            for first in option.opts:
                for second in (*option.opts, *option.secondary_opts):
                    said = [first, second] if option.is_flag else [first, "1", second, "1"]
                    result = run(name, *said)
                    assert result.exit_code == 2, said
                    assert "is given 2 times: give it once" in result.stderr, said


@pytest.mark.parametrize("swallowed", ["--format", "--overwrite", "--no-preview", "-o", "--unknown"])
@pytest.mark.parametrize("option", ["--confidence", "--aoi", "--format", "-m"])
def test_an_option_is_not_taken_for_the_value_of_another(option: str, swallowed: str) -> None:
    result = run("predict", "scene.tif", option, swallowed, "gpkg")
    assert result.exit_code == 2
    assert f"wants a value, and {swallowed} stands in its place" in " ".join(result.stderr.split())


def test_two_models_are_not_scored_as_one() -> None:
    result = run("evaluate", "--model", "a.safetensors", "--data", "c.yaml", "--model=b.safetensors")
    assert result.stderr.endswith("Error: --model is given 2 times: give it once\n")


def test_a_flag_said_twice_says_the_same_and_floors_add_up() -> None:
    result = run("evaluate", "-q", "-q", "--fail-under", "miou=0.5", "--fail-under", "kappa=0.5")
    assert "given" not in result.stderr.splitlines()[-1].replace("give either", "")


def test_lists_may_be_given_in_parts_but_not_empty(tmp_path: Path) -> None:
    assert from_file(tmp_path, "tile: 1\n", "--classes", "a,b", "--classes", "c")["classes"] == ("a", "b", "c")
    assert "classes" not in from_file(tmp_path, "tile: 1\n")
    result = CliRunner().invoke(probe, ["--classes", ""])
    assert (result.exit_code, "an empty list chooses nothing" in result.stderr) == (2, True)


def test_a_file_gives_what_one_would_type(tmp_path: Path) -> None:
    text = "tile: 64\nbbox: [1, 2, 3, 4.5]\nclasses: [NO, 010, 7]\nmin-area: 4px\nto_crs: 32633\nsimplify: 1e1\naoi:\n"
    assert from_file(tmp_path, text) == {
        "tile": 64, "bbox": (1.0, 2.0, 3.0, 4.5), "classes": ("NO", "010", "7"), "min_area": "4px", "to_crs": "32633",
        "simplify": "1e1",
    }  # fmt: skip
    assert from_file(tmp_path, text, "--tile", "32")["tile"] == 32


@pytest.mark.parametrize(
    ("text", "stac"),
    [("stac: no", False), ("stac: Off", False), ("stac: yes", True), ("no-stac: yes", False), ("no_stac: off", True),
     ("stac: true", True), ("no-stac: false", True), ("stac: 0", False)],
)  # fmt: skip
def test_files_switch_on_and_off_in_all_words(tmp_path: Path, text: str, stac: bool) -> None:
    assert from_file(tmp_path, text)["stac"] is stac


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("min-area: 1\nmin_area: 2", "says again what another line says"),
        ("stac: true\nno-stac: true", "says again what another line says"),
        ("tile: 1\ntile: 2", "line 2: 'tile' stands there twice"),
        ("tiles: 1", "unknown setting 'tiles', did you mean tile?"),
        ("8: 1", "unknown setting 8"),
        ("tile: [1]", "tile = [1]: give a single value"),
        ("tile: {a: 1}", "give a single value"),
        ("classes: {a: 1}", "give a single value"),
        ("stac: maybe", "stac = 'maybe': give true or false"),
        ("quiet: 2", "give true or false"),
        ("aoi: " + "x" * 10_000, "give at most 4,096 characters"),
    ],
)
def test_a_file_that_nobody_would_type_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "o.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        CliRunner().invoke(probe, ["--config", str(tmp_path / "o.yaml")], catch_exceptions=False)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "text",
    ["tile: 1.5", "tile: true", "majority: .inf", "bbox: [1, 2, 3, [4]]", "bbox: [1, 2, 3]", "classes: [null]",
     "classes: [true]", "classes: [1.5]", "connectivity: 8.0"],
)  # fmt: skip
def test_a_value_of_another_kind_is_no_value(tmp_path: Path, text: str) -> None:
    (tmp_path / "o.yaml").write_text(text)
    result = CliRunner().invoke(probe, ["--config", str(tmp_path / "o.yaml")], catch_exceptions=False)
    assert result.exit_code == 2
    assert "Invalid value" in result.output


def test_train_takes_a_list_of_tiles_under_its_former_name_too(tmp_path):
    config = Path(__file__).parents[2] / "configs" / "sample.yaml"
    missing = [run("train", config, "-o", tmp_path / "run", name, "gone.csv") for name in ("--tiles", "--data")]
    assert {result.exit_code for result in missing} == {1}
    assert all("gone.csv" in result.stderr for result in missing)
    assert missing[0].stderr == missing[1].stderr
    both = run("train", config, "-o", tmp_path / "run", "--tiles", "a.csv", "--data", "b.csv")
    assert (both.exit_code, "give --tiles once" in both.stderr) == (2, True)
    assert "--data" not in run("train", "--help").stdout
