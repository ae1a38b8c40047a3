"""A run's report: one HTML file with figures, curves, tables and pictures, which needs nothing but a browser.

In: scores, metrics per epoch and windows that somebody else computed. Out: the file. Knows neither networks nor
rasters, and computes no score itself: it only arranges what it is handed. The page's text and looks stand in
report.html.jinja.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geoseg.core.files import draft_of
from geoseg.core.version import __version__
from geoseg.metrics.scores import Scores
from geoseg.outputs.thumbnail import stretch
from geoseg.spec import IGNORE, ClassSpec, ModelCard

PAPER = {"light": "#ffffff", "dark": "#14191f"}
"""The page's background in either scheme."""
_LEAST_CONTRAST = 3.0
"""Of a curve against the paper, as WCAG 2.1 asks of graphics (success criterion 1.4.11)."""
_WRONG = (206, 17, 38)
_OUTLINE = (255, 225, 0)
_UNKNOWN = (90, 90, 90)
"""Colour of indexes that no class has."""
_LARGEST_SIDE = 512
"""Pixels of a picture's longer side; of larger windows only every second, third, … pixel is shown."""
_LARGEST = 1e30
"""What a curve can show; beyond it lies only a loss that has exploded, and a gap shows that as well."""
_CHART_PX, _CLASS_CHART_PX, _NAME_PX = 200, 280, 17
"""Height in CSS pixels of a small chart, of that of the classes at least, and of a class name beside it."""
Point = tuple[float, float]


@dataclass(frozen=True)
class ContextPicture:
    """What a model sees around a window, coarser."""

    caption: str
    """How much coarser, e.g. "seen 8 times coarser"."""
    image: NDArray[np.uint8]
    """(h, w, 3), see `look`."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom of the window, as shares of the picture."""


@dataclass(frozen=True)
class Example:
    """One window of validation ground."""

    name: str
    """Where it is, e.g. "tile_13476.tif, rows 0–255, columns 256–511"."""
    image: NDArray[np.uint8]
    """(H, W, 3), see `look`."""
    label: NDArray[np.uint8]
    """(H, W) class indexes, 255 where not labelled."""
    predicted: NDArray[np.uint8]
    """(H, W) class indexes."""
    miou: float
    """Its own mean IoU, 0 to 1."""
    context: tuple[ContextPicture, ...] = ()
    """What the model sees around it, level by level."""


@dataclass(frozen=True)
class Report:
    """All that stands in a report."""

    title: str
    """Heading of the page."""
    classes: Sequence[ClassSpec]
    """Classes by index."""
    scores: Scores
    """Scores on the validation ground."""
    history: Sequence[Mapping[str, float | None]]
    """One mapping per epoch with the columns of metrics.csv; empty for an evaluation."""
    best_epoch: int | None
    """Epoch that the scores belong to, counted from 1; None for an evaluation."""
    facts: Mapping[str, str]
    """What else to know, e.g. {"Training ground": "138 images, 9.0 Mpx"}."""
    settings: str
    """The resolved config as YAML; empty if there is none."""
    card: ModelCard | None
    """The model's card; only its texts are shown."""
    worst: Sequence[Example]
    """Windows with the lowest mIoU, worst first."""
    best: Sequence[Example]
    """Windows with the highest mIoU, best first."""


def write_report(report: Report, path: Path) -> None:
    """Write the report to `path`, complete or not at all.

    Raises:
        OutputError: if it cannot be written there.
    """
    page = _render(report)
    with draft_of(path) as draft:
        draft.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")  # file names may hold any bytes


def look(image: NDArray[Any], bands: Sequence[str], valid: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Make a picture of band values: red, green and blue if there are such bands, else the first three, else one grey.

    Bytes are shown as they are, everything else is stretched as in the preview, from the 2nd to the 98th percentile.

    Args:
        image: (C, H, W) band values.
        bands: name per band.
        valid: (H, W) which pixels hold data; None means all.

    Returns:
        (H, W, 3)
    """
    shown = image[_visible_bands([name.lower() for name in bands], len(image))]
    if shown.dtype != np.uint8:
        return stretch(shown, np.ones(shown.shape[1:], np.bool_) if valid is None else valid)
    return np.ascontiguousarray(np.broadcast_to(shown, (3, *shown.shape[1:])).transpose(1, 2, 0))


def _visible_bands(bands: Sequence[str], count: int) -> list[int]:
    if {"red", "green", "blue"} <= set(bands):
        return [bands.index(name) for name in ("red", "green", "blue")]
    return [0, 1, 2] if count >= 3 else [0]


@cache
def _template() -> Template:
    loader = PackageLoader("geoseg.outputs", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"score": _score, "percent": _percent}
    return environment.get_template("report.html.jinja")


def _render(report: Report) -> str:
    examples = [*report.worst, *report.best]
    return _template().render(
        report=report,
        scores=report.scores,
        headline=[one for one in report.scores.headline if one.value is not None or not one.needs_boundaries],
        columns=[one for one in report.scores.columns if _occurs(one.value) or not one.needs_boundaries],
        version=__version__,
        paper=PAPER,
        curve_colors=[{scheme: _legible(c.color, paper) for scheme, paper in PAPER.items()} for c in report.classes],
        shares=_shares(report.scores.confusion),
        matrix=[_matrix_row(row, true) for true, row in enumerate(report.scores.confusion)],
        mistakes=_mistakes(report),
        charts=_charts(report),
        class_chart=_class_chart(report),
        windows=[
            ("Worst windows", [(one, _pictures(one, report.classes)) for one in report.worst]),
            ("Best windows", [(one, _pictures(one, report.classes)) for one in report.best]),
        ],
        shown=sorted({int(i) for one in examples for ids in (one.label, one.predicted) for i in np.unique(ids)}),
    )


# Numbers


def _occurs(figures: Mapping[str, float | None]) -> bool:
    """Whether any class has a figure."""
    return any(value is not None for value in figures.values())


def _score(value: float | None) -> str:
    """A score from 0 to 1 with three digits, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage, nothing for none at all, and never zero for something."""
    if not share:
        return ""
    least = 10.0**-digits
    return f"<{least:g}" if 100 * share < least / 2 else f"{100 * share:.{digits}f}"


def _shares(confusion: Sequence[Sequence[int]]) -> list[float]:
    """Share of the labelled pixels per true class."""
    total = sum(map(sum, confusion))
    return [sum(row) / total if total else 0.0 for row in confusion]


@dataclass(frozen=True)
class _Cell:
    """One cell of the confusion matrix."""

    pixels: int
    share: float
    """Of the row, 0 to 1."""
    shade: float
    """Depth of its colour, 0 to 1: the root of the share, which keeps small shares visible."""
    hit: bool
    """Whether it is on the diagonal."""


def _matrix_row(row: Sequence[int], true: int) -> list[_Cell]:
    total = max(sum(row), 1)
    return [_Cell(n, n / total, round(math.sqrt(n / total), 3), i == true) for i, n in enumerate(row)]


@dataclass(frozen=True)
class _Mistake:
    """One class taken for another."""

    true: str
    predicted: str
    pixels: int
    share: float
    """Of the true class's pixels."""


def _mistakes(report: Report, most: int = 3) -> list[_Mistake]:
    """The commonest mistakes by pixels, the commonest first."""
    names, confusion = [c.name for c in report.classes], report.scores.confusion
    found = [
        _Mistake(names[true], names[predicted], pixels, pixels / sum(row))
        for true, row in enumerate(confusion)
        for predicted, pixels in enumerate(row)
        if pixels and true != predicted
    ]
    return sorted(found, key=lambda one: -one.pixels)[:most]


# Colours


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


def _luminance(color: Sequence[float]) -> float:
    """Relative luminance of a colour of 0 to 255, as WCAG 2.1 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Contrast ratio of two colours, 1 to 21, as WCAG 2.1 defines it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _legible(color: str, paper: str) -> str:
    """The colour, moved away from the paper no further than its contrast as a curve asks."""
    base, ground = _rgb(color), _rgb(paper)
    ink = 0 if _luminance(ground) > 0.5 else 255
    for step in range(51):
        mixed = [round(v + (ink - v) * step / 50) for v in base]
        if _contrast(mixed, ground) >= _LEAST_CONTRAST:
            break
    return "#" + bytes(mixed).hex()


# Curves: everything is placed in percent of the plot, x to the right and y downwards


@dataclass(frozen=True)
class _Axis:
    """A range of values and the distance of its ticks."""

    low: float
    high: float
    step: float

    @classmethod
    def around(cls, values: Sequence[float]) -> _Axis:
        """An axis that begins and ends at a tick and holds all values."""
        least, greatest = min(values), max(values)
        size = max(abs(least), abs(greatest))
        size = size if size > 1 / _LARGEST else 1.0
        is_flat = greatest - least <= 1e-6 * size
        step = _round_step((size if is_flat else greatest - least) / 5)
        low, high = math.floor(least / step + 1e-6) - is_flat, math.ceil(greatest / step - 1e-6) + is_flat
        return cls(max(low, 0) * step if least >= 0 else low * step, high * step, step)

    @classmethod
    def of_epochs(cls, epochs: Sequence[float]) -> _Axis:
        """An axis from the first to the last epoch, with ticks at whole epochs."""
        return cls(min(epochs), max(epochs), max(1.0, _round_step((max(epochs) - min(epochs)) / 6)))

    def at(self, value: float) -> float:
        """Where a value stands, in percent of the axis; the middle of an axis without length."""
        if self.high <= self.low:
            return 50.0
        return min(max(100 * (value - self.low) / (self.high - self.low), 0.0), 100.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Place and text of every tick."""
        first, last = math.ceil(self.low / self.step - 1e-6), math.floor(self.high / self.step + 1e-6)
        values = [n * self.step for n in range(first, last + 1)]
        return [(self.at(value), _tick_text(value, self.step)) for value in values]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def _tick_text(value: float, step: float) -> str:
    """A tick's number with just the digits that tell it from its neighbours."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if digits > 4 or abs(value) >= 1e5:
        return np.format_float_scientific(value, precision=2, trim="-", exp_digits=1) if value else "0"
    return f"{round(value, digits) + 0.0:.{digits}f}"


@dataclass(frozen=True)
class _Line:
    """One curve."""

    name: str
    css: str
    """Its class in the style sheet."""
    path: str
    """SVG path of all stretches of two epochs and more."""
    dots: str
    """SVG path of epochs with gaps on both sides: strokes without length, whose round ends are seen."""
    end: Point
    """Its last point."""
    name_at: float
    """Height of its name beside the plot, if it has one there."""


@dataclass(frozen=True)
class _Chart:
    """One diagram over the epochs."""

    title: str
    css: str
    height_px: int
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[_Line]
    best_at: float | None = None
    """Where the best epoch is on the x axis; None if it is not there."""
    best_point: tuple[float, float, str] | None = None
    """Point of the best epoch on a curve, and what to write there."""


def _charts(report: Report) -> list[_Chart]:
    """The small charts, one curve each, as far as there is something to draw."""
    charts = [
        _small_chart(report, "Validation mIoU", "miou", point=True),
        _small_chart(report, "Loss in training", "loss"),
        _small_chart(report, "Learning rate", "learning_rate"),
    ]
    return [chart for chart in charts if chart]


def _small_chart(report: Report, title: str, key: str, *, point: bool = False) -> _Chart | None:
    """One curve; with `point`, its value in the best epoch is written beside it."""
    epochs, values = _epochs(report.history), _column(report.history, key)
    if not any(map(_is_drawable, values)):
        return None
    x, y = _Axis.of_epochs(epochs), _Axis.around([value for value in values if _is_drawable(value)])
    points = _place(epochs, values, x, y)
    return _Chart(
        title=title,
        css="",
        height_px=_CHART_PX,
        x_ticks=x.ticks(),
        y_ticks=_upwards(y.ticks()),
        lines=[_draw_line(title, "only", points)],
        best_at=_best_at(report.best_epoch, x),
        best_point=_point_of(report.best_epoch, epochs, values, points) if point else None,
    )


def _class_chart(report: Report) -> _Chart | None:
    """IoU of every class, with the names beside the ends of the curves."""
    epochs, y = _epochs(report.history), _Axis(0.0, 1.0, 0.2)
    x = _Axis.of_epochs(epochs or [0.0])
    curves = [_place(epochs, _column(report.history, f"iou {c.name}"), x, y) for c in report.classes]
    lines = [_draw_line(report.classes[i].name, f"c{i}", points) for i, points in enumerate(curves) if any(points)]
    if not lines:
        return None
    height = max(_CLASS_CHART_PX, _NAME_PX * (len(lines) + 1))
    names_at = _spread([line.end[1] for line in lines], 100 * _NAME_PX / height)
    return _Chart(
        title="IoU by class",
        css="named",
        height_px=height,
        x_ticks=x.ticks(),
        y_ticks=_upwards(y.ticks()),
        lines=[replace(line, name_at=at) for line, at in zip(lines, names_at, strict=True)],
        best_at=_best_at(report.best_epoch, x),
    )


def _epochs(history: Sequence[Mapping[str, float | None]]) -> list[float]:
    return [float(line.get("epoch") or number) for number, line in enumerate(history, 1)]


def _column(history: Sequence[Mapping[str, float | None]], key: str) -> list[float]:
    """Values of a key, epoch by epoch; NaN where there is none."""
    values = (line.get(key) for line in history)
    return [math.nan if value is None else float(value) for value in values]


def _is_drawable(value: float) -> bool:
    return abs(value) < _LARGEST  # False for NaN


def _upwards(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    return [(100 - at, text) for at, text in ticks]


def _best_at(best_epoch: int | None, x: _Axis) -> float | None:
    return x.at(best_epoch) if best_epoch is not None and x.low <= best_epoch <= x.high else None


def _point_of(
    epoch: int | None, epochs: Sequence[float], values: Sequence[float], points: Sequence[Point | None]
) -> tuple[float, float, str] | None:
    """Place and text of an epoch's value; None if there is no such epoch, or a gap."""
    found = (p and (*p, f"{v:.3f}") for e, v, p in zip(epochs, values, points, strict=True) if e == epoch)
    return next(found, None)


def _place(epochs: Sequence[float], values: Sequence[float], x: _Axis, y: _Axis) -> list[Point | None]:
    """Where a curve's points are in the plot; None is a gap."""
    return [
        (x.at(epoch), 100 - y.at(value)) if _is_drawable(value) else None
        for epoch, value in zip(epochs, values, strict=True)
    ]


def _draw_line(name: str, css: str, points: Sequence[Point | None]) -> _Line:
    """Draw a curve of which at least one point is there."""
    stretches = list(_stretches(points))
    return _Line(
        name=name,
        css=css,
        path="".join(_svg_path(stretch) for stretch in stretches if len(stretch) > 1),
        dots="".join(_svg_path([*stretch, *stretch]) for stretch in stretches if len(stretch) == 1),
        end=stretches[-1][-1],
        name_at=stretches[-1][-1][1],
    )


def _stretches(points: Sequence[Point | None]) -> Iterator[list[Point]]:
    """The points between gaps."""
    stretch: list[Point] = []
    for point in points:
        if point is not None:
            stretch.append(point)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _svg_path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)


def _spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move heights apart to at least `gap`, by the least squares, and keep them within 0 to 100 if they fit there.

    With k gaps taken off the k-th lowest height this is isotonic regression, which pooling adjacent violators solves.
    """
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    pools: list[tuple[float, int]] = []  # mean and count
    for k, i in enumerate(order):
        mean, count = wanted[i] - k * gap, 1
        while pools and pools[-1][0] >= mean:
            other, others = pools.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        pools.append((mean, count))
    room = max(100 - gap * (len(wanted) - 1), 0)
    level = [min(max(mean, 0.0), room) for mean, count in pools for _ in range(count)]
    places = dict(zip(order, (place + k * gap for k, place in enumerate(level)), strict=True))
    return [places[i] for i in range(len(wanted))]


# Pictures


@dataclass(frozen=True)
class _Picture:
    """A picture inside the page."""

    caption: str
    source: str
    """The PNG as a data URL."""
    width: int
    height: int


def _pictures(example: Example, classes: Sequence[ClassSpec]) -> list[_Picture]:
    """What is seen around the window; then image, label, prediction and errors, on the same pixels."""
    step = math.ceil(max(example.label.shape) / _LARGEST_SIDE)
    image, label, predicted = (a[::step, ::step] for a in (example.image, example.label, example.predicted))
    return [
        *(_picture(one.caption, _outlined(one)) for one in example.context),
        _picture("image", Image.fromarray(np.ascontiguousarray(image))),
        _picture("label", _paint(label, classes)),
        _picture("prediction", _paint(predicted, classes)),
        _picture("errors", Image.fromarray(_mark_errors(image, label, predicted))),
    ]


def _picture(caption: str, image: Image.Image) -> _Picture:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return _Picture(caption, source, image.width, image.height)


def _outlined(context: ContextPicture) -> Image.Image:
    """A view with the outline of its window, at twice its size so that the outline hides little."""
    height, width = context.image.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(context.image)).resize((2 * width, 2 * height), Image.Resampling.BOX)
    left, top, right, bottom = (
        round(2 * share * side) for share, side in zip(context.box, (width, height) * 2, strict=True)
    )
    frame = ImageDraw.Draw(picture)
    frame.rectangle((left - 1, top - 1, max(left, right), max(top, bottom)), outline=_OUTLINE)
    return picture


def _paint(ids: NDArray[np.uint8], classes: Sequence[ClassSpec]) -> Image.Image:
    """Class indexes in the classes' colours, transparent where there is no label."""
    palette = np.full((256, 3), _UNKNOWN, np.uint8)
    palette[: len(classes)] = [_rgb(c.color) for c in classes]
    image = Image.fromarray(np.ascontiguousarray(ids))
    image.putpalette(palette.tobytes())
    image.info["transparency"] = IGNORE
    return image


def _mark_errors(image: NDArray[np.uint8], label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Wrong pixels in red over a grey picture, so pale that the red is darker than all of it for any eye: (H, W, 3)."""
    grey = 130 + image @ np.array([0.299, 0.587, 0.114]) * (125 / 255)
    picture = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    picture[(label != predicted) & (label != IGNORE)] = _WRONG
    return picture
