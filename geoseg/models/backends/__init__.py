"""Kinds of model files, by the suffix of their names. Knows no PyTorch until a file is opened.

Another package adds one by an entry point of the group `geoseg.backends` whose name is the suffix, e.g. `.onnx`.
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

    def read_spec(self, path: Path) -> ModelSpec:
        """What a file says of its model; fast, without its weights and without importing PyTorch.

        Raises:
            ModelError: if it is no such file, or says nothing of a model.
        """
        ...

    def open(self, path: Path) -> Model:
        """The model: its spec, and a module that turns band values (B, C, H, W), float32, into logits (B, K, H, W).

        The module is in evaluation mode, on the CPU. Nothing but the file is opened, and no code of it is run.

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
    {".safetensors": "geoseg.models.backends.safetensors:BACKEND"},
    ModelError,
)


def backend_of(path: Path) -> Backend:
    """What opens a file.

    Raises:
        ModelError: if nothing does.
    """
    suffix = path.suffix.lower()
    try:
        return BACKENDS.get(suffix)
    except ModelError as error:
        if suffix in BACKENDS:  # by a package that is broken
            raise
        raise ModelError(
            f"{path} is not a geoseg model: {error}; pickled models (.pt, .pth, .ckpt) can run code when loaded and "
            "are refused: write a bundle with geoseg.save_model"
        ) from None
