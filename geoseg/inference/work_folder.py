"""The work folder of a prediction: its finished tile rows, from which a killed run resumes.

It lies beside the results, under a hidden name. A tile row is finished when its seal is there, which is written last,
atomically, and names the work to which it belongs and its files with their checksums. Other files belong to unfinished
tile rows and are written again. Several processes may work on different tile rows. The files:

    work.json             scene, model and settings of the work
    000012.landcover.tif  rows of tile row 12; none where it holds no data
    000012.npz            their record: pixel counts and the like
    000012.below          its part of the seam below: K × ramp × width floats, removed once the next row is finished
    000012.above          its part of the seam above, if another process has the tile row above
    000012.seal           the seal of all of these
    000012.seam...        that seam, finished, with a seal of its own
    adapted.safetensors   what becomes of the network where it is adapted to the scene; and its seal
    averaged.npy          the scene averaged for a model's context, C + 1 channels, float32; and its seal
    coarse.npy            class probabilities of the coarser views, for a model that refines them; and its seal
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import OutputError
from geoseg.core.files import LOCK_END, hidden_name, release_lock, remove_if_empty, sync_names, try_lock, write_errors
from geoseg.geo.grid import Window
from geoseg.inference.checksums import SEAL_END, Seal, read_checked, read_seal, write_checked, write_seal
from geoseg.inference.crop_statistics import CropStatistics
from geoseg.outputs.thumbnail import ThumbnailRows

_MANIFEST = "work.json"


@dataclass(frozen=True)
class Record:
    """Pixel counts, thumbnail and list of rasters of some finished rows of the scene."""

    row: int
    """First row."""
    counts: NDArray[np.int32]
    """Pixels by row and class (h, K)."""
    kinds: tuple[str, ...]
    """Which rasters have a part for these rows: landcover, confidence, uncertainty, scores."""
    forwarded_px: int = 0
    """Pixels that went through the network for them."""
    percent_sum: int = 0
    """Sum of the probability of the chosen class over pixels with data, in percent."""
    thumbnail: ThumbnailRows | None = None
    """Their rows of the thumbnail."""
    kept: frozenset[str] = frozenset()
    """Outputs that were kept of them besides classes, as `kept_outputs` names them."""
    crops: CropStatistics | None = None
    """Statistics of crops of them, for a comparison of the scene with the training imagery."""

    @property
    def rows(self) -> range:
        """The rows of the scene."""
        return range(self.row, self.row + len(self.counts))

    def save(self, path: Path) -> None:
        """Write the record."""
        rows = self.thumbnail
        arrays: dict[str, Any] = {} if rows is None else {f"thumbnail_{k}": v for k, v in vars(rows).items()}
        arrays |= {} if self.crops is None else {f"crops_{k}": v for k, v in vars(self.crops).items()}
        np.savez(
            path, row=self.row, counts=self.counts, kinds=np.array(self.kinds, dtype=str),
            forwarded_px=self.forwarded_px, percent_sum=self.percent_sum,
            kept=np.array(sorted(self.kept), dtype=str), **arrays,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read a record."""
        with np.load(path, allow_pickle=False) as file:
            thumbnail = None
            if "thumbnail_first" in file:
                thumbnail = ThumbnailRows(
                    int(file["thumbnail_first"]), file["thumbnail_sums"], file["thumbnail_counts"]
                )
            crops = None
            if "crops_bands" in file:
                crops = CropStatistics(file["crops_bands"], file["crops_features"], file["crops_ranks"])
            kinds = tuple(str(kind) for kind in file["kinds"])
            kept = frozenset(str(output) for output in file["kept"])
            sums = int(file["forwarded_px"]), int(file["percent_sum"])
            return cls(int(file["row"]), file["counts"], kinds, *sums, thumbnail, kept, crops)


@dataclass(frozen=True)
class Manifest:
    """Identity of the work that a folder holds."""

    fingerprint: str
    """Digest of scene, model and the settings that decide pixels."""
    tile: int
    """Largest side of a window, as it was fitted to the device's memory."""
    batch_size: int
    """Windows forwarded at once, likewise."""
    overlap: int = 0
    """Pixels shared by neighbouring windows of that size."""
    engine: str = "torch"
    """What computes the network: torch or onnx; it counts in the fingerprint."""
    engine_share: float | None = None
    """Time of ONNX Runtime over that of PyTorch, where it was measured on the machine that began."""
    run: str = ""
    """Id of the run that has the folder; each run, also a resumed one, has a new one."""

    @property
    def key(self) -> str:
        """Key that the seals of this work hold: the fingerprint and the size of the windows."""
        return f"{self.fingerprint}-{self.tile}-{self.overlap}"


class WorkFolder:
    """Names, lists and seals the files of a work folder."""

    def __init__(self, path: Path, manifest: Manifest | None = None):
        """Open a folder; with a manifest, for its run, for as long as the folder belongs to that run."""
        self.path, self._manifest = path, manifest

    def check_owner(self) -> None:
        """Check that no other run has taken the folder over.

        Raises:
            OutputError: if one has: a worker that was taken for dead must not write into another run's work.
        """
        if self._manifest is None or self.read_manifest() == self._manifest:
            return
        if not self.path.exists():
            raise OutputError(f"{self.path}, the folder of unfinished work, was removed while it was in use")
        raise OutputError(f"{self.path} was taken over by another run")

    def damage(self) -> OutputError:
        """The error to raise when a finished file is missing."""
        return OutputError(f"{self.path} was damaged while it was in use: --resume makes again what is missing")

    def check_place(self) -> None:
        """Check that an existing folder may be emptied and written into.

        Raises:
            OutputError: if it is a link, no folder, or another user's.
        """
        if not os.path.lexists(self.path):
            return
        if self.path.is_symlink() or not self.path.is_dir():
            what = "is a link" if self.path.is_symlink() else "is no folder"
            raise OutputError(f"{self.path} {what}, but the work would go there: remove it, or choose another --output")
        with write_errors(self.path.parent), tempfile.TemporaryFile(dir=self.path.parent) as own:
            if os.fstat(own.fileno()).st_uid != self.path.stat().st_uid:  # not geteuid: some shares have one owner
                raise OutputError(f"{self.path} is another user's: have it removed, or choose another --output")

    def size(self) -> int:
        """Size on disk, in bytes."""
        return sum(path.stat().st_size for path in self.path.glob("*") if path.is_file())

    def part(self, name: str, kind: str) -> Path:
        """Path of a raster of some rows."""
        return self.path / f"{name}.{kind}.tif"

    def record(self, name: str) -> Path:
        """Path of the record of some rows."""
        return self.path / f"{name}.npz"

    def below(self, i: int) -> Path:
        """Path of tile row i's part of the seam below it."""
        return self.path / f"{tile_row_name(i)}.below"

    def above(self, i: int) -> Path:
        """Path of tile row i's part of the seam above it."""
        return self.path / f"{tile_row_name(i)}.above"

    def seal(self, name: str) -> Path:
        """Path of the seal of some rows, or of a file common to all tile rows."""
        return self.path / f"{name}{SEAL_END}"

    def finish(self, name: str, record: Record) -> None:
        """Write the record of rows whose rasters are written, and seal them all."""
        record.save(self.record(name))
        passing = [path for end in ("below", "above") if (path := self.path / f"{name}.{end}").exists()]
        files = [self.record(name), *(self.part(name, kind) for kind in record.kinds), *passing]
        write_seal(self.seal(name), self.manifest.key, files)

    def seal_common(self, file: Path) -> None:
        """Seal a finished file that is common to all tile rows, unless it is sealed."""
        if not self.seal(file.name).exists():
            write_seal(self.seal(file.name), self.manifest.key, [file])

    def is_finished(self, i: int) -> bool:
        """Whether tile row i is finished."""
        return self._seal_of(tile_row_name(i)) is not None

    def has_lost_below(self, i: int) -> bool:
        """Whether finished tile row i has lost its part of the seam below it."""
        seal, below = self._seal_of(tile_row_name(i)), self.below(i)
        return seal is not None and below.name in seal.files and not seal.holds(below)

    def has_lost_above(self, i: int) -> bool:
        """Whether finished tile row i has lost its part of the seam above it."""
        seal, above = self._seal_of(tile_row_name(i)), self.above(i)
        return seal is not None and above.name in seal.files and not seal.holds(above)

    def records(self) -> Iterator[tuple[str, Record]]:
        """Names and records of finished rows; seams come after their tile rows."""
        names = (path.name.removesuffix(SEAL_END) for path in self.path.glob(f"[0-9]*{SEAL_END}"))
        for name in sorted(names):
            if self._seal_of(name) is not None:
                yield name, Record.load(self.record(name))

    def is_begun(self) -> bool:
        """Whether any tile row is finished."""
        return any(self.path.glob(f"[0-9]*{SEAL_END}"))

    def _seal_of(self, name: str) -> Seal | None:
        return read_seal(self.seal(name), self.manifest.key)

    @property
    def manifest_path(self) -> Path:
        """Path of the manifest."""
        return self.path / _MANIFEST

    def read_manifest(self) -> Manifest | None:
        """Read the manifest; None if there is none, or it is damaged."""
        try:
            return Manifest(**(read_checked(self.manifest_path) or {}))
        except TypeError:
            return None

    def begin(self, manifest: Manifest) -> None:
        """Empty the folder and begin new work.

        Raises:
            OutputError: if existing files cannot be removed, or the folder cannot be written.
        """
        with write_errors(self.path.parent):
            self.remove()
            if os.path.lexists(self.path):
                raise OutputError(f"{self.path} cannot be emptied: remove it, or choose another --output")
            self.path.mkdir(parents=True)
            sync_names(self.path.parent)
            self.take_over(manifest)

    def take_over(self, manifest: Manifest) -> None:
        """Assign the folder to the run of a manifest."""
        self._manifest = replace(manifest, run=uuid4().hex)
        with write_errors(self.path.parent):
            write_checked(self.manifest_path, asdict(self._manifest))

    @property
    def manifest(self) -> Manifest:
        """The manifest that the folder was opened with or begun for."""
        assert self._manifest is not None
        return self._manifest

    def remove(self) -> None:
        """Remove the folder, its manifest first, so that a half removed one is not taken for work."""
        with suppress(OSError):
            self.manifest_path.unlink()
        shutil.rmtree(self.path, ignore_errors=True)


def tile_row_name(i: int) -> str:
    """Stem of the files of tile row i; stems sort as tile rows do."""
    return f"{i:06d}"


def seam_name(i: int) -> str:
    """Stem of the files of the seam above tile row i."""
    return f"{i:06d}.seam"


def work_path(landcover: Path) -> Path:
    """Path of the work folder of a class raster."""
    return landcover.with_name(hidden_name(landcover.stem, ".geoseg"))


@contextmanager
def locked(landcover: Path) -> Iterator[WorkFolder]:
    """The work folder of a class raster, locked for this process; removed at the end unless a tile row is finished.

    Raises:
        OutputError: if another process is making the same result, the folder is not geoseg's, or it cannot be written.
    """
    with only_run(landcover), kept_if_begun(landcover) as work:
        yield work


@contextmanager
def only_run(result: Path) -> Iterator[None]:
    """A lock on a result, so that no other process makes it; its folder is made, and removed if it stays empty.

    Raises:
        OutputError: if another process is making it, or the folder cannot be written.
    """
    folder = result.parent
    is_new = not folder.exists()
    lock = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = try_lock(result.with_name(hidden_name(result.stem, LOCK_END)))
        if lock is None:
            raise OutputError(
                f"{result} is being made by another process: wait for it, or choose another --output"
            ) from None
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}: choose another folder") from None
    except NotImplementedError:  # file systems without locks: a run that is taken over finds out by the folder
        pass
    try:
        yield
    finally:
        release_lock(lock)
        if is_new:
            remove_if_empty(folder)


@contextmanager
def kept_if_begun(landcover: Path) -> Iterator[WorkFolder]:
    """The work folder of a class raster, for the only run; removed at the end unless a tile row is finished.

    Raises:
        OutputError: if the folder is not geoseg's.
    """
    work = WorkFolder(work_path(landcover))
    work.check_place()
    try:
        yield work
    finally:
        if not work.is_begun():
            work.remove()


class SeamFile:
    """A tile row's probabilities at the seam below it, stored window by window; 0 where nothing was written."""

    def __init__(self, path: Path, classes: int, ramp: int):
        self.path, self._classes, self._ramp = path, classes, ramp

    def write(self, columns: Window, seam: NDArray[np.float32]) -> None:
        """Write the probabilities (K, ramp, w) of a window's columns."""
        with self.path.open("r+b" if self.path.exists() else "w+b", buffering=0) as file:
            data = np.ascontiguousarray(seam).tobytes()
            if os.pwrite(file.fileno(), data, self._offset(columns.col)) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, columns: Window) -> NDArray[np.float32] | None:
        """Read the probabilities (K, ramp, w) of a window's columns; None if there is no file."""
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
