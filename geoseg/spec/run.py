"""Settings of a run that do not change any pixel."""

from __future__ import annotations

from pydantic import Field

from geoseg.spec.base import LARGEST_COUNT, Device, Devices, Spec


class RunSpec(Spec):
    """Devices, batch size, and what stops a run. Pixels are equal on devices of one kind, whatever their number."""

    force: bool = False
    """Classify a scene also where the model does not fit it at all; results say so."""

    batch_size: int | None = Field(default=None, ge=1, le=LARGEST_COUNT)
    """Windows forwarded at once; None means as many as suit the device."""
    device: Device = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    devices: Devices | None = None
    """Devices that share each scene: how many GPUs, or else CPU processes (2), or the numbers of GPUs (0,1)."""
