"""Write docs/man/*.1, the manual pages, from the commands' own help; docs/make_cli_reference.py does it, too.

The wheel installs them under share/man/man1, where `man` looks for the pages of programs in the same environment.
"""

import inspect
import re
from pathlib import Path

import click

from geoseg.cli import COMMANDS, main

FOLDER = Path(__file__).parent / "man"
EXIT_STATUS = {
    "0": "The result is there, and right.",
    "1": "It could not be made, a score is below --fail-under, or a check failed: a line on standard error says why.",
    "2": "The command line was not understood.",
}


def pages() -> dict[str, str]:
    """The pages in roff, by file name."""
    context = click.Context(main, info_name="geoseg")
    commands = {name: main.get_command(context, name) for name in COMMANDS}
    return {"geoseg.1": _program()} | {f"geoseg-{name}.1": _command(name, one) for name, one in commands.items()}


def _program() -> str:
    summary = main.help.split(":")[0]
    return "\n".join(
        [
            _head("geoseg", summary),
            r".B geoseg",
            r"\fICOMMAND\fR [\fIOPTION\fR...] [\fIARGUMENT\fR...]",
            ".SH DESCRIPTION",
            *_paragraphs(main.help),
            ".SH COMMANDS",
            *_definitions({rf"\fBgeoseg\-{name}\fR(1)": text for name, text in COMMANDS.items()}),
            ".SH OPTIONS",
            *_options(main),
            *_foot([f"geoseg-{name}" for name in COMMANDS]),
        ]
    )


def _command(name: str, command: click.Command) -> str:
    arguments = [rf"\fI{_text(p.metavar)}\fR" for p in command.params if isinstance(p, click.Argument)]
    return "\n".join(
        [
            _head(f"geoseg-{name}", COMMANDS[name]),
            rf".B geoseg {name}",
            rf"[\fIOPTION\fR...] {' '.join(arguments)}",
            ".SH DESCRIPTION",
            *_paragraphs(inspect.cleandoc(command.help)),
            ".SH OPTIONS",
            *_options(command),
            *_foot(["geoseg", *(f"geoseg-{other}" for other in COMMANDS if other != name)]),
        ]
    )


def _head(name: str, summary: str) -> str:
    title = name.upper()
    line = summary[0].lower() + summary[1:].rstrip(".")
    return f'.TH "{title}" "1" "" "geoseg" "geoseg manual"\n.SH NAME\n{_text(name)} \\- {_text(line)}\n.SH SYNOPSIS'


def _foot(others: list[str]) -> list[str]:
    return [
        ".SH EXIT STATUS",
        *_definitions({rf"\fB{code}\fR": text for code, text in EXIT_STATUS.items()}),
        ".SH SEE ALSO",
        ",\n".join(rf"\fB{_text(other)}\fR(1)" for other in others),
        "",
    ]


def _options(command: click.Command) -> list[str]:
    context = click.Context(command, **main.context_settings)
    options = [one for one in command.get_params(context) if isinstance(one, click.Option) and not one.hidden]
    return _definitions({_flags(one): one.help for one in options})


def _flags(option: click.Option) -> str:
    names = ", ".join(rf"\fB{_text(name)}\fR" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag:
        return names
    value = "|".join(option.type.choices) if isinstance(option.type, click.Choice) else option.type.name.upper()
    return rf"{names} \fI{_text(option.metavar or value)}\fR"


def _definitions(texts: dict[str, str]) -> list[str]:
    return [line for term, text in texts.items() for line in (".TP", term, _text(text))]


def _paragraphs(text: str) -> list[str]:
    return "\n.PP\n".join(map(_text, text.split("\n\n"))).splitlines()


def _text(text: str) -> str:
    """A text on one line, without what roff would take for its own."""
    plain = " ".join(text.split()).replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    return re.sub(r"^\.", r"\\&.", plain)


def write() -> None:
    """Write all pages, and remove those of commands that are gone."""
    made = pages()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.1"):
        old.unlink()
    for name, page in made.items():
        (FOLDER / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write()
