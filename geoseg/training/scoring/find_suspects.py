"""Suspects: connected areas of one label of which a model, which did not learn it, is confident that it is wrong.

In: maps of probabilities over labelled mosaics, from any number of models. Out: ranked areas.

Pixels are doubted as `geoseg.metrics.confident_learning` says, with thresholds over all maps together. A region R is a
4-connected set of pixels that have one label i and one likeliest class c, another one. Along outlines labels and
predictions differ by a pixel or two everywhere, so a region keeps only the squares of WIDTH x WIDTH pixels that lie in
it (its morphological opening). It is a suspect if its doubted pixels, D(R) = {x in R: label i is doubted as c}, have a
least area: the model may hesitate in a part of a region, but not in all of it. Suspects are ranked by the margin of
their doubted pixels,

    score(R) = sum of p_c(x) - p_i(x) over x in D(R),

so that a large area of which the model is fairly sure comes before a small one of which it is very sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import shapely.geometry
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes

from geoseg.core.wording import number_of
from geoseg.geo.geodesy import row_areas_m2
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.metrics.confident_learning import SelfConfidence, doubted_as
from geoseg.outputs.suspects import Suspect
from geoseg.raster.strips import Strip
from geoseg.raster.validity import Mask
from geoseg.spec import IGNORE
from geoseg.spec.vector import GeneralizeSpec, Measure
from geoseg.training.scoring.probability_maps import ProbabilityMap
from geoseg.vector.settings import merge_rules
from geoseg.vector.trace import Regions, trace

WIDTH = 3
"""Least width of a suspect, in pixels."""


@dataclass(frozen=True)
class FoundSuspect:
    """A suspect, and where it was found."""

    suspect: Suspect
    """The suspect."""
    map: ProbabilityMap
    """The map in which it was found."""
    window: Window
    """Its bounding box in the mosaic."""
    mask: Mask
    """Its pixels in that (h, w)."""


@dataclass(frozen=True)
class Suspects:
    """The suspects of several maps."""

    ranked: tuple[FoundSuspect, ...]
    """Those that are large enough, the most suspicious first."""
    left_out: int
    """Number of smaller or thinner regions."""
    doubted_px: int
    """Pixels whose labels are doubted, in regions of any size."""
    scored_px: int
    """Labelled pixels."""

    def notice(self, min_area: Measure) -> str:
        """A sentence on what was found, and left out."""
        least = min_area if isinstance(min_area, str) else f"{min_area:g} m²"
        share = self.doubted_px / max(1, self.scored_px)
        return (
            f"{number_of(len(self.ranked), 'suspect')}; {share:.1%} of the labelled pixels are doubted, "
            f"{number_of(self.left_out, 'region')} of them smaller than {least} or narrower than {WIDTH} px, as along "
            "outlines, and left out"
        )


def check_min_area(maps: Sequence[ProbabilityMap], min_area: Measure) -> None:
    """Check a least area against mosaics before anything is classified.

    Raises:
        SpecError: if it is in square metres, and the pixels of a mosaic have no size in metres.
    """
    for one in maps:
        merge_rules(GeneralizeSpec(min_area=min_area), one.mosaic.grid)


def find_suspects(maps: Sequence[ProbabilityMap], classes: int, min_area: Measure) -> Suspects:
    """Find and rank suspects.

    Args:
        maps: of mosaics whose models did not learn their labels.
        classes: number of classes.
        min_area: least area of the doubted pixels, in m², or in pixels (100px).

    Raises:
        SpecError: if the least area is in square metres, and the pixels of a mosaic have no size in metres.
    """
    confidence, scored_px = SelfConfidence(classes), 0
    for one in maps:
        for window in one.strips():
            probabilities, labels = one.read(window)
            known = labels != IGNORE
            confidence.update(probabilities[:, known], labels[known])
            scored_px += int(known.sum())
    rules, found, left_out, doubted_px = _Rules(confidence.thresholds(), min_area), [], 0, 0
    for one in maps:
        kept, missed, doubted = rules.suspects(one)
        found += kept
        left_out += missed
        doubted_px += doubted
    found.sort(key=lambda one: -one.suspect.score)
    return Suspects(tuple(found), left_out, doubted_px, scored_px)


@dataclass(frozen=True)
class _Rules:
    """What makes a region a suspect."""

    thresholds: NDArray[np.float64]
    """Threshold of each class (K,)."""
    min_area: Measure
    """Least area of its doubted pixels."""

    def suspects(self, map_: ProbabilityMap) -> tuple[list[FoundSuspect], int, int]:
        """The suspects of a map, how many regions are none, and the number of doubted pixels."""
        regions, doubted_px = self._regions(map_)
        row_area, rules = merge_rules(GeneralizeSpec(min_area=self.min_area), map_.mosaic.grid)
        least = rules.min_area or 0.0
        may_do = np.flatnonzero(regions.pixels * row_area.max(initial=0) >= least)
        taken, found, givers = regions.take(may_do), [], 0
        for outline, code in zip(taken.geometry, taken.class_id.tolist(), strict=True):
            window, pair = _window_of(outline), divmod(code, len(self.thresholds))
            parts = list(_parts(_opened(_mask(outline, window)), window))
            kept = [part for part in parts if _area(part[0], self._doubted(map_, pair, *part), row_area) >= least]
            found += [self._suspect(map_, pair, *part) for part in kept]
            givers += bool(kept)
        return found, len(regions) - givers, doubted_px

    def _regions(self, map_: ProbabilityMap) -> tuple[Regions, int]:
        """The regions, whose class is label * K + likeliest class; and the number of doubted pixels."""
        classes = len(self.thresholds)
        nothing, doubted = classes * classes, 0

        def strips() -> Iterator[Strip]:
            nonlocal doubted
            for window in map_.strips():
                probabilities, labels = map_.read(window)
                doubted += int((doubted_as(probabilities, labels, self.thresholds) != IGNORE).sum())
                likeliest = probabilities.argmax(axis=0)
                differ = (labels != IGNORE) & (likeliest != labels)
                codes = np.where(differ, labels.astype(np.int32) * classes + likeliest, nothing)
                yield Strip(window.row, codes.astype(np.int32))

        return trace(strips(), map_.mosaic.width, nothing), doubted

    def _doubted(self, map_: ProbabilityMap, pair: tuple[int, int], window: Window, mask: Mask) -> Mask:
        """The pixels (h, w) of a region that are doubted as its likeliest class."""
        doubted: Mask = doubted_as(*map_.read(window), self.thresholds) == pair[1]
        return doubted & mask

    def _suspect(self, map_: ProbabilityMap, pair: tuple[int, int], window: Window, mask: Mask) -> FoundSuspect:
        mosaic, (label, likely) = map_.mosaic, pair
        probabilities, _ = map_.read(window)
        doubted, of_rows = self._doubted(map_, pair, window, mask), _rows_m2(mosaic.grid)
        place = mosaic.grid.part(window).transform
        outline, _ = next(shapes(mask.astype(np.uint8), mask, connectivity=4, transform=place))
        suspect = Suspect(
            label=label,
            predicted=likely,
            confidence=float(probabilities[likely][mask].mean()),
            self_confidence=float(probabilities[label][mask].mean()),
            score=float((probabilities[likely] - probabilities[label])[doubted].sum()),
            pixels=int(mask.sum()),
            area_m2=None if of_rows is None else _area(window, mask, of_rows),
            image=mosaic.name_of_most(window, mask),
            shape=shapely.geometry.shape(outline),
            crs=mosaic.grid.crs,
        )
        return FoundSuspect(suspect, map_, window, mask)


def _window_of(outline: Any) -> Window:
    """The bounding box of a polygon along pixel borders."""
    left, top, right, bottom = map(round, outline.bounds)
    return Window(top, left, bottom - top, right - left)


def _mask(outline: Any, window: Window) -> Mask:
    """The pixels (h, w) of a window that lie in a polygon."""
    size, corner = (window.height, window.width), Affine.translation(window.col, window.row)
    inside: Mask = rasterize([(outline, 1)], out_shape=size, transform=corner, dtype=np.uint8).astype(bool)
    return inside


def _opened(mask: Mask) -> Mask:
    """The union of all squares of WIDTH x WIDTH pixels in a mask (h, w)."""
    height, width = mask.shape
    corners = np.zeros((height + WIDTH - 1, width + WIDTH - 1), bool)  # squares, by their last row and column
    wide = np.pad(mask, WIDTH - 1)
    shifts = list(product(range(WIDTH), repeat=2))
    corners[:] = np.logical_and.reduce([wide[i : i + len(corners), j : j + corners.shape[1]] for i, j in shifts])
    opened: Mask = np.logical_or.reduce([corners[i : i + height, j : j + width] for i, j in shifts])
    return opened


def _parts(mask: Mask, window: Window) -> Iterator[tuple[Window, Mask]]:
    """The 4-connected parts of a mask: the bounding box of each, and its pixels in that."""
    corner = Affine.translation(window.col, window.row)
    for outline, _ in shapes(mask.astype(np.uint8), mask, connectivity=4, transform=corner):
        polygon = shapely.geometry.shape(outline)
        box = _window_of(polygon)
        yield box, _mask(polygon, box)


def _area(window: Window, mask: Mask, row_area: NDArray[np.float64]) -> float:
    """Area of the pixels of a mask, given that of a pixel in each row of the mosaic (H,)."""
    return float(mask.sum(axis=1) @ row_area[window.row : window.row + window.height])


def _rows_m2(grid: PixelGrid) -> NDArray[np.float64] | None:
    return row_areas_m2(grid.crs, grid.transform, grid.height, grid.width)
