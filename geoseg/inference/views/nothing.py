"""The view of a network that sees its windows alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from geoseg.inference.batches import Batch, Sample
from geoseg.inference.views.view import ViewInputs
from geoseg.inference.work_folder import WorkFolder
from geoseg.models.runner import Runner


@dataclass(frozen=True)
class WindowsAlone:
    """Classifies windows without their surroundings; see `view.Surroundings`."""

    runner: Runner
    """The network."""

    def classify(self, batch: Batch) -> Tensor:
        """Logits of the forwarded parts of a batch (B, K, h, w)."""
        return self.runner(batch.image)

    def forwarded_px(self, sample: Sample) -> int:
        """All pixels of the forwarded part."""
        return sample.part.pixels


class Nothing:
    """The view that shows nothing besides the windows; see `view.View`."""

    forwarded_share = 1.0
    scratch_bytes = 0.0
    maps_held = 3
    """For blending."""

    def __init__(self, inputs: ViewInputs):
        self._alone = WindowsAlone(inputs.runner)

    def surroundings(self, work: WorkFolder) -> WindowsAlone:
        """Surroundings that hold nothing; reads and writes nothing."""
        return self._alone
