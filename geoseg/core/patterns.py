"""Patterns of paths: `*`, `?`, `[13]`, `[!a-c]`, `**` (folders at any depth) and `{one,other}`.

In: a pattern. Out: the paths that match it, and the text that each wildcard stands for, which fills the wildcards of
another pattern: images and their labels are paired so. Reads the names of files and folders, never what they hold.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

_STAR = re.compile(r"\*\*/|\*+")
_OTHER = re.compile(r"\?|\[(!?)(\]?[^\]/]*)\]")
"""A wildcard but for stars and braces; in brackets a first ] is a character like others."""
MOST_ALTERNATIVES = 10_000
"""Most patterns without braces that one with braces stands for."""


@dataclass(frozen=True)
class _Part:
    """A part of a pattern: a text as it is, or one wildcard."""

    text: str
    """Its text in the pattern."""
    regex: str
    """What it matches, without groups that capture."""
    is_wild: bool = True
    """Whether it is a wildcard."""

    @property
    def is_choice(self) -> bool:
        """Whether it is a choice in braces."""
        return self.is_wild and self.text.startswith("{")

    @property
    def for_glob(self) -> str:
        """The part as Python's glob writes it."""
        return self.text if self.is_wild else glob.escape(self.text)


@dataclass(frozen=True)
class Pattern:
    """A pattern of paths, with slashes."""

    text: str
    """The pattern."""
    stars_only: bool = False
    """Whether only stars are wildcards, and brackets, braces and question marks belong to names."""
    literal: int = 0
    """Number of its first characters that are no wildcards: folders whose names look like patterns."""

    @cached_property
    def parts(self) -> tuple[_Part, ...]:
        """Its texts and wildcards."""
        return tuple(_parts(self.text, self.literal, self.stars_only))

    @property
    def wildcards(self) -> int:
        """Number of wildcards; a choice in braces is one."""
        return sum(part.is_wild for part in self.parts)

    def paths(self) -> list[str]:
        """Paths that exist and match, sorted; hidden files only where the pattern names their dot."""
        return sorted({path for one in self.alternatives() for path in glob.glob(one, recursive=True)})

    def alternatives(self) -> list[str]:
        """The patterns without braces, as Python's glob writes them, that this one stands for; a bounded number."""
        found = [""]
        for part in self.parts:
            options = [part.for_glob]
            if part.is_choice:
                options = [path for option in _options(part.text) for path in Pattern(option).alternatives()]
            found = [start + option for start in found for option in options][:MOST_ALTERNATIVES]
        return found

    def texts(self, path: str) -> tuple[str, ...]:
        """The text that each wildcard stands for in a path that matches."""
        regex = "".join(f"({part.regex})" if part.is_wild else part.regex for part in self.parts)
        found = re.fullmatch(regex, path, re.DOTALL)
        return found.groups() if found else ()

    def fitting(self, other: Pattern) -> tuple[bool, ...] | None:
        """Which of this pattern's wildcards fill those of another, in their order; None if they do not fit.

        The other one has as many, or as many besides choices in braces, as between file suffixes, or none.
        """
        wild = [part for part in self.parts if part.is_wild]
        ways = [True] * len(wild), [not part.is_choice for part in wild], [False] * len(wild)
        return next((tuple(way) for way in ways if sum(way) == other.wildcards), None)

    def filled(self, texts: tuple[str, ...]) -> str:
        """The path in which the wildcards are replaced by texts, in their order."""
        left = iter(texts)
        return "".join(next(left, "") if part.is_wild else part.text for part in self.parts)


def is_pattern(text: str) -> bool:
    """Whether a path has a wildcard."""
    return bool(Pattern(text).wildcards)


def resolved(text: str) -> Pattern:
    """A pattern as it is meant: names may hold brackets, braces and question marks themselves.

    Its first folders are taken as they are if they exist, and only its stars are wildcards if paths match it so.
    """
    pattern = Pattern(text, literal=_existing(text))
    literal = replace(pattern, stars_only=True)
    return literal if literal.wildcards < pattern.wildcards and literal.paths() else pattern


def _existing(text: str) -> int:
    """Characters of the longest beginning of a pattern that is an existing folder."""
    ends = [at + 1 for at, sign in enumerate(text) if sign == "/"]
    return next((end for end in reversed(ends) if os.path.isdir(text[:end])), 0)


def _parts(text: str, literal: int = 0, stars_only: bool = False) -> Iterator[_Part]:
    """The wildcards of a pattern and the texts between them."""
    at, start = literal, 0
    while at < len(text):
        part = _wildcard(text, at, stars_only)
        if part is None:
            at += 1
            continue
        if start < at:
            yield _Part(text[start:at], re.escape(text[start:at]), is_wild=False)
        yield part
        at = start = at + len(part.text)
    if start < at:
        yield _Part(text[start:at], re.escape(text[start:at]), is_wild=False)


def _wildcard(text: str, at: int, stars_only: bool) -> _Part | None:
    """The wildcard that begins at a place in a pattern; None if none does."""
    if star := _STAR.match(text, at):
        is_folder = at == 0 or text[at - 1] == "/"
        if star[0] == "**/" and is_folder:
            return _Part("**/", "(?:[^/]+/)*")
        if star[0] == "**" and is_folder and star.end() == len(text):
            return _Part("**", ".*")
        return _Part(star[0].rstrip("/"), "[^/]*")
    if stars_only:
        return None
    if other := _OTHER.match(text, at):
        if other[0] == "?":
            return _Part("?", "[^/]")
        inner = other[2].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("^", "\\^")
        return _Part(other[0], f"[{'^/' if other[1] else ''}{inner}]") if other[2] else None
    choice = _choice(text, at)
    if choice is None:
        return None
    return _Part(choice, f"(?:{'|'.join(_regex(option) for option in _options(choice))})")


def _regex(text: str) -> str:
    return "".join(part.regex for part in _parts(text))


def _choice(text: str, at: int) -> str | None:
    """The choice in braces that begins at a place in a pattern: at least two options; None if none does."""
    depth = 0
    for end in range(at, len(text)) if text[at] == "{" else ():
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            choice = text[at : end + 1]
            return choice if len(_options(choice)) > 1 else None
    return None


def _options(choice: str) -> list[str]:
    """The options of a choice in braces, which may hold choices themselves."""
    options, depth = [""], 0
    for sign in choice[1:-1]:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            options.append("")
        else:
            options[-1] += sign
    return options
