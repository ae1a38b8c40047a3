"""Write docs/cli.md and docs/man from the commands' own help: python docs/make_cli_reference.py"""

from pathlib import Path

import click

from geoseg.cli import COMMANDS, main

HEAD = "# Command line reference\n\nMade from the commands' own help by `docs/make_cli_reference.py`.\n"


def reference() -> str:
    """Every command with its arguments and options, as Markdown."""
    context = click.Context(main, info_name="geoseg")
    return "\n".join([HEAD, *(_section(name, main.get_command(context, name)) for name in COMMANDS)])


def _section(name: str, command: click.Command) -> str:
    arguments = " ".join(p.metavar for p in command.params if isinstance(p, click.Argument))
    rows = [
        f"| {_flags(p)} | {_in_cell(p.help)} |" for p in command.params if isinstance(p, click.Option) and not p.hidden
    ]
    table = "\n".join(["| option | meaning |", "|---|---|", *rows])
    return f"## geoseg {name}\n\n`geoseg {name} [OPTIONS] {arguments}`\n\n{_paragraphs(command.help)}\n\n{table}\n"


def _flags(option: click.Option) -> str:
    names = ", ".join(option.opts) + "".join(f" / {name}" for name in option.secondary_opts)
    if isinstance(option.type, click.Choice):
        return f"`{names}` {', '.join(option.type.choices)}"
    value = _in_cell(option.metavar or option.type.name.upper())
    return f"`{names}`" if option.is_flag else f"`{names} {value}`"


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


if __name__ == "__main__":
    import make_man_pages

    make_man_pages.write()
    (Path(__file__).parent / "cli.md").write_text(reference(), encoding="utf-8")
