"""A body that ONNX Runtime computes. In: normalised values (B, C, H, W). Out: what the body of PyTorch makes of them.

Images of some sizes, those of the windows of a scene, go through a graph for each size; all others, such as parts of
windows along places without data, through PyTorch. So an image of a size always goes the same way.
"""

from __future__ import annotations

import copy
import hashlib
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.core.version import __version__
from geoseg.models.branches.context import ContextSegmenter
from geoseg.models.families.body import Body, Features
from geoseg.models.onnx_engine.cache import is_cached, read_cached, write_cached
from geoseg.models.onnx_engine.graphs import make_graph, open_graph, run_graph
from geoseg.models.onnx_files.runtime import runtime
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights_digest import weights_digest
from geoseg.models.window_padding import Sides

_WAY = 2
"""Number of the way in which graphs are made: another one for another way."""


@dataclass(frozen=True)
class OnnxEngine:
    """How a network is run by ONNX Runtime."""

    identity: str
    """What the network is besides its weights, e.g. its spec."""
    sizes: frozenset[tuple[int, int]]
    """Heights and widths of the images that go through the runtime, in pixels."""
    bands: int
    """Number of their bands."""
    decoded: bool = False
    """Whether the network needs the decoded features of its body, too."""
    is_made_at_once: bool = True
    """Whether the graph for the largest images is made before the first of them comes."""

    def network(self, network: nn.Module) -> nn.Module:
        """The network with its body in the runtime; it shares all weights.

        Raises:
            ModelError: if it is no network of geoseg's, or ONNX Runtime cannot run it.
        """
        if not isinstance(network, SegmentationNetwork):
            raise ModelError("this network cannot be run by ONNX Runtime: it is none of geoseg's: take --engine torch")
        changed = copy.copy(network)
        body = OnnxBody(network.body, self).eval()
        changed._modules = {**network._modules, "body": body}
        if self.is_made_at_once:
            body.make_ready()
        return changed


class OnnxBody(Body):
    """A body whose images of some sizes ONNX Runtime classifies. Its graphs are made when they are first needed."""

    def __init__(self, body: Body, engine: OnnxEngine):
        super().__init__()
        self.torch_body, self._engine = body, engine
        self._sessions: dict[tuple[int, int, int, bool], Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """The state without sessions, which live in one process."""
        return self.__dict__ | {"_sessions": {}}

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        """The encoder of PyTorch."""
        return self.torch_body.encoder

    @property
    def head(self) -> nn.Module:
        """The head of PyTorch."""
        return self.torch_body.head

    @property
    def channels(self) -> int:
        """Channels of the output of `decode`."""
        return self.torch_body.channels

    @property
    def stages(self) -> Sequence[int]:
        """Channels of the maps of `encode`."""
        return self.torch_body.stages

    @property
    def sides(self) -> Sides:
        """Heights and widths of the images that `encode` takes."""
        return self.torch_body.sides

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W), by PyTorch."""
        return self.torch_body.encode(image)

    def decode(self, features: Features) -> Tensor:
        """The input of the head (B, L, h, w), by PyTorch."""
        return self.torch_body.decode(features)

    def classify(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded features (B, L, h, w) and logits (B, K, H, W) of normalised values (B, C, H, W).

        Raises:
            ModelError: if the graph for images of this size cannot be made.
        """
        if not self._takes(image):
            return self.torch_body.classify(image)
        logits, decoded = self._run(image, decoded=True)
        return decoded, logits

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, H, W) of normalised values (B, C, H, W).

        Raises:
            ModelError: as `classify` does.
        """
        logits: Tensor = self._run(image, decoded=False)[0] if self._takes(image) else self.torch_body(image)
        return logits

    def make_ready(self) -> None:
        """Make the graph for images of the largest size.

        Raises:
            ModelError: if that cannot be done, or a library is missing.
        """
        height, width = max(self._engine.sizes)
        self._session((self._engine.bands, height, width), self._engine.decoded)

    def make_all(self) -> None:
        """Make the graphs for images of all sizes.

        Raises:
            ModelError: as `make_ready` does.
        """
        for size in sorted(self._engine.sizes):
            self._session((self._engine.bands, *size), self._engine.decoded)

    def missing_graphs(self) -> int:
        """Number of sizes whose graphs are still to be made."""
        shapes = [(self._engine.bands, *size) for size in self._engine.sizes]
        return sum(not is_cached(self._name(shape, self._engine.decoded)) for shape in shapes)

    def _takes(self, image: Tensor) -> bool:
        return (image.shape[2], image.shape[3]) in self._engine.sizes and not self.training

    def _run(self, image: Tensor, *, decoded: bool) -> list[Tensor]:
        """The outputs of a graph, for one image after the other."""
        session = self._session((image.shape[1], image.shape[2], image.shape[3]), decoded)
        arrays = [one.contiguous().numpy() for one in torch.split(image.float(), 1)]
        found = [run_graph(session, array) for array in arrays]
        return [torch.cat([torch.from_numpy(one) for one in parts]) for parts in zip(*found, strict=True)]

    def _session(self, shape: tuple[int, int, int], decoded: bool) -> Any:
        key = (*shape, decoded)
        if key not in self._sessions:
            self._sessions[key] = self._opened(shape, decoded)
        return self._sessions[key]

    def _name(self, shape: tuple[int, int, int], decoded: bool) -> str:
        """Name of a graph in the cache."""
        return f"{digest_of(self.torch_body, self._engine.identity, [shape, decoded])}.graph"

    def _opened(self, shape: tuple[int, int, int], decoded: bool) -> Any:
        """A session of a graph of the cache, or of one that is made now."""
        name = self._name(shape, decoded)
        if (content := read_cached(name)) is not None:
            with suppress(Exception):  # the runtime's errors have no class in common: the graph is made again
                return open_graph(content)
        content = make_graph(self.torch_body, shape, decoded=decoded)
        write_cached(name, content)
        return open_graph(content)


def needs_decoded(network: nn.Module, *, context: bool) -> bool:
    """Whether a network with or without its surroundings needs the decoded features of its body."""
    return context and isinstance(network, ContextSegmenter)


def digest_of(body: nn.Module, identity: str, more: object) -> str:
    """Digest of a body, of what else is given, of the processor, and of the versions of all that computes."""
    parts = (
        _WAY, weights_digest(body), repr(body), identity, more, processor(), __version__, torch.__version__,
        runtime().__version__,
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]


def processor() -> str:
    """Name of the processor, and what PyTorch finds that it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        name = ""
    return f"{name or platform.processor()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def check_libraries() -> None:
    """Check that the libraries are installed.

    Raises:
        ModelError: if not.
    """
    from geoseg.models.onnx_files.reading import INSTALL

    runtime()
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ModelError(f"--engine onnx needs the library onnx, which is missing: {INSTALL}") from None
