"""Coarser views of a scene are classified first, and corrected window by window where they are unsure."""

from __future__ import annotations

from pathlib import Path

from geoseg.core.files import write_errors
from geoseg.inference.views.coarse_classes import CoarseClasses, Refined
from geoseg.inference.views.coarse_to_fine import CoarseToFine
from geoseg.inference.views.pyramids import scene_pyramid
from geoseg.inference.views.view import ViewInputs, averaged_bytes
from geoseg.inference.work_folder import WorkFolder
from geoseg.raster.window_store import WindowStore

_NAME = "coarse.npy"


class RefineView:
    """Classes of coarser views, the same for all processes that work on a scene, and when the work is gone on with."""

    maps_held = 9
    """Three to blend; fine, coarse, both together, refined and settled ones."""

    def __init__(self, inputs: ViewInputs):
        self._inputs = inputs
        self._prepared: dict[Path, CoarseClasses] = {}

    @property
    def forwarded_share(self) -> float:
        """The share that the settings ask for."""
        return self._inputs.spec.refine_fraction

    @property
    def scratch_bytes(self) -> float:
        """Of the averaged scene, and of its probabilities."""
        model = self._inputs.model
        return averaged_bytes(model, len(model.classes))

    def surroundings(self, work: WorkFolder) -> Refined:
        """Classify the coarser views, unless that was done.

        Raises:
            GeosegError: if the scene cannot be read, or the work folder not be written.
        """
        if work.path not in self._prepared:
            self._prepared[work.path] = self._classify(work)
        return Refined(self._inputs.runner, self._prepared[work.path])

    def _classify(self, work: WorkFolder) -> CoarseClasses:
        inputs, grid = self._inputs, self._inputs.grid
        batch_px = inputs.batch_size * grid.rows.size * grid.cols.size
        spec = inputs.spec.model_copy(update={"tile": grid.tile})
        coarse_to_fine = CoarseToFine(inputs.runner, inputs.model, batch_px, spec)
        path = work.path / _NAME
        if not path.exists():
            pyramid = scene_pyramid(inputs.scene, inputs.source, inputs.model.branch.levels, folder=work.path)
            coarse_to_fine.classify_levels(pyramid, work.path).publish(path)
        with write_errors(work.path.parent):
            work.share(path)
        return coarse_to_fine.choose_windows([WindowStore.load(path)], 0, [grid], [grid.places()])[0]
