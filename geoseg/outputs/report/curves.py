"""Curves of a report's charts. Positions are in percent of the plot, x to the right and y downwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from geoseg.outputs.report.axis import LARGEST, ChartAxis

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
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


def is_drawable(value: float) -> bool:
    """Whether a curve can show a value."""
    return abs(value) < LARGEST  # False for NaN


def place(epochs: Sequence[float], values: Sequence[float], x: ChartAxis, y: ChartAxis) -> list[Point | None]:
    """Positions of a curve's points in the plot; None is a gap."""
    return [
        (x.at(epoch), 100 - y.at(value)) if is_drawable(value) else None
        for epoch, value in zip(epochs, values, strict=True)
    ]


def draw_line(name: str, css: str, points: Sequence[Point | None]) -> Line:
    """Draw a curve that has at least one point."""
    stretches = list(_stretches(points))
    return Line(
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


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Separate heights by at least `gap`, moving them by the least squares, within 0 to 100 if they fit.

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
