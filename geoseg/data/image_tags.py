"""Tags as a list of images has them: the classes that an image shows, without where.

In: cells of a table. Out: tags by image. `labels/tags.py` makes class indexes of them.
"""

from __future__ import annotations

from dataclasses import dataclass

SEPARATOR = ";"
"""Between the tags of an image."""
Names = tuple[str, ...]
"""Names or label values of classes."""


@dataclass(frozen=True)
class Tags:
    """The tags of an image that has no other labels."""

    names: Names
    """Its classes, and those that any image may show, as written."""
    place: str
    """Where they are written, for messages."""
    all: tuple[Names, ...] = ()
    """The same of all images of the run with tags alone."""


def split_tags(text: str) -> Names:
    """The tags of a cell of a table: "building; road"."""
    return tuple(one for part in text.split(SEPARATOR) if (one := part.strip()))
