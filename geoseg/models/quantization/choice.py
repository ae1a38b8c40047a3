"""Whether a model is used with 8-bit integers without being asked to."""

from __future__ import annotations

import torch

from geoseg.models.model import Model
from geoseg.models.quantization.processor import multiplies_integers


def fits_int8(model: Model, device: torch.device) -> bool:
    """Whether its bundle has ranges and says that its classes stay as good, and the device multiplies integers."""
    known = model.spec.int8
    return known is not None and known.fits and bool(model.ranges) and device.type == "cpu" and multiplies_integers()
