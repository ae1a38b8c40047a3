"""Files of weights as plain values and tensors. Pickled files are read by PyTorch's unpickler of tensors alone.

In: a path. Out: values. No code is run: a file that names other objects is refused, with what it names.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from geoseg.core.errors import ModelError, shown
from geoseg.core.files import one_line
from geoseg.core.redaction import public_form

MOST_PACKED = 4
"""Times that the content of an archive may exceed its size: PyTorch does not compress weights."""
_ZIP, _SAFETENSORS = b"PK\x03\x04", b"{"
_FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)|(?:class|global|type) [`'\"]?([\w.]+\.[\w.]+)", re.IGNORECASE)
"""What PyTorch's message names: an object that is no tensor."""


def read_content(path: Path) -> Any:
    """Read a file of weights, whatever its name, onto the CPU.

    Raises:
        ModelError: if it is of no known kind, is damaged, or holds more than tensors and plain values.
    """
    if not path.stat().st_size:
        raise ModelError(f"{public_form(path)} is empty: copy it again")
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == _SAFETENSORS:
        return _read_safetensors(path)
    if start.startswith(_ZIP):
        _check_archive(path)
    return _read_pickled(path)


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError, RuntimeError, ValueError, MemoryError) as error:
        raise ModelError(f"{public_form(path)} cannot be read: {one_line(error)}: copy it again") from None


def _check_archive(path: Path) -> None:
    """Refuse archives that are damaged, that would unpack to more than they hold, and those of code.

    Raises:
        ModelError: with the reason.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise ModelError(f"{public_form(path)} is a damaged archive: it ends too early, copy it again") from None
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MOST_PACKED * path.stat().st_size:
        raise ModelError(
            f"{public_form(path)} would unpack to {unpacked / 1e6:,.0f} MB, more than weights do: it is not read"
        )
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise ModelError(
            f"{public_form(path)} holds a program (TorchScript), not weights alone: save model.state_dict() where the "
            "model was made"
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise ModelError(f"{public_form(path)} is an archive of no known layout: give a file or a folder of weights")


def _read_pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # on pickles of other programs
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises whatever the bytes lead to
        message = one_line(error)
        named = _FORBIDDEN.search(message)
        if named is not None and "eights" in message:
            what = shown(named[1] or named[2], quoted=False)
            raise ModelError(
                f"{public_form(path)} holds more than weights ({what}), which could run code when it is read: save "
                "model.state_dict() alone where the model was made"
            ) from None
        raise ModelError(
            f"{public_form(path)} cannot be read as weights: it is damaged, ends too early, or is no file of PyTorch "
            "or safetensors: copy it again"
        ) from None
