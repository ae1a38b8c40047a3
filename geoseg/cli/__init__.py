"""The command line: the only code that prints, draws progress, or exits.

A command parses, calls one function of the library, and reports. What a command needs is imported inside it, so that
`geoseg --help` answers at once.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from geoseg.errors import GeosegError

COMMANDS = {
    "predict": "Classify scenes into land-cover rasters and polygons.",
    "vectorize": "Turn a class raster into polygons.",
    "train": "Train a model from labelled tiles or scenes.",
    "evaluate": "Score a prediction or a model against labels.",
    "tile": "Write labelled tiles from scenes and their labels.",
    "info": "Show what geoseg sees in a scene, or what a model is.",
}


class Commands(click.Group):
    """Commands that load when they are called, and one boundary for errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command from the file of its name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"geoseg.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; errors that a user can mend become one line and exit code 1."""
        try:
            return super().invoke(ctx)
        except GeosegError as error:
            _fail(f"error: {error}")
        except KeyboardInterrupt:
            _fail("interrupted: finished files are kept; predict and train go on with --resume")


def _fail(line: str) -> NoReturn:
    click.echo(line, err=True)
    sys.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="geoseg", message="geoseg %(version)s")
def main() -> None:
    """Land cover from GeoTIFFs of any size: rasters, polygons, and the models that make them."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
