"""geoseg models [NAME]."""

from __future__ import annotations

from typing import Any

import click

from geoseg.cli.options import Command, json_option
from geoseg.cli.terminal import show, show_json, table


@click.command(cls=Command)
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "--check",
    is_flag=True,
    help="Ask whether the pretrained weights of the network's encoder (imagenet) can be downloaded, or are in the "
    "cache; if not, the exit code is 1.",
)
@click.option("--encoder", metavar="ENCODER", help="Encoder whose weights --check asks for, instead of the usual one.")
@json_option
def models(name: str | None, check: bool, encoder: str | None, as_json: bool) -> None:
    """List the networks that can be trained, or show one with its settings and an example for a config.

    All take any number of bands and windows of any size.
    """
    if check and name is None:
        raise click.UsageError("--check needs the NAME of a network")
    if encoder is not None and not check:
        raise click.UsageError("--encoder belongs to --check")
    from geoseg.commands.models import describe_network, list_networks, reach_weights

    if name is None:
        found = list_networks()
        show_json(found) if as_json else show(_listing(found))
    elif check:
        place = reach_weights(name, encoder)
        show_json(place) if as_json else show(f"{place['encoder']}: {place['weights']}")
    else:
        described = describe_network(name)
        show_json(described) if as_json else show(_description(described))


def _listing(networks: list[dict[str, Any]]) -> str:
    """A line with figures and one with the paper for each network."""
    good = [one for one in networks if "error" not in one]
    rows = [("name", "year", "title", "weights", "with", "context", "licence", "source")]
    rows += [
        (
            one["name"],
            str(one["year"]),
            one["title"],
            _millions(one["parameters"]),
            one["usual_encoder"] or "-",
            "yes" if one["takes_context"] else "no",
            one["licence"],
            one["source"],
        )
        for one in good
    ]
    head, *lines = table(rows).splitlines()
    with_papers = [part for line, one in zip(lines, good, strict=True) for part in (line, f"    {one['paper']}")]
    broken = [f"{one['name']}: {one['error']}" for one in networks if "error" in one]
    hint = "geoseg models NAME shows one, with its settings and an example config"
    return "\n".join([head, *with_papers, *broken, hint])


def _millions(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.1f} M" if count >= 50_000 else f"{count:,}"


def _description(network: dict[str, Any]) -> str:
    """All that is known of a network, and how a config names it."""
    import yaml

    least = f", of {network['least_side']} px and more" if network["least_side"] > 1 else ""
    lines = [
        f"{network['title']} ({network['name']})",
        f"  paper: {network['paper']}",
        f"  source: {network['source']}, licence {network['licence']}",
        f"  encoders: {network['encoders']}",
        f"  weights: {_millions(network['parameters'])} with encoder {network['usual_encoder'] or 'of its own'}",
        f"  bands: {network['bands']} number; windows: any, padded to multiples of {network['stride']} px{least}",
        f"  context: {'yes' if network['takes_context'] else 'no'}",
        *([f"  limits: {network['limits']}"] if network["limits"] else []),
    ]
    for title, key in (
        ("network.arguments", "arguments"),
        ("network.arguments of some encoders of timm", "encoder_arguments"),
    ):
        if network[key]:
            lines += [f"{title}:", *(f"  {_argument(**one)}" for one in network[key])]
    example = yaml.safe_dump(network["example"], sort_keys=False).splitlines()
    return "\n".join([*lines, "example:", *(f"  {line}" for line in example)])


def _argument(name: str, values: str, default: str, meaning: str) -> str:
    return f"{name}: {values}{f', by default {default}' if default else ''}: {meaning}"
