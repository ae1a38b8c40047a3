"""Chosen bands of a scene, as a model takes them: values, and which pixels hold data, window by window.

In: an open scene, which bands, what marks missing data, what values are to stand for. Out: band values (C, h, w) and
which pixels hold data (h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from rasterio.errors import RasterioError

from geoseg.geo.grid import Window
from geoseg.raster.bands.matching import HIGHEST
from geoseg.raster.fill import Fill, find_fill, frame_windows, trace_fill
from geoseg.raster.reading import open_dataset
from geoseg.raster.scaling import Conversion, Rescaling, conversion
from geoseg.raster.scene import Scene, read_errors
from geoseg.raster.scene_info import SceneInfo
from geoseg.raster.validity import Mask, Validity, Values
from geoseg.spec import ScalingSpec

SMOOTH_OVERVIEWS = {"AVERAGE", "BILINEAR", "CUBIC", "CUBICSPLINE", "LANCZOS"}
"""How overviews must be made to stand in for averages: NEAREST shifts what it keeps, MODE drops what is small."""
_LOSSY = "JPEG", "WEBP", "JXL", "LERC"
"""Parts of the names of compressions that change values: YCbCr JPEG, OJPEG, LERC_ZSTD, ..."""
_LOSSY_DRIVERS = {"JPEG", "WEBP", "JP2OPENJPEG", "JP2KAK", "JP2ECW", "JP2MRSID", "ECW", "MRSID", "JPEGXL"}
"""What may change values by a little: compressions of GeoTIFFs, and formats."""


@dataclass(frozen=True)
class SceneBands:
    """Some bands of an open scene; they share its file."""

    scene: Scene
    """The scene."""
    bands: tuple[int, ...]
    """Their numbers, from 1."""
    nodata: tuple[float | None, ...]
    """Value that marks missing data, per band."""
    change: Conversion | Rescaling | None = None
    """What is done to values that hold data."""
    fill: Fill | None = None
    """Fill that hangs together with the frame, and counts as nodata."""

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
        """Choose bands of a scene.

        Args:
            scene: the scene.
            bands: their numbers, from 1.
            nodata: value that marks missing data, over the file's.
            rescale: the file's values that become the ends of the range of `dtype`; nothing else is done to them then.
            dtype: type of a model's values.
            scaling: what values are to stand for; those of a file that says what its own stand for are converted.
        """
        info = scene.info
        marks = tuple(info.nodata[i - 1] if nodata is None else nodata for i in bands)
        change: Conversion | Rescaling | None = conversion(info.scaling_of(bands), scaling)
        if rescale is not None:
            change = Rescaling.of(*rescale, HIGHEST[dtype])
        return cls(scene, tuple(bands), marks, change)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.__exit__()

    @property
    def info(self) -> SceneInfo:
        """What is seen in the scene."""
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
        """Whether the file's blocks are whole rows, or nearly."""
        return self.scene.has_wide_blocks

    @property
    def value_bytes(self) -> int:
        """Bytes of a value that is read."""
        return 1 if self.info.dtype_of(self.bands) == "uint8" and self.change is None else 4

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside the scene: band values (C, h, w) and which pixels hold data (h, w).

        Values are uint8 where the file's are and nothing is rescaled or converted, else float32.

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

    def without(self, fill: Fill) -> Self:
        """The same bands, where fill that hangs together with the frame counts as nodata."""
        return replace(self, fill=fill)

    def find_fill(self) -> Fill | None:
        """Look along the frame for fill that no tag tells of; bounded at any size.

        Raises:
            SceneError: if the file is damaged there.
        """
        frame = []
        for window in frame_windows(self.height, self.width, 16 if self.has_wide_blocks else 64):
            image, valid = self._read_marked(window)
            frame.append((image, self._validity.by_place(valid, image, window, self.scene)))
        return find_fill(frame, self.scene.sample(self.bands), is_lossy=self._is_lossy)

    def overview(self, ratio: float) -> Self | None:
        """Open the coarsest overview whose pixels are at most `ratio` of the scene's wide, as a scene of its own.

        Its size is that of the overview, from which follows the actual ratio. None if the file has no such overview, if
        it may not be one of averages, or if an area of interest is set or fill is left out, which are known in full
        resolution only.
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

    def _read_marked(self, window: Window) -> tuple[Values, Mask]:
        """Read band values as the file has them, and which pixels hold data by its marks, wherever they lie."""
        image = self._read(window)
        return image, self._validity.by_marks(image, window, self.scene)

    @property
    def _is_lossy(self) -> bool:
        """Whether the file's compression changes values."""
        dataset = self.scene.dataset
        compression = dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "").upper()
        return any(name in compression for name in _LOSSY) or dataset.driver.upper() in _LOSSY_DRIVERS

    def _changed(self, image: Values) -> Values:
        image = image if self.change is None else self.change.apply(image)
        return image if image.dtype == np.uint8 else image.astype(np.float32)
