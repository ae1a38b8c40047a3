"""The architectures of segmentation-models-pytorch, with its own encoders or timm's.

Importing this module imports neither library, which takes seconds: building a network does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from geoseg.models.families.body import Body, Family
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.smp_info import INFO
from geoseg.models.families.unet import UNet, is_known
from geoseg.spec import ModelSpec, NetworkSpec
from geoseg.spec.arguments import NetworkArguments


class Smp(Family):
    """All architectures of segmentation-models-pytorch."""

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        from geoseg.models.families import smp_body

        return smp_body.build(network, bands, classes)

    def blank(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with arbitrary weights; the most frequent ones without importing smp and timm.

        Raises:
            ModelError: as `build` does.
        """
        if is_known(network):
            return UNet.of(network, bands, classes)
        return self.build(network, bands, classes)

    def example(self, architecture: str) -> NetworkSpec:
        """A network with a small encoder; dpt takes only vision transformers."""
        if architecture == "dpt":
            arguments = NetworkArguments(dynamic_img_size=True, embed_dim=48, num_heads=3)
            return NetworkSpec(architecture=architecture, encoder="tu-vit_tiny_patch16_224", arguments=arguments)
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet")

    def info(self, architecture: str) -> NetworkInfo:
        """The paper of an architecture, and the encoders it takes."""
        return INFO[architecture]

    def tagged_weights(self, encoder: nn.Module, spec: ModelSpec, tag: str) -> Mapping[str, Tensor]:
        """Pretrained weights of smp or timm, downloaded unless they are in the cache.

        Raises:
            ModelError: if there are none of that name, or they cannot be downloaded.
        """
        from geoseg.models.families import smp_body

        return smp_body.tagged_weights(encoder, spec, tag)

    def foreign_weights(
        self, encoder: nn.Module, spec: ModelSpec, given: Mapping[str, Tensor], path: Path
    ) -> Mapping[str, Tensor]:
        """Weights of a file with timm's own names.

        Raises:
            ModelError: if they are not those of this encoder, or it is none of timm's.
        """
        from geoseg.models.families import smp_body

        return smp_body.timm_weights(encoder, spec, given, path)


FAMILY = Smp()
