"""Names made valid: for scenes, files and layers, and as terminals and XML documents accept them."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from geoseg.core.composites import paths_in, split_composite
from geoseg.core.redaction import public_form

LONGEST_NAME = 200
"""Bytes of a scene's name: file systems end at 255, and the names of its results are longer by up to 40."""
LONGEST_FILE_NAME = 255
"""Bytes of a file's name on any usual file system."""
_LONGEST_LAYER = 120
"""Letters of a layer's name; PostGIS and Oracle take fewer, GeoPackages any number."""
_UNFIT = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, which a terminal would obey, and characters that are invalid in UTF-8 or XML."""
_NO_LAYER = re.compile(r"(gpkg|sqlite_|rtree_|idx_)", re.IGNORECASE)
"""Beginnings of names that SQLite and GeoPackages reserve."""


def visible(text: str, keep: str = "") -> str:
    r"""A text whose control characters are escaped, as in \x1b; those in `keep` stay."""
    return _UNSEEN.sub(lambda sign: sign[0] if sign[0] in keep else _escaped(sign[0]), text)


def _escaped(sign: str) -> str:
    return f"\\x{ord(sign) - 0xDC00:02x}" if "\udc80" <= sign <= "\udcff" else ascii(sign)[1:-1]


def fit_for_files(name: str) -> str:
    """A name without characters that file names cannot have, not hidden and not too long."""
    return shortened(_UNFIT.sub("_", _UNSEEN.sub("_", name)).strip(" ._")) or "scene"


def shortened(name: str, most: int = LONGEST_NAME) -> str:
    """A name of at most `most` bytes: a longer one is cut, and a digest of it appended."""
    encoded = os.fsencode(name) if _is_encodable(name) else name.encode("utf-8", "backslashreplace")
    if len(encoded) <= most:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: most - 9].decode('utf-8', 'ignore')}-{digest}"


def scene_name(path: str | os.PathLike[str]) -> str:
    """Name of a scene: the file name of its path or URL without folder and extension, without secrets.

    That of a composite scene is the words with which all of its files' names begin, else all of their names.
    """
    names = [_part_name(part) for part in paths_in(path)]
    return names[0] if len(names) == 1 else shortened(_common_words(names) or "_".join(names))


def shown_name(image: Path) -> str:
    """Name of an image in reports and messages, without secrets that its URL may hold."""
    return scene_name(image) if split_composite(image) else Path(public_form(image)).name


def shown_names(images: Sequence[Path]) -> list[str]:
    """Names of images, in reports, messages and files; those of equal names have as many folders as differ."""
    names = [shown_name(image) for image in images]
    parts = [
        name.split("/") if split_composite(image) else Path(public_form(image)).parts
        for image, name in zip(images, names, strict=True)
    ]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        often = Counter(names)
        if max(often.values()) == 1:
            break
        names = ["/".join(part[-depth:]) if often[name] > 1 else name for part, name in zip(parts, names, strict=True)]
    return names


def is_called(image: Path, name: str) -> bool:
    """Whether a name from `shown_names` may be that of an image."""
    return name == shown_name(image) or Path(public_form(image)).as_posix().endswith(f"/{name}")


def _common_words(names: list[str]) -> str:
    """The text with which all names begin, up to the end of a word."""
    lengths = (i for i, signs in enumerate(zip(*names, strict=False)) if len(set(signs)) > 1)
    begin = names[0][: next(lengths, min(map(len, names)))]
    if any(name[len(begin) : len(begin) + 1].isalnum() for name in names):
        begin = re.sub(r"[^\W_]+$", "", begin)
    return begin.rstrip(" ._-,+")


def _part_name(path: str) -> str:
    text = public_form(path)
    if _is_file(text):
        return shortened(_UNSEEN.sub("_", PurePosixPath(text.replace(os.sep, "/")).stem)) or "scene"
    return fit_for_files(PurePosixPath(text.partition("?")[0]).stem)


def layer_name(name: str) -> str:
    """A valid name for a layer of a GeoPackage: it begins with a letter, a digit or _, and not as reserved names do."""
    plain = re.sub(r"^[^\w]+", "", visible(name).replace("\\", "_"))[:_LONGEST_LAYER].rstrip()
    return f"layer_{plain}" if not plain or _NO_LAYER.match(plain) else plain


def is_utf8(path: str | os.PathLike[str]) -> bool:
    """Whether a path can be encoded in UTF-8; file names may be any bytes, which Python shows as lone surrogates."""
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
