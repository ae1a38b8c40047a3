"""`geoseg init`: a training config for images and labels as they come.

In: a folder with images and labels, or a scene and its labels. Out: a commented config that trains as it is. What it
says is checked by reading the data as training would; of several ways to split, the first that leaves every class
something to learn from is taken.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from geoseg.commands.found_bands import FoundImages, bands_in_files, find_bands, one_band_twice
from geoseg.commands.found_classes import FoundClasses, find_classes
from geoseg.commands.found_layout import (
    FoundLayout,
    FoundPair,
    find_pairs,
    images_in,
    patterns_of,
    single_pair,
    with_split,
)
from geoseg.commands.start_model import start_of
from geoseg.commands.written_config import ConfigText, Split, write_config
from geoseg.core.composites import each_part, join_composite, split_composite
from geoseg.core.errors import GeosegError, LabelError, OutputError, SceneError
from geoseg.core.events import SILENT, NoticeLog, Reporter
from geoseg.core.files import draft_of
from geoseg.core.naming import scene_name
from geoseg.core.tables import Table
from geoseg.core.wording import number_of
from geoseg.data.labels.polygons import VECTOR_FILES
from geoseg.data.listing import list_rasters, to_read
from geoseg.raster.gdal import gdal_settings
from geoseg.scenes.products import find_products
from geoseg.scenes.products.listing import list_folder
from geoseg.spec import DataSpec, InitSpec, load_train_spec, parse_spec
from geoseg.spec.settings import InitSettings
from geoseg.training.data.training_data import read_training_data

MOST_LISTED = 20
"""Pairs that are written into the config; more go into a CSV beside it."""
SOME_IMAGES, SOME_TILES = 10, 4
"""So many images, or tiles, are split whole; a tile is little more than the guard band around a block in it."""
TILE_SIDE = 512
"""Longest side of a tile, in pixels."""
FEW_POLYGONS = 300
"""Up to so many polygons are split one by one."""


@dataclass(frozen=True)
class InitResult:
    """The result of `init`."""

    config: Path
    """The config."""
    tiles: Path | None
    """List of images and labels beside it, if there is one."""
    images: int
    """Images with labels."""
    classes: tuple[str, ...]
    """Names of the classes."""
    split: str
    """How the data are split: `data.split.by`."""
    notices: tuple[str, ...]
    """What was guessed or left out: a sentence each."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"config": str(self.config), "tiles": self.tiles and str(self.tiles)}


@dataclass(frozen=True)
class Sources:
    """Where the images and labels are."""

    data: dict[str, Any]
    """The lines of `data` that name them, with paths relative to the config."""
    pairs: tuple[tuple[Path, Path], ...]
    """Images and labels."""
    has_split: bool
    """Whether a split is given."""
    listed: tuple[tuple[str, str, str], ...] = ()
    """Lines for a CSV beside the config: image, label, split."""
    notices: tuple[str, ...] = ()
    """What was left out: a sentence each."""


def init(
    source: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] = "config.yaml",
    *,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[InitSettings],
) -> InitResult:
    """Write a training config for images and labels.

    Args:
        source: a folder, or a scene.
        labels: labels of the scene, or of all images of the folder; None finds them in the folder.
        output: the config.
        overwrite: replace a config that exists.
        reporter: gets notices, and the pixels that are read, as stage `reading`.
        settings: fields of InitSpec.

    Raises:
        LabelError: if images and labels cannot be paired or used.
        ModelError: if the model cannot be read, or the images lack a band of it.
        SceneError: if an image cannot be read.
        OutputError: if the config exists or cannot be written.
    """
    path, log = Path(output), NoticeLog(reporter)
    spec = parse_spec(InitSpec, settings, source="settings")
    tiles = path.with_name(f"{path.stem}_tiles.csv")
    _check_output(path, tiles, overwrite)
    start = None if spec.init_from is None else start_of(spec.init_from, path)
    with gdal_settings():
        sources = _sources(Path(source), None if labels is None else Path(labels), path)
        files = list(dict.fromkeys(image for image, _ in sources.pairs))
        images = find_bands(files)
        images = images if start is None else start.bands_in(files, images)
        classes = find_classes([label for _, label in sources.pairs], spec.column, spec.layer)
        classes = classes if start is None else start.classes_in(classes)
        for line in (*sources.notices, *images.notices, *classes.notices):
            log.notice(line)
        if sources.listed:
            _write_list(sources.listed, tiles)
        text = ConfigText(_name(Path(source)), sources.data, images, classes, start=start)
        try:
            split = _written(text, _splits(sources, images, classes), path, reporter)
        except BaseException:
            path.unlink(missing_ok=True)
            if sources.listed:
                tiles.unlink(missing_ok=True)
            raise
    return InitResult(
        config=path,
        tiles=tiles if sources.listed else None,
        images=len(sources.pairs),
        classes=tuple(c.name for c in classes.classes),
        split=split.by,
        notices=tuple(log.lines),
    )


def _check_output(path: Path, tiles: Path, overwrite: bool) -> None:
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise OutputError(f"{path} does not end in .yaml, as a config does: choose another --output")
    for file in (path, tiles):
        if file.exists() and not overwrite:
            raise OutputError(f"{file} exists: pass --overwrite to replace it, or choose another --output")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"there is no folder {path.parent} for {path.name}: make it, or choose another --output")


def _name(source: Path) -> str:
    """A name for the model: that of the folder or scene."""
    name = scene_name(source) if split_composite(str(source)) else source.resolve().stem
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")
    return plain[:60].strip("-._") or "model"


# ------------------------------------------------------------------------------------------------------------ sources


def _sources(source: Path, labels: Path | None, config: Path) -> Sources:
    """The images and labels, and how a config names them.

    Raises:
        LabelError: if there are none, or they cannot be paired.
    """
    is_composite = bool(split_composite(str(source)))
    for path in filter(None, (None if is_composite else source, labels)):
        if not path.exists():
            raise LabelError(f"there is no {path}: check the path")
    if source.is_dir() and labels is None:
        lists = [path for path in sorted(source.glob("*.csv")) if _is_list(path)]
        if len(lists) > 1:
            raise LabelError(f"{lists[0]} and {lists[1]} both list images and labels: move one away")
        return _of_list(lists[0], config) if lists else _of_layout(_joined(find_pairs(source), source), source, config)
    if source.is_dir() and labels is not None:
        return _of_layout(_images_with(source, labels), source, config)
    if labels is None:
        raise LabelError(f"{source} is a file: name its labels, too (geoseg init SCENE LABELS), or give a folder")
    address = each_part(str(source), lambda path: _relative(Path(path), config))
    scene = {"image": address, "label": _relative(labels, config)}
    return Sources({"scenes": [scene]}, ((source, labels),), False)


def _images_with(folder: Path, labels: Path) -> FoundLayout:
    """All images of a folder with one file of labels.

    Raises:
        LabelError: if there are none, or a raster of labels for several.
    """
    images = [image for image in images_in(folder) if image.absolute() != labels.absolute()]
    found = [single_pair(image, labels).pairs[0] for image in images]
    if not found:
        raise LabelError(f"{folder} holds no image: name a folder of rasters")
    layout = _joined(FoundLayout(tuple(found), ()), folder)
    images = [pair.image.path for pair in layout.pairs]
    if labels.suffix.lower() not in VECTOR_FILES and len(images) > 1 and bands_in_files(images) is None:
        raise LabelError(
            f"{labels} holds no polygons, so it can only label one image, and {folder} holds {len(images)}: name the "
            "one that it belongs to in place of the folder"
        )
    return layout


def _joined(layout: FoundLayout, folder: Path) -> FoundLayout:
    """The same with a product of Sentinel-2, Landsat, ... as one image, in place of its files.

    Raises:
        SceneError: if the metadata of a product cannot be read.
    """
    products = find_products(list_folder(str(folder)))
    joined: dict[tuple[Path, Path], FoundPair] = {}
    for pair in layout.pairs:
        name = pair.image.path.relative_to(folder).as_posix()
        product = next((one.scene for one in products if name.startswith(one.prefix)), None)
        if product is not None and product.problem is not None:
            raise SceneError(product.problem)
        image = pair.image if product is None else replace(pair.image, path=Path(product.path))
        joined.setdefault((image.path, pair.label.path), replace(pair, image=image))
    return replace(layout, pairs=tuple(joined.values()))


def _is_list(path: Path) -> bool:
    """Whether a CSV names images and labels."""
    try:
        return len(Table(path).columns(("image", "label"))) == 2
    except (OSError, LabelError, csv.Error):
        return False


def _of_list(path: Path, config: Path) -> Sources:
    listed = to_read(list_rasters(DataSpec(tiles=path, bands=("any",))), None)
    given = {entry.split for entry in listed}
    notice = f"images and labels are those of {path}"
    return Sources(
        {"tiles": _relative(path, config)},
        tuple((entry.image, entry.label) for entry in listed),
        {"train", "val"} <= given,
        notices=(notice,),
    )


def _of_layout(found: FoundLayout, folder: Path, config: Path) -> Sources:
    layout = with_split(found)
    pairs = tuple((pair.image.path, pair.label.path) for pair in layout.pairs)
    notices = []
    if layout.unlabelled:
        first = layout.unlabelled[0]
        notices.append(
            f"{number_of(len(layout.unlabelled), 'image')} without labels ({first}, ...) left out: to learn from them, "
            "give them as data.unlabelled, or as data.target if they show the region where the model is to be used"
        )
    bands = bands_in_files([image for image, _ in pairs]) if len({label for _, label in pairs}) == 1 else None
    if bands is not None:
        return _of_bands(bands, pairs[0][1], config)
    if len({label for _, label in pairs}) == 1 and (twice := one_band_twice([image for image, _ in pairs])):
        raise LabelError(
            f"{twice[0]} and {twice[1]} show one band of one place, and each would be an image by itself: name a file "
            "for each band of a scene (geoseg init RED.tif+GREEN.tif+BLUE.tif LABELS)"
        )
    has_split = any(pair.image.split == "train" for pair in layout.pairs)
    has_test = any(pair.image.split == "test" for pair in layout.pairs)
    patterns = None if has_split or has_test else patterns_of(layout, folder)
    if patterns is not None and _finds(patterns, folder, pairs):
        images, labels = (f"{_relative(folder, config)}/{pattern}" for pattern in patterns)
        return Sources({"images": images, "labels": labels}, pairs, False, notices=tuple(notices))
    rows = [
        (_relative(pair.image.path, config), _relative(pair.label.path, config), pair.image.split)
        for pair in layout.pairs
    ]
    if len(rows) > MOST_LISTED:
        listed = tuple((image, label, split or "") for image, label, split in rows)
        return Sources({"tiles": f"{config.stem}_tiles.csv"}, pairs, has_split, listed, tuple(notices))
    scenes = [{"image": image, "label": label} | ({"split": split} if split else {}) for image, label, split in rows]
    return Sources({"scenes": scenes}, pairs, has_split, notices=tuple(notices))


def _of_bands(bands: dict[str, Path], label: Path, config: Path) -> Sources:
    """A scene with a file for each band."""
    address = Path(join_composite([(name, str(path)) for name, path in bands.items()]))
    scene = {
        "image": {name: _relative(path, config) for name, path in bands.items()}, "label": _relative(label, config)
    }  # fmt: skip
    notice = f"the images are the bands of one scene: {', '.join(bands)}"
    return Sources({"scenes": [scene]}, ((address, label),), False, notices=(notice,))


def _finds(patterns: tuple[str, str], folder: Path, pairs: Sequence[tuple[Path, Path]]) -> bool:
    """Whether patterns lead to just these pairs."""
    images, labels = (str(folder / pattern) for pattern in patterns)
    try:
        listed = list_rasters(DataSpec(images=images, labels=labels, bands=("any",)))
    except LabelError:
        return False
    return {(entry.image, entry.label) for entry in listed} == {*pairs}


def _relative(path: Path, config: Path) -> str:
    """A path relative to the config's folder, with slashes."""
    return Path(os.path.relpath(path.absolute(), config.absolute().parent)).as_posix()


def _write_list(rows: Sequence[tuple[str, str, str]], path: Path) -> None:
    has_split = any(split for _, _, split in rows)
    with draft_of(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("image", "label", "split") if has_split else ("image", "label"))
        table.writerows(rows if has_split else [row[:2] for row in rows])


# -------------------------------------------------------------------------------------------------------------- split


def _splits(sources: Sources, images: FoundImages, classes: FoundClasses) -> list[Split]:
    """Ways to split, the best first; the last one always works."""
    if sources.has_split:
        return [Split("column", "Given by the folders or the list.")]
    ways = []
    are_split = classes.are_polygons and classes.outside is None
    polygons = (classes.places or sum(classes.amounts.values())) if are_split else None
    if polygons is not None and polygons <= FEW_POLYGONS:
        kind = f"{polygons} places" if classes.places else f"{polygons} polygons"
        ways.append(Split("polygons", f"{kind}: each to one side, those of each class by themselves."))
    if len(sources.pairs) >= (SOME_TILES if images.sides[1] <= TILE_SIDE else SOME_IMAGES):
        ways.append(Split("scene", "Whole images go to one side."))
    side = max(64, min(1024, int((images.pixels / 16) ** 0.5) // 32 * 32))
    ways += [
        Split("blocks", "Square blocks go to one side, so that neighbours stay together.", block_px)
        for block_px in dict.fromkeys((side, max(64, side // 2 // 32 * 32), 64))
    ]
    if polygons is not None and polygons > FEW_POLYGONS:
        ways.append(Split("polygons", "Each polygon goes to one side."))
    none = "No way to split leaves every class something to learn from: all is learnt from, and nothing is scored."
    return [*ways, Split("none", none)]


def _written(text: ConfigText, ways: Sequence[Split], path: Path, reporter: Reporter) -> Split:
    """Write the config with the first way to split by which training could start.

    Raises:
        GeosegError: if there is none; that of the first way.
    """
    first: GeosegError | None = None
    for way in ways:
        write_config(replace(text, split=way), path)
        try:
            read_training_data(load_train_spec(path), reporter=_Reading(reporter))
        except LabelError as error:
            first = first or error
        else:
            return way
    assert first is not None
    raise first


class _Reading(Reporter):
    """Passes progress on, and keeps the notices of a trial to itself: training gives them again."""

    def __init__(self, to: Reporter):
        self.progress = to.progress  # type: ignore[method-assign]

    def notice(self, line: str) -> None:
        """Drop a line."""
