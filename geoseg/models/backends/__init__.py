"""Model file formats by the suffix of the file name. PyTorch is imported only when a model is opened.

A new kind of model file is a file here with a `Backend`, and a line in `BACKENDS` below; its name is the suffix, e.g.
`.onnx`. One of another package is an entry point of the group `geoseg.backends`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from geoseg.core.errors import ModelError
from geoseg.core.registry import Registry

if TYPE_CHECKING:
    from geoseg.models.model import Model
    from geoseg.spec import ModelSpec


class Backend(Protocol):
    """Opens one kind of model file."""

    media_type: str
    """Media type of such files, for catalogues, e.g. "application/onnx"."""
    artifact_type: str
    """How such a file is written, for catalogues: a library's function or a format, e.g. "torch.onnx.export"."""

    framework: str
    """What its networks are made with, for catalogues, e.g. "PyTorch"."""

    def read_spec(self, path: Path) -> ModelSpec:
        """The spec of the model in a file; fast, without its weights and without importing PyTorch.

        Raises:
            ModelError: if it is no such file, or holds no valid spec.
        """
        ...

    def open(self, path: Path) -> Model:
        """The model: its spec, and a module that turns band values (B, C, H, W), float32, into logits (B, K, H, W).

        The module is in evaluation mode, on the CPU, and can be copied (`copy.deepcopy`) and pickled, as happens when
        several processes share a scene. Nothing but the file is opened, and no code of it is run: the file alone
        decides the logits, and `load_model` keeps its digest, by which work on another model's pixels is refused.

        Raises:
            ModelError: if it is no such file, is damaged, or does not hold what its spec says.
        """
        ...

    def example(self, folder: Path) -> Path:
        """Write a small model of any classes as such a file, for a first try and for tests."""
        ...


BACKENDS: Registry[Backend] = Registry(
    "kind of model file",
    "geoseg.backends",
    {
        ".safetensors": "geoseg.models.backends.safetensors:BACKEND",
        ".onnx": "geoseg.models.backends.onnx:BACKEND",
    },
    ModelError,
)


_PICKLED = (
    "pickled models (.pt, .pth, .ckpt) can run code when loaded and are refused, geoseg import makes a bundle of their "
    "weights"
)
_RUNS_CODE = {
    ".pt2": "a program of torch.export (.pt2) can run code when loaded, as PyTorch falls back to pickle and evaluates "
    "texts in it, and is refused",
    ".torchscript": "TorchScript is code, which is not run",
}
"""Why files of a suffix are refused."""


def backend_of(path: Path) -> Backend:
    """The backend that opens a file: by its suffix, or, if no backend has that suffix, by its content.

    Raises:
        ModelError: if its suffix is unknown and it is no safetensors file.
    """
    suffix = path.suffix.lower()
    if suffix not in BACKENDS and _is_safetensors(path):
        suffix = ".safetensors"
    try:
        return BACKENDS.get(suffix)
    except ModelError as error:
        if suffix in BACKENDS:  # by a package that is broken
            raise
        raise ModelError(
            f"{path} is not a geoseg model: {error}; {_RUNS_CODE.get(suffix, _PICKLED)}: write a bundle with "
            "geoseg.save_model, or an ONNX file"
        ) from None


def _is_safetensors(path: Path) -> bool:
    """Whether a file starts as safetensors does: with the size of a JSON header (8 bytes) that lies in the file."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
        return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8
    except OSError:
        return False
