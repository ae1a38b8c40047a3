"""A model in memory: its network and its spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from geoseg.models.model_file import ModelFile
from geoseg.spec import ModelSpec


@dataclass(frozen=True)
class Model:
    """A model ready to use."""

    spec: ModelSpec
    """Bands, classes, network, windows and card."""
    module: nn.Module
    """(B, C, H, W) band values -> (B, K, H, W) logits, in eval mode; can be copied and pickled."""
    file: ModelFile | None = None
    """The file, whose digest keeps work from being resumed with another file's module; None for a module made in
    memory, all of whose weights must then be in its state dict."""
    ranges: Mapping[str, Tensor] = field(default_factory=dict)
    """Ranges of the network's values, for 8-bit integers, as `models.quantization.network.find_ranges` finds them;
    empty where they are unknown."""
    is_unchosen: bool = False
    """Whether it is the default model because none was named."""

    @property
    def floats(self) -> Sequence[str]:
        """Names of the convolutions that go on with floats where others compute with 8-bit integers."""
        return self.spec.int8.floats if self.spec.int8 is not None else ()
