"""A composite scene at another ground resolution, each of its files resampled once.

In: bands of a composite scene, and the size of the resampled raster. Out: its windows. Bands of larger pixels
than the scene's would be blurred if they were interpolated to the scene's grid first and averaged again afterwards.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from affine import Affine

from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.composites.alignment import Alignment, AxisAlignment
from geoseg.raster.resample import ResampledScene
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import Mask, Values


def resampled(scene: SceneBands, height: int, width: int) -> ResampledScene:
    """A scene resampled to height × width pixels, from its files directly where these lie on several grids."""
    if scene.fill is not None or not scene.scene.dataset.resamples(scene.bands):
        return ResampledScene(scene, height, width)
    own = scene.scene.grid
    scale = Affine.scale(own.width / width, own.height / height)
    grid = PixelGrid(height, width, own.transform @ scale, own.crs)
    info = replace(scene.info, height=height, width=width, transform=grid.transform)
    coarse = replace(scene.scene, dataset=scene.scene.dataset.on_grid(grid), info=info, area=None)
    return RegriddedScene(scene, replace(scene, scene=coarse))


class RegriddedScene(ResampledScene):
    """A scene resampled from the files of its bands."""

    def __init__(self, scene: SceneBands, resampled: SceneBands):
        super().__init__(scene, resampled.height, resampled.width)
        self._native, self._resampled = scene, resampled
        rows = AxisAlignment(0.0, scene.height / resampled.height, scene.height)
        self._alignment = Alignment(rows, AxisAlignment(0.0, scene.width / resampled.width, scene.width))

    def _read_piece(self, window: Window) -> tuple[Values, Mask]:
        """Read a piece; pixels of which no part lies in the area of interest hold no data."""
        image, valid = self._resampled.read(window)
        area = self._native.scene.area
        if area is None or area.shape is None:
            return image, valid
        native = self._alignment.needed(window)
        inside = area.mask(self._native.scene.in_file(native))
        return image, valid & self._alignment.resample(np.empty((0, *inside.shape)), inside, window)[1]
