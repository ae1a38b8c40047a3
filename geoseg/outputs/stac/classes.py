"""Classes in fields of the classification extension."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from geoseg.spec import ClassSpec


def described_classes(classes: Sequence[ClassSpec]) -> list[dict[str, Any]]:
    """Class ids with their names and colours."""
    return [
        {
            "value": c.id,
            "name": _identifier(c.name) or f"class_{c.id}",
            "title": c.name,
            "description": c.name,
            "color_hint": c.color[1:].upper(),
        }
        for c in classes
    ]


def _identifier(name: str) -> str:
    """A name of letters, digits, - and _ only, as the classification extension wants it; may be empty."""
    return re.sub(r"[^0-9A-Za-z_-]+", "_", plain_letters(name)).strip("_")


def plain_letters(text: str) -> str:
    """A text in ASCII: letters without their accents, and nothing for other scripts."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
