"""A dense CRF over a scene whose tile rows are finished: the classes that it finds replace those of the windows.

In: the logits of all pixels, assembled from the work folder. Out: rasters of classes, and of their probabilities where
they are wanted. Nothing is changed that a resumed run needs: a run that is stopped here begins this step anew.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import rasterio
import torch

from geoseg.core.events import Reporter, Stage
from geoseg.geo.grid import Window
from geoseg.inference.assemble import Assembled, with_confidence
from geoseg.inference.cores import Pixels, raster_formats
from geoseg.inference.crf import Crf
from geoseg.inference.decide import decide
from geoseg.inference.job import Job
from geoseg.inference.mean_field import Floats
from geoseg.inference.tally import paint
from geoseg.outputs.geotiff import Part, PartRaster, write_mosaic
from geoseg.raster.reading import to_rasterio


def apply_crf(job: Job, crf: Crf, assembled: Assembled, reporter: Reporter) -> Assembled:
    """Decide the pixels of a scene by a CRF.

    Args:
        job: scene, model and settings.
        crf: the CRF of these settings.
        assembled: the scene's logits.
        reporter: gets the progress of `crf` in pixels.

    Raises:
        OutputError: if a file cannot be written.
    """
    info, formats, folder = job.scene.info, raster_formats(job), assembled.rasters["logits"].parent
    ids = np.array([c.id for c in job.model.spec.classes], np.uint8)
    counts, percent_sum = np.zeros_like(assembled.counts), 0
    stage = Stage(reporter, "crf", info.pixels)
    stage.advance()
    with ExitStack() as stack:
        logits = stack.enter_context(rasterio.open(assembled.rasters["logits"]))

        def read_logits(window: Window) -> Floats:
            found: Floats = logits.read(window=to_rasterio(window))
            return found

        size = info.height, info.width
        files = {kind: PartRaster(folder / f"crf.{kind}.tif", size, formats[kind]) for kind in formats}
        for file in files.values():
            stack.enter_context(file)
        for block in crf.blocks(job.bands, read_logits):
            window, valid = block.window, block.valid
            pixels = Pixels.of(decide(torch.from_numpy(block.logits), job.wanted), window, valid)
            classes, found = paint(pixels.index, valid, ids)
            counts[window.row : window.row + window.height] += found
            files["landcover"].write(window, classes)
            if pixels.percent is not None:
                percent_sum += int(pixels.percent.sum(where=valid, dtype=np.int64))
            for kind, values in pixels.rasters().items():
                if kind in files:
                    files[kind].write(window, formats[kind].blanked(values, valid))
            stage.advance(window.pixels)
    formats, confidence = with_confidence(formats, counts, percent_sum)
    rasters = {kind: folder / f"{kind}.vrt" for kind in formats}
    for kind, path in rasters.items():
        write_mosaic(path, info, formats[kind], [Part(files[kind].path, 0, info.height)])
    return replace(assembled, rasters=rasters, formats=formats, counts=counts, confidence=confidence)
