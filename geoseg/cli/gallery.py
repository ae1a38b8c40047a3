"""geoseg gallery [NAME]."""

from __future__ import annotations

from typing import Any

import click

from geoseg.cli.options import Command, json_option
from geoseg.cli.terminal import show, show_json, table


@click.command(cls=Command)
@click.argument("name", metavar="[NAME]", required=False)
@json_option
def gallery(name: str | None, as_json: bool) -> None:
    """List models of others that may be used for any purpose, or show one with the command that imports or runs it.

    What is said of them is what their makers say; nothing is downloaded.
    """
    from geoseg.commands.gallery import describe_entry, list_gallery

    if name is None:
        entries = list_gallery()
        show_json(entries) if as_json else show(_listing(entries))
    else:
        entry = describe_entry(name)
        show_json(entry) if as_json else show(_description(entry))


def _listing(entries: list[dict[str, Any]]) -> str:
    rows = [("name", "resolution", "bands", "classes", "licence")]
    rows += [
        (one["name"], f"{one['resolution']:g} m", str(len(one["bands"])), str(len(one["classes"])), one["licence"])
        for one in entries
    ]
    head, *lines = table(rows).splitlines()
    parts = [
        part
        for line, one in zip(lines, entries, strict=True)
        for part in (line, f"    {one['title']}", f"    {one['command']}")
    ]
    return "\n".join([head, *parts, "geoseg gallery NAME shows one"])


def _description(entry: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"{entry['name']}: {entry['title']}",
            f"  resolution: {entry['resolution']:g} m",
            f"  bands: {', '.join(entry['bands'])}",
            f"  classes: {', '.join(entry['classes'])}",
            f"  licence: {entry['licence']}, as {entry['licence_source']} says",
            f"  made by: {entry['made_by']}",
            *(f"  {note}" for note in entry["notes"]),
            f"  {entry['command']}",
        ]
    )
