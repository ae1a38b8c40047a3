"""Names that are made to fit: of scenes, of files, of layers, and as a terminal or an XML document takes them."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import PurePosixPath

from geoseg.core.redaction import public_form

LONGEST_NAME = 200
"""Bytes of a scene's name: file systems end at 255, and the names of its results are longer by up to 40."""
LONGEST_FILE_NAME = 255
"""Bytes of a file's name on any usual file system."""
_LONGEST_LAYER = 120
"""Letters of a layer's name; PostGIS and Oracle take fewer, GeoPackages any number."""
_UNFIT = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What a terminal would obey instead of showing it, and what neither UTF-8 nor XML knows."""
_NO_LAYER = re.compile(r"(gpkg|sqlite_|rtree_|idx_)", re.IGNORECASE)
"""Begins of names that SQLite and GeoPackages keep for themselves."""


def visible(text: str, keep: str = "") -> str:
    r"""A text whose control characters are seen, such as \x1b; those in `keep` stay."""
    return _UNSEEN.sub(lambda sign: sign[0] if sign[0] in keep else _escaped(sign[0]), text)


def _escaped(sign: str) -> str:
    return f"\\x{ord(sign) - 0xDC00:02x}" if "\udc80" <= sign <= "\udcff" else ascii(sign)[1:-1]


def fit_for_files(name: str) -> str:
    """A name without what files cannot have in theirs, that hides no file and is not too long."""
    return shortened(_UNFIT.sub("_", _UNSEEN.sub("_", name)).strip(" ._")) or "scene"


def shortened(name: str, most: int = LONGEST_NAME) -> str:
    """A name of no more bytes than that: of one that is longer its beginning, and a digest that no other name has."""
    encoded = os.fsencode(name) if _is_encodable(name) else name.encode("utf-8", "backslashreplace")
    if len(encoded) <= most:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: most - 9].decode('utf-8', 'ignore')}-{digest}"


def scene_name(path: str | os.PathLike[str]) -> str:
    """Name of a scene: its file name without folder and extension, whatever kind of path or URL it is."""
    text = public_form(path)
    if _is_file(text):
        return shortened(_UNSEEN.sub("_", PurePosixPath(text.replace(os.sep, "/")).stem)) or "scene"
    return fit_for_files(PurePosixPath(text.partition("?")[0]).stem)


def layer_name(name: str) -> str:
    """A name as GeoPackages take it for a layer: it begins with a letter, a digit or _, and with none of their own."""
    plain = re.sub(r"^[^\w]+", "", visible(name).replace("\\", "_"))[:_LONGEST_LAYER].rstrip()
    return f"layer_{plain}" if not plain or _NO_LAYER.match(plain) else plain


def is_utf8(path: str | os.PathLike[str]) -> bool:
    """Whether a path is text; the names of files may be any bytes, which Python shows as lone surrogates."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_file(text: str) -> bool:
    return "://" not in text and not text.startswith(("/vsi", "<")) and (os.path.exists(text) or ":" not in text)


def _is_encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True
