"""Standard streams that are closed, full, cut off, or in an encoding without a letter; libraries that are told to be
quiet."""

import logging
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from support.labelled_tiles import write_config, write_tiles
from support.rasters import write_raster

import geoseg
from geoseg.cli import main
from geoseg.cli.environment import quiet_libraries

SAYING = """
import sys, click, os
from geoseg.cli import main
import geoseg.cli

@main.command("say")
@click.option("--times", default=1)
def say(times):
    for _ in range(times):
        click.echo("9 m\\xb2 \\udcff")
        click.echo("by the way", err=True)
    scratch = os.open(os.devnull, os.O_RDONLY)
    assert scratch > 2, "a file has the number of a standard stream"

geoseg.cli.Commands.get_command = lambda self, ctx, name: say
main(["say", *sys.argv[1:]])
"""
"""A command that prints a result and a remark."""


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    program = f"{sys.executable} -c '{SAYING}'"
    return subprocess.run(
        ["bash", "-c", line.replace("SAY", program)], capture_output=True, env=os.environ | environment, check=False
    )


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&-", "2>&- <&-"])
def test_without_standard_error_results_and_exit_code_are_right(redirection):
    ended = shell(f"SAY {redirection}")
    assert ended.stdout.decode() == "9 m² \\udcff\n"
    assert ended.returncode == 0


def test_without_standard_output_a_command_works():
    ended = shell("SAY >&-")
    assert (ended.returncode, ended.stderr) == (0, b"by the way\n")


@pytest.mark.parametrize("command", ["SAY --times 3 >/dev/full", "SAY --help >/dev/full"])
def test_a_full_standard_output_is_one_line_and_exit_code_1(command):
    ended = shell(command)
    assert ended.returncode == 1
    assert ended.stderr.decode().splitlines()[-1] == (
        "error: cannot write to standard output: No space left on device: free some space, or choose another place"
    )
    assert b"Traceback" not in ended.stderr
    assert b"ignored" not in ended.stderr


def test_who_reads_only_the_first_lines_ends_the_command_quietly():
    ended = shell("set -o pipefail; SAY --times 100000 2>/dev/null | head -1")
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert ended.stdout.count(b"\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_an_encoding_lacks_are_spelled_out(encoding):
    ended = shell("SAY", PYTHONIOENCODING=encoding, LC_ALL="C")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(b"9 m")
    assert ended.stdout.endswith((b"\\udcff\n", b"?\n"))


@pytest.fixture
def failing(monkeypatch):
    """Make the command `info` fail with an error; gives what the command line says to it."""

    def run(error):
        @click.command()
        def info():
            raise error

        monkeypatch.setattr(main, "get_command", lambda ctx, name: info)
        return CliRunner().invoke(main, ["info"])

    return run


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "error: out of memory: "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "out of memory"),
        (OSError(28, "No space left on device", "/x/y.tif"), "error: /x/y.tif: No space left on device: free some"),
        (PermissionError(13, "Permission denied", "/x"), "error: /x: Permission denied: check the permissions"),
        (BrokenPipeError(32, "Broken pipe"), "error: Broken pipe"),
        (KeyboardInterrupt(), "interrupted: "),
    ],
)
def test_what_the_system_does_is_one_line_and_exit_code_1(failing, error, says):
    result = failing(error)
    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("of geoseg's own"), EOFError("a file that ends early")])
def test_a_bug_keeps_its_traceback(failing, error):
    assert str(error) in str(failing(error).exception or "") + str(failing(error).exception.__cause__ or "")


def test_libraries_are_quiet_while_a_command_works(capfd):
    def remark():
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
        warnings.warn("slow", UserWarning, stacklevel=1)
        logging.getLogger("some.library").warning("tip")
        logging.getLogger("some.library").error("failed")
        child = "import warnings; warnings.warn('in a child')"
        subprocess.run([sys.executable, "-c", child], check=True)

    with pytest.warns(UserWarning, match="slow"):
        remark()
    assert "in a child" in capfd.readouterr().err
    before = dict(os.environ), logging.getLoggerClass(), list(logging.getLogger().handlers)
    with quiet_libraries():
        remark()
    assert capfd.readouterr().err == ""
    assert (dict(os.environ), logging.getLoggerClass(), list(logging.getLogger().handlers)) == before


def test_a_library_that_prints_its_log_by_itself_is_quiet_too(capfd):
    with quiet_libraries():
        logger = logging.getLogger("library.imported.by.a.command")
        logger.addHandler(logging.StreamHandler())
        logger.error("failed")
        assert capfd.readouterr().err == ""
    logger.error("afterwards")
    assert "afterwards" in capfd.readouterr().err


def test_errors_of_gdal_still_reach_those_who_watch_its_log():
    seen = []
    with quiet_libraries():
        logger = logging.getLogger("rasterio.some_module")
        logger.setLevel(logging.INFO)
        logger.addFilter(seen.append)
        logger.info("a block is damaged")
    assert [record.getMessage() for record in seen] == ["a block is damaged"]


def test_who_asks_for_warnings_gets_them(monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    with quiet_libraries(), pytest.warns(UserWarning, match="slow"):
        warnings.warn("slow", UserWarning, stacklevel=1)


def test_a_user_without_name_and_home_gets_both(monkeypatch):
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with quiet_libraries():
        assert os.environ["HOME"] == os.devnull
        assert os.environ["LOGNAME"].startswith("user")
    assert "HOME" not in os.environ


@pytest.mark.slow
def test_no_command_says_anything_when_it_is_quiet(tmp_path):
    write_tiles(tmp_path)
    config = write_config(tmp_path, epochs=1)
    train = ["train", str(config), "-o", "run"]
    model = ["-m", "run/small.safetensors"]
    commands = [
        train,
        ["predict", "train.tif", *model, "-o", "out"],
        ["predict", "train.tif", *model, "-o", "shared", "--devices", "2"],
        ["vectorize", "out/train_landcover.tif", "-o", "out.shp"],
        ["vectorize", "out/train_landcover.tif", "-o", "out.gpkg", "--check"],
        ["evaluate", "out/train_landcover.tif", "--labels", "train_labels.tif"],
        ["evaluate", *model, "--data", str(config), "--report", "page.html"],
        ["tile", str(config), "-o", "tiles", "--size", "32"],
    ]
    for command in commands:
        ended = subprocess.run(
            [sys.executable, "-m", "geoseg", *command, "-q"], cwd=tmp_path, capture_output=True, check=False, text=True
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", ""), command


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_installation_without_a_home_works(tmp_path):
    installed = shutil.copytree(
        Path(geoseg.__file__).parent, tmp_path / "ro" / "geoseg", ignore=lambda *_: ["__pycache__"]
    )
    for path in (installed, *installed.rglob("*")):
        path.chmod(path.stat().st_mode & 0o555)
    surroundings = {k: v for k, v in os.environ.items() if k not in ("HOME", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    write_raster(tmp_path / "scene.tif", np.zeros((3, 64, 64), np.uint8), photometric="RGB")
    ended = subprocess.run(
        [sys.executable, "-m", "geoseg", "predict", "scene.tif", "-q"],
        cwd=tmp_path, env=surroundings | {"PYTHONPATH": str(tmp_path / "ro"), "HOME": "/nonexistent"},
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    for path in (*installed.rglob("*"), installed):
        path.chmod(path.stat().st_mode | 0o200)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not (tmp_path / "~").exists()
