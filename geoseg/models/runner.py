"""A network on a device, in an arithmetic. In: batches of band values, and context. Out: logits, on the device."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.core.errors import GeosegError, SpecError
from geoseg.core.events import SILENT, Reporter
from geoseg.core.system_errors import lacks_memory
from geoseg.models.batch_norm_folding import folded
from geoseg.models.crop_features import CropFeatures
from geoseg.models.fused import Fused
from geoseg.models.logits_layout import class_by_class
from geoseg.models.onnx_engine.body import OnnxEngine
from geoseg.models.operator_fusion.maps import plain
from geoseg.models.operator_fusion.network import fuse_operators, fuses
from geoseg.models.other_runtime import OtherRuntime
from geoseg.models.quantization.network import quantize
from geoseg.models.quantization.processor import multiplies_integers
from geoseg.models.segmentation import SegmentationNetwork, Segmenter
from geoseg.models.surroundings import NO_CONTEXT, Context, Views
from geoseg.models.tta import Augmentation, Augmented
from geoseg.models.uniformity_check import keeps_uniform
from geoseg.models.unusual_values import Careful
from geoseg.models.window_check import check_size, misfit

if TYPE_CHECKING:
    from geoseg.models.branches.context import ContextSegmenter
    from geoseg.models.branches.refine import RefiningSegmenter

_UNEVEN = (
    "this network answers by position in a window: across large uniform areas (water, fill) classes can change along "
    "the borders of windows; a larger --tile has fewer of them"
)
_SLOWER = (
    "--compile: on CPUs the network is faster as geoseg fuses it, which takes no time to start: leave --compile out"
)
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device of a name; auto takes cuda, then mps, then cpu.

    Raises:
        SpecError: if this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SpecError(
            f"device {name}: this machine has {torch.cuda.device_count()} CUDA devices: use --device auto or cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SpecError("device mps: this machine has none: use --device auto or cpu")
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """Return fp32, bf16 or fp16; auto takes bf16 where the device computes in it natively, fp16 on older GPUs."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "fp32"


def choose_for(network: nn.Module, device: str, precision: str) -> tuple[torch.device, str]:
    """The device and arithmetic of a network: those of the names, or, of another runtime, what it offers.

    Raises:
        SpecError: if this machine has no such device, or the network has an arithmetic of its own and another is named.
    """
    chosen = choose_device(device)
    if not isinstance(network, OtherRuntime):
        if precision == "int8":
            check_int8(network, chosen)
        return chosen, choose_precision(precision, chosen)
    if device == "auto" and not network.runs_on(chosen):
        chosen = torch.device("cpu")
    return chosen, network.checked_precision(precision)


def check_int8(network: nn.Module, device: torch.device) -> None:
    """Refuse 8-bit integers where they cannot be had.

    Raises:
        SpecError: if the device is no CPU, the processor lacks them, or the network is none of geoseg's.
    """
    if device.type != "cpu":
        raise SpecError(f"precision int8: {device} has none here: take --device cpu, or leave --precision out")
    if not multiplies_integers():
        raise SpecError(
            "precision int8: this processor does not multiply integers of 8 bits natively (VNNI, AMX): take "
            "--precision bf16 or fp32"
        )
    if not isinstance(network, SegmentationNetwork):
        raise SpecError("precision int8: this model's network is none of geoseg's own: leave --precision out")


def _cpu_has_bf16() -> bool:
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """A context in which networks compute in fp32, bf16 or fp16, or in 8-bit integers and floats."""
    if precision == "int8":  # what is left of floats
        precision = choose_precision("auto", device)
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, dtype=_DTYPES[precision])


@dataclass(frozen=True)
class RunnerOptions:
    """How a network is run, besides device and precision."""

    augmentations: Sequence[Augmentation] = (Augmentation(),)
    """Test-time augmentations of each window; the probabilities are averaged."""
    multiple: int = 1
    """The network's stride in pixels; the sides of scaled windows are multiples of it."""
    compiled_sizes: Collection[tuple[int, int]] = ()
    """Height and width of the windows for which torch.compile fuses the network."""
    bands: int = 0
    """Number of bands of a network whose weights are final; 0 if they may change. On a CPU, its batch normalisations
    are then folded into the convolutions, and these fused with what comes before and behind them."""
    ranges: Mapping[str, Tensor] = field(default_factory=dict)
    """Ranges of the network's values, for 8-bit integers."""
    floats: Collection[str] = ()
    """Names of convolutions that go on with floats then."""
    onnx: OnnxEngine | None = None
    """How ONNX Runtime computes the network's body; None if PyTorch does."""


class Runner:
    """A network on its device, ready for batches.

    `network` is the network with its normalisations folded where that can be; `fastest` is what computes windows.
    """

    def __init__(
        self,
        network: nn.Module,
        device: str = "auto",
        precision: str = "auto",
        options: RunnerOptions = RunnerOptions(),
        *,
        reporter: Reporter = SILENT,
    ):
        """Move a network to its device, in evaluation mode.

        Args:
            network: a `Segmenter`: band values (B, C, H, W) -> logits (B, K, H, W).
            device: auto, cpu, cuda, cuda:1 or mps.
            precision: auto, fp32, bf16, fp16 or int8.
            options: augmentations, fusion, folding.
            reporter: takes notices.

        Raises:
            SpecError: if this machine has no such device, or no compiler where the network is to be fused.
            ModelError: if ONNX Runtime is to compute the network and cannot.
        """
        self.device, self.precision = choose_for(network, device, precision)
        self._given, self._options, self._reporter = network, options, reporter
        with torch.inference_mode(False):  # the weights that are given go on learning, if they did
            if self.precision == "int8":
                network = _with_integers(network, options)
            elif self._folds:
                network = folded(network.cpu(), options.bands)
            network.to(self.device).to(memory_format=torch.channels_last).eval()
        if options.bands and isinstance(network, SegmentationNetwork) and not keeps_uniform(network, options.multiple):
            reporter.notice(_UNEVEN)
        if options.onnx is not None:
            network = options.onnx.network(network)
        self.network = network
        self.fastest = self._fused(network)
        forward = self._forward_by(network)
        is_plain = tuple(options.augmentations) == (Augmentation(),)
        self._forward = forward if is_plain else Augmented(forward, options.augmentations, options.multiple)
        self._takes_bytes = (
            is_plain and self.device.type == "cpu" and isinstance(forward, (SegmentationNetwork, Careful))
        )
        self._crop_features = CropFeatures(self._given if self.precision == "int8" else network)
        self._most: int | None = None
        self._uniform: tuple[bytes, Tensor] | None = None

    @property
    def _folds(self) -> bool:
        """Whether layers are joined: of final weights, on a CPU, in an arithmetic of its own."""
        if not self._options.bands or self.device.type != "cpu":
            return False
        return self.precision == "fp32" or (self.precision == "bf16" and _cpu_has_bf16())

    def _fused(self, network: nn.Module) -> nn.Module:
        """The network with its operators fused, unless a compiler or another runtime does that."""
        given = self._options
        if not self._folds or given.compiled_sizes or given.onnx or not isinstance(network, SegmentationNetwork):
            return network
        return fuse_operators(network)

    def _forward_by(self, network: nn.Module) -> Segmenter:
        """What forwards windows by a network as it was before its operators were fused."""
        sizes = self._options.compiled_sizes
        if sizes:
            if self._folds and fuses():
                self._reporter.notice(_SLOWER)
            return Fused(network, sizes, self.device)
        plain_network = self._given if self.precision == "int8" else network
        if self.fastest is plain_network or not isinstance(self.fastest, SegmentationNetwork):
            return self.fastest
        return Careful(self.fastest, plain_network)

    def with_network(self, network: nn.Module) -> Runner:
        """A runner of another network, with the same device, arithmetic and options."""
        return Runner(network, str(self.device), self.precision, self._options, reporter=self._reporter)

    def with_ranges(self, ranges: Mapping[str, Tensor]) -> Runner:
        """A runner of the same network with ranges for 8-bit integers."""
        options = replace(self._options, ranges=ranges)
        return Runner(self._given, str(self.device), self.precision, options, reporter=self._reporter)

    def with_onnx(self, engine: OnnxEngine) -> Runner:
        """A runner of the same network, computed by ONNX Runtime; the weights are shared.

        Raises:
            ModelError: if ONNX Runtime cannot compute it.
        """
        options = replace(self._options, onnx=engine)
        return Runner(self.network, str(self.device), self.precision, options, reporter=self._reporter)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Inference mode and autocast for several batches: weights are converted once, not for every batch."""
        with torch.inference_mode(), self._arithmetic():
            yield

    def encode(self, level: int, view: NDArray[Any]) -> Tensor:
        """Features (1, F, h, w) of one view (C + 1, n, n) of a level of the context, on the device."""
        network = cast("ContextSegmenter", self.fastest)
        with self.session():
            values = torch.from_numpy(view)[None].to(self.device)
            features: Tensor = plain(network.encode(level, values.contiguous(memory_format=torch.channels_last)))
        return features

    def upsampled(self, context: Context, size: tuple[int, int]) -> Tensor:
        """Log probabilities (B, K, *size) of a coarser view, resampled to windows; the network is not run."""
        network = cast("RefiningSegmenter", self.network)
        with torch.inference_mode():
            return network.coarse(context, size).log()

    def see(self, views: Views) -> Context:
        """The context that the network computes from the views of windows, on the device."""
        network = cast(SegmentationNetwork, self.fastest)
        with self.session():
            seen = network.see(Views(*(tuple(part.to(self.device) for part in parts) for parts in views)))
        return replace(seen, maps=plain(seen.maps))

    def __call__(self, image: NDArray[Any], context: Context = NO_CONTEXT) -> Tensor:
        """Turn band values (B, C, T, T) into logits (B, K, T, T), float32, on the device.

        Logits of the last batch of constant windows (such as the black border of many mosaics) are cached and reused,
        unless there is a context.

        Args:
            image: the windows.
            context: of the same windows; empty for the local network alone.

        Raises:
            SpecError: if a single window does not fit into the device's memory.
        """
        key = None if context.maps else _uniform_key(image)
        if key is not None and self._uniform is not None and self._uniform[0] == key:
            return self._uniform[1].clone()
        with self.session():
            logits = self._in_memory(self._to_device(image), context)
        if key is not None:
            self._uniform = key, logits.clone()
        return logits

    def features(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> Tensor:
        """Features (N, F) that the network sees in crops (N, C, h, w), float32, on the device, computed in fp32.

        Args:
            image: the crops.
            valid: which of their pixels hold data (N, h, w), some in each crop.
        """
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            values = self._to_device(image)
            return self._crop_features(values, self._to_device(valid))

    def _to_device(self, image: NDArray[Any]) -> Tensor:
        values = torch.from_numpy(image)
        if self.device.type == "cuda":
            return values.pin_memory().to(self.device, non_blocking=True)
        return values.to(self.device)

    def _in_memory(self, values: Tensor, context: Context) -> Tensor:
        """Forward a batch, in parts if the device's memory is too small for all of it at once."""
        if self._most is not None and len(values) > self._most:
            parts = [slice(first, first + self._most) for first in range(0, len(values), self._most)]
            return torch.cat([self._in_memory(values[part], context.part(part)) for part in parts])
        try:
            return self._logits(values, context)
        except GeosegError:
            raise
        except Exception as error:  # networks raise whatever the size of a window leads to
            if not _is_out_of_memory(error):
                raise (error if lacks_memory(error) else misfit(values, error)) from None
        self._shrink(values)
        return self._in_memory(values, context)

    def _logits(self, values: Tensor, context: Context) -> Tensor:
        logits = self._forward(values if self._takes_bytes else values.float(), context)
        check_size(logits, values)
        return class_by_class(logits)

    def _shrink(self, values: Tensor) -> None:
        """Halve the largest batch size after the memory ran out."""
        windows, _, height, width = values.shape
        if windows == 1:
            raise SpecError(
                f"{self.device} ran out of memory with a window of {height} x {width} pixels: lower the tile (--tile)"
            )
        self._most = windows // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._reporter.notice(
            f"{self.device} ran out of memory with {windows} windows at once: going on with {self._most}"
        )

    def _arithmetic(self) -> AbstractContextManager[Any]:
        return arithmetic(self.device, self.precision)


def _with_integers(network: nn.Module, options: RunnerOptions) -> SegmentationNetwork:
    """A network that computes with 8-bit integers."""
    assert isinstance(network, SegmentationNetwork)  # which `check_int8` has found
    return quantize(network, options.ranges, options.floats)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _uniform_key(image: NDArray[Any]) -> bytes | None:
    """A key of batches whose windows each have one value per band: their values and shape; None for all others."""
    first = image[:, :, :1, :1]
    if image[:, :, -1, -1].tobytes() != first.tobytes() or not (image == first).all():
        return None
    return repr((image.shape, image.dtype.str)).encode() + first.tobytes()
