"""Vision transformers of timm as encoders, for networks whose decoders take maps of their tokens.

In: a NetworkSpec, and which of a transformer's blocks are wanted. Out: the encoder, with timm's names of weights; or
what is the same for all networks on such an encoder. Importing this does not import timm.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body, Features
from geoseg.models.families.combinations import encoder_arguments
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.parameters import split_arguments
from geoseg.models.families.timm_names import TIMM
from geoseg.models.window_padding import Sides
from geoseg.spec import NetworkSpec

if TYPE_CHECKING:
    from geoseg.models.families.vit_encoder import VitEncoder

ENCODERS = "vision transformers of timm, e.g. tu-vit_base_patch16_384"
WHOLE_WINDOW = (
    "Each pixel attends to all of its window, and positions are learnt: logits depend on the window's size, and on "
    "where in it a pixel lies."
)
"""What networks on a vision transformer cannot do."""


def timm_arguments(encoder: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a transformer of timm: the given ones over those for images of any size; no classifier is built."""
    return {"num_classes": 0} | encoder_arguments(encoder) | dict(given)


class VitBody(Body):
    """A network on a vision transformer (Dosovitskiy et al. 2021). Subclasses define decoder and head."""

    def __init__(self, encoder: VitEncoder):
        """Take an encoder that `VitFamily` has built."""
        super().__init__()
        self.encoder = encoder
        self._stages, self.patch = encoder.out_channels, encoder.output_stride

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self._stages[-1]

    @property
    def stages(self) -> Sequence[int]:
        """Channels of the image, and of the maps of tokens."""
        return self._stages

    @property
    def sides(self) -> Sides:
        """Whole patches."""
        return Sides(self.patch)

    def encode(self, image: Tensor) -> Features:
        """The image, and a map of the tokens after each of the wanted blocks (B, C', H / patch, W / patch)."""
        return Features(self.encoder(image))


class VitFamily(EncoderFamily):
    """Networks on a vision transformer of timm."""

    is_normalised: ClassVar[bool] = False
    """Whether maps are normalised by the transformer's last layer."""
    small: ClassVar[dict[str, Any]] = {}
    """Arguments of the network itself that make it small, for tests."""

    @abstractmethod
    def depths(self, network: NetworkSpec) -> Sequence[float]:
        """The blocks after which maps are taken, as shares of all blocks; the last is 1."""
        ...

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> VitEncoder:
        """Build the encoder alone.

        Raises:
            ModelError: if it is no vision transformer of timm, or an argument is unknown.
        """
        from geoseg.models.families import any_encoder, vit_encoder  # import smp and timm

        _, of_timm = split_arguments(network, self.Settings)
        self.check(network)
        wanted = vit_encoder.Tokens(self.depths(network), self.is_normalised)
        try:
            return vit_encoder.VitEncoder(
                network.encoder.removeprefix(TIMM),
                bands,
                wanted,
                is_pretrained=tag is not None,
                arguments=timm_arguments(network.encoder, of_timm),
            )
        except Exception as error:  # timm raises whatever its arguments lead to
            reason = any_encoder.cannot_build(network, error)
            raise ModelError(f"{reason}: it takes {ENCODERS}") from None

    def usual(self, architecture: str) -> NetworkSpec:
        """A network on the base size, as most papers compare."""
        return NetworkSpec(architecture=architecture, encoder="tu-vit_base_patch16_384", multiple=16)

    def example(self, architecture: str) -> NetworkSpec:
        """A network on a small transformer."""
        arguments: Any = {"embed_dim": 48, "depth": 4, "num_heads": 3, **self.small}
        return NetworkSpec(architecture=architecture, encoder="tu-vit_tiny_patch16_224", arguments=arguments)
