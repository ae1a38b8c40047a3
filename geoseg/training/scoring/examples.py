"""The windows with the worst and the best predictions, for a report.

In: scored windows, and a function that classifies them. Out: pictures of a few, with their labels and predictions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Window
from geoseg.outputs.report.contents import ContextPicture, Example
from geoseg.outputs.report.pictures import look
from geoseg.spec import IGNORE
from geoseg.training.scoring.score_windows import Predict
from geoseg.training.scoring.scored_batch import ScoredWindow, stack_scored
from geoseg.training.scoring.scored_windows import ScoredWindows

SHOWN_PX = 512
"""Largest side of an example in pixels; larger windows are cropped to the median of their labelled pixels."""
LEAST_LABELLED = 0.05
"""Least share of an example's pixels that must be labelled."""
CANDIDATES = 32
"""Windows, spread evenly, among which those with the most classes are chosen."""


def find_examples(
    predict: Predict, windows: ScoredWindows, bands: Sequence[str], count: int
) -> tuple[list[Example], list[Example]]:
    """The windows with the lowest and with the highest mIoU, at most `count` of each, and none twice.

    These are classified a second time: examples of all windows would not fit into memory.
    """
    ranked = []
    for index in (index for index, (_, place) in enumerate(windows.places) if place.core.pixels):
        example = show_window(predict, windows, index, bands)
        if (example.label != IGNORE).mean() >= LEAST_LABELLED:
            ranked.append((example.miou, index))
    ranked.sort()
    best = ranked[max(len(ranked) - count, (len(ranked) + 1) // 2) :]
    worst = ranked[: min(count, len(ranked) - len(best))]
    shown = [[show_window(predict, windows, index, bands) for _, index in some] for some in (worst, best[::-1])]
    return shown[0], shown[1]


def varied_windows(windows: ScoredWindows, count: int) -> list[int]:
    """Indexes of at most `count` windows whose labels show many classes, in ascending order; the same at every call."""
    spread = np.unique(np.linspace(0, len(windows) - 1, min(CANDIDATES, len(windows))).round().astype(int)).tolist()
    shown = {index: _labels_in(windows[index]) for index in spread}
    return sorted(sorted(spread, key=lambda index: shown[index], reverse=True)[:count])


def _labels_in(item: ScoredWindow) -> tuple[int, int]:
    """Number of classes and number of pixels of the labels that are scored with a window."""
    found = item.labels[item.counted & (item.labels != IGNORE)]
    return len(np.unique(found)), len(found)


def show_window(predict: Predict, windows: ScoredWindows, index: int, bands: Sequence[str]) -> Example:
    """One window, with its prediction."""
    item = windows[index]
    batch = stack_scored([item])
    predicted = predict(batch)[0].argmax(dim=0).cpu().numpy().astype(np.uint8)
    part = _part_to_show(item)
    image, label, predicted = item.image[:, *part], item.labels[part], predicted[part]
    label = np.where(item.counted[part], label, IGNORE).astype(np.uint8)
    context = _context_pictures(windows, index, part, bands)
    return Example(windows.name_of(index), look(image, bands), label, predicted, _miou(predicted, label), context)


def _context_pictures(
    windows: ScoredWindows, index: int, part: tuple[slice, slice], bands: Sequence[str]
) -> tuple[ContextPicture, ...]:
    """Pictures of each level's view, with the shown part of a window marked."""
    if not windows.view.pyramids:
        return ()
    which, place = windows.places[index]
    rows, cols = part
    shown = Window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
    shown = shown.shift(place.window.row, place.window.col)
    pyramid, pictures = windows.view.pyramids[which], []
    for level, grid in enumerate(pyramid.grids):
        part_of_level = windows.view.shown(grid, place.window, shown)
        view = pyramid.read(level, part_of_level)
        ratio = grid.level.ratio
        caption = "whole scene" if ratio == "scene" else f"seen {ratio} times coarser"
        left, top, right, bottom = map(float, grid.box(shown, part_of_level))
        pictures.append(ContextPicture(caption, look(view[:-1], bands, view[-1] > 0), (left, top, right, bottom)))
    return tuple(pictures)


def _part_to_show(item: ScoredWindow) -> tuple[slice, slice]:
    """Rows and columns of the scored pixels of a window; of large windows a part about the median of the labels."""
    rows, cols = np.nonzero(item.counted)
    labelled = np.nonzero(item.counted & (item.labels != IGNORE))
    return _span(rows, labelled[0]), _span(cols, labelled[1])


def _span(counted: NDArray[np.intp], labelled: NDArray[np.intp]) -> slice:
    first, last = int(counted.min()), int(counted.max()) + 1
    if last - first <= SHOWN_PX:
        return slice(first, last)
    middle = int(np.median(labelled)) if len(labelled) else (first + last) // 2
    start = min(max(first, middle - SHOWN_PX // 2), last - SHOWN_PX)
    return slice(start, start + SHOWN_PX)


def _miou(predicted: NDArray[np.uint8], label: NDArray[np.uint8]) -> float:
    """Mean IoU over the classes among a window's labels: a single pixel of another class must not decide the order."""
    known = label != IGNORE
    pairs = [(predicted[known] == index, label[known] == index) for index in np.unique(label[known])]
    return float(np.mean([(found & true).sum() / (found | true).sum() for found, true in pairs])) if pairs else 0.0
