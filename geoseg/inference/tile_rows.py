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
from geoseg.core.memory import MemoryReturn
from geoseg.core.queues import WriteBehind, read_ahead
from geoseg.geo.grid import Grid, Place, Window
from geoseg.inference.batches import Batch, Sample, tile_row_batches
from geoseg.inference.blend import Blender, Block, seam_of
from geoseg.inference.cores import Pixels, RowsWriter
from geoseg.inference.decide import Decision, decide, to_host
from geoseg.inference.job import Job
from geoseg.inference.logits import are_numbers, check_numbers, whole_window
from geoseg.inference.views.view import Surroundings
from geoseg.inference.work_folder import SeamFile, WorkFolder, seam_name, tile_row_name
from geoseg.raster.gdal import gdal_settings

_READ_AHEAD, _WRITE_BEHIND = 2, 2
"""Batches waiting for the network, and for the thread that writes."""


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
    blender = Blender(job.grid, seams, first_open)
    writer = _Writer(job, work, first_open, only_seam)
    with write_errors(work.path.parent), job.runner.session(), closing(writer):
        surroundings = job.view.surroundings(work)  # before anybody else reads from the scene
        batches = read_ahead(_batches(job, tile_rows), _READ_AHEAD)
        with closing(batches), WriteBehind(writer.take, _WRITE_BEHIND) as behind:
            for i, batch in batches:
                if batch is None:
                    behind.put(_TileRowEnd(i))
                    if i != only_seam:
                        stage.advance(job.grid.tile_row_core(i).pixels)
                    continue
                behind.put(_finish_batch(job, batch, surroundings, blender, seams))


def _batches(job: Job, tile_rows: range) -> Iterator[tuple[int, Batch | None]]:
    """The batches of each tile row, followed by None."""
    fill = job.model.spec.normalization.mean
    with gdal_settings():  # they hold for one thread, and this one reads
        for i in tile_rows:
            for batch in tile_row_batches(job.source, job.grid, i, fill, job.batch_size):
                yield i, batch
            yield i, None


@dataclass(frozen=True)
class _TileRowEnd:
    """Marks the end of a tile row in the queue."""

    i: int


@dataclass(frozen=True)
class _Finished:
    """A finished block to be written, with its part of the seams below and above."""

    sample: Sample
    window: Window
    decision: Decision
    below: Tensor | None
    above: Tensor | None


@dataclass(frozen=True)
class _FinishedBatch:
    """Finished blocks of a batch, being copied from the device."""

    blocks: list[_Finished]
    are_numbers: Tensor
    is_copied: torch.cuda.Event | None
    forwarded_px: int


def _finish_batch(
    job: Job, batch: Batch, surroundings: Surroundings, blender: Blender, seams: _SeamsOnDisk
) -> _FinishedBatch:
    logits, blocks = surroundings.classify(batch), []
    for sample, part in zip(batch.samples, logits, strict=True):
        block = blender.feed(sample.place, whole_window(sample, part))
        below, above = seams.take()
        decision = decide(block.logits, job.wanted).to_host()
        blocks.append(_Finished(sample, block.window, decision, below, above))
    numbers, is_copied = to_host(are_numbers(logits)), None
    if job.runner.device.type == "cuda":
        is_copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        is_copied.record()
    return _FinishedBatch(blocks, numbers, is_copied, sum(map(surroundings.forwarded_px, batch.samples)))


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
        values = seam_file.read(core_columns(self._job.grid, place))
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


def core_columns(grid: Grid, place: Place) -> Window:
    """Columns of a window's core, counted from the edge of the padding."""
    left, right = grid.cols.core(place.j)
    return Window(0, left, grid.rows.ramp, right - left)


class _Writer:
    """Writes finished batches and the ends of tile rows, in a thread of its own."""

    def __init__(self, job: Job, work: WorkFolder, first_open: int | None, only_seam: int | None):
        self._job, self._work, self._first_open, self._only_seam = job, work, first_open, only_seam
        self._rows: RowsWriter | None = None
        self._forwarded, self._memory = 0, MemoryReturn()

    def take(self, item: _FinishedBatch | _TileRowEnd) -> None:
        if isinstance(item, _TileRowEnd):
            self._end_tile_row(item.i)
            return
        if item.is_copied is not None:
            item.is_copied.synchronize()
        check_numbers(item.are_numbers)
        for block in item.blocks:
            self._take_block(block)
        self._forwarded += item.forwarded_px
        self._memory.passed(sum(block.sample.valid.size for block in item.blocks))

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

    def _take_block(self, block: _Finished) -> None:
        place = block.sample.place
        if place.i == self._only_seam:
            self._keep_below(block)
            return
        rows = self._begin(place.i)
        rows.show(block.sample)
        valid = self._valid_in(block.sample, block.window)
        rows.take(Pixels.of(block.decision, block.window, valid))
        self._keep_below(block)
        if block.above is not None:
            seam = Window(place.core.row, place.core.col, place.core.height - block.window.height, place.core.width)
            save_open_seam(self._work, place, block.above.numpy(), self._valid_in(block.sample, seam))

    def _keep_below(self, block: _Finished) -> None:
        if block.below is not None:
            place = block.sample.place
            columns = core_columns(self._job.grid, place)
            seam_below(self._job, self._work, place.i).write(columns, block.below.numpy())

    def _valid_in(self, sample: Sample, window: Window) -> NDArray[np.bool_]:
        """Which of the scene's pixels hold data in a window of a sample's core."""
        source = self._job.source
        core = source.scene_window(sample.place.core)
        return sample.scene_valid[source.scene_window(window).shift(-core.row, -core.col).slices]

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


def save_open_seam(work: WorkFolder, place: Place, own: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    """Append a window's part of the seam above: its column in the grid, probabilities, and the scene's valid pixels."""
    with work.above(place.i).open("ab") as file:
        for array in (np.array(place.j), own, valid):
            np.save(file, array)


def load_open_seams(work: WorkFolder, i: int) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.bool_]]]:
    """Read these parts one after the other."""
    path = work.above(i)
    with path.open("rb") as file:
        while file.tell() < path.stat().st_size:
            j, probabilities, valid = (np.load(file, allow_pickle=False) for _ in range(3))
            yield int(j), probabilities, valid


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
    for j, own, valid in load_open_seams(work, i):
        place = job.grid.place(i, j)
        left = below.read(core_columns(job.grid, place))
        total = torch.from_numpy(own if left is None else own + left)
        block: Block = seam_of(job.grid, place, total)
        writer.take(Pixels.of(decide(block.logits, job.wanted), block.window, valid))
    writer.finish()
    work.above(i).unlink()
    work.below(i - 1).unlink(missing_ok=True)


def _seam_rows(grid: Grid, i: int) -> Window:
    """The scene's rows in the seam above tile row i."""
    core = grid.tile_row_core(i)
    top = grid.rows.core(i)[0] - grid.border
    return Window(top, 0, grid.rows.ramp, grid.width).clip(core.row + core.height, grid.width)
