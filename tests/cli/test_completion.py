"""Shells complete commands, options, paths, and the names in registries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from geoseg.cli import COMMANDS, main
from geoseg.core.executors.registry import EXECUTORS
from geoseg.metrics.metric import METRICS
from geoseg.vector.formats import FORMATS

GEOSEG = Path(sys.executable).with_name("geoseg")


def completed(*words: str) -> list[tuple[str, str]]:
    """Kinds and values of what completes the last word of a command line."""
    *before, incomplete = words
    found = ShellComplete(main, {}, "geoseg", "_GEOSEG_COMPLETE").get_completions(before, incomplete)
    return [(item.type, item.value) for item in found]


def values(*words: str) -> list[str]:
    return [value for _, value in completed(*words)]


def test_commands_are_completed_in_the_order_of_a_first_use_without_loading_them(monkeypatch):
    monkeypatch.setattr("geoseg.cli.import_module", None)
    assert values("") == list(COMMANDS)
    assert values("ev") == ["evaluate"]
    assert values("--v") == ["--version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_completed(command):
    params = main.get_command(click.Context(main), command).params
    options = [param for param in params if isinstance(param, click.Option) and not param.hidden]
    names = {name for option in options for name in option.opts if name.startswith("--")}
    assert names <= set(values(command, "--"))


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "sc"),
        ("predict", "s.tif", "--output", ""),
        ("predict", "s.tif", "--model", ""),
        ("predict", "s.tif", "--config", "c"),
        ("predict", "s.tif", "--aoi", ""),
        ("vectorize", ""),
        ("train", "conf"),
        ("train", "c.yaml", "--init-from", ""),
        ("tile", ""),
        ("evaluate", ""),
        ("evaluate", "p.tif", "--labels", "l"),
        ("evaluate", "--data", ""),
        ("info", ""),
    ],
)
def test_paths_are_left_to_the_shell(words):
    assert completed(*words) == [("file", words[-1])]


def test_every_path_on_a_command_line_is_completed():
    for command in COMMANDS:
        for param in main.get_command(click.Context(main), command).params:
            placeholder = (param.metavar or "").strip("[].")
            if placeholder.startswith(("PATH", "FILE", "CONFIG", "CSV", "SCENE", "BUNDLE")):
                assert isinstance(param.type, click.Path), f"{command} {param.name}"


@pytest.mark.parametrize(
    "command", [("predict", "s.tif", "-m"), ("evaluate", "-m"), ("info", "s.tif", "-m"), ("info",)]
)
def test_the_word_for_the_default_model_is_completed(command):
    assert completed(*command, "def") == [("plain", "default")]


def test_choices_and_the_names_of_registries_are_completed():
    assert values("predict", "s.tif", "--tta", "") == ["none", "flips", "d4"]
    assert values("predict", "s.tif", "--nodata", "a") == ["auto"]
    assert values("predict", "s.tif", "--scheduler", "") == ["local:", *(f"{name}:" for name in EXECUTORS)]
    assert values("predict", "s.tif", "--device", "c") == ["cpu", "cuda"]
    formats = [suffix.removeprefix(".") for suffix in FORMATS]
    assert values("predict", "s.tif", "--format", "") == formats
    assert values("predict", "s.tif", "--format", "gpkg,s") == ["gpkg,shp"]
    assert "gpkg,gpkg" not in values("predict", "s.tif", "--format", "gpkg,")
    floors = values("evaluate", "--fail-under", "")
    assert [floor[:-1] for floor in floors] == list(METRICS)
    assert {"miou=", "iou."} <= set(floors)


def in_shell(shell: str, script: str) -> list[str]:
    if shutil.which(shell) is None or not GEOSEG.exists():
        pytest.skip(f"{shell} or geoseg's own program is not installed")
    done = subprocess.run(
        [shell, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{GEOSEG.parent}:{os.environ['PATH']}"},
        check=True,
    )
    return done.stdout.split()


def test_bash_completes_as_documented():
    script = """
        eval "$(_GEOSEG_COMPLETE=bash_source geoseg)"
        compopt() { :; }
        COMP_WORDS=(geoseg pr) COMP_CWORD=1
        _geoseg_completion geoseg
        echo "${COMPREPLY[@]}"
    """
    assert in_shell("bash", script) == ["predict"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_geoseg(shell):
    script = f"_GEOSEG_COMPLETE={shell}_source {GEOSEG}"
    text = (
        subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
        if GEOSEG.exists()
        else ""
    )
    assert f"_GEOSEG_COMPLETE={shell}_complete" in text or not GEOSEG.exists()


def test_fish_completes_as_documented():
    script = """
        _GEOSEG_COMPLETE=fish_source geoseg | source
        complete --do-complete 'geoseg vec'
    """
    assert in_shell("fish", script)[:1] == ["vectorize"]
