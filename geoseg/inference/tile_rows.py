"""Tile rows of a scene, read, forwarded, blended, decided and written: the part of `predict` that takes most time.

Three stages run side by side: a thread decodes ahead of the network, a thread writes behind it, and what passes between
them is bounded. On a GPU everything from raw band values to class indexes happens there; only indexes come back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.events import Stage
from geoseg.core.files import write_errors
from geoseg.core.memory import MemoryReturn, kept_memory
from geoseg.core.queues import WriteBehind, read_ahead
from geoseg.geo.grid import Grid, Place, Window
from geoseg.inference.batches import Batch, Sample, tile_row_batches
from geoseg.inference.blend import Blender, Block, seam_of
from geoseg.inference.cores import Pixels, RowsWriter, shrinking
from geoseg.inference.crops import CropSampler, DescribedCrops
from geoseg.inference.decide import Decision, decide, to_host
from geoseg.inference.job import Job
from geoseg.inference.logits import are_numbers, check_numbers, whole_window
from geoseg.inference.views.view import Surroundings
from geoseg.inference.work_folder import SeamFile, WorkFolder, seam_name, tile_row_name
from geoseg.raster.gdal import gdal_settings

_READ_AHEAD, _WRITE_BEHIND = 2, 2
"""Batches waiting for the network, and pieces of results for the thread that writes."""
_PIECE_PX = 2**23
"""Pixels of the scene in a piece of results, about: those of a batch, or fewer where the scene has many for each."""


def run_tile_rows(job: Job, work: WorkFolder, tile_rows: range, stage: Stage) -> None:
    """Finish the unfinished ones of a range of tile rows; the stage counts pixels of the source."""
    for stretch in _unfinished(work, tile_rows):
        _run_stretch(job, work, stretch, stage)


def _unfinished(work: WorkFolder, tile_rows: range) -> Iterator[range]:
    """Runs of neighbouring tile rows that are not finished."""
    first = None
    for i in tile_rows:
        if not work.is_finished(i):
            first = i if first is None else first
        elif first is not None:
            yield range(first, i)
            first = None
    if first is not None:
        yield range(first, tile_rows.stop)


def _run_stretch(job: Job, work: WorkFolder, tile_rows: range, stage: Stage) -> None:
    seams, before = _SeamsOnDisk(job, work), tile_rows.start - 1
    only_seam = before if before >= 0 and work.has_lost_below(before) else None
    is_open = before >= 0 and not work.is_finished(before)
    if only_seam is not None:  # forward it again, for what it leaves alone
        work.below(before).unlink(missing_ok=True)
        tile_rows = range(before, tile_rows.stop)
    first_open = tile_rows.start if is_open or only_seam is not None else None
    blender = Blender(job.grid, seams, first_open, job.source.lap)
    writer, sampler = _Writer(job, work, first_open, only_seam), CropSampler(job)
    with write_errors(work.path.parent), kept_memory(), job.runner.session(), closing(writer):
        surroundings = job.view.surroundings(work)  # before anybody else reads from the scene
        batches = read_ahead(_batches(job, tile_rows), _READ_AHEAD)
        with closing(batches), WriteBehind(writer.take, _WRITE_BEHIND) as behind:
            for i, batch in batches:
                if batch is None:
                    behind.put(_TileRowEnd(i))
                    sampler.end_tile_row()
                    if i != only_seam:
                        stage.advance(job.grid.tile_row_core(i).pixels)
                    continue
                for piece in _finish_batch(job, batch, surroundings, blender, seams, sampler):
                    behind.put(piece)


def _batches(job: Job, tile_rows: range) -> Iterator[tuple[int, Batch | None]]:
    """The batches of each tile row, followed by None."""
    fill, shrink = job.model.spec.normalization.mean, shrinking(job)
    with gdal_settings():  # they hold for one thread, and this one reads
        for i in tile_rows:
            for batch in tile_row_batches(job.source, job.grid, i, fill, job.batch_size, shrink):
                yield i, batch
            yield i, None


@dataclass(frozen=True)
class _TileRowEnd:
    """Marks the end of a tile row in the queue."""

    i: int


@dataclass(frozen=True)
class _Decided:
    """Decided pixels to be written, a part of a window's core."""

    sample: Sample
    window: Window
    decision: Decision


@dataclass(frozen=True)
class _Leaving:
    """A window's part of the seams below and above, and its pixels for the preview."""

    sample: Sample
    window: Window
    below: Tensor | None
    above: Tensor | None


@dataclass(frozen=True)
class _Sampled:
    """Crops of a batch, for a comparison of the scene with the training imagery."""

    i: int
    crops: DescribedCrops


_Result = _Decided | _Leaving | _Sampled


@dataclass(frozen=True)
class _Piece:
    """Results of a batch, or of a part of it, being copied from the device."""

    results: tuple[_Result, ...]
    are_numbers: Tensor
    is_copied: torch.cuda.Event | None
    forwarded_px: int

    @classmethod
    def copied(cls, job: Job, results: list[_Result], numbers: Tensor, forwarded_px: int = 0) -> _Piece:
        is_copied = None
        if job.runner.device.type == "cuda":
            is_copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            is_copied.record()
        return cls(tuple(results), numbers, is_copied, forwarded_px)


def _finish_batch(
    job: Job, batch: Batch, surroundings: Surroundings, blender: Blender, seams: _SeamsOnDisk, sampler: CropSampler
) -> Iterator[_Piece]:
    logits, held, held_px = surroundings.classify(batch), list[_Result](), 0
    numbers = to_host(are_numbers(logits))
    for sample, part in zip(batch.samples, logits, strict=True):
        block = blender.feed(sample.place, whole_window(sample, part))
        held.append(_Leaving(sample, block.window, *seams.take()))
        for window, found in job.source.to_scene(block.logits, _valid_of(sample, block), block.window):
            held.append(_Decided(sample, window, decide(found, job.wanted_of_windows).to_host()))
            held_px += window.pixels
            if held_px >= _PIECE_PX:
                yield _Piece.copied(job, held, numbers)
                held, held_px = [], 0
    if (crops := sampler.take(batch)) is not None:
        held.append(_Sampled(batch.samples[0].place.i, crops))
    yield _Piece.copied(job, held, numbers, sum(map(surroundings.forwarded_px, batch.samples)))


def _valid_of(sample: Sample, block: Block) -> Tensor:
    """Which pixels of a block and its lap hold data, on the host."""
    inside = block.window.shift(-sample.place.window.row, -sample.place.window.col)
    held = Window(inside.row, inside.col, block.logits.shape[1], block.logits.shape[2])
    return torch.from_numpy(sample.valid[held.slices])


class _SeamsOnDisk:
    """The seams between tile rows: the latest stay on the device, all are written to the work folder."""

    def __init__(self, job: Job, work: WorkFolder):
        self._job, self._work = job, work
        self._recent: OrderedDict[tuple[int, int], Tensor] = OrderedDict()
        # what has left here must have reached the disk: more than can wait to be written
        self._most = (_WRITE_BEHIND + 3) * job.batch_size
        self._below: Tensor | None = None
        self._open: Tensor | None = None

    def above(self, place: Place) -> Tensor | None:
        seam = self._recent.pop((place.i - 1, place.j), None)
        if seam is not None:
            return seam
        seam_file = seam_below(self._job, self._work, place.i - 1)
        values = seam_file.read(core_columns(self._job.grid, place, self._job.source.lap))
        return None if values is None else torch.from_numpy(values).to(self._job.runner.device)

    def below(self, place: Place, seam: Tensor) -> None:
        self._below = seam
        self._recent[place.i, place.j] = seam
        if len(self._recent) > self._most:
            self._recent.popitem(last=False)

    def open(self, _place: Place, seam: Tensor) -> None:
        self._open = seam

    def take(self) -> tuple[Tensor | None, Tensor | None]:
        """The last window's part of the seam below, and of an open seam above, on the host; None without one."""
        held = self._below, self._open
        self._below = self._open = None
        below, above = (None if seam is None else to_host(seam) for seam in held)
        return below, above


def seam_below(job: Job, work: WorkFolder, i: int) -> SeamFile:
    """The file with tile row i's part of the seam below it."""
    return SeamFile(work.below(i), len(job.model.spec.classes), job.grid.rows.ramp)


def core_columns(grid: Grid, place: Place, lap: int) -> Window:
    """Columns of a window's core and its lap in the file of a seam, which has room for every lap."""
    left, right = grid.cols.core(place.j)
    beyond = min(lap, grid.cols.ramp) if place.j < grid.cols.count - 1 else 0
    return Window(0, left + place.j * lap, grid.rows.ramp, right - left + beyond)


class _Writer:
    """Writes finished batches and the ends of tile rows, in a thread of its own."""

    def __init__(self, job: Job, work: WorkFolder, first_open: int | None, only_seam: int | None):
        self._job, self._work, self._first_open, self._only_seam = job, work, first_open, only_seam
        self._rows: RowsWriter | None = None
        self._forwarded, self._memory = 0, MemoryReturn()

    def take(self, item: _Piece | _TileRowEnd) -> None:
        if isinstance(item, _TileRowEnd):
            self._end_tile_row(item.i)
            return
        if item.is_copied is not None:
            item.is_copied.synchronize()
        check_numbers(item.are_numbers)
        for result in item.results:
            if isinstance(result, _Leaving):
                self._leave(result)
            elif isinstance(result, _Sampled):
                if result.i != self._only_seam:
                    self._begin(result.i).describe(result.crops)
            elif result.sample.place.i != self._only_seam:
                rows = self._begin(result.sample.place.i)
                rows.take(Pixels.of(result.decision, result.window, self._valid_in(result.sample, result.window)))
                self._memory.passed(result.window.pixels)
        self._forwarded += item.forwarded_px

    def close(self) -> None:
        """Discard the rows that are not finished."""
        if self._rows is not None:
            self._rows.discard()

    def _begin(self, i: int) -> RowsWriter:
        if self._rows is None:
            self._work.check_owner()
            self._forwarded = 0
            for leftover in (self._work.seal(seam_name(i)), self._work.below(i), self._work.above(i)):
                leftover.unlink(missing_ok=True)
            self._rows = RowsWriter(self._job, self._work, tile_row_name(i), self._job.grid.tile_row_core(i))
        return self._rows

    def _leave(self, leaving: _Leaving) -> None:
        sample, place = leaving.sample, leaving.sample.place
        if place.i != self._only_seam:
            self._begin(place.i).show(sample)
        if leaving.below is not None:
            columns = core_columns(self._job.grid, place, self._job.source.lap)
            seam_below(self._job, self._work, place.i).write(columns, leaving.below.numpy())
        if leaving.above is not None and place.i != self._only_seam:
            seam = Window(place.core.row, place.core.col, place.core.height - leaving.window.height, place.core.width)
            in_scene = self._valid_in(sample, self._job.source.scene_window(seam))
            save_open_seam(self._work, place, OpenSeam(leaving.above.numpy(), self._seam_valid(sample), in_scene))

    def _seam_valid(self, sample: Sample) -> NDArray[np.bool_]:
        """Which pixels of the source hold data in the seam above a window's core, and in the seam's lap."""
        grid, lap, place = self._job.grid, self._job.source.lap, sample.place
        held = seam_of(grid, place, torch.zeros(1, grid.rows.ramp + lap, core_columns(grid, place, lap).width))
        return _valid_of(sample, held).numpy()

    def _valid_in(self, sample: Sample, window: Window) -> NDArray[np.bool_]:
        """Which of the scene's pixels hold data in a window of the scene in a sample's core."""
        core = self._job.source.scene_window(sample.place.core)
        return sample.scene_valid[window.shift(-core.row, -core.col).slices]

    def _end_tile_row(self, i: int) -> None:
        if i == self._only_seam:
            self._forwarded = 0
            return
        rows = self._begin(i)
        self._work.check_owner()
        rows.finish(self._forwarded)
        self._rows = None
        if i and i != self._first_open:
            self._work.below(i - 1).unlink(missing_ok=True)


@dataclass(frozen=True)
class OpenSeam:
    """A window's part of the seam above it, kept until the other part is there."""

    own: NDArray[np.float32]
    """Its weighted probabilities (K, ramp + lap, w)."""
    valid: NDArray[np.bool_]
    """Which of these pixels in the source hold data (h, m)."""
    scene_valid: NDArray[np.bool_]
    """Which of the scene's pixels in the seam hold data (n, m)."""


def save_open_seam(work: WorkFolder, place: Place, seam: OpenSeam) -> None:
    """Append a window's part of the seam above: its column in the grid, and the arrays of the part."""
    with work.above(place.i).open("ab") as file:
        for array in (np.array(place.j), seam.own, seam.valid, seam.scene_valid):
            np.save(file, array)


def load_open_seams(work: WorkFolder, i: int) -> Iterator[tuple[int, OpenSeam]]:
    """Read these parts one after the other."""
    path = work.above(i)
    with path.open("rb") as file:
        while file.tell() < path.stat().st_size:
            j, *arrays = (np.load(file, allow_pickle=False) for _ in range(4))
            yield int(j), OpenSeam(*arrays)


def join_tile_rows(job: Job, work: WorkFolder, i: int) -> None:
    """Blend and write the seam above tile row i, between two finished tile rows of different shards.

    Raises:
        OutputError: if the parts of the seam are missing.
    """
    if work.seal(seam_name(i)).exists():
        return
    if work.has_lost_above(i) or (work.above(i).exists() and work.has_lost_below(i - 1)):
        raise work.damage()
    if not work.above(i).exists():
        return
    below = seam_below(job, work, i - 1)
    rows = _seam_rows(job.grid, i)
    writer = RowsWriter(job, work, seam_name(i), rows)
    for j, seam in load_open_seams(work, i):
        place = job.grid.place(i, j)
        total, left = torch.from_numpy(seam.own), below.read(core_columns(job.grid, place, job.source.lap))
        if left is not None:
            total[:, : job.grid.rows.ramp] += torch.from_numpy(left)
        block: Block = seam_of(job.grid, place, total)
        core = job.source.scene_window(block.window)
        for window, logits in job.source.to_scene(block.logits, torch.from_numpy(seam.valid), block.window):
            valid = seam.scene_valid[window.shift(-core.row, -core.col).slices]
            writer.take(Pixels.of(decide(logits, job.wanted_of_windows), window, valid))
    writer.finish()
    work.above(i).unlink()
    work.below(i - 1).unlink(missing_ok=True)


def _seam_rows(grid: Grid, i: int) -> Window:
    """The scene's rows in the seam above tile row i."""
    core = grid.tile_row_core(i)
    top = grid.rows.core(i)[0] - grid.border
    return Window(top, 0, grid.rows.ramp, grid.width).clip(core.row + core.height, grid.width)
