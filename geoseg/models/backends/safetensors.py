"""geoseg's own bundles: one .safetensors file whose metadata carries the whole ModelSpec as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.models.header import read_header

if TYPE_CHECKING:
    from geoseg.models.model import Model
    from geoseg.spec import ModelSpec


class Bundles:
    """Opens bundles."""

    media_type = "application/octet-stream; application=safetensors"
    artifact_type = "safetensors.torch.save_file"
    framework = "PyTorch"

    def read_spec(self, path: Path) -> ModelSpec:
        """The spec in a bundle's header.

        Raises:
            ModelError: if it is no bundle.
        """
        return read_header(path)

    def open(self, path: Path) -> Model:
        """The model, in float32.

        Raises:
            ModelError: if it is no bundle, is damaged, its weights don't fit its own spec, or are no numbers.
        """
        from geoseg.models.bundle import open_bundle

        return open_bundle(path)

    def example(self, folder: Path) -> Path:
        """Write a network of 1 × 1 convolutions."""
        from geoseg.models.build import build_network
        from geoseg.models.bundle import save_model
        from geoseg.spec import ClassSpec, ModelSpec, NetworkSpec, NormalizationSpec

        spec = ModelSpec(
            name="example",
            network=NetworkSpec(architecture="pointwise", multiple=1),
            bands=("red", "green", "blue"),
            normalization=NormalizationSpec(mean=(0, 0, 0), std=(255, 255, 255)),
            classes=(ClassSpec(id=0, name="land", color="#c8d6a0"), ClassSpec(id=1, name="water", color="#2b7fd0")),
        )
        return save_model(build_network(spec), spec, folder / "example.safetensors")


BACKEND = Bundles()
