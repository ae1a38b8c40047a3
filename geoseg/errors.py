"""Everything that can go wrong for a reason the user can mend.

GeosegError
├── SceneError       the input raster cannot be opened, read, or used
├── ModelError       the bundle cannot be opened, or does not fit the scene
├── SpecError        a setting has a value that makes no sense
├── LabelError       labels do not match their images or their classes
└── OutputError      a result exists already or cannot be written

A message says what is wrong with the value, then what to do, on one line. Anything else that escapes is a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from geoseg.public import public_text


class GeosegError(Exception):
    """Base of every error that geoseg raises on purpose; what its message quotes is stripped of secrets."""

    def __init__(self, message: str = ""):
        super().__init__(public_text(message))


class SceneError(GeosegError):
    """The input raster cannot be opened, read, or used."""


class ModelError(GeosegError):
    """The bundle cannot be opened, or does not fit the scene."""


class SpecError(GeosegError):
    """A setting has a value that makes no sense."""


class LabelError(GeosegError):
    """Labels do not match their images or their classes."""


class OutputError(GeosegError):
    """A result exists already or cannot be written."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """End of a message about a word that is not known: what was meant, or nothing."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f", did you mean {close[0]}?" if close else ""
