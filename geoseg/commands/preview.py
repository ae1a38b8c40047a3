"""The preview of a prediction: its picture, north up, with what is to be known of the result on it and in its text.

In: the classified scene. Out: a Pillow image, and the text chunks of its file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from affine import Affine
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from geoseg.core.version import __version__
from geoseg.geo.crs import crs_title
from geoseg.inference.assemble import Assembled
from geoseg.inference.class_shares import ClassShare
from geoseg.inference.cores import shown_bands
from geoseg.inference.job import Job
from geoseg.outputs.north_up import is_north_up, north_up
from geoseg.outputs.preview import Caption, draw_preview
from geoseg.outputs.thumbnail import NODATA_GREY, stretch
from geoseg.raster.class_raster import open_raster
from geoseg.raster.rights import Rights
from geoseg.spec import NODATA_ID

NOTICES_KEY = "geoseg:notices"
"""Keyword of the text of a preview's file that holds the notices of the run, a list as JSON."""


def draw(job: Job, assembled: Assembled, classes: Sequence[ClassShare], landcover: Path) -> Image.Image:
    """Draw the scene and its classes, given the class raster's path."""
    image, valid = assembled.thumbnail.take()
    height, width = valid.shape
    with open_raster(landcover) as raster:
        ids = raster.read(1, out_shape=(height, width))
    info, shown = job.scene.info, stretch(image, valid)
    size, scale = info.pixel_size_m, info.width / width
    side = size[0] * scale if size else None
    shrunk = info.transform @ Affine.scale(scale, info.height / height)
    if not info.transform.is_identity and not is_north_up(shrunk):
        turn = north_up(shrunk, height, width, max(height, width))
        shown, ids = turn.apply(shown, NODATA_GREY), turn.apply(ids, NODATA_ID)
        side = (size[0] * size[1]) ** 0.5 * scale * turn.scale if size else None
    shares = {c.id: c.share for c in classes}
    return draw_preview(
        shown, ids, job.model.spec.classes, shares=shares, caption=caption_of(job, assembled), pixel_size_m=side
    )


def caption_of(job: Job, assembled: Assembled) -> Caption:
    """The scene's name, its coordinate system, the model, dates, and the notices of the run."""
    facts = [crs_title(job.scene.info.crs), f"model {job.model.spec.name}"]
    if assembled.confidence is not None:
        facts.append(f"mean confidence {assembled.confidence:.0%}")
    bands = job.model.spec.bands
    if (shown := [bands[i] for i in shown_bands(bands)]) not in (["red", "green", "blue"], [bands[0]]):
        facts.append(f"picture of {', '.join(shown)}")
    if (dated := job.scene.dated()) is not None:
        facts.append(f"image of {dated:%Y-%m-%d}")
    facts.append(f"classified {datetime.now(UTC):%Y-%m-%d} by geoseg {__version__}")
    return Caption(job.scene.info.name, tuple(facts), job.notices)


def text_of(job: Job) -> PngInfo:
    """Title, software, licence and notices as text of the file, which GDAL and exiftool show."""
    text, rights = PngInfo(), Rights.of(job.model.spec)
    text.add_text("Title", f"Land cover of {job.scene.info.name}")
    text.add_text("Software", f"geoseg {__version__}")
    text.add_text("Description", f"classified with {job.model.spec.name}")
    if rights.statement:
        text.add_text("Copyright", rights.statement)
    if job.notices:
        text.add_text("Comment", "\n".join(job.notices))
        text.add_text(NOTICES_KEY, json.dumps(job.notices, ensure_ascii=False))
    return text
