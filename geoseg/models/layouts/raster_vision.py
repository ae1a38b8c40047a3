"""Bundles of Raster Vision: an archive with pipeline-config.json and, in an inner archive, the weights.

Python modules in the bundle (`modules/`) are not run.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.core.errors import ModelError, SpecError
from geoseg.models.layouts.found import Example, Found, example_says, said
from geoseg.models.layouts.reading import read_content
from geoseg.models.layouts.source import Source
from geoseg.models.layouts.torchvision_names import is_deeplab, network_of, under_own_names
from geoseg.spec import parse_json

CONFIG, INNER, WEIGHTS, MODULES = "pipeline-config.json", "model-bundle.zip", "model.pth", "modules/"
"""Names in the archives."""
MOST_PART, MOST_TEXT = 2**32, 2**22
"""Bytes of the largest weights and configs that are read."""
NULL = "null"
"""Class that Raster Vision adds for pixels without data."""


class RasterVision:
    """Reads bundles."""

    title = "bundle of Raster Vision"

    def recognises(self, source: Source) -> bool:
        """By the names in the archive."""
        if source.path.is_dir() or not zipfile.is_zipfile(source.path):
            return False
        with zipfile.ZipFile(source.path) as archive:
            return {CONFIG, INNER} <= {*archive.namelist()}

    def read(self, source: Source) -> Found:
        """Weights, and the classes with their colours; another network than torchvision's DeepLabV3, which Raster
        Vision takes by itself, must be said, its code is not run.

        Raises:
            ModelError: if the bundle cannot be read.
        """
        bundle = _Bundle.open(source)
        weights, notices = bundle.weights, tuple[str, ...]()
        says: dict[str, Any] = {}
        if is_deeplab(weights):
            says, (weights, notices) = network_of(weights), under_own_names(weights)
        classes = bundle.config.get("dataset", {}).get("class_config", {})
        names, colors = classes.get("names") or [], classes.get("colors") or []
        pairs = zip(names, colors or [None] * len(names), strict=False)
        listed = [{"name": name, "color": _hex(color)} for name, color in pairs]
        notices += ("the bundle holds Python modules: they are not run",) if bundle.has_code else ()
        return Found(weights, said(says | {"classes": listed or None}, source.shown), notices=notices)

    def example(self, folder: Path) -> Example:
        """A bundle with a network that somebody's module defines."""
        import segmentation_models_pytorch as smp
        import torch

        state, inner = io.BytesIO(), io.BytesIO()
        torch.save(smp.Unet("tu-test_resnet", encoder_weights=None, classes=3).state_dict(), state)
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr(WEIGHTS, state.getvalue())
            archive.writestr(f"{MODULES}network/hubconf.py", "raise SystemExit('never run')\n")
        classes = {"names": ["field", "town", NULL], "colors": [[1, 2, 3], "#00ff00", "black"], "null_class": NULL}
        with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
            archive.writestr(INNER, inner.getvalue())
            archive.writestr(CONFIG, json.dumps({"dataset": {"class_config": classes}, "plugin_versions": {}}))
        says = example_says(classes=None, architecture="unet", encoder="tu-test_resnet")
        return Example(folder / "bundle.zip", says)


@dataclass(frozen=True)
class _Bundle:
    """What a bundle holds."""

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    has_code: bool

    @classmethod
    def open(cls, source: Source) -> _Bundle:
        """Read a bundle.

        Raises:
            ModelError: if it is damaged, or a part would unpack to more than is read.
        """
        try:
            with zipfile.ZipFile(source.path) as outer:
                config = parse_json(_part(outer, CONFIG, MOST_TEXT).decode("utf-8"), f"{source.shown}: {CONFIG}")
                inside, names = io.BytesIO(_part(outer, INNER, MOST_PART)), outer.namelist()
            with zipfile.ZipFile(inside) as inner:
                names, content = [*names, *inner.namelist()], _part(inner, WEIGHTS, MOST_PART)
        except (zipfile.BadZipFile, OSError, KeyError, ValueError, NotImplementedError, RuntimeError):
            raise ModelError(f"{source.shown} is a damaged bundle, or lacks {WEIGHTS}: copy it again") from None
        except SpecError as error:
            raise ModelError(str(error)) from None
        with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
            path = Path(folder) / WEIGHTS
            path.write_bytes(content)
            found = read_content(path)
        named = found.items() if isinstance(found, dict) else ()
        weights = {name: one for name, one in named if isinstance(one, Tensor)}
        config = config if isinstance(config, dict) else {}
        return cls(config, weights, any(MODULES in name and name.endswith(".py") for name in names))


def _part(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A file of an archive.

    Raises:
        ValueError: if it is larger than is read, or is packed so that it unpacks to far more than it holds.
    """
    entry = archive.getinfo(name)
    if entry.file_size > min(most, 2**20 + 100 * entry.compress_size):
        raise ValueError(name)
    return archive.read(entry)


def _hex(color: Any) -> str | None:
    """A colour of Raster Vision (#rrggbb, or red, green and blue) as #rrggbb; None for names and others."""
    if isinstance(color, list) and len(color) == 3 and all(isinstance(one, int) and 0 <= one < 256 for one in color):
        return "#{:02x}{:02x}{:02x}".format(*color)
    return color if isinstance(color, str) and len(color) == 7 and color.startswith("#") else None


RASTER_VISION = RasterVision()
