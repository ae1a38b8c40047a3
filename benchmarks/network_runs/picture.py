"""A picture of accuracy against speed, as SVG: a named dot for each network. Speed is on a logarithmic axis.

In: dots. Out: the text of an SVG file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from geoseg.outputs.report.axis import ChartAxis

WIDTH, HEIGHT = 960, 640
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 20, 52
LETTER_PX, BOLD_PX, LINE_PX, RADIUS = 6.2, 7.2, 13, 4
NEAR = (8, 16, 28, 42, 60)
"""Distances of a name from its dot, in pixels, the first that is free being taken."""
DIRECTIONS = ((1, 0), (0, -1), (0, 1), (-1, 0), (1, -1), (1, 1), (-1, -1), (-1, 1))
STYLE = (
    "text{font:11px sans-serif;fill:#222}.title{font-size:13px}.grid{stroke:#ddd}.leader{stroke:#999;stroke-width:.7}"
    ".dot{fill:#7aa6c2}.bold{fill:#c2410c}.span{stroke:#c2410c;stroke-width:1.5}.named{font-weight:bold}"
)


@dataclass(frozen=True)
class Dot:
    """A network in the picture."""

    name: str
    speed: float
    """Megapixels a second."""
    score: float
    """Mean of its runs."""
    least: float
    """Least of its runs."""
    most: float
    """Greatest of its runs."""
    is_bold: bool
    """Whether it stands out."""

    @property
    def width(self) -> float:
        """Width of its name, in pixels."""
        return (BOLD_PX if self.is_bold else LETTER_PX) * len(self.name) + 2


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: _Box) -> bool:
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)


@dataclass(frozen=True)
class _Plot:
    x: ChartAxis
    """Logarithms of speeds to the base of 10."""
    y: ChartAxis

    def place(self, speed: float, score: float) -> tuple[float, float]:
        across = LEFT + self.x.at(math.log10(speed)) / 100 * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - self.y.at(score) / 100 * (HEIGHT - TOP - BOTTOM)


def draw(dots: Sequence[Dot], x_title: str, y_title: str) -> str:
    """The picture; dots that are bold have their runs' range drawn."""
    logs = [math.log10(one.speed) for one in dots]
    scores = ChartAxis.spanning([score for one in dots for score in (one.least, one.most)])
    plot = _Plot(ChartAxis(min(logs) - 0.05, max(logs) + 0.12, 1), scores)
    parts = [*_axes(plot, x_title, y_title), *_marks(plot, dots), *_names(plot, dots)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    title = f"<title>{escape(y_title)} against {escape(x_title)}</title>"
    paper = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    return "\n".join([head, title, f"<style>{STYLE}</style>", paper, *parts, "</svg>"]) + "\n"


def _axes(plot: _Plot, x_title: str, y_title: str) -> Iterator[str]:
    for value in _round_speeds(10**plot.x.low, 10**plot.x.high):
        x = plot.place(value, plot.y.low)[0]
        yield f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>'
        yield _text(x, HEIGHT - BOTTOM + 16, f"{value:g}", anchor="middle")
    for at, text in plot.y.ticks():
        y = HEIGHT - BOTTOM - at / 100 * (HEIGHT - TOP - BOTTOM)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        yield _text(LEFT - 6, y + 4, text, anchor="end")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_title, anchor="middle", css="title")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'class="title" text-anchor="middle" transform="rotate(-90 16 {middle})"'
    yield f'<text x="16" y="{middle}" {turned}>{escape(y_title)}</text>'


def _round_speeds(least: float, most: float) -> list[float]:
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    return [step * 10.0**power for power in powers for step in (1, 2, 5) if least <= step * 10.0**power <= most]


def _marks(plot: _Plot, dots: Sequence[Dot]) -> Iterator[str]:
    for one in dots:
        x, y = plot.place(one.speed, one.score)
        if one.is_bold:
            low, high = plot.place(one.speed, one.least)[1], plot.place(one.speed, one.most)[1]
            yield f'<line class="span" x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>'
        yield f'<circle class="{"bold" if one.is_bold else "dot"}" cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"/>'


def _names(plot: _Plot, dots: Sequence[Dot]) -> Iterator[str]:
    """Names beside the dots, none across another name or dot; a line leads to one that is far."""
    centres = {one.name: plot.place(one.speed, one.score) for one in dots}
    taken = [_marked(plot, one) for one in dots]
    for one in sorted(dots, key=lambda dot: not dot.is_bold):
        x, y = centres[one.name]
        box, gap = next(
            ((box, gap) for gap in NEAR for box in _places(one.width, x, y, gap) if not any(map(box.overlaps, taken))),
            (_Box(x + RADIUS, y - LINE_PX, x + RADIUS + one.width, y), NEAR[0]),
        )
        taken.append(box)
        if gap > NEAR[0]:
            end_x, end_y = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
            yield f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" x2="{end_x:.1f}" y2="{end_y:.1f}"/>'
        yield _text(box.left + 1, box.bottom - 3, one.name, css="named" if one.is_bold else "")


def _marked(plot: _Plot, dot: Dot) -> _Box:
    """What a dot and the range of its runs cover."""
    x, y = plot.place(dot.speed, dot.score)
    high, low = plot.place(dot.speed, dot.most)[1], plot.place(dot.speed, dot.least)[1]
    return _Box(x - RADIUS, min(y - RADIUS, high), x + RADIUS, max(y + RADIUS, low))


def _places(width: float, x: float, y: float, gap: float) -> Iterator[_Box]:
    for across, down in DIRECTIONS:
        left = x + across * gap - width * (1 - across) / 2
        top = y + down * gap - LINE_PX * (1 - down) / 2
        box = _Box(left, top, left + width, top + LINE_PX)
        if box.left >= LEFT and box.right <= WIDTH - 2 and box.top >= 0 and box.bottom <= HEIGHT - BOTTOM:
            yield box


def _text(x: float, y: float, text: str, anchor: str = "start", css: str = "") -> str:
    named = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'
