"""The contract of a view, which shows a network the surroundings of the windows of a scene.

In: a scene, its windows, and the network that classifies them. Out: the logits of batches of windows.
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
    """The scene, grid and network that a view is made for."""

    scene: SceneBands
    """The scene at its own resolution."""
    source: Source
    """The scene as the network sees it."""
    grid: Grid
    """The windows, in the source's pixels."""
    model: ModelSpec
    """The model's description."""
    runner: Runner
    """The network on its device."""
    spec: ClassifySpec
    """Settings."""
    batch_size: int
    """Windows forwarded at once."""


class Surroundings(Protocol):
    """Classifies windows of one scene with their surroundings, in one process and one pass over a run of tile rows."""

    def classify(self, batch: Batch) -> Tensor:
        """Logits of the forwarded parts of a batch (B, K, h, w), on the device.

        The result depends on the windows alone, not on those that were classified before.
        """
        ...

    def forwarded_px(self, sample: Sample) -> int:
        """Number of pixels of a window that are forwarded."""
        ...


class View(Protocol):
    """What a network sees of a scene besides its windows; made from `ViewInputs`."""

    @property
    def forwarded_share(self) -> float:
        """Share of the windows that is forwarded, 0 to 1."""
        ...

    @property
    def scratch_bytes(self) -> float:
        """Size of scratch files in the work folder, in bytes per pixel of the source."""
        ...

    @property
    def maps_held(self) -> int:
        """Number of maps of all K classes, float32, held in memory at once for each pixel of a batch."""
        ...

    def surroundings(self, work: WorkFolder) -> Surroundings:
        """Prepare to classify windows.

        What all processes need is made by the first one and kept in the work folder, for the others and for resumed
        runs. Called before anything else reads from the scene.

        Raises:
            GeosegError: if the scene cannot be read, or the work folder cannot be written.
        """
        ...


def averaged_bytes(model: ModelSpec, bytes_more: int = 0) -> float:
    """Bytes per pixel of a scene that its finest coarser view takes, averaged, with `bytes_more` per pixel of it."""
    ratios = [level.ratio for level in model.branch.levels if level.ratio != "scene"]
    each = 4 * (len(model.bands) + 1) + bytes_more
    return each / min(ratios) ** 2 if ratios else 0
