"""The contract of a view: what lies around the windows of a scene, for a network that sees more than these.

In: a scene, its windows, and the network that classifies them. Out: the logits of batches of windows, whatever else the
network has to be shown for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from geoseg.geo.grid import Grid
from geoseg.inference.batches import Batch, Sample
from geoseg.inference.work_folder import WorkFolder
from geoseg.models.runner import Runner
from geoseg.raster.resample import Source
from geoseg.raster.scene_bands import SceneBands
from geoseg.spec import ClassifySpec, ModelSpec


@dataclass(frozen=True)
class ViewInputs:
    """What a view is made for."""

    scene: SceneBands
    """The scene at its own resolution."""
    source: Source
    """The scene as the network sees it."""
    grid: Grid
    """The windows, in the source's pixels."""
    model: ModelSpec
    """What the network is."""
    runner: Runner
    """The network on its device."""
    spec: ClassifySpec
    """Settings."""
    batch_size: int
    """Windows forwarded at once."""


class Surroundings(Protocol):
    """What lies around the windows of one scene, ready for one process and one pass over neighbouring tile rows."""

    def classify(self, batch: Batch) -> Tensor:
        """Logits, or logarithms of probabilities, of the forwarded parts of a batch (B, K, h, w), on the device.

        Depends on the windows alone, not on those that were classified before.
        """
        ...

    def forwarded_px(self, sample: Sample) -> int:
        """How many pixels of a window the network sees."""
        ...


class View(Protocol):
    """How a scene is shown to a network besides its windows; made of `ViewInputs`."""

    @property
    def forwarded_share(self) -> float:
        """Share of the windows that the network sees, 0 to 1."""
        ...

    @property
    def scratch_bytes(self) -> float:
        """Bytes that are taken in the work folder per pixel of the source."""
        ...

    @property
    def maps_held(self) -> int:
        """Maps of all classes (K), float32, that are in memory at once for each pixel of a batch."""
        ...

    def surroundings(self, work: WorkFolder) -> Surroundings:
        """Get ready to classify windows.

        Whatever all processes need is made by the first that comes, and kept in the work folder for the others, and for
        when the work is gone on with. Called before anybody else reads from the scene.

        Raises:
            GeosegError: if the scene cannot be read, or the work folder not be written.
        """
        ...


def averaged_bytes(model: ModelSpec, bytes_more: int = 0) -> float:
    """Bytes per pixel of a scene for its finest coarser view, averaged, and for what else is kept of each pixel."""
    ratios = [level.ratio for level in model.branch.levels if level.ratio != "scene"]
    each = 4 * (len(model.bands) + 1) + bytes_more
    return each / min(ratios) ** 2 if ratios else 0
