"""Settings as plain values (None, bool, int, float, str, list, dict) of a bounded size, and the JSON of bundles.

In: values and text that are not trusted. Out: the same values, or those of the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from geoseg.core.errors import SpecError, shown

MOST_VALUES = 200_000
"""Most values in one set of settings, those that YAML aliases repeat counted each time."""
MOST_LEVELS = 32
"""Deepest nesting of settings."""
MOST_CHARACTERS = 200_000
"""Length of the longest text."""
MOST_DIGITS = 60
"""Digits of the longest whole number; fields have bounds of their own."""


def parse_json(text: str, source: str) -> Any:
    """Parse JSON.

    Raises:
        SpecError: if it is not JSON, names a setting twice, or exceeds the limits.
    """
    try:
        values = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source} is not JSON: {shown(str(error))}") from None
    check_plain(values, source)
    return values


def check_plain(values: Any, source: str) -> None:
    """Refuse values that exceed the limits of size, depth or length.

    Raises:
        SpecError: naming the limit.
    """
    waiting: list[Iterator[Any]] = [iter((values,))]
    count = 0
    while waiting:
        for value in waiting[-1]:
            count += 1
            _check_one(value, source)
            if isinstance(value, dict | list | tuple | set | frozenset):
                waiting.append(_parts(value))
                break
        else:
            waiting.pop()
        if len(waiting) > MOST_LEVELS or count > MOST_VALUES:
            what = f"{MOST_LEVELS} levels" if len(waiting) > MOST_LEVELS else f"{MOST_VALUES:,} values"
            raise SpecError(f"{source} holds more than {what}: no settings are as large")


def _check_one(value: Any, source: str) -> None:
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        raise SpecError(f"{source} holds {shown(value)}: give a number of less than {MOST_DIGITS} digits")
    if not isinstance(value, str):
        return
    if len(value) > MOST_CHARACTERS:
        raise SpecError(f"{source} holds a text of {len(value):,} characters: give at most {MOST_CHARACTERS:,}")
    if not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise SpecError(f"{source} holds half a character (a lone surrogate) in {shown(value)}: write it anew")


def _parts(value: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return iter(value)
    return (part for pair in value.items() for part in pair)


def _no_number(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads but JSON does not have."""
    raise ValueError(f"{name} is no number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} stands twice in one object")
    return values
