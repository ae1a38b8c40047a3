"""The pages of the documentation as scripts: their fenced blocks, and a reader who runs them one after the other.

A reader sits in a folder with a copy of `sample_data/` and `configs/`, as after a checkout, and runs

- `console` blocks: lines after `$ ` are commands, the lines below one are what it shows; `...` stands for anything;
- `bash` blocks: each line is a command;
- `python` blocks, all of a page in one namespace;
- `yaml` blocks with a title, which is the name of the file that they are saved as.

A block that needs what a test has not says so to its readers: `title="Not run by the tests: needs QGIS"`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import rasterio
from click.testing import CliRunner
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from geoseg.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/tasks/*.md")])
NOT_RUN = "Not run by the tests: "
_FENCE = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"[|&;<>$`~]|^\w+=")
"""What makes of a command more than a program with its arguments."""
_SHORT = {"epochs": 1, "windows_per_epoch": 8, "batch_size": 4, "window": 128}
"""Highest values in the config of a short training."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    line: int
    """Line of the page on which its text begins, counted from 1."""
    language: str
    title: str
    """What stands above the block on the site; "" for nothing."""
    text: str

    @property
    def is_run(self) -> bool:
        """Whether it is for running, and says nothing against it."""
        return self.language in ("console", "bash", "python") and not self.title.startswith(NOT_RUN)

    @property
    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Commands, and the lines that each of them shows."""
        command, shown = "", list[str]()
        for line in self.text.replace("\\\n", " ").splitlines():
            if self.language == "console" and not line.startswith("$ "):
                shown.append(line)
                continue
            if command:
                yield command, shown
            command, shown = re.sub(r"\s+# .*", "", line.removeprefix("$ ")).strip(), []
        if command:
            yield command, shown


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        title = re.search(r'title="([^"]*)"', match[3])
        body = "".join(line.removeprefix(match[1]) for line in match[4].splitlines(keepends=True))
        found.append(Block(text.count("\n", 0, match.start()) + 2, match[2], title[1] if title else "", body))
    return found


def copy_checkout(folder: Path, *, quick: bool) -> None:
    """Copy the sample data and the configs into a folder; quick: a quarter of the scene and of the list of tiles."""
    for name in ("sample_data", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if quick:
        for name in ("scene.tif", "scene_labels.tif"):
            _copy_quarter(ROOT / "sample_data" / name, folder / "sample_data" / name)
        _keep_quarter(folder / "sample_data" / "tiles.csv")


@dataclass
class Reader:
    """Who works through a page, in a folder of their own."""

    folder: Path
    quick: bool = False
    """Take the upper left quarter of the sample scene and of the list of sample tiles, and train one short epoch where
    the page trains more; what the page shows after that is not compared, and no score is too low."""
    _names: dict[str, object] = field(default_factory=lambda: {"__name__": "__page__"})
    _trained: bool = False

    def read(self, page: Path) -> None:
        """Run all blocks of a page that are for running."""
        copy_checkout(self.folder, quick=self.quick)
        with contextlib.chdir(self.folder):
            for block in blocks(page):
                where = f"{page.relative_to(ROOT)}:{block.line}"
                if block.language == "yaml" and block.title.endswith(".yaml"):
                    Path(block.title).write_text(block.text, encoding="utf-8")
                elif block.is_run and block.language == "python":
                    exec(compile(block.text, where, "exec"), self._names)
                elif block.is_run:
                    self._run_commands(block, where)

    def _run_commands(self, block: Block, where: str) -> None:
        for command, shown in block.commands:
            code, said = self._run(command)
            assert code == 0, f"{where}: {command}\n{said}"
            if not (self.quick and self._trained):
                assert not (missing := _missing(shown, said)), f"{where}: {command}\nshows no {missing!r}:\n{said}"

    def _run(self, command: str) -> tuple[int, str]:
        if command.startswith("geoseg ") and not _SHELL.search(command):
            words = shlex.split(command, comments=True)[1:]
            if words[0] == "train":
                self._trained = True
                for config in filter(_is_config, words if self.quick else ()):
                    Path(config).write_text(_shortened(Path(config).read_text("utf-8")), encoding="utf-8")
            if self.quick and self._trained and "--fail-under" in words:
                del words[(at := words.index("--fail-under")) : at + 2]
            result = CliRunner().invoke(main, words, catch_exceptions=False)
            return result.exit_code, result.output
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", f'geoseg() {{ "{sys.executable}" -m geoseg "$@"; }}\n{command}'],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        )
        return done.returncode, done.stdout


def _is_config(word: str) -> bool:
    return word.endswith(".yaml")


def _shortened(config: str) -> str:
    """The config of a shorter training."""
    return re.sub(
        rf"^({'|'.join(_SHORT)}): (\d+)",
        lambda found: f"{found[1]}: {min(int(found[2]), _SHORT[found[1]])}",
        config,
        flags=re.MULTILINE,
    )


def _keep_quarter(tiles: Path) -> None:
    """Keep the second of the four tiles of each landscape."""
    header, *rows = tiles.read_text("utf-8").splitlines(keepends=True)
    tiles.write_text(header + "".join(rows[1::4]), encoding="utf-8")


def _copy_quarter(whole: Path, path: Path) -> None:
    with rasterio.open(whole) as source:
        window = Window(0, 0, source.width // 2, source.height // 2)
        with rasterio.open(path, "w", **source.profile | {"width": window.width, "height": window.height}) as quarter:
            quarter.write(source.read(window=window))
            quarter.update_tags(**source.tags())
            quarter.descriptions, quarter.colorinterp = source.descriptions, source.colorinterp
            if ColorInterp.palette in source.colorinterp:
                quarter.write_colormap(1, source.colormap(1))


def _missing(shown: list[str], said: str) -> str | None:
    """The first line shown that was not said, or not in this order; None if there is none."""
    lines = iter(line.strip() for line in said.splitlines())
    for wanted in filter(None, map(str.strip, shown)):
        pattern = "*".join(re.sub(r"([\[?*])", r"[\1]", part) for part in wanted.split("..."))
        if not any(fnmatchcase(line, pattern) for line in lines):
            return wanted
    return None
