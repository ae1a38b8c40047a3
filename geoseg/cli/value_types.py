"""Types of option values: how they are parsed from words, or taken from a config file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from geoseg.core.errors import shown


class FilePath(click.Path):
    """A path or URL; an empty one is refused, as it would be the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take it as it is, or fail."""
        if isinstance(value, str) and not value.strip():
            self.fail("an empty path names no file: give one, or leave this out", param, ctx)
        return super().convert(value, param, ctx)


class PathOrWord(FilePath):
    """A path or URL, or one of a few words."""

    def __init__(self, *words: str, path_type: type[Any] | None = None):
        super().__init__(path_type=path_type)
        self._words = words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete a word that is begun, else file names."""
        found = [word for word in self._words if incomplete and word.startswith(incomplete)]
        return _items(found) or super().shell_complete(ctx, param, incomplete)


class KnownText(click.ParamType[str]):
    """Any text, completed with names that are known, e.g. those of a registry."""

    name = "text"

    def __init__(self, names: Callable[[], Iterable[str]]):
        """Take a function that gives the names, so that they are looked up only when a shell asks for them."""
        self._names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take it as it is."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete a name."""
        return _items(name for name in self._names() if name.startswith(incomplete))


def _items(words: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words]


class Numbers(click.ParamType[Any]):
    """Numbers separated by commas, e.g. 1,2,3; a list when it comes from a config file."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float], count: int | None = None):
        self._kind, self._count = kind, count
        self._named = "whole numbers" if kind is int else "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse, or fail with the shape that is expected."""
        try:
            parts = value.split(",") if isinstance(value, str) else list(value)
            numbers = tuple(self._kind(str(part)) for part in parts)
        except (TypeError, ValueError):
            self.fail(f"{shown(value)} is not a list of {self._named} like 1,2,3", param, ctx)
        if self._count is not None and len(numbers) != self._count:
            self.fail(f"{shown(value)} has {len(numbers)} numbers, {self._count} are expected", param, ctx)
        return numbers


class Texts(click.ParamType[Any]):
    """Texts separated by commas; a list when it comes from a config file."""

    name = "texts"

    def __init__(self, names: Callable[[], Iterable[str]] = tuple):
        """Take a function that gives names with which a text is completed; it is called when a shell asks for them."""
        self._names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the last text with a name that is not there yet."""
        before, comma, begun = incomplete.rpartition(",")
        found = [name for name in self._names() if name.startswith(begun) and name not in before.split(",")]
        return _items(f"{before}{comma}{name}" for name in found)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split."""
        parts = value.split(",") if isinstance(value, str) else list(value)
        if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in parts):
            self.fail(
                f"{shown(value)} is not a list of texts: put in quotes what looks like something else", param, ctx
            )
        return tuple(str(part).strip() for part in parts if str(part).strip())


class ListOption(click.Option):
    """An option with a list of texts, which may also be given several times: all of them are one list."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> tuple[str, ...]:
        """Join what was given; empty if nothing was."""
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list | tuple):
            return ()
        parts = [part for one in given for part in (one.split(",") if isinstance(one, str) else [one])]
        texts: tuple[str, ...] = self.type.convert(parts, self, ctx)
        if given and not texts:
            self.type.fail("an empty list chooses nothing: give a name, or leave this out", self, ctx)
        return texts


class WholeChoice(click.Choice[str]):
    """One of a few whole numbers."""

    def __init__(self, numbers: Sequence[int]):
        super().__init__([str(number) for number in numbers])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Find it, or fail with what there is."""
        return int(super().convert(str(value), param, ctx))


class WordsOrNumbers(click.ParamType[Any]):
    """One of a few words, or a list of numbers."""

    def __init__(self, words: Sequence[str], numbers: click.ParamType[Any]):
        self._words, self._numbers = words, numbers
        self.name = "|".join([*words, numbers.name])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse, or fail with the shape that is expected."""
        return value if value in self._words else self._numbers.convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete a word."""
        return _items(word for word in self._words if word.startswith(incomplete))


class WordsOrNumber(click.ParamType[Any]):
    """One of a few words, or a number."""

    def __init__(self, words: Sequence[str]):
        self._words = words
        self.name = "|".join([*words, "number"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
        """Parse, or fail with what is expected."""
        if value in self._words:
            return str(value)
        try:
            return float(value)
        except (TypeError, ValueError):
            self.fail(f"{shown(value)} is neither a number nor {' nor '.join(self._words)}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete a word."""
        return _items(word for word in self._words if word.startswith(incomplete))
