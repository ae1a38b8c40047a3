"""How files come to be: beside their place, under a name of their own, and moved there when they are complete.

Knows nothing of what is in them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.errors import OutputError


@contextmanager
def workspace(folder: Path, name: str | None = None) -> Iterator[Path]:
    """A folder for unfinished files, inside the folder of the results; it goes whatever happens.

    Who gives it a name of its own is alone there, and takes the place of one that was killed.

    Raises:
        OutputError: if nothing can be written there.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: choose a folder")
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix=".geoseg-", dir=folder)) if name is None else folder / name
        if name is not None:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}: choose another folder") from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def publish(finished: Path, path: Path) -> None:
    """Give a finished file its final name, with GDAL's sidecar if it has one; nobody ever sees half of it.

    Raises:
        OutputError: if that name cannot be taken.
    """
    try:
        os.replace(finished, path)
        if sidecar(finished).exists():
            os.replace(sidecar(finished), sidecar(path))
        else:
            sidecar(path).unlink(missing_ok=True)  # one that described what was here before
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}: choose another place") from None


def sidecar(path: Path) -> Path:
    """Where GDAL keeps what the format has no room for, such as a CRS that GeoTIFF cannot express."""
    return path.with_name(path.name + ".aux.xml")


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn a failing write into an OutputError that names the folder of the results."""
    try:
        yield
    except (RasterioError, OSError) as error:
        reason = one_line(error.__cause__ or error)
        raise OutputError(f"cannot write into {folder}: {reason}: check the free space and the permissions") from None


@contextmanager
def quiet_georeferencing() -> Iterator[None]:
    """Silence rasterio about rasters without coordinates: geoseg gives its own notice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
