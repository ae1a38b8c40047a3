"""What every network without its normalisation is: an encoder, a decoder and a head, in this order.

In: a NetworkSpec. Out: a body: normalised values (B, C, H, W) -> logits (B, K, H, W). Who needs a part of it (a context
branch joins before the head, an auxiliary head listens to the encoder) asks for that part, of whatever family it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.weights.files import lacking, missing
from geoseg.spec import ModelSpec, NetworkSpec


class Features(NamedTuple):
    """What an encoder makes of a batch of images."""

    maps: Sequence[Tensor]
    """Maps (B, C', h, w), the finest first; their channels are `Body.stages`."""
    tokens: tuple[Sequence[Tensor], ...] = ()
    """What else the decoder of the same body takes, e.g. the class tokens of a transformer."""


class Body(nn.Module):
    """A network without its normalisation. Subclasses set `encoder`, and define all but `forward`."""

    encoder: nn.Module
    """The part that pretrained weights are for, and that may be frozen; a module without weights if there is none."""

    @property
    def head(self) -> nn.Module:
        """Turns what `decode` gives (B, L, h, w) into logits (B, K, H, W)."""
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """Channels L of what `decode` gives."""
        raise NotImplementedError

    @property
    def stages(self) -> Sequence[int]:
        """Channels of the maps that `encode` gives, 0 for one that is empty."""
        raise NotImplementedError

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W)."""
        raise NotImplementedError

    def decode(self, features: Features) -> Tensor:
        """What the head takes (B, L, h, w)."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Classify normalised values (B, C, H, W) as logits (B, K, H, W)."""
        logits: Tensor = self.head(self.decode(self.encode(image)))
        return logits


class Family(Protocol):
    """Builds the networks of some architectures. Subclass it: what is not abstract says that there are no weights."""

    @abstractmethod
    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a body with fresh weights: (B, bands, H, W) -> (B, classes, H, W).

        H and W are multiples of `network.multiple`. Equal specs give weights of equal names and shapes.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        ...

    def blank(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build the same body, but for what its weights are: they are about to be replaced.

        Raises:
            ModelError: as `build` does.
        """
        return self.build(network, bands, classes)

    @abstractmethod
    def example(self, architecture: str) -> NetworkSpec:
        """A small network of an architecture, for a first try and for tests."""
        ...

    def tagged_weights(self, encoder: nn.Module, spec: ModelSpec, tag: str) -> Mapping[str, Tensor]:
        """Pretrained weights that the family knows under a tag, e.g. imagenet: the encoder's state dict.

        Raises:
            ModelError: if there are none of that name, or they cannot be had.
        """
        name = spec.network.encoder or spec.network.architecture
        raise ModelError(f"there are no pretrained weights of {name}: leave out encoder_weights or give a file")

    def foreign_weights(
        self, encoder: nn.Module, spec: ModelSpec, given: Mapping[str, Tensor], path: Path
    ) -> Mapping[str, Tensor]:
        """Weights from a file that has other names for them than the encoder: the encoder's state dict.

        Raises:
            ModelError: if they are not those of this encoder.
        """
        raise lacking(path, spec, missing(encoder.state_dict(), given))
