"""The parts of labelled rasters on each side of the split: by windows, or by polygons.

In: labelled rasters with their class statistics. Out: areas of each raster for all sides, and statistics of the labels
in them. Chooses the guard band between the sides where the settings leave it open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from geoseg.core.errors import LabelError
from geoseg.data.areas import Area, JoinedAreas, Rectangles
from geoseg.data.class_statistics import ClassStatistics, count_classes, join_statistics
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels.features import Features
from geoseg.data.listing import TEST, ListedRaster
from geoseg.data.partly_labelled import PartlyLabelled
from geoseg.data.polygon_split import PolygonSides, count_features, split_polygons
from geoseg.data.splits import CountedRaster, check_given_test, given_test, guard, how_to_split, split_rasters
from geoseg.geo.georef import PixelGrid
from geoseg.spec import TrainSpec
from geoseg.training.data.split_sides import SideParts

SMALLEST_GUARD_PX = 3
"""Guard band of validation areas that are hidden from training windows, in pixels: cubic resampling mixes what lies
within 2, and a border pixel of a label is mixed itself."""
NOTHING = Rectangles.of(())
"""An area without pixels."""


@dataclass(frozen=True)
class KnownRasters:
    """The labelled rasters of a run, before they are split."""

    listed: Sequence[ListedRaster]
    """Their files."""
    grids: Sequence[PixelGrid]
    """Their grids."""
    rasters: Sequence[LabelledRaster]
    """The rasters."""
    statistics: Sequence[ClassStatistics]
    """Their class statistics; without a cell for test rasters that are not to be read."""
    features: Callable[[], Sequence[Features]]
    """Reads the features of the labels of those that are not given as test."""

    @property
    def drawn(self) -> list[int]:
        """Indexes of those that are not given as test."""
        return [index for index, entry in enumerate(self.listed) if entry.split != TEST]


@dataclass(frozen=True)
class SplitParts:
    """The part of each raster on each side of the split."""

    train: SideParts
    """For training."""
    val: SideParts
    """For validation."""
    test: SideParts
    """For the test; without labels where test rasters are not to be read."""
    by: str
    """How it was split: column, blocks, scene, clusters, random, polygons or none."""
    guard_px: int
    """Width of the guard band."""
    guarded_px: int
    """Labelled training pixels that are left out for the guard band."""
    tested_px: int
    """Labelled validation pixels that are left out, as another image has them on the test side."""
    too_wide_px: int | None = None
    """Width of the guard band that would have left a class without training pixels; None if it was not too wide."""
    unseen_polygons: int = 0
    """Polygons of which no image shows a pixel with data."""
    has_test: bool = False
    """Whether there is a test side, read or not."""


def guard_band(spec: TrainSpec) -> int:
    """Width in pixels of the guard band around what is scored; by default no training window reaches it."""
    return spec.read_side if spec.data.split.guard_px is None else spec.data.split.guard_px


def split_parts(known: KnownRasters, spec: TrainSpec, needed: Sequence[str]) -> SplitParts:
    """Split labelled rasters.

    Args:
        known: the rasters.
        spec: how to split them.
        needed: sides that must have labelled pixels.

    Raises:
        LabelError: if one side is left without labelled pixels, or labels are no polygons where they are split.
        SpecError: if only some rasters have a split given.
    """
    if spec.data.split.by == "polygons" and known.drawn:
        return _by_polygons(known, spec)
    try:
        found = _by_windows(known, spec, needed)
    except LabelError:
        if not _may_take_polygons(known, spec):
            raise
        return _by_polygons(known, spec)
    labelled, learnt = (join_statistics(some).class_counts for some in (known.statistics, found.train.statistics))
    lacks_class = bool(((learnt == 0) & (labelled > 0)).any())
    return _by_polygons(known, spec) if lacks_class and _may_take_polygons(known, spec) else found


def _may_take_polygons(known: KnownRasters, spec: TrainSpec) -> bool:
    """Whether the way to split is geoseg's choice, and all labels are polygons."""
    split = spec.data.split
    if (
        not known.drawn
        or split.by != "auto"
        or spec.data.outside is not None
        or how_to_split(_counted(known), split) == "column"
    ):
        return False
    return all(has_features for _, has_features in _have_features(known, known.features()))


def _have_features(known: KnownRasters, features: Sequence[Features]) -> list[tuple[ListedRaster, bool]]:
    """Whether each raster that is not given as test has features, or no labelled pixel at all."""
    labelled = [int(known.statistics[index].counts.sum()) > 0 for index in known.drawn]
    entries = [known.listed[index] for index in known.drawn]
    found = zip(entries, features, labelled, strict=True)
    return [(entry, bool(len(one.keys)) or not has_labels) for entry, one, has_labels in found]


def _counted(known: KnownRasters) -> list[CountedRaster]:
    return [CountedRaster(*parts) for parts in zip(known.listed, known.grids, known.statistics, strict=True)]


def _by_windows(known: KnownRasters, spec: TrainSpec, needed: Sequence[str]) -> SplitParts:
    """Split by column, blocks or images; with the smallest guard band where the default one closes a whole class."""
    wide = _with_guard(known, spec, needed, guard_band(spec))
    if spec.data.split.guard_px is not None or not wide.guarded_px:
        return wide
    smallest = _with_guard(known, spec, needed, SMALLEST_GUARD_PX)
    kept, possible = (join_statistics(one.train.statistics).class_counts for one in (wide, smallest))
    if not ((kept == 0) & (possible > 0)).any():
        return wide
    return replace(smallest, train=replace(smallest.train, hides_closed=True), too_wide_px=wide.guard_px)


def _with_guard(known: KnownRasters, spec: TrainSpec, needed: Sequence[str], guard_px: int) -> SplitParts:
    counted, split = _counted(known), spec.data.split
    parts = split_rasters(counted, split, guard_px, needed=needed)
    pairs = list(zip(known.statistics, parts, strict=True))
    return SplitParts(
        SideParts(
            [(Rectangles.of(part.train), Rectangles.of(part.closed)) for part in parts],
            [c.only(c.inside(part.train) & ~c.inside(part.closed)) for c, part in pairs],
        ),
        SideParts(
            [(Rectangles.of(part.val), Rectangles.of(part.tested)) for part in parts],
            [c.only(c.inside(part.val) & ~c.inside(part.tested)) for c, part in pairs],
        ),
        SideParts(
            [(Rectangles.of(part.test), NOTHING) for part in parts], [c.only(c.inside(part.test)) for c, part in pairs]
        ),
        how_to_split(counted, split),
        guard_px,
        sum(int(c.counts[c.inside(part.train) & c.inside(part.closed)].sum()) for c, part in pairs),
        sum(int(c.counts[c.inside(part.val) & c.inside(part.tested)].sum()) for c, part in pairs),
        has_test=any(part.test for part in parts),
    )


def _by_polygons(known: KnownRasters, spec: TrainSpec) -> SplitParts:
    """Split by polygon.

    Raises:
        LabelError: if labels are no polygons, or there are not two.
    """
    if spec.data.outside is not None:
        raise LabelError(
            "data.split.by is polygons, which leaves out what data.outside labels between them: split by blocks or "
            "scene"
        )
    drawn, features = known.drawn, known.features()
    for entry, has_features in _have_features(known, features):
        if not has_features:
            raise LabelError(
                f"data.split.by is polygons, and {entry.label} holds none: split by blocks or scene, or give labels "
                "that are polygons"
            )
    check_given_test(_counted(known), spec.data.split, "polygons")
    given = spec.data.split.guard_px
    guard_px = SMALLEST_GUARD_PX if given is None else given
    counted = count_features([known.rasters[index] for index in drawn], features, len(spec.classes))
    areas, polygons = split_polygons(
        [known.grids[index] for index in drawn], features, counted, spec.data.split, guard_px
    )
    of_raster = dict(zip(drawn, areas, strict=True))
    sides = _sides_of_polygons(known, of_raster, guard_px)
    train, val, test = (
        _side_of_polygons(known, sides[name], number, spec)
        for name, number in (("train", polygons.train), ("val", polygons.val), (TEST, polygons.test))
    )
    labelled = sum(int(known.statistics[index].counts.sum()) for index in drawn)
    return SplitParts(
        replace(train, hides_closed=True),
        val,
        test,
        "polygons",
        guard_px,
        labelled - train.pixels - val.pixels - test.pixels,
        tested_px=0,
        unseen_polygons=polygons.unseen,
        has_test=bool(polygons.test) or len(drawn) < len(known.listed),
    )


def _sides_of_polygons(
    known: KnownRasters, areas: Mapping[int, PolygonSides], guard_px: int
) -> dict[str, list[tuple[Area, Area]]]:
    """The areas of each raster on each side, open and closed; rasters that are given as test are so as a whole."""
    counted = _counted(known)
    used = [[] if raster.entry.split == TEST else [raster.everything] for raster in counted]
    given = given_test(counted)
    closed, tested = (guard(counted, used, given, px) for px in (guard_px, 0))
    sides: dict[str, list[tuple[Area, Area]]] = {"train": [], "val": [], TEST: []}
    for index in range(len(counted)):
        own = areas.get(index)
        if own is None:
            own = PolygonSides(NOTHING, NOTHING, Rectangles.of(given[index]), NOTHING, NOTHING)
        sides["train"].append((own.train, JoinedAreas((own.closed, Rectangles.of(closed[index])))))
        sides["val"].append((own.val, JoinedAreas((own.tested, Rectangles.of(tested[index])))))
        sides[TEST].append((own.test, NOTHING))
    return sides


def _side_of_polygons(
    known: KnownRasters, areas: Sequence[tuple[Area, Area]], polygons: int, spec: TrainSpec
) -> SideParts:
    """A side of a split by polygon, whose labels are counted anew, as polygons divide cells."""
    parts = [PartlyLabelled(one, *pair) for one, pair in zip(known.rasters, areas, strict=True)]
    drawn = {*known.drawn}
    counted = [
        count_classes(part, len(spec.classes), len(spec.data.bands)) if index in drawn else known.statistics[index]
        for index, part in enumerate(parts)
    ]
    return SideParts(areas, counted, polygons=polygons)
