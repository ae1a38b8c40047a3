"""The work folder of a prediction: what is finished of it, so that a run that was killed goes on from there.

It lies beside the results, under a hidden name. A swath is finished when its record is there, which is written last and
appears at once: whatever else is found is of a swath that was not finished, and is written again. Several processes
may work on different swaths. What lies in it:

    work.json             of which scene, model and settings this is the work
    000012.landcover.tif  rows of swath 12; none where it holds no data
    000012.npz            its record
    000012.below          what it leaves for the seam below: K × ramp × width floats, gone once the next one is finished
    000012.above          its own part of the seam above, if another process has the swath above
    000012.seam...        that seam, finished
    averaged.f32          the scene averaged for a model's context, C + 1 channels row by row, float32
    coarse.npy            what coarser views told, for a model that refines them
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from geoseg.errors import OutputError
from geoseg.files import write_errors
from geoseg.grid import Window
from geoseg.thumbnail import ThumbnailRows

_MANIFEST = "work.json"


@dataclass(frozen=True)
class Record:
    """What is known of finished rows of the scene."""

    row: int
    """First row."""
    counts: NDArray[np.int32]
    """Pixels by row and class (h, K)."""
    kinds: tuple[str, ...]
    """Which rasters have a part for these rows: landcover, confidence, scores."""
    forwarded_px: int = 0
    """Pixels that the network saw for them."""
    thumbnail: ThumbnailRows | None = None
    """Their rows of the thumbnail."""

    @property
    def rows(self) -> range:
        """The rows."""
        return range(self.row, self.row + len(self.counts))

    def save(self, path: Path) -> None:
        """Write the record; it is there whole or not at all."""
        rows = self.thumbnail
        arrays: dict[str, Any] = {} if rows is None else {f"thumbnail_{k}": v for k, v in vars(rows).items()}
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(
                file, row=self.row, counts=self.counts, kinds=np.array(self.kinds, dtype=str),
                forwarded_px=self.forwarded_px, **arrays,
            )  # fmt: skip
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read a record."""
        with np.load(path, allow_pickle=False) as file:
            thumbnail = None
            if "thumbnail_first" in file:
                thumbnail = ThumbnailRows(
                    int(file["thumbnail_first"]), file["thumbnail_sums"], file["thumbnail_counts"]
                )
            kinds = tuple(str(kind) for kind in file["kinds"])
            return cls(int(file["row"]), file["counts"], kinds, int(file["forwarded_px"]), thumbnail)


@dataclass(frozen=True)
class Manifest:
    """Of what a work folder holds the work."""

    fingerprint: str
    """Scene, model and settings in a few letters; work with another one is something else."""
    tile: int
    """Largest side of a window, as it was fitted to the device's memory."""
    batch_size: int
    """Windows forwarded at once, likewise."""
    run: str = ""
    """Which run has the folder now; new each time that one begins or goes on."""


class WorkFolder:
    """Names and lists what lies in a work folder."""

    def __init__(self, path: Path, manifest: Manifest | None = None):
        """Name what lies in a folder; for a run, given its manifest, as long as the folder is that run's."""
        self.path, self._manifest = path, manifest

    def check_owner(self) -> None:
        """Make sure that no other run has taken the folder over.

        Raises:
            OutputError: if one has: a worker that was given up for dead must not write into its work.
        """
        if self._manifest is not None and self.read_manifest() != self._manifest:
            raise OutputError(f"{self.path} was taken over by another run")

    def size(self) -> int:
        """Bytes that it takes."""
        return sum(path.stat().st_size for path in self.path.glob("*") if path.is_file())

    def part(self, name: str, kind: str) -> Path:
        """Rows of one of the rasters."""
        return self.path / f"{name}.{kind}.tif"

    def record(self, name: str) -> Path:
        """What is known of these rows."""
        return self.path / f"{name}.npz"

    def below(self, i: int) -> Path:
        """What swath i leaves for the seam below."""
        return self.path / f"{swath_name(i)}.below"

    def above(self, i: int) -> Path:
        """The own part of swath i in the seam above."""
        return self.path / f"{swath_name(i)}.above"

    def is_finished(self, i: int) -> bool:
        """Whether swath i is."""
        return self.record(swath_name(i)).exists()

    def records(self) -> Iterator[tuple[str, Record]]:
        """The records of finished rows and their names, those of seams behind those of the swaths that they lie in."""
        for path in sorted(self.path.glob("*.npz")):
            yield path.stem, Record.load(path)

    def read_manifest(self) -> Manifest | None:
        """Of what this is the work; None if there is none."""
        try:
            return Manifest(**json.loads((self.path / _MANIFEST).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, manifest: Manifest) -> None:
        """Begin anew.

        Raises:
            OutputError: if nothing can be written there.
        """
        with write_errors(self.path.parent):
            self.remove()
            self.path.mkdir(parents=True, exist_ok=True)
            self.take_over(manifest)

    def take_over(self, manifest: Manifest) -> None:
        """Make it the folder of a run."""
        self._manifest = replace(manifest, run=uuid4().hex)
        partial = self.path / f"{_MANIFEST}.partial"
        with write_errors(self.path.parent):
            partial.write_text(json.dumps(asdict(self._manifest)), "utf-8")
            os.replace(partial, self.path / _MANIFEST)

    @property
    def manifest(self) -> Manifest:
        """What it is of, and whose."""
        assert self._manifest is not None
        return self._manifest

    def remove(self) -> None:
        """Remove it and all in it; first what says of which work it is, or half of it might be taken for all."""
        (self.path / _MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


def begin(work: WorkFolder, manifest: Manifest, *, resume: bool, tell: Callable[[str], None]) -> None:
    """Begin the work of a manifest, or go on with it.

    Raises:
        OutputError: if what was begun there is something else, or nothing can be written.
    """
    begun = work.read_manifest()
    if begun is None or not resume:
        if begun is not None:
            tell("an unfinished run is replaced; --resume would have gone on with it")
        work.begin(manifest)
    elif begun.fingerprint != manifest.fingerprint:
        raise OutputError(
            f"{work.path} holds the work of another scene, model or settings: use the same again, or leave --resume "
            "out to begin anew"
        )
    else:
        work.take_over(manifest)
        finished = len(list(work.path.glob("*[0-9].npz")))
        tell(f"going on with an unfinished run: {finished} swaths are finished")


def swath_name(i: int) -> str:
    """Name of what belongs to swath i; names sort as the swaths do."""
    return f"{i:06d}"


def seam_name(i: int) -> str:
    """Name of what belongs to the seam above swath i."""
    return f"{i:06d}.seam"


def work_path(landcover: Path) -> Path:
    """Where the work on a class raster lies."""
    return landcover.with_name(f".{landcover.stem}.geoseg")


@contextmanager
def locked(landcover: Path) -> Iterator[WorkFolder]:
    """The work folder of a class raster, for this process alone; it goes unless a swath in it is finished.

    Raises:
        OutputError: if another process is at work on the same result, or nothing can be written.
    """
    folder = landcover.parent
    is_new = not folder.exists()
    lock = FileLock(landcover.with_name(f".{landcover.stem}.lock"), timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{landcover} is being made by another process: wait for it, or choose another --output"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}: choose another folder") from None
    work = WorkFolder(work_path(landcover))
    try:
        yield work
    finally:
        if not any(work.path.glob("*.npz")):
            work.remove()
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


class SeamFile:
    """The probabilities that a swath leaves for the one below, window by window; what is never written is 0."""

    def __init__(self, path: Path, classes: int, ramp: int):
        self.path, self._classes, self._ramp = path, classes, ramp

    def write(self, columns: Window, seam: NDArray[np.float32]) -> None:
        """Write (K, ramp, w) probabilities of a window's columns."""
        with self.path.open("r+b" if self.path.exists() else "w+b", buffering=0) as file:
            data = np.ascontiguousarray(seam).tobytes()
            if os.pwrite(file.fileno(), data, self._offset(columns.col)) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, columns: Window) -> NDArray[np.float32] | None:
        """Read (K, ramp, w) probabilities of a window's columns; None if the swath left nothing at all."""
        shape = self._classes, self._ramp, columns.width
        size = 4 * self._classes * self._ramp * columns.width
        try:
            with self.path.open("rb", buffering=0) as file:
                data = os.pread(file.fileno(), size, self._offset(columns.col))
        except FileNotFoundError:
            return None
        return np.frombuffer(bytearray(data.ljust(size, b"\0")), np.float32).reshape(shape)

    def _offset(self, col: int) -> int:
        return 4 * self._classes * self._ramp * col
