"""Images and their labels, found in a folder by the names of files and folders.

In: a folder. Out: pairs, with the side of the split that a folder's name gives. Opens nothing. A file is a label if a
folder above it or an end of its name says so (`masks/`, `train_labels/`, `SegmentationClass/`, `a_mask.png`,
`label_7.tif`), or if it is a vector file; two files belong together if nothing else in their names differs.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from geoseg.core.errors import LabelError
from geoseg.core.raster_names import RASTERS, is_result
from geoseg.core.wording import number_of
from geoseg.data.labels.polygons import VECTOR_FILES

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"})
"""Endings of pictures, which are images or labels in many data sets."""
LABEL_WORDS = frozenset(
    [
        "label",
        "labels",
        "mask",
        "masks",
        "annotation",
        "annotations",
        "ann",
        "anns",
        "annot",
        "gt",
        "groundtruth",
        "truth",
        "target",
        "targets",
        "seg",
        "segmentation",
        "segmentations",
        "lbl",
        "msk",
        "msks",
    ]
)
IMAGE_WORDS = frozenset(
    [
        "image",
        "images",
        "img",
        "imgs",
        "jpeg",
        "rgb",
        "scene",
        "scenes",
        "sat",
        "input",
        "inputs",
        "photo",
        "photos",
        "imagery",
    ]
)
PIECE_WORDS = frozenset(["tile", "tiles", "patch", "patches", "chip", "chips"])
"""Words for both images and labels, which say nothing."""
SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
               "test": "test", "testing": "test"}  # fmt: skip
"""Words for sides of the split, and the side."""
_FILLERS = frozenset(["dir", "folder", "class", "classes", "png", "tif", "data", "files", "ground"])
"""Words that say nothing beside a word for images or labels."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^A-Za-z0-9_\-. ]+")


@dataclass(frozen=True)
class FoundFile:
    """A file, taken apart."""

    path: Path
    """The file."""
    is_label: bool
    """Whether it holds labels."""
    key: tuple[str, ...]
    """What an image and its labels have in common: parts of folders' names, and of the file's."""
    split: str | None
    """train, val or test, if a folder says so."""
    around: tuple[str, str]
    """What stands before and behind the common part of the file's name, without its suffix."""


@dataclass(frozen=True)
class FoundPair:
    """An image and its labels."""

    image: FoundFile
    """The image."""
    label: FoundFile
    """Its labels."""


@dataclass(frozen=True)
class FoundLayout:
    """What a folder holds."""

    pairs: tuple[FoundPair, ...]
    """Images with their labels, sorted by the image."""
    unlabelled: tuple[Path, ...]
    """Images without labels."""


def find_pairs(folder: Path) -> FoundLayout:
    """Pair the images of a folder with their labels.

    Raises:
        LabelError: if there are no pairs, labels without an image, or several files for one place.
    """
    files = [_taken_apart(path, folder) for path in _files(folder)]
    labels = [one for one in files if one.is_label]
    images = [one for one in files if not one.is_label]
    if not images or not labels:
        raise LabelError(_nothing(folder, len(images), len(labels)))
    if len(labels) == 1 and labels[0].path.suffix.lower() in VECTOR_FILES:
        return FoundLayout(tuple(FoundPair(image, labels[0]) for image in images), ())
    of_key, found = ({key: _only(some, folder) for key, some in _by_key(one).items()} for one in (images, labels))
    if not of_key.keys() & found.keys():
        images, labels = _with_loose_keys(images), _with_loose_keys(labels)
        of_key, found = ({key: _only(some, folder) for key, some in _by_key(one).items()} for one in (images, labels))
    lonely = [label for key, label in found.items() if key not in of_key]
    if lonely:
        raise LabelError(
            f"{lonely[0].path} seems to hold labels, and no image in {folder} is called like it: rename it like its "
            "image, with _mask behind or in a folder masks/, move it away, or list images and labels in a CSV"
        )
    pairs = [FoundPair(image, found[key]) for key, image in of_key.items() if key in found]
    unlabelled = [image.path for key, image in of_key.items() if key not in found]
    return FoundLayout(tuple(sorted(pairs, key=lambda pair: pair.image.path)), tuple(unlabelled))


def images_in(folder: Path) -> list[Path]:
    """The images of a folder and below, without labels."""
    return [one.path for one in (_taken_apart(path, folder) for path in _files(folder)) if not one.is_label]


def _nothing(folder: Path, images: int, labels: int) -> str:
    found = f"{number_of(images, 'image')} and {number_of(labels, 'file')} with labels"
    return (
        f"cannot pair images with labels in {folder}: {found} are recognized: give labels the names of their images, "
        "with _mask behind or in a folder masks/, or name a scene and its labels: geoseg init SCENE LABELS"
    )


def _files(folder: Path) -> list[Path]:
    """Rasters, pictures and vector files in a folder and below, but for hidden ones and results of geoseg; sorted."""
    found, seen = [], set()
    for parent, below, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(parent))
        inner = [name for name in below if not name.startswith(".")]
        below[:] = [name for name in inner if os.path.realpath(os.path.join(parent, name)) not in seen]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    kinds = RASTERS | PICTURES | set(VECTOR_FILES) - {".json", ".zip", ".dxf"}
    return sorted(path for path in found if path.suffix.lower() in kinds and not is_result(str(path)))


def _taken_apart(path: Path, folder: Path) -> FoundFile:
    split, parts, is_label, is_image = None, [], path.suffix.lower() in VECTOR_FILES, False
    for name in path.relative_to(folder).parent.parts:
        words = [word.lower() for word in _WORDS.findall(name)]
        side = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
        split = side or split
        is_label |= bool(LABEL_WORDS & {*words})
        is_image |= bool(IMAGE_WORDS & {*words}) and not LABEL_WORDS & {*words}
        has_role = bool((LABEL_WORDS | IMAGE_WORDS) & {*words})
        said = LABEL_WORDS | IMAGE_WORDS | (_FILLERS if has_role else frozenset())
        rest = [word for word in words if word not in said and word not in SPLIT_WORDS]
        parts += [side or "", "-".join(rest)]
    before, core, behind, role = _role_of_name(path.stem)
    is_label |= role == "label" and not is_image
    return FoundFile(path, is_label, (*filter(None, parts), core), split, (before, behind))


def _role_of_name(stem: str) -> tuple[str, str, str, str | None]:
    """What stands before the common part of a file's name, that part, what stands behind, and what it says of the file.

    The common part of `scene.tif` and `mask.tif` is nothing.
    """
    before, core, behind, role = "", stem, "", None
    for pattern, is_first in ((r"(?<=.)[_\-. ]+([A-Za-z]+)$", False), (r"([A-Za-z]+)[_\-. ]+(?=.)", True)):
        found = re.match(pattern, core) if is_first else re.search(pattern, core)
        word = found[1].lower() if found else ""
        if found is None or word not in LABEL_WORDS | IMAGE_WORDS | PIECE_WORDS:
            continue
        role = "label" if word in LABEL_WORDS else role
        if is_first:
            before, core = found[0], core[found.end() :]
        else:
            core, behind = core[: found.start()], found[0]
    if core.lower() in LABEL_WORDS | IMAGE_WORDS:
        role = "label" if core.lower() in LABEL_WORDS else role
        before, core = before + core, ""
    return before, core, behind, role


def _with_loose_keys(files: Sequence[FoundFile]) -> list[FoundFile]:
    """The same with keys blind to case and to words with which all names begin or end (7 of `7_lc`, `8_lc`)."""
    cores = [file.key[-1] for file in files]
    before = _to_separator(_common_start(cores))
    rest = [core[len(before) :] for core in cores]
    behind = _to_separator(_common_start([core[::-1] for core in rest]))[::-1]
    if len(set(cores)) == 1:
        before, behind, rest = "", "", cores
    return [
        replace(
            file,
            key=tuple(part.casefold() for part in (*file.key[:-1], core[: len(core) - len(behind)])),
            around=(file.around[0] + before, behind + file.around[1]),
        )
        for file, core in zip(files, rest, strict=True)
    ]


def _common_start(texts: Sequence[str]) -> str:
    """The longest text with which all begin."""
    first, last = min(texts), max(texts)
    return first[: next((i for i, sign in enumerate(first) if not last.startswith(sign, i)), len(first))]


def _to_separator(text: str) -> str:
    """The beginning of a text up to its last separator."""
    return text[: 1 + max(text.rfind(sign) for sign in "_-. ")]


def _by_key(files: Iterable[FoundFile]) -> dict[tuple[str, ...], list[FoundFile]]:
    groups: dict[tuple[str, ...], list[FoundFile]] = defaultdict(list)
    for file in files:
        groups[file.key].append(file)
    return groups


def _only(files: Sequence[FoundFile], folder: Path) -> FoundFile:
    """The file of a key; of a raster and a picture the raster.

    Raises:
        LabelError: if there are several.
    """
    kept = [one for one in files if one.path.suffix.lower() not in PICTURES] or list(files)
    if len(kept) > 1:
        kind = "labels" if kept[0].is_label else "images"
        raise LabelError(f"{kept[0].path} and {kept[1].path} are both {kind} of one place in {folder}: move one away")
    return kept[0]


def single_pair(scene: Path, labels: Path) -> FoundLayout:
    """The layout of a scene and its labels."""
    image, label = (FoundFile(path, path == labels, (), None, ("", "")) for path in (scene, labels))
    return FoundLayout((FoundPair(image, label),), ())


def with_split(layout: FoundLayout) -> FoundLayout:
    """The same with no split but that of test images, unless there are both training and validation images."""
    if {"train", "val"} <= {pair.image.split for pair in layout.pairs}:
        return layout
    kept = {"test"} if any(pair.image.split != "test" for pair in layout.pairs) else set()
    pairs = (
        pair if pair.image.split in kept else replace(pair, image=replace(pair.image, split=None))
        for pair in layout.pairs
    )
    return replace(layout, pairs=tuple(pairs))


def patterns_of(layout: FoundLayout, folder: Path) -> tuple[str, str] | None:
    """Patterns of the images and of their labels, relative to a folder; None if the names are not regular enough."""
    images, labels = ([getattr(pair, kind) for pair in layout.pairs] for kind in ("image", "label"))
    is_shared = len({one.path for one in labels}) == 1 < len(labels)
    target = _from(folder, labels[0].path) if is_shared else _pattern(labels, folder)
    pattern = _pattern(images, folder)
    return None if pattern is None or target is None else (pattern, target)


def _from(folder: Path, path: Path) -> str:
    return PurePath(os.path.relpath(path, folder)).as_posix()


def _pattern(files: Sequence[FoundFile], folder: Path) -> str | None:
    """A pattern for files, relative to a folder: stars where folders differ, and one for the name's common part."""
    paths = [PurePath(_from(folder, one.path)) for one in files]
    arounds, depths = {one.around for one in files}, {len(path.parts) for path in paths}
    if len(arounds) > 1 or len(depths) > 1:
        return None
    columns = zip(*(path.parent.parts for path in paths), strict=True)
    parents = [column[0] if len({*column}) == 1 else "*" for column in columns]
    suffixes = sorted({path.suffix for path in paths})
    suffix = suffixes[0] if len(suffixes) == 1 else f"{{{','.join(suffixes)}}}"
    before, behind = arounds.pop()
    return "/".join([*parents, f"{before}*{behind}{suffix}"])
