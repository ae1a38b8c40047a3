"""The base of families whose networks take any encoder of smp or timm. Importing this imports neither."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from geoseg.models.families.body import Family
from geoseg.models.families.combinations import check_combination
from geoseg.spec import ModelSpec, NetworkSpec

RGB = 3
"""Bands of the images that pretrained encoders have seen."""


class EncoderFamily(Family):
    """Families that build an encoder of smp or timm, and load its pretrained weights as these do."""

    def check(self, network: NetworkSpec) -> None:
        """Refuse an unknown encoder, and one that does not go with the architecture.

        Raises:
            ModelError: with the nearest name, or the nearest combination that works.
        """
        check_combination(network)
        from geoseg.models.families import any_encoder

        any_encoder.check_encoder(network.encoder)

    @abstractmethod
    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder of a network alone, with the pretrained weights of a tag; None for fresh ones.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        ...

    def tagged_weights(self, encoder: nn.Module, spec: ModelSpec, tag: str) -> Mapping[str, Tensor]:
        """Pretrained weights of smp or timm, downloaded unless they are in the cache.

        Raises:
            ModelError: if there are none of that name, or they cannot be downloaded.
        """
        from geoseg.models.families import any_encoder

        return any_encoder.tagged_weights(encoder, spec, tag, self.encoder)

    def reach_weights(self, network: NetworkSpec, tag: str) -> str:
        """Check that the weights of an encoder are in the cache or can be downloaded; return where they are.

        Raises:
            ModelError: if there are none of that tag, or the place cannot be reached.
        """
        from geoseg.models.families.timm_sources import find_source, reach
        from geoseg.models.meta_network import meta_device

        with meta_device():
            encoder = self.encoder(network, RGB, None)
        return reach(find_source(encoder, network.encoder, tag))

    def foreign_weights(
        self, encoder: nn.Module, spec: ModelSpec, given: Mapping[str, Tensor], path: Path
    ) -> Mapping[str, Tensor]:
        """Weights of a file with timm's own names.

        Raises:
            ModelError: if they are not those of this encoder, or it is none of timm's.
        """
        from geoseg.models.families import any_encoder

        return any_encoder.timm_weights(encoder, spec, given, path, self.encoder)
