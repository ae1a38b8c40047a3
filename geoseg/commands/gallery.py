"""`geoseg gallery`: models of others that may be used for any purpose, from `geoseg/models/gallery.yaml`.

In: perhaps a name. Out: what is known of each model, as plain values, with the command that imports or runs it.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from geoseg.core.errors import SpecError, did_you_mean
from geoseg.spec import load_yaml, parse_spec
from geoseg.spec.gallery import GalleryEntry


def read_gallery() -> dict[str, GalleryEntry]:
    """The entries by name.

    Raises:
        SpecError: if an entry lacks something, or holds what is unknown.
    """
    path = Path(str(resources.files("geoseg"))) / "models" / "gallery.yaml"
    return {name: parse_spec(GalleryEntry, one, source=f"gallery: {name}") for name, one in load_yaml(path).items()}


def list_gallery() -> list[dict[str, Any]]:
    """All entries, as plain values."""
    return [_plain(name, entry) for name, entry in read_gallery().items()]


def describe_entry(name: str) -> dict[str, Any]:
    """One entry, as plain values.

    Raises:
        SpecError: if there is none of that name.
    """
    entries = read_gallery()
    if name not in entries:
        known = ", ".join(entries)
        raise SpecError(f"no {name!r} in the gallery{did_you_mean(name, [*entries])}: there are {known}")
    return _plain(name, entries[name])


def _plain(name: str, entry: GalleryEntry) -> dict[str, Any]:
    values = entry.model_dump(mode="json", exclude={"give"})
    return {"name": name, **values, "command": entry.command(name)}
