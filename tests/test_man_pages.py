"""Manual pages say what the help says, are well-formed, and are installed where `man` looks for them."""

import importlib.util
import shutil
import subprocess
import zipfile
from pathlib import Path

import click
import pytest
from hatchling.builders.wheel import WheelBuilder

from geoseg.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "man"
PAGES = ["geoseg.1", *(f"geoseg-{name}.1" for name in COMMANDS)]


def made() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("make_man_pages", ROOT / "docs" / "make_man_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def test_the_pages_are_up_to_date():
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == made()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_every_option_of_its_command(name):
    page = (FOLDER / f"geoseg-{name}.1").read_text(encoding="utf-8").replace("\\-", "-")
    for option in main.get_command(click.Context(main), name).params:
        for flag in option.opts if isinstance(option, click.Option) and not option.hidden else ():
            assert f"\\fB{flag}\\fR" in page


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_well_formed_for_groff(page):
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    command = ["groff", "-man", "-ww", "-Kutf8", "-Tutf8", "-P-cbou", str(FOLDER / page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"):
        assert heading in done.stdout


def test_the_wheel_installs_them_where_man_looks(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as files:
        found = {Path(name).name for name in files.namelist() if ".data/data/share/man/man1/" in name}
    assert found == set(PAGES)
