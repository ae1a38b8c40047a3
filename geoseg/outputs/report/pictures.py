"""Pictures of a report: band values for display, and windows with labels, predictions and errors."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geoseg.outputs.report.colours import rgb
from geoseg.outputs.report.contents import ContextPicture, Example, SuspectPicture
from geoseg.outputs.thumbnail import stretch
from geoseg.spec import IGNORE, ClassSpec

_WRONG = (206, 17, 38)
_OUTLINE = (255, 225, 0)
_UNKNOWN = (90, 90, 90)
"""Colour of indexes that no class has."""
_LARGEST_SIDE = 512
"""Most pixels of a picture's longer side; larger windows are shown with every second, third, … pixel."""


def look(image: NDArray[Any], bands: Sequence[str], valid: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """A picture of band values: of red, green and blue if there are such bands, else of the first three, else grey.

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


@dataclass(frozen=True)
class Picture:
    """A picture inside the page."""

    caption: str
    source: str
    """The PNG as a data URL."""
    width: int
    height: int


def pictures(example: Example, classes: Sequence[ClassSpec]) -> list[Picture]:
    """Views of the window's surroundings; then image, label, prediction and errors, on the same pixels."""
    step = math.ceil(max(example.label.shape) / _LARGEST_SIDE)
    image, label, predicted = (a[::step, ::step] for a in (example.image, example.label, example.predicted))
    return [
        *(_picture(one.caption, _outlined(one)) for one in example.context),
        _picture("image", Image.fromarray(np.ascontiguousarray(image))),
        _picture("label", _paint(label, classes)),
        _picture("prediction", _paint(predicted, classes)),
        _picture("errors", Image.fromarray(_mark_errors(image, label, predicted))),
    ]


def suspect_pictures(shown: SuspectPicture, classes: Sequence[ClassSpec]) -> list[Picture]:
    """Image, label, prediction, and the area in question, on the same pixels."""
    nowhere = np.zeros_like(shown.label)
    return [
        _picture("image", Image.fromarray(np.ascontiguousarray(shown.image))),
        _picture("label", _paint(shown.label, classes)),
        _picture("prediction", _paint(shown.predicted, classes)),
        _picture("in question", Image.fromarray(_mark_errors(shown.image, nowhere, shown.marked.astype(np.uint8)))),
    ]


def side_by_side(example: Example, classes: Sequence[ClassSpec], side: int) -> NDArray[np.uint8]:
    """Image, label and prediction on the same pixels, each at most `side` pixels wide and high: (h, 3 w + 8, 3).

    Pixels without a label are black.
    """
    step = math.ceil(max(example.label.shape) / side)
    image, label, predicted = (a[::step, ::step] for a in (example.image, example.label, example.predicted))
    gap = np.full((len(image), 4, 3), 255, np.uint8)
    colors = _palette(classes)
    colors[IGNORE] = 0
    return np.hstack([image, gap, colors[label], gap, colors[predicted]])


def _picture(caption: str, image: Image.Image) -> Picture:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return Picture(caption, source, image.width, image.height)


def _outlined(context: ContextPicture) -> Image.Image:
    """A view with the outline of its window, enlarged twice so that the outline hides little."""
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
    image = Image.fromarray(np.ascontiguousarray(ids))
    image.putpalette(_palette(classes).tobytes())
    image.info["transparency"] = IGNORE
    return image


def _palette(classes: Sequence[ClassSpec]) -> NDArray[np.uint8]:
    """Colour of every class index (256, 3)."""
    palette = np.full((256, 3), _UNKNOWN, np.uint8)
    palette[: len(classes)] = [rgb(c.color) for c in classes]
    return palette


def _mark_errors(image: NDArray[np.uint8], label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Wrong pixels in red over a grey picture, so pale that the red is darker than all of it for any eye: (H, W, 3)."""
    grey = 130 + image @ np.array([0.299, 0.587, 0.114]) * (125 / 255)
    picture = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    picture[(label != predicted) & (label != IGNORE)] = _WRONG
    return picture
