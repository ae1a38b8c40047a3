"""The architectures of segmentation-models-pytorch, with its own encoders or timm's.

Importing this module imports neither library, which takes seconds: building a network does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from geoseg.models.families.argument_docs import Argument, arguments_in
from geoseg.models.families.body import Body
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.smp_info import INFO
from geoseg.models.families.unet import UNet, is_known
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import NetworkArguments

SMALL: Mapping[str, NetworkArguments] = {
    "unetplusplus": {"decoder_channels": [32, 16, 16, 8, 8]},
    "manet": {"decoder_channels": [32, 16, 16, 8, 8]},
    "upernet": {"decoder_channels": 32},
}
"""Arguments that make networks small whose decoders are wide by default."""


class Smp(EncoderFamily):
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
            arguments = NetworkArguments(
                embed_dim=48, num_heads=3, decoder_intermediate_channels=[16] * 4, decoder_fusion_channels=16
            )
            return NetworkSpec(architecture=architecture, encoder="tu-vit_tiny_patch16_224", arguments=arguments)
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet", arguments=SMALL.get(architecture, {}))

    def usual(self, architecture: str) -> NetworkSpec:
        """On a ResNet, or dpt on the base size of the vision transformer."""
        if architecture == "dpt":
            return NetworkSpec(architecture=architecture, encoder="tu-vit_base_patch16_224")
        return super().usual(architecture)

    def arguments(self, architecture: str) -> Sequence[Argument]:
        """Those of the architecture; timm's encoders have further ones."""
        from geoseg.models.families import smp_body

        return arguments_in(NetworkArguments, smp_body.arguments_of(architecture))

    def info(self, architecture: str) -> NetworkInfo:
        """The paper of an architecture, and the encoders it takes."""
        return INFO[architecture]

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder of a network alone.

        Raises:
            ModelError: as `build` does.
        """
        from geoseg.models.families import smp_body

        if network.architecture == "dpt":  # its encoder has timm's classifier, whose size changes with the tag
            network = network.model_copy(update={"arguments": network.arguments | {"num_classes": 0}})
        return smp_body.build(network, bands, 1, tag).encoder


FAMILY = Smp()
