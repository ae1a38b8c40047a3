"""The preview of a result: the image, its classes over it, a legend, a scale bar, and what is to be known of it.

In: small arrays, an image and class ids of at most about a thousand pixels a side. Out: a Pillow image. Knows neither
files, projections nor networks.
"""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from geoseg.outputs.thumbnail import NODATA_GREY

RGB: TypeAlias = tuple[int, int, int]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_PAPER: RGB = (255, 255, 255)
_INK: RGB = (31, 41, 51)
_MUTED: RGB = (86, 99, 112)
_UNKNOWN: RGB = (90, 90, 90)
_OPACITY = 0.6
_SPELT = str.maketrans({"×": "x", "–": "-", "→": "->", "μ": "u", "µ": "u", "ø": "o", "ß": "ss", "æ": "ae", "ł": "l"})
"""Letters and signs that Pillow's font lacks, and that are no letter with an accent."""
_SMALLEST_SIDE = 400
"""Pixels that the longer side of a panel has at least; smaller scenes are enlarged by a whole number."""
_SMALLEST_WIDTH = 640
"""Pixels of content width at least, so that the legend of a very narrow scene can be read."""
_ELONGATED = 1.6
"""Side ratio beyond which a tall scene gets its legend beside it, and a wide one its panels stacked."""


class PreviewClass(Protocol):
    """A class as the legend needs it; `ClassSpec` is one."""

    @property
    def id(self) -> int:
        """Class id in the raster."""

    @property
    def name(self) -> str:
        """Name shown in the legend."""

    @property
    def color(self) -> str:
        """Colour as ``#rrggbb``."""


@dataclass(frozen=True)
class Caption:
    """What is written on a preview."""

    title: str
    """Usually the scene's name."""
    facts: tuple[str, ...] = ()
    """Coordinate system, model, dates and the like, a few words each."""
    notices: tuple[str, ...] = ()
    """Sentences on what may be wrong with the result."""


def draw_preview(
    image: NDArray[np.uint8],
    ids: NDArray[np.uint8],
    classes: Sequence[PreviewClass],
    *,
    shares: Mapping[int, float],
    caption: Caption,
    pixel_size_m: float | None,
    nodata: int = 255,
) -> Image.Image:
    """Draw the image, the image with the classes over it, a legend with shares, a scale bar, and the caption.

    Args:
        image: (h, w, 3), see ``stretch``.
        ids: (h, w) class ids on the same pixels.
        classes: Legend entries, in this order.
        shares: Share of each class id, 0 to 1; a missing class counts as 0.
        caption: Its title stands above, its facts and notices below.
        pixel_size_m: Metres on the ground per pixel of ``image``; None where it is not known.
        nodata: Id of pixels without a class.
    """
    height, width = ids.shape
    tall, wide = height > _ELONGATED * width, width > _ELONGATED * height
    zoom = max(1, math.ceil((_SMALLEST_WIDTH if wide else _SMALLEST_SIDE) / max(height, width)))
    plain = Image.fromarray(_enlarge(image, zoom))
    painted = Image.fromarray(_paint_classes(_enlarge(image, zoom), _enlarge(ids, zoom), classes, nodata))
    gap = max(8, max(plain.size) // 80)
    panels = _arrange([plain, painted], gap, downwards=wide)
    content_width = max(panels.width, _SMALLEST_WIDTH)
    type_ = _Typography.for_width(max(content_width, panels.height * 3 // 4))
    entries = [_Entry.of(one, shares.get(one.id, 0.0)) for one in classes]
    scale = _scale_bar(pixel_size_m / zoom if pixel_size_m else None, content_width // 4, type_)

    if tall:
        columns = math.ceil(len(entries) * type_.line / max(1, panels.height - 4 * type_.line)) if entries else 1
        side = _arrange([_legend(entries, columns, None, type_), scale], type_.line, downwards=True)
        body = _arrange([panels, side], 2 * gap, downwards=False)
        content_width = max(content_width, body.width)
    else:
        legend = _legend(entries, None, content_width, type_)
        body = _arrange([panels, scale, legend], type_.line * 2 // 3, downwards=True)
    pieces = [_title(caption.title, content_width, type_), body]
    if caption.facts or caption.notices:
        pieces.append(_footer(caption, max(content_width, body.width), type_))
    page = _arrange(pieces, type_.line // 2, downwards=True)
    return _with_margin(page, content_width, max(16, type_.line))


def _enlarge(array: NDArray[np.uint8], zoom: int) -> NDArray[np.uint8]:
    """Repeat rows and columns (nearest neighbour), so that single pixels of tiny scenes are visible."""
    return array if zoom == 1 else array.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _paint_classes(
    image: NDArray[np.uint8], ids: NDArray[np.uint8], classes: Sequence[PreviewClass], nodata: int
) -> NDArray[np.uint8]:
    """Blend the classes' colours over the image, with opaque borders: (h, w, 3)."""
    palette = np.full((256, 3), _UNKNOWN, np.float32)
    for one in classes:
        palette[one.id] = ImageColor.getrgb(one.color)[:3]
    colours = palette[ids]  # (h, w, 3)
    opacity = np.where(_class_borders(ids), 1.0, _OPACITY).astype(np.float32)[..., None]
    painted = np.rint(image * (1 - opacity) + colours * opacity).astype(np.uint8)
    painted[ids == nodata] = NODATA_GREY
    return painted


def _class_borders(ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mask (h, w) of pixels whose right or lower neighbour has another class: lines one pixel thin."""
    borders = np.zeros(ids.shape, np.bool_)
    borders[:-1] |= ids[:-1] != ids[1:]
    borders[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    return borders


@dataclass(frozen=True)
class _Typography:
    """Fonts and line height that fit a page's width."""

    text: Font
    title: Font
    line: int
    """Pixels from one legend line to the next."""

    @classmethod
    def for_width(cls, width: int) -> "_Typography":
        size = min(30, max(14, width // 72))
        return cls(ImageFont.load_default(size), ImageFont.load_default(size * 1.35), round(size * 1.65))


@dataclass(frozen=True)
class _Entry:
    """One line of the legend."""

    name: str
    color: RGB
    share: float

    @classmethod
    def of(cls, one: PreviewClass, share: float) -> "_Entry":
        red, green, blue = ImageColor.getrgb(one.color)[:3]
        return cls(_one_line(one.name), (red, green, blue), share)


def _one_line(text: str) -> str:
    """Text without line breaks, which Pillow refuses to measure, in letters that its font has: ä is a, × is x."""
    plain = unicodedata.normalize("NFKD", text.translate(_SPELT))
    return " ".join("".join(letter for letter in plain if not unicodedata.combining(letter)).split())


def _percent(share: float) -> str:
    """A share for the legend: ``12.3 %``, and never ``0.0 %`` for a class that is there."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{share * 100:.1f} %"


def _round_length(longest: float) -> float:
    """Greatest of 1, 2, 5 times a power of ten that is at most ``longest``."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))


def _length_label(metres: float) -> str:
    """A length in the unit that keeps its number short: ``500 m``, ``2 km``, ``5 cm``."""
    if metres >= 1000:
        return f"{metres / 1000:,.0f} km"
    if metres >= 1:
        return f"{metres:.0f} m"
    return f"{metres * 100:g} cm"


def _shorten(text: str, font: Font, width: float) -> str:
    """The text, cut to ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 1 and font.getlength(text[:kept].rstrip() + "...") > width:
        kept -= 1
    return text[:kept].rstrip() + "..."


def _blank(width: float, height: float) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty image of a size in pixels, and an object to draw on it."""
    piece = Image.new("RGB", (max(1, math.ceil(width)), max(1, math.ceil(height))), _PAPER)
    return piece, ImageDraw.Draw(piece)


def _title(title: str, width: int, type_: _Typography) -> Image.Image:
    """The title, on one line."""
    piece, draw = _blank(width, type_.line * 1.35)
    text = _shorten(_one_line(title), type_.title, width)
    draw.text((0, piece.height // 2), text, fill=_INK, font=type_.title, anchor="lm")
    return piece


def _footer(caption: Caption, width: int, type_: _Typography) -> Image.Image:
    """Facts on muted lines, then notices, under a thin line."""
    facts = [(line, _MUTED) for line in _wrapped(" · ".join(map(_one_line, caption.facts)), type_.text, width)]
    notices = [
        (line, _INK) for notice in caption.notices for line in _wrapped(f"Note: {_one_line(notice)}", type_.text, width)
    ]
    lines = facts + notices
    piece, draw = _blank(width, (len(lines) + 0.5) * type_.line)
    draw.line((0, 0, width, 0), fill=_MUTED, width=max(1, type_.line // 24))
    for index, (line, ink) in enumerate(lines):
        draw.text((0, (index + 1) * type_.line), line, fill=ink, font=type_.text, anchor="lm")
    return piece


def _wrapped(text: str, font: Font, width: float) -> list[str]:
    """The text on lines of at most `width` pixels, broken between words; a longer word is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(_shorten(word, font, width))
    return lines


def _scale_bar(pixel_size_m: float | None, longest: int, type_: _Typography) -> Image.Image:
    """A bar of a round length, at most ``longest`` pixels long, with its length written behind it."""
    if pixel_size_m is None or not 0 < pixel_size_m < math.inf:
        return _note("no ground scale", type_)
    metres = _round_length(longest * pixel_size_m)
    bar = max(1, round(metres / pixel_size_m))
    label = _length_label(metres)
    piece, draw = _blank(bar + type_.line + type_.text.getlength(label), type_.line)
    middle, tick, stroke = type_.line // 2, type_.line // 5, max(2, type_.line // 14)
    draw.line((0, middle, bar - 1, middle), fill=_INK, width=stroke)
    for end in (0, bar - stroke):
        draw.rectangle((end, middle - tick, end + stroke - 1, middle + tick), fill=_INK)
    draw.text((bar + type_.line // 2, middle), label, fill=_INK, font=type_.text, anchor="lm")
    return piece


def _note(text: str, type_: _Typography) -> Image.Image:
    """A muted line of text."""
    piece, draw = _blank(type_.text.getlength(text) + 2, type_.line)
    draw.text((0, type_.line // 2), text, fill=_MUTED, font=type_.text, anchor="lm")
    return piece


def _legend(entries: Sequence[_Entry], columns: int | None, width: int | None, type_: _Typography) -> Image.Image:
    """Swatches, names and shares in columns under a bar of the shares.

    Args:
        entries: Legend lines, filled in column by column.
        columns: How many columns; None for as many as ``width`` holds.
        width: Pixels to use; None for as many as ``columns`` need.
        type_: Fonts.
    """
    if not entries:
        return _note("no classes", type_)
    gap = 2 * type_.line
    column = _column_width(entries, type_, limit=width)
    columns = columns or max(1, (width or column) // (column + gap) if width != column else 1)
    rows = math.ceil(len(entries) / columns)
    columns = math.ceil(len(entries) / rows)
    bar = _share_bar(entries, width or columns * (column + gap) - gap, type_)
    grid, _ = _blank(bar.width, rows * type_.line)
    for index, entry in enumerate(entries):
        line = _legend_line(entry, column, type_)
        grid.paste(line, (index // rows * (column + gap), index % rows * type_.line))
    return _arrange([bar, grid], type_.line // 3, downwards=True)


def _column_width(entries: Sequence[_Entry], type_: _Typography, limit: int | None) -> int:
    """Pixels that the longest legend line needs, at most 24 letters' worth of name and at most ``limit``."""
    longest_name = max(type_.text.getlength(entry.name) for entry in entries)
    name = min(longest_name, type_.text.getlength("n" * 24))
    wanted = math.ceil(1.3 * type_.line + name + 0.7 * type_.line + type_.text.getlength("100.0 %"))
    return min(wanted, limit) if limit else wanted


def _legend_line(entry: _Entry, width: int, type_: _Typography) -> Image.Image:
    """Swatch, name, and the share at the right; a class that is not there is muted."""
    piece, draw = _blank(width, type_.line)
    middle, swatch = type_.line // 2, round(type_.line * 0.6)
    top = (type_.line - swatch) // 2
    draw.rectangle((0, top, swatch * 1.35, top + swatch), fill=entry.color)
    share, ink = _percent(entry.share), _INK if entry.share > 0 else _MUTED
    start = round(1.3 * type_.line)
    room = width - start - type_.line // 2 - type_.text.getlength(share)
    draw.text((start, middle), _shorten(entry.name, type_.text, room), fill=ink, font=type_.text, anchor="lm")
    draw.text((width, middle), share, fill=ink, font=type_.text, anchor="rm")
    return piece


def _share_bar(entries: Sequence[_Entry], width: int, type_: _Typography) -> Image.Image:
    """All classes on one bar, as long as their shares."""
    piece, draw = _blank(width, max(6, type_.line // 3))
    draw.rectangle((0, 0, width, piece.height), fill=NODATA_GREY)
    start = 0.0
    for entry in entries:
        end = start + entry.share * width
        if round(end) > round(start):
            draw.rectangle((round(start), 0, round(end) - 1, piece.height), fill=entry.color)
        start = end
    return piece


def _arrange(pieces: Sequence[Image.Image], gap: int, *, downwards: bool) -> Image.Image:
    """Join images below one another, or side by side, aligned at the upper left."""
    widths, heights = [piece.width for piece in pieces], [piece.height for piece in pieces]
    gaps = gap * (len(pieces) - 1)
    size = (max(widths), sum(heights) + gaps) if downwards else (sum(widths) + gaps, max(heights))
    page, _ = _blank(*size)
    at = 0
    for piece in pieces:
        page.paste(piece, (0, at) if downwards else (at, 0))
        at += (piece.height if downwards else piece.width) + gap
    return page


def _with_margin(page: Image.Image, width: int, margin: int) -> Image.Image:
    """The page on white paper, at least ``width`` pixels wide between its margins."""
    paper, _ = _blank(max(page.width, width) + 2 * margin, page.height + 2 * margin)
    paper.paste(page, (margin, margin))
    return paper
