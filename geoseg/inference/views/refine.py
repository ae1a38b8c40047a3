"""The view of a model that refines: coarser views are classified first, and correct the windows of the scene."""

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
    """Shows class probabilities of coarser views, made once for all processes and for resumed runs; see `view.View`."""

    maps_held = 7
    """Three to blend; logits, their probabilities, what is added to them, and the sum."""

    def __init__(self, inputs: ViewInputs):
        self._inputs = inputs
        self._prepared: dict[Path, CoarseClasses] = {}

    @property
    def forwarded_share(self) -> float:
        """Share of the windows that is forwarded, as set by `refine_fraction`."""
        return self._inputs.spec.refine_fraction

    @property
    def scratch_bytes(self) -> float:
        """Bytes per pixel of the source for the averaged scene and its probabilities."""
        model = self._inputs.model
        return averaged_bytes(model, len(model.classes))

    def surroundings(self, work: WorkFolder) -> Refined:
        """Classify the coarser views, unless the work folder holds their probabilities.

        Raises:
            GeosegError: if the scene cannot be read, or the work folder cannot be written.
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
            work.seal_common(path)
        return coarse_to_fine.choose_windows([WindowStore.load(path)], 0, [grid], [grid.places()])[0]
