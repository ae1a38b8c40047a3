"""The contract of a network without its normalisation: encoder, decoder and head; and of the families that build them.

In: a NetworkSpec. Out: a body: normalised values (B, C, H, W) -> logits (B, K, H, W). Its parts are used one by one: a
context branch joins before the head, an auxiliary head takes features of the encoder, an auxiliary loss takes what some
modules made of a batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.families.argument_docs import Argument, arguments_in
from geoseg.models.families.info import NetworkInfo
from geoseg.models.training_batch import PixelLoss
from geoseg.models.weights.files import lacking, missing
from geoseg.models.window_padding import Sides, cropped
from geoseg.spec import ModelSpec, NetworkSpec, Spec

USUAL_ENCODER = "resnet34"
"""Encoder of the networks whose weights are counted."""


class Features(NamedTuple):
    """Features of a batch of images, the output of an encoder."""

    maps: Sequence[Tensor]
    """Maps (B, C', h, w), the finest first; their channels are `Body.stages`."""
    tokens: tuple[Sequence[Tensor], ...] = ()
    """Further inputs of the same body's decoder, e.g. the class tokens of a transformer."""


class StageLoss(Protocol):
    """A part that was added to stages of a body, with a loss of its own."""

    def loss(self, labels: Tensor) -> Tensor | None:
        """Loss of the batch that was forwarded last in training, a scalar; None if there was none since the last call.

        Args:
            labels: class indexes (B, H, W) of its first windows, padded as these were (see `Body.sides`).
        """
        ...


class Body(nn.Module):
    """A network without its normalisation. Subclasses set `encoder` and define the methods that raise here."""

    encoder: nn.Module
    """The part that takes pretrained weights and may be frozen; a module without weights if there is none."""
    stage_losses: tuple[StageLoss, ...] = ()
    """Parts added by settings of the network, whose losses training adds to that of the logits."""

    @property
    def head(self) -> nn.Module:
        """Turns the output of `decode` (B, L, h, w) into logits (B, K, H, W)."""
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """Channels L of the output of `decode`."""
        raise NotImplementedError

    @property
    def stages(self) -> Sequence[int]:
        """Channels of the maps of `encode`, 0 for an empty one."""
        raise NotImplementedError

    @property
    def sides(self) -> Sides:
        """Heights and widths of the images that `encode` takes; others are padded for it."""
        return Sides()

    @property
    def auxiliary_parts(self) -> Sequence[nn.Module]:
        """Modules of the body whose outputs `auxiliary_loss` needs; none for a network without such a loss."""
        return ()

    def auxiliary_loss(self, outputs: Sequence[Any], logits: Tensor, labels: Tensor, criterion: PixelLoss) -> Tensor:
        """Loss of auxiliary outputs, a scalar with its weight in it, which training adds to the loss of the logits.

        Args:
            outputs: what each of `auxiliary_parts` made of the batch that was forwarded last, in their order.
            logits: of the batch (B, K, H, W), padded as its images were (see `sides`).
            labels: its class indexes (B, H, W), int64, IGNORE where nothing is labelled, and where images were padded.
            criterion: the loss that the settings name, of any logits (B, K, h, w) against labels (B, h, w).
        """
        raise NotImplementedError

    @property
    def logits_weight(self) -> float:
        """Weight of the loss of the logits where `auxiliary_loss` is added to it; 0 for a network with a loss of its
        own alone."""
        return 1.0

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W), whose sides are among `sides`."""
        raise NotImplementedError

    def decode(self, features: Features) -> Tensor:
        """The input of the head (B, L, h, w)."""
        raise NotImplementedError

    def classify(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded features (B, L, h, w) and logits (B, K, H, W) of normalised values (B, C, H, W) of any size."""
        padded = self.sides.padded(image)
        decoded = self.decode(self.encode(padded))
        logits: Tensor = self.head(decoded)
        if padded is image:
            return decoded, logits
        return cropped(decoded, padded.shape, image.shape), cropped(logits, padded.shape, image.shape)

    def forward(self, image: Tensor) -> Tensor:
        """Classify normalised values (B, C, H, W), of any size, as logits (B, K, H, W)."""
        return self.classify(image)[1]


class Family(Protocol):
    """Builds the networks of some architectures. To be subclassed: by default there are no pretrained weights."""

    Settings: ClassVar[type[Spec]] = Spec
    """The arguments that its networks take, all with defaults; by default none."""

    @abstractmethod
    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a body with fresh weights: (B, bands, H, W) -> (B, classes, H, W).

        Equal specs give weights of equal names and shapes.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        ...

    def check(self, network: NetworkSpec) -> None:
        """Refuse a network that is known to be impossible, without building it; called when a config is read.

        Raises:
            ModelError: with the reason, and what to take instead.
        """
        return

    def blank(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build the same body with arbitrary weights, for a state dict that is loaded next.

        Raises:
            ModelError: as `build` does.
        """
        return self.build(network, bands, classes)

    @abstractmethod
    def example(self, architecture: str) -> NetworkSpec:
        """The spec of a small network of an architecture, for tests and a first run."""
        ...

    def usual(self, architecture: str) -> NetworkSpec:
        """The spec of a network of the usual size, for an example config and to count its weights."""
        takes_any = self.info(architecture).encoders != "none"
        return NetworkSpec(architecture=architecture, encoder=USUAL_ENCODER if takes_any else "")

    def arguments(self, architecture: str) -> Sequence[Argument]:
        """The settings below `network.arguments` of a network; by default those of `Settings`."""
        return arguments_in(self.Settings)

    def reach_weights(self, network: NetworkSpec, tag: str) -> str:
        """Check that pretrained weights of a tag are in the cache or can be downloaded; return where they are.

        Raises:
            ModelError: if there are none, or the place cannot be reached.
        """
        raise ModelError(
            f"there are no pretrained weights of {network.architecture} to download: leave out encoder_weights, or "
            "give a file"
        )

    @abstractmethod
    def info(self, architecture: str) -> NetworkInfo:
        """What a user reads about an architecture. Imports neither its network nor PyTorch's other libraries."""
        ...

    def tagged_weights(self, encoder: nn.Module, spec: ModelSpec, tag: str) -> Mapping[str, Tensor]:
        """Pretrained weights of a tag, e.g. imagenet: the encoder's state dict.

        Raises:
            ModelError: if there are none of that tag, or they cannot be downloaded.
        """
        name = spec.network.encoder or spec.network.architecture
        raise ModelError(f"there are no pretrained weights of {name}: leave out encoder_weights or give a file")

    def foreign_weights(
        self, encoder: nn.Module, spec: ModelSpec, given: Mapping[str, Tensor], path: Path
    ) -> Mapping[str, Tensor]:
        """Weights of a file whose names differ from the encoder's: the encoder's state dict.

        Raises:
            ModelError: if they are not weights of this encoder.
        """
        raise lacking(path, spec, missing(encoder.state_dict(), given))
