"""Composite addresses: scenes of one file per band, as RED.tif+GREEN.tif+BLUE.tif or red=A.tif+green=B.tif.

In: text. Out: its parts. A path that exists is that file, whatever its name; a single part is a composite if a + ends
the text. Plus signs inside of a part's name are kept: a part ends where its text is a file or has the suffix of a
raster, or where the next part has a name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath, PurePosixPath
from typing import NamedTuple

from geoseg.core.patterns import Pattern, is_pattern, resolved

NAME = r"[^\W\d_][\w .()-]{0,60}"
"""Pattern of a band's name in an address."""
_NAMED = re.compile(rf"({NAME})=(.+)", re.DOTALL)
_RASTER = re.compile(r"\.(?:tiff?|vrt|jp2|j2k|img|ecw|sid|pix|kea|bil|bsq|png|jpe?g|webp|nc|hdf|h5|xml)", re.IGNORECASE)
_SUBDATASET = re.compile(r"[A-Za-z][A-Za-z0-9_]+:(?!/)")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+]+:/|/vsi")
"""Begin of a URL, of which a path of files may have kept one slash only, or of a virtual path."""
_MOST_PARTS = 1024


class AddressPart(NamedTuple):
    """A part of a composite address."""

    name: str
    """Name of its band; empty where none is given."""
    path: str
    """Path or URL."""


def split_composite(address: str | os.PathLike[str]) -> tuple[AddressPart, ...]:
    """The parts of a composite address; none if it is the address of a single raster."""
    text = os.fspath(address)
    if "+" not in text or _exists(text):
        return ()
    pieces = list(filter(None, _pieces(text.removesuffix("+"))))
    if len(pieces) < 2 - text.endswith("+") or len(pieces) > _MOST_PARTS:
        return ()
    named = [_named(piece) for piece in pieces]
    names = [part.name.casefold() for part in named if part.name]
    return tuple(named) if len(set(names)) == len(names) else tuple(AddressPart("", piece) for piece in pieces)


def join_composite(parts: Sequence[tuple[str, str]]) -> str:
    """The address of some parts, given the name and path of each; a plus sign in a URL is encoded."""
    texts = [
        (f"{name}=" if name else "") + (path.replace("+", "%2B") if _REMOTE.match(path) else path)
        for name, path in parts
    ]
    return "+".join(texts) + "+" * (len(texts) == 1)


def each_part(address: str, change: Callable[[str], str]) -> str:
    """An address with each of its paths changed; the only one of a single raster."""
    parts = split_composite(address)
    if not parts:
        return change(address)
    return join_composite([(part.name, change(part.path)) for part in parts])


def matching(address: str) -> list[tuple[str, str]]:
    """The composite addresses that a pattern stands for, each with the path of the part that was searched for.

    The first part with wildcards is searched for; what they stand for fills those of the other parts, and parts without
    any are the same in all. The address itself, with the path of its first part, if no part has wildcards.
    """
    parts = split_composite(address)
    wild = next((part.path for part in parts if is_pattern(part.path) and not _exists(part.path)), None)
    if wild is None:
        return [(address, parts[0].path)]
    pattern = resolved(PurePath(wild).as_posix())
    return [
        (join_composite([(part.name, _filled(part.path, pattern, path)) for part in parts]), path)
        for path in pattern.paths()
    ]


def _filled(text: str, pattern: Pattern, path: str) -> str:
    """A part of a pattern, with its wildcards filled by what those of another stand for in a path."""
    other = Pattern(PurePath(text).as_posix(), stars_only=pattern.stars_only)
    fitting = pattern.fitting(other)
    if fitting is None or not other.wildcards:
        return text
    texts = zip(pattern.texts(PurePath(path).as_posix()), fitting, strict=False)
    return other.filled(tuple(text for text, is_used in texts if is_used))


def paths_in(address: str | os.PathLike[str]) -> list[str]:
    """All paths of an address."""
    return [part.path for part in split_composite(address)] or [os.fspath(address)]


def _pieces(text: str) -> list[str]:
    """Text cut at the plus signs that separate parts."""
    tokens = text.split("+")
    pieces = tokens[:1]
    for token in tokens[1:]:
        if _NAMED.fullmatch(token) or (_is_complete(pieces[-1]) and (_begins(token) or not _has_query(pieces[-1]))):
            pieces.append(token)
        else:
            pieces[-1] += f"+{token}"
    return pieces


def _named(piece: str) -> AddressPart:
    found = None if _exists(piece) else _NAMED.fullmatch(piece)
    return AddressPart(found[1].strip(), found[2]) if found else AddressPart("", piece)


def _is_complete(piece: str) -> bool:
    """Whether a piece of an address names a raster by itself."""
    path = _named(piece).path
    plain = re.split("[?#]", path)[0] if _REMOTE.match(path) else path
    is_raster = _RASTER.fullmatch(PurePosixPath(plain.replace("\\", "/")).suffix) is not None
    return is_raster or _SUBDATASET.match(path) is not None or _exists(path)


def _begins(token: str) -> bool:
    """Whether a token is the begin of a part behind a URL with a query, which may hold plus signs itself."""
    return _REMOTE.match(token) is not None or token.startswith("/") or _is_complete(token)


def _has_query(piece: str) -> bool:
    return "?" in piece and _REMOTE.match(_named(piece).path) is not None


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a null character
        return False
