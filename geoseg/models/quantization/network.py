"""A network whose convolutions compute with 8-bit integers. In: a trained network, and windows to learn ranges from.

Which convolutions feed which is watched on a small window when the network is made; ranges are found once, on training
windows, and kept.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.models.batch_norm_folding import folded
from geoseg.models.convolution_padding import is_padded_alike, padding_of
from geoseg.models.quantization.convolution import Inputs, Outputs, QuantizedConv2d
from geoseg.models.quantization.quantized import Quantized, Scaling, scale_of
from geoseg.models.quantization.ranges import INPUTS, OUTPUTS, Ranges
from geoseg.models.quantization.watched import Watch, Watched, end_watch
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.models.shared_copy import shared_copy

LEAST_PRODUCTS = 256
"""Products for each value that is converted, from which integers are faster than bf16."""
_PROBE_PX = 64


def find_ranges(
    network: SegmentationNetwork, windows: Iterable[Tensor], floats: Collection[str] = ()
) -> dict[str, Tensor]:
    """Ranges of the values that a network's convolutions take and give, over windows (B, C, H, W) of band values.

    Args:
        network: the network, in float32 on the CPU.
        windows: what it is to see.
        floats: names of convolutions that go on with floats.
    """
    plain = _folded_body(network)
    watches: dict[str, Watch] = {}
    for window in windows:
        with _watching(plain, watches, floats):
            _forward(plain, window)
    return _ranges_in(watches)


def quantize(network: SegmentationNetwork, ranges: Ranges, floats: Collection[str] = ()) -> SegmentationNetwork:
    """A copy of a network whose local part computes with integers.

    Args:
        network: the network, on the CPU.
        ranges: as found by `find_ranges`.
        floats: names of the convolutions that go on with floats.
    """
    copied = _folded_body(network)
    watches: dict[str, Watch] = {}
    with _watching(copied, watches, set(floats) | _unknown(copied, ranges)):
        _forward(copied, _probe(copied))
    scalings = _scalings(watches, ranges)
    for name, watch in watches.items():
        layer = copied.body.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        if not _pays(watch, layer):
            continue
        copied.body.set_submodule(name, _converted(layer, name, ranges, _outputs(watch, scalings)))
    copied.normalize = QuantizedNormalize(copied.normalize)
    copied.register_forward_hook(_as_floats)
    return copied


def _as_floats(_module: nn.Module, _inputs: tuple[Any, ...], logits: Tensor) -> Tensor:
    return logits.floats() if isinstance(logits, Quantized) else logits


def layer_errors(network: SegmentationNetwork, ranges: Ranges, window: Tensor) -> dict[str, float]:
    """By the name of a convolution: how far integers move its outputs, given the same inputs, as a share of them.

    Args:
        network: the network, on the CPU.
        ranges: as found by `find_ranges`.
        window: band values (1, C, H, W).
    """
    plain, found, handles = _folded_body(network), dict[str, float](), list[Any]()
    for name, module in plain.body.named_modules():
        if name + INPUTS in ranges and isinstance(module, nn.Conv2d):
            compared = _Compared(_converted(module, name, ranges, Outputs(None)))
            found[name] = 0.0
            handles += [
                module.register_forward_pre_hook(compared.take, prepend=True),  # before the input is padded
                module.register_forward_hook(compared.into(found, name)),
            ]
    try:
        _forward(plain, window)
    finally:
        for handle in handles:
            handle.remove()
    return found


def gains_by_integers(network: SegmentationNetwork) -> bool:
    """Whether most convolutions hand integers to each other: a network that computes with floats between them, as
    transformers do, is slower with integers than in bf16."""
    plain = _folded_body(network)
    watches: dict[str, Watch] = {}
    called: set[nn.Module] = set()
    layers = [module for module in plain.body.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        layer.register_forward_hook(lambda module, _inputs, _output: called.add(module))
    with _watching(plain, watches):
        _forward(plain, _probe(plain))
    handed = sum(watch.takes_integers or watch.is_taken for watch in watches.values())
    return 2 * handed > len(called)


def _pays(watch: Watch, layer: nn.Conv2d) -> bool:
    """Whether a convolution multiplies often enough for its inputs and outputs to be converted, if they have to be."""
    if watch.takes_integers or watch.is_taken:
        return True
    rows, cols = layer.kernel_size
    products = rows * cols * layer.in_channels // layer.groups * layer.out_channels
    return products >= LEAST_PRODUCTS * (layer.in_channels * layer.stride[0] * layer.stride[1] + layer.out_channels)


class _Compared:
    """A convolution of integers beside one of floats."""

    def __init__(self, integers: QuantizedConv2d):
        self._integers, self._inputs = integers, torch.empty(0)

    def take(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Keep the input."""
        self._inputs = inputs[0]

    def into(self, found: dict[str, float], name: str) -> Any:
        """A hook that keeps the difference of the outputs, as a share of those of floats, under a name."""

        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], wanted: Tensor) -> None:
            found[name] = float((self._integers(self._inputs) - wanted).norm() / wanted.norm().clamp(min=1e-12))

        return hook


def _converted(layer: nn.Conv2d, name: str, ranges: Ranges, outputs: Outputs) -> QuantizedConv2d:
    padding = padding_of(layer)
    assert padding is not None  # as only such layers are watched
    low, high, mean = ranges[name + INPUTS]
    return QuantizedConv2d(layer, padding, Inputs(Scaling.of_range(low, high), mean), outputs)


class QuantizedNormalize(Normalize):
    """Normalisation that is the scaling of band values of 8 bits, which stay as they are."""

    def __init__(self, normalize: Normalize):
        nn.Module.__init__(self)
        self.register_buffer("mean", normalize.mean)
        self.register_buffer("std", normalize.std)
        self._scaling = Scaling(1 / normalize.std.flatten(), normalize.mean.flatten())

    def forward(self, image: Tensor) -> Tensor:
        """Normalise band values (B, C, H, W)."""
        if image.dtype != torch.uint8:
            return super().forward(image)
        return Quantized(image.contiguous(memory_format=torch.channels_last), self._scaling)


def _folded_body(network: SegmentationNetwork) -> SegmentationNetwork:
    """A copy of a network with its batch normalisations folded, in float32 on the CPU."""
    is_ready = all(one.device.type == "cpu" and one.dtype == torch.float32 for one in network.parameters())
    own = shared_copy(network) if is_ready else copy.deepcopy(network).cpu().float()
    found = folded(own.eval(), len(network.normalize.mean))
    assert isinstance(found, SegmentationNetwork)
    return found.to(memory_format=torch.channels_last)  # whatever layout it came in: sums depend on it


def _probe(network: SegmentationNetwork) -> Tensor:
    """A window of noise (1, C, H, W) with the statistics of the bands."""
    mean, std = network.normalize.mean, network.normalize.std
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, len(mean), _PROBE_PX, _PROBE_PX, generator=generator) * std + mean


def _forward(network: SegmentationNetwork, window: Tensor) -> None:
    with torch.inference_mode():
        values = network.normalize(window.float())
        end_watch(network.body.classify(values))


def _unknown(network: SegmentationNetwork, ranges: Ranges) -> set[str]:
    """Names of the convolutions without ranges."""
    return {name for name, _ in network.body.named_modules() if name + INPUTS not in ranges}


@contextmanager
def _watching(network: SegmentationNetwork, watches: dict[str, Watch], floats: Collection[str] = ()) -> Iterator[None]:
    """Watch all convolutions within a network's body that can be computed with integers."""
    handles = []
    for name, module in network.body.named_modules():
        if name and name not in floats and is_padded_alike(module):
            watch = watches.setdefault(name, Watch(name))
            before = module.register_forward_pre_hook(_take(watch), prepend=True)  # before the input is padded
            handles += [before, module.register_forward_hook(_give(watch))]
        elif isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_pre_hook(_end, prepend=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _end(_module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    return end_watch(inputs)


def _take(watch: Watch) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values = inputs[0]
        if isinstance(values, Watched):
            watch.takes_integers |= bool(values.watches)
            values = values.plain(is_taken=True)
        watch.see_inputs(values)
        return (values,)

    return hook


def _give(watch: Watch) -> Any:
    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        watch.see((), output)
        return Watched.of(output, ((watch, ()),), is_sealed=False)

    return hook


def _ranges_in(watches: Mapping[str, Watch]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, watch in watches.items():
        if watch.inputs is not None:
            found[name + INPUTS] = torch.stack([*watch.inputs, torch.stack(watch.means).mean(0)])
            found[name + OUTPUTS] = torch.stack(watch.stages[watch.stage])
    return found


def _scalings(watches: Mapping[str, Watch], ranges: Ranges) -> dict[str, Scaling]:
    """The scaling of each convolution's outputs, with one scale for all that are added to each other."""
    groups = {name: {name} for name in watches}
    for name, watch in watches.items():
        for other in watch.added if "sum" in watch.stage else ():
            together = groups[name] | groups[other]
            groups |= dict.fromkeys(together, together)
    found: dict[str, Scaling] = {}
    for name, together in groups.items():
        shared = torch.stack([scale_of(*ranges[one + OUTPUTS]) for one in sorted(together)]).amax(0)
        found[name] = Scaling.of_range(*ranges[name + OUTPUTS], within=shared)
    return found


def _outputs(watch: Watch, scalings: Mapping[str, Scaling]) -> Outputs:
    if not watch.is_taken:
        return Outputs(None)
    return Outputs(scalings[watch.name], "sum" in watch.stage)
