"""The model from which the training of a written config goes on.

In: a model, images and labels. Out: the bands, classes and network that the config names. No weights are read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.commands.found_bands import FoundImages
from geoseg.commands.found_classes import FoundClasses
from geoseg.models.downloads import is_address, whole_address
from geoseg.models.header import read_spec
from geoseg.raster.bands.matching import choose_bands
from geoseg.scenes import open_scene
from geoseg.spec import NODATA_ID, ModelSpec, NetworkSpec


@dataclass(frozen=True)
class StartModel:
    """A model, and how a config names it."""

    spec: ModelSpec
    """Its spec."""
    written: str
    """Its path, relative to the config's folder, or default."""

    @property
    def network(self) -> dict[str, Any]:
        """The settings of its network that are not the usual ones, as plain values."""
        usual = NetworkSpec(architecture=self.spec.network.architecture).model_dump(mode="json")
        own = self.spec.network.model_dump(mode="json", exclude_defaults=True)
        return {name: value for name, value in own.items() if value != usual[name] or name == "architecture"}

    def bands_in(self, images: Sequence[Path], found: FoundImages) -> FoundImages:
        """What was found of images, with the model's bands in place of theirs.

        Raises:
            GeosegError: if an image lacks one.
        """
        for path in images:
            with open_scene(path) as scene:
                choose_bands(self.spec.bands, scene.info.colors, scene.info.descriptions, None)
        notices = tuple(line for line in found.notices if not line.startswith("nothing names the bands"))
        return replace(found, bands=self.spec.bands, band_indexes=None, notices=notices)

    def classes_in(self, found: FoundClasses) -> FoundClasses:
        """The classes of polygons with the ids and colours that the model has for their names; others get free ids.

        The classes of rasters stay as they are: their ids are the values of the pixels.
        """
        if not found.are_polygons:
            return found
        known = {c.name: c for c in self.spec.classes}
        taken = {c.id for c in self.spec.classes}
        free = iter(number for number in range(NODATA_ID) if number not in taken)
        classes = (known.get(c.name) or c.model_copy(update={"id": next(free)}) for c in found.classes)
        return replace(found, classes=tuple(sorted(classes, key=lambda c: c.id)))


def start_of(model: Path, config: Path) -> StartModel:
    """The model of a path, or the default one, for a config.

    Raises:
        ModelError: if it is missing, or is no model.
    """
    spec = read_spec(model)
    if model.name == "default" and not model.exists():
        return StartModel(spec, "default")
    if is_address(model):
        return StartModel(spec, whole_address(model))
    return StartModel(spec, Path(os.path.relpath(model.absolute(), config.absolute().parent)).as_posix())
