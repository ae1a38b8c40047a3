"""Errors whose cause the user can mend.

GeosegError
├── SceneError       the input raster cannot be opened, read, or used
├── ModelError       the bundle cannot be opened, or does not fit the scene
├── SpecError        a setting has a value that makes no sense
├── LabelError       labels do not match their images or their classes
└── OutputError      a result exists already or cannot be written

A message says on one line what is wrong with a value, then what to do. Any other exception that escapes is a bug.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

from geoseg.core.redaction import public_text


class GeosegError(Exception):
    """Base of all errors that geoseg raises on purpose; values quoted in the message are shortened, secrets removed."""

    def __init__(self, message: str = ""):
        super().__init__(shown(message, MOST_MESSAGE, quoted=False))


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
    """End of a message about an unknown word: ", did you mean X?" with the nearest known one, or nothing."""
    close = difflib.get_close_matches(word, list(known), 1) if len(word) <= MOST_SHOWN else []
    return f", did you mean {close[0]}?" if close else ""


MOST_SHOWN = 80
"""Most characters of a value that a message shows."""
MOST_MESSAGE = 4000
"""Most characters of a message."""
_MOST_READ = 20_000
"""Most characters of a text that are searched for secrets; the rest is not shown anyway."""


class _Short(reprlib.Repr):
    """Python's notation of a value, shortened where it is long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 4 * MOST_SHOWN, 4 * MOST_SHOWN

    def repr_int(self, value: int, _level: int) -> str:
        """A whole number; Python writes none of more than 4,300 digits."""
        return repr(value) if value.bit_length() < 256 else f"a number of {value.bit_length():,} bits"


_SHORT = _Short()


def shown(value: Any, most: int = MOST_SHOWN, *, quoted: bool = True) -> str:
    """A value as messages show it: in Python's notation, or a text without quotes; secrets removed.

    It has at most `most` characters, and is cut off after secrets are removed: they could not be found in half a URL.
    """
    if isinstance(value, str):
        if len(value) > _MOST_READ:
            value = value[:_MOST_READ].rpartition(" ")[0] + "..."
        text = public_text(value) if not quoted else _SHORT.repr(public_text(value))
    else:
        text = public_text(_SHORT.repr(value))
    return text if len(text) <= most else f"{text[: most - 3]}..."
