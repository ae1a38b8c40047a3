"""The command line: the only code that prints, draws progress, or exits.

A command parses, calls one function of the library, and reports. What a command needs is imported inside it, so that
`geoseg --help` answers at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from geoseg.cli.environment import quiet_libraries
from geoseg.cli.streams import repair_streams
from geoseg.cli.terminal import ARGUMENTS, notice, shown
from geoseg.core.system_errors import as_geoseg_error

COMMANDS = {
    "predict": "Classify scenes into land-cover rasters and polygons.",
    "vectorize": "Turn a class raster into polygons.",
    "init": "Write a training config for images and labels as they come.",
    "train": "Train a model from labelled tiles or scenes.",
    "evaluate": "Score a prediction or a model against labels.",
    "compare": "Compare models on the same labelled pixels.",
    "quantize": "Let a model compute with integers of 8 bits: on CPUs two to three times as fast as fp32.",
    "soup": "Make one model of several: the mean of their weights.",
    "import": "Make a bundle of another tool's model.",
    "gallery": "List models of others that may be imported and used for any purpose.",
    "export": "Write a model for another tool: ONNX, STAC, segmentation-models-pytorch.",
    "suggest": "Find places in scenes that are worth labelling next.",
    "sample": "Draw places at random, for an honest test of a map.",
    "tile": "Write labelled tiles from scenes and their labels.",
    "models": "List the networks that can be trained, or show one with its settings.",
    "info": "Show what geoseg sees in a scene, or what a model is.",
}

FILES = {"import": "import_model"}
"""Files and functions of commands whose names are words of Python."""


class Commands(click.Group):
    """Commands that load when they are called, and one boundary for errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a first use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command from the file of its name."""
        if cmd_name not in COMMANDS:
            return None
        file = FILES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"geoseg.cli.{file}"), file)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words of the command line, so that messages don't repeat secrets in them."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, without loading one, or an option."""
        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return found if found else click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run as a process of its own, with repaired streams and quiet libraries."""
        repair_streams()
        with quiet_libraries(), _boundary():
            return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; click itself would call an interruption, or a file that ends early, an abortion."""
        with _boundary():
            try:
                return super().invoke(ctx)
            except click.UsageError as error:  # click prints it, and knows neither secrets nor terminals
                raise click.UsageError(shown(error.format_message()), error.ctx) from None


@contextmanager
def _boundary() -> Iterator[None]:
    """Print GeosegErrors and errors of the system on one line, with exit code 1; all others are bugs."""
    try:
        yield
    except KeyboardInterrupt:
        _fail("interrupted: finished files are kept; predict and train go on with --resume")
    except Exception as error:
        if (known := as_geoseg_error(error)) is not None:
            _fail(f"error: {known}")
        if isinstance(error, EOFError):
            raise RuntimeError("a file ends before its time") from error
        raise


def _fail(line: str) -> NoReturn:
    notice(line)
    sys.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="geoseg", message="geoseg %(version)s")
def main() -> None:
    """Land cover from GeoTIFFs of any size: rasters, polygons, and the models that make them."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
