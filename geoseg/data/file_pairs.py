"""Images and their labels by two patterns, in whose wildcards stand the same texts.

In: patterns. Out: pairs of files. Never opens one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geoseg.core.composites import AddressPart, matching, paths_in, split_composite
from geoseg.core.errors import LabelError
from geoseg.core.patterns import Pattern, is_pattern, resolved
from geoseg.core.safe_paths import is_elsewhere
from geoseg.core.wording import number_of


def file_pairs(images: str, labels: str) -> list[tuple[Path, Path]]:
    """Images that match a pattern, each with the label path in which the wildcards stand for the same texts.

    Raises:
        LabelError: if nothing matches, or labels are missing.
    """
    if any(map(is_elsewhere, (*paths_in(images), labels))):
        return _addresses(images, labels)
    if parts := split_composite(images):
        return _composites(images, parts, resolved(Path(labels).as_posix()))
    pattern = resolved(Path(images).as_posix())
    target = replace(resolved(Path(labels).as_posix()), stars_only=pattern.stars_only)
    label_of = {path: _label_of(path, pattern, target) for path in pattern.paths()}
    taken = set(label_of.values())  # labels may lie beside their images
    own = [image for image in label_of if Path(image).as_posix() not in taken]
    if not own:
        raise LabelError(f"no image matches {images}: check data.images")
    missing = [image for image in own if not Path(label_of[image]).exists()]
    if missing:
        raise LabelError(
            f"{missing[0]} has no labels at {label_of[missing[0]]}: check data.labels, or move the image away"
        )
    return [(Path(image), Path(label_of[image])) for image in own]


def _composites(images: str, parts: Sequence[AddressPart], labels: Pattern) -> list[tuple[Path, Path]]:
    """Images of several files that match patterns, each with its label path."""
    wild = next((part.path for part in parts if is_pattern(part.path)), parts[0].path)
    pattern = resolved(Path(wild).as_posix())
    found = [
        (address, _label_of(path, pattern, replace(labels, stars_only=pattern.stars_only)))
        for address, path in matching(images)
    ]
    if not found:
        raise LabelError(f"no image matches {wild}: check data.images")
    for address, label in found:
        for path in (*paths_in(address), label):
            if not Path(path).exists():
                kind = "labels" if path == label else "file"
                raise LabelError(f"{address} has no {kind} at {path}: check data.images and data.labels")
    return [(Path(address), Path(label)) for address, label in found]


def _label_of(image: str, images: Pattern, labels: Pattern) -> str:
    """Path of the labels of an image, by their patterns.

    Raises:
        LabelError: if the patterns do not fit each other.
    """
    fitting = images.fitting(labels)
    if fitting is None and Path(labels.text).exists():
        return labels.text
    if fitting is None:
        raise LabelError(
            f"data.images has {number_of(images.wildcards, 'wildcard')}, data.labels has {labels.wildcards}: each * of "
            "one stands for the same text as that of the other; labels without any are those of all images"
        )
    texts = images.texts(Path(image).as_posix())
    return labels.filled(tuple(text for text, is_used in zip(texts, fitting, strict=False) if is_used))


def _addresses(images: str, labels: str) -> list[tuple[Path, Path]]:
    """One image and its label, at least one of them on a server or in an archive, where nothing can be listed."""
    if "*" in images + labels:
        raise LabelError(
            f"{images} and {labels}: patterns are for files, list what is on a server or in an archive in data.scenes"
        )
    return [(Path(images), Path(labels))]
