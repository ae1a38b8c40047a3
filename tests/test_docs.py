import importlib.util
import re
from pathlib import Path

from geoseg.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]


def test_the_command_reference_is_up_to_date():
    module = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "make_cli_reference.py")
    reference = importlib.util.module_from_spec(module)
    module.loader.exec_module(reference)
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference.reference()


def test_the_readme_shows_every_command_and_links_to_what_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"geoseg {name}" in text
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link


def test_contributing_fits_on_a_page():
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 40
