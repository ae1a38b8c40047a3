"""Selected bands of a scene, read window by window: values as a model takes them, and masks of valid pixels.

In: an open scene, band numbers, nodata values, the wanted scaling. Out: band values (C, h, w), and masks (h, w), true
where pixels hold data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from rasterio.errors import RasterioError

from geoseg.geo.grid import Window
from geoseg.raster.bands.matching import HIGHEST
from geoseg.raster.fill import Fill, find_fill, frame_windows, trace_fill
from geoseg.raster.reading import open_dataset
from geoseg.raster.scaling import Change, Rescaling, conversion
from geoseg.raster.scene import Scene, read_errors
from geoseg.raster.scene_info import SceneInfo
from geoseg.raster.validity import Mask, Validity, Values, spread_windows
from geoseg.spec import ScalingSpec

SMOOTH_OVERVIEWS = {"AVERAGE", "BILINEAR", "CUBIC", "CUBICSPLINE", "LANCZOS"}
"""Resampling methods of overviews that may replace averages: NEAREST shifts features, MODE drops small ones."""
_READ_AT_ONCE_PX = 2**16
"""Pixels of a scene that is read as a whole to be examined: the many small reads of its parts would take longer."""
_LOSSY = "JPEG", "WEBP", "JXL", "LERC"
"""Parts of the names of compressions that change values: YCbCr JPEG, OJPEG, LERC_ZSTD, ..."""
_LOSSY_DRIVERS = {"JPEG", "WEBP", "JP2OPENJPEG", "JP2KAK", "JP2ECW", "JP2MRSID", "ECW", "MRSID", "JPEGXL"}
"""Formats whose compression may change values slightly."""


@dataclass(frozen=True)
class SceneBands:
    """Some bands of an open scene, read from the scene's file."""

    scene: Scene
    """The scene."""
    bands: tuple[int, ...]
    """Their numbers, from 1."""
    nodata: tuple[float | None, ...]
    """Value that marks missing data, per band."""
    change: Change | None = None
    """Conversion of valid values; None for none."""
    fill: Fill | None = None
    """Fill that is connected to the frame and counts as nodata."""

    @classmethod
    def select(
        cls,
        scene: Scene,
        bands: Sequence[int],
        *,
        nodata: float | None = None,
        rescale: tuple[float, float] | None = None,
        dtype: str = "uint8",
        scaling: ScalingSpec | None = None,
    ) -> Self:
        """Select bands of a scene.

        Args:
            scene: the scene.
            bands: their numbers, from 1.
            nodata: value that marks missing data, in place of the file's.
            rescale: the file's values that become 0 and the highest value of `dtype`; `scaling` is ignored then.
            dtype: type of the model's values.
            scaling: wanted scale and offset; values of a file with its own scale and offset are converted.
        """
        info = scene.info
        marks = tuple(info.nodata[i - 1] if nodata is None else nodata for i in bands)
        change: Change | None = conversion(info.scaling_of(bands), scaling)
        if rescale is not None:
            change = Rescaling.of(*rescale, HIGHEST[dtype])
        return cls(scene.marked(nodata), tuple(bands), marks, change)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.__exit__()

    @property
    def info(self) -> SceneInfo:
        """Description of the scene."""
        return self.scene.info

    @property
    def height(self) -> int:
        """Rows."""
        return self.scene.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.scene.width

    @property
    def has_wide_blocks(self) -> bool:
        """Whether the file's blocks are as wide as the raster, or nearly."""
        return self.scene.has_wide_blocks

    @property
    def value_type(self) -> np.dtype[Any]:
        """Type of the values that `read` returns."""
        own = np.dtype(self.info.dtype_of(self.bands))
        is_changed = self.change is not None or self.scene.dataset.resamples(self.bands)
        return own if own.itemsize == 1 and not is_changed else np.dtype(np.float32)

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside the scene: band values (C, h, w), and a mask (h, w), true where pixels hold data.

        Values of 8 bits are of the file's type where nothing is rescaled or converted; all others are float32.

        Raises:
            SceneError: if the file is damaged there.
        """
        marking = self.bands if self.scene.alpha is None else {*self.bands, self.scene.alpha}
        if self.scene.lacks_blocks(marking, window):
            image, valid = self._read_marked(Window(window.row, window.col, 1, 1))
            size = window.height, window.width
            image, valid = np.broadcast_to(image, (len(image), *size)).copy(), np.broadcast_to(valid, size).copy()
        else:
            image, valid = self._read_marked(window)
        return self._changed(image), self._validity.by_place(valid, image, window, self.scene)

    def sampled(self) -> Values:
        """Values (C, n) of the pixels that hold data in 16 small windows spread over the scene.

        Raises:
            SceneError: if the file is damaged there.
        """
        read = [self.read(window) for window in spread_windows(self.height, self.width)]
        found: Values = np.concatenate([image[:, valid] for image, valid in read], axis=1)
        return found

    def without(self, fill: Fill) -> Self:
        """The same bands, with fill that is connected to the frame as nodata."""
        return replace(self, fill=fill)

    def find_fill(self) -> Fill | None:
        """Search the scene's frame for fill that no tag declares; bounded time at any size.

        Raises:
            SceneError: if the file is damaged there.
        """
        size = self.height, self.width
        windows = frame_windows(*size, 16 if self.has_wide_blocks else 64)
        if self.height * self.width > _READ_AT_ONCE_PX:
            frame, inside = [self._read_placed(window) for window in windows], self.scene.sample(self.bands)
        else:
            image, valid = self._read_placed(Window(0, 0, *size))
            frame = [(image[:, *window.slices], valid[window.slices]) for window in windows]
            squares = [image[:, *window.slices] for window in spread_windows(*size)]
            inside = np.concatenate([square.reshape(len(image), -1) for square in squares], axis=1)
        return find_fill(frame, inside, is_lossy=self._is_lossy)

    def overview(self, ratio: float) -> Self | None:
        """Open the coarsest overview whose pixels are at most `ratio` pixels of the scene wide.

        The actual ratio follows from its size. None if the file has no such overview, if its values may not be
        averages, or if an area of interest or fill limits the scene, which is defined in full resolution only.
        """
        if self.scene.area is not None or self.fill is not None:
            return None
        with read_errors(self.info.path):
            factors = self.scene.dataset.ask(lambda file: file.overviews(self.bands[0]))
        fitting = [(factor, index) for index, factor in enumerate(factors) if 1 < factor <= ratio]
        if not fitting:
            return None
        try:
            dataset = open_dataset(self.info.path, overview_level=max(fitting)[1])
        except (RasterioError, ValueError, OSError):
            return None
        if dataset.tags(self.bands[0]).get("RESAMPLING", "").upper() not in SMOOTH_OVERVIEWS:
            dataset.close()
            return None
        info = replace(self.info, height=dataset.height, width=dataset.width)
        return replace(self, scene=replace(self.scene, dataset=dataset, info=info))

    @cached_property
    def _validity(self) -> Validity:
        alpha = self.scene.alpha
        return Validity(
            nodata=self.nodata,
            alpha=None if alpha in self.bands else alpha,
            masked=self.bands[0] if self.info.mask == "mask" else None,
            area=self.scene.area,
            fill=None if self.fill is None else trace_fill(self.fill, self.height, self.width, self._read),
        )

    def _read(self, window: Window) -> Values:
        return self.scene.read(list(self.bands), window)

    def _read_placed(self, window: Window) -> tuple[Values, Mask]:
        """Read band values as stored, and which pixels hold data."""
        image, valid = self._read_marked(window)
        return image, self._validity.by_place(valid, image, window, self.scene)

    def _read_marked(self, window: Window) -> tuple[Values, Mask]:
        """Read band values as stored, and which pixels hold data by nodata values, mask and alpha alone."""
        image, valid = self.scene.read_valid(list(self.bands), window)
        return image, valid & self._validity.by_marks(image, window, self.scene)

    @property
    def _is_lossy(self) -> bool:
        """Whether the file's compression changes values."""
        dataset = self.scene.dataset
        compression = dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "").upper()
        is_lossy = any(driver.upper() in _LOSSY_DRIVERS for driver in dataset.drivers)
        return is_lossy or any(name in compression for name in _LOSSY)

    def _changed(self, image: Values) -> Values:
        image = image if self.change is None else self.change.apply(image)
        return image if image.dtype.itemsize == 1 else image.astype(np.float32)
