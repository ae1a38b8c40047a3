"""Padding by replication instead of zeros in all layers of a network, in evaluation mode.

In: a network. Out: the same network, its layers changed in place.

The edge of a window is no edge in the scene. Zeros beyond it act like an object that is not there, and in large uniform
areas (open water, snow, constant fill) their effect reaches farther into a window than windows overlap: classes change
along the borders of windows. With replication, uniform input stays uniform through every layer with a receptive field,
global pooling included; only layers that depend on the position in a window, such as the positional embeddings of
transformers, are not helped.

Weights and training are unchanged: a network is trained with the padding of its architecture, and scored and used with
replication.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

PADDED_PER_WEIGHT, PADDED_MOST = 128, 2**23
"""Inputs of up to so many values (per weight of the layer, and in all) are padded as a whole; of larger ones, only the
outputs at the edges are computed again. That needs the layer's weights laid out anew, which takes longer for more of
them."""


def replicate_edges(network: nn.Module) -> nn.Module:
    """Make all zero-padding layers of a network pad by replication in evaluation mode; return the network.

    Max pooling needs no change: it pads with minus infinity, which is never the largest. Convolutions with a stride
    become `EdgeConv2d` without padding, too, for their single columns.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d:
            if module.padding_mode == "zeros" and (any(fixed_padding(module)) or max(module.stride) > 1):
                module.__class__ = EdgeConv2d
        elif type(module) in (nn.ZeroPad2d, nn.ConstantPad2d) and module.value == 0:
            module.__class__ = EdgePad2d
        elif _pads_by_itself(module) and _pad_input not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_pad_input)
            module.register_forward_hook(_crop)
    return network


def natively_padded(network: nn.Module) -> nn.Module:
    """A copy for export whose convolutions are PyTorch's own, with its padding by replication: the same outputs.

    What an `EdgeConv2d` does depends on the size of its input, which an exported graph leaves free.
    """
    copied = copy.deepcopy(network).eval()
    for module in copied.modules():
        if isinstance(module, EdgeConv2d):
            if any(fixed_padding(module)):
                module._reversed_padding_repeated_twice = list(fixed_padding(module))
                module.padding_mode = "replicate"
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
    return copied


def zero_padded(network: nn.Module) -> nn.Module:
    """A copy for export whose convolutions pad with zeros; in the graph, replication is to take their place."""
    copied = copy.deepcopy(network).eval()
    for module in copied.modules():
        if isinstance(module, EdgeConv2d):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
        elif isinstance(module, nn.Conv2d):
            for hooks in (module._forward_pre_hooks, module._forward_hooks):
                for key in [key for key, hook in hooks.items() if hook in (_pad_input, _crop)]:
                    del hooks[key]
    return copied


class EdgeConv2d(nn.Conv2d):
    """A convolution with zero padding in training mode and replication padding in evaluation mode.

    A single column of outputs is computed as a single row, which is always right (see `is_column`).
    """

    def _conv_forward(self, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        if self.training:
            return self._with_zeros(values, weight, bias)

        def convolve(part: Tensor, padding: Pair, rows: slice, cols: slice) -> Tensor:
            return self._convolved(part, weight, bias, padding)

        return edge_convolved(self, fixed_padding(self), values, convolve)

    def _with_zeros(self, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.padding, str):
            answer: Tensor = super()._conv_forward(values, weight, bias)
            return answer
        return self._convolved(values, weight, bias, self.padding)

    def _convolved(self, values: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
        """The outputs of values with so many zeros beyond their edges."""
        if not is_column(self, values, padding):
            return functional.conv2d(values, weight, bias, self.stride, padding, self.dilation, self.groups)
        stride, padding, dilation = ((sides[1], sides[0]) for sides in (self.stride, padding, self.dilation))
        row = functional.conv2d(
            values.mT.contiguous(), weight.mT.contiguous(), bias, stride, padding, dilation, self.groups
        )
        return row.mT


Pair = tuple[int, ...]
"""A number of pixels down, and one across."""


class Convolve(Protocol):
    """Convolves a part of an input."""

    def __call__(self, part: Tensor, padding: Pair, rows: slice, cols: slice) -> Tensor:
        """The outputs at `rows` and `cols`, of a part (B, C, h, w) of the input with `padding` zeros beyond it."""
        ...


def edge_convolved(layer: nn.Conv2d, padding: Sequence[int], values: Tensor, convolve: Convolve) -> Tensor:
    """Outputs (B, C', H', W') of a convolution whose input (B, C, H, W) is padded by replication.

    Args:
        layer: its kernel, stride and dilation, and its number of weights.
        padding: pixels at the left, right, top and bottom.
        values: the input.
        convolve: computes outputs: all of them with zeros beyond the input, then those at the edges again.
    """
    left, right, top, bottom = padding
    rows, cols = (Side.of(layer, ends, values, axis) for axis, ends in enumerate(((top, bottom), (left, right))))

    def padded(down: Outputs, across: Outputs) -> Tensor:
        part = values[:, :, down.start : down.stop, across.start : across.stop]
        return convolve(replicated(part, across.pads, down.pads), (0, 0), down.places, across.places)

    is_small = values.numel() <= min(PADDED_PER_WEIGHT * layer.weight.numel(), PADDED_MOST)
    is_even = left == right and top == bottom
    if is_small or not is_even or torch.compiler.is_compiling() or not (rows.has_middle and cols.has_middle):
        return padded(rows.whole, cols.whole)
    answer = convolve(values, (top, left), rows.whole.places, cols.whole.places)
    for some in rows.ends:
        answer[:, :, some.places] = padded(some, cols.whole)
    for some in cols.ends:
        answer[:, :, rows.middle.places, some.places] = padded(rows.middle, some)
    return answer


def replicated(part: Tensor, cols: tuple[int, int], rows: tuple[int, int]) -> Tensor:
    """Pad (B, C, h, w) by replication at the left and right, top and bottom.

    As `functional.pad` does it, which in 16-bit arithmetic goes through float32 and back.
    """
    if torch.compiler.is_compiling():
        return functional.pad(part, (*cols, *rows), mode="replicate")
    (left, right), (top, bottom) = cols, rows
    if not left + right + top + bottom:
        return part
    count, channels, height, width = part.shape
    layout = torch.channels_last if part.stride(1) == 1 else torch.contiguous_format
    whole = torch.empty(
        (count, channels, height + top + bottom, width + left + right),
        dtype=part.dtype, device=part.device, memory_format=layout,
    )  # fmt: skip
    inner = whole[:, :, top : top + height]
    inner[:, :, :, left : left + width] = part
    if left:
        inner[:, :, :, :left] = part[:, :, :, :1]
    if right:
        inner[:, :, :, left + width :] = part[:, :, :, -1:]
    if top:
        whole[:, :, :top] = inner[:, :, :1]
    if bottom:
        whole[:, :, top + height :] = inner[:, :, -1:]
    return whole


def fixed_padding(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Pixels of padding at the left, right, top and bottom."""
    if isinstance(layer.padding, str):
        left, right, top, bottom = layer._reversed_padding_repeated_twice
        return left, right, top, bottom
    down, across = layer.padding  # which is set anew where strides are replaced by dilation
    return across, across, down, down


class EdgePad2d(nn.ConstantPad2d):
    """Zero padding in training mode, replication padding in evaluation mode."""

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H', W')."""
        if self.training:
            return functional.pad(values, self.padding)
        cropped = functional.pad(values, [min(0, pixels) for pixels in self.padding])
        return functional.pad(cropped, [max(0, pixels) for pixels in self.padding], mode="replicate")


def is_column(layer: nn.Conv2d, values: Tensor, padding: Sequence[int]) -> bool:
    """Whether a convolution with a stride gives a single column of outputs, of values (B, C, H, W) with so many zeros
    above and below, left and right.

    On processors with AMX, oneDNN leaves some of these unwritten in bfloat16 and integers of 8 bits (seen in
    PyTorch 2.14).
    """
    reach = layer.dilation[1] * (layer.kernel_size[1] - 1) + 1
    return layer.stride[1] > 1 and values.shape[3] + 2 * padding[1] < reach + layer.stride[1]


def output_count(layer: nn.Conv2d, length: int, axis: int) -> int:
    """Number of outputs along an axis of a padded input."""
    return (length - layer.dilation[axis] * (layer.kernel_size[axis] - 1) - 1) // layer.stride[axis] + 1


@dataclass(frozen=True)
class Outputs:
    """A range of outputs along one axis, and the inputs they depend on."""

    first: int
    last: int
    """The outputs, the last one excluded."""
    start: int
    stop: int
    """The inputs inside of the window, the last one excluded."""
    pads: tuple[int, int]
    """Number of padded inputs before and behind the window."""

    @property
    def places(self) -> slice:
        """The outputs as a slice."""
        return slice(self.first, self.last)


@dataclass(frozen=True)
class Side:
    """One axis of a convolution: which outputs depend on padding."""

    length: int
    before: int
    after: int
    """Pixels of padding."""
    reach: int
    """Pixels from the first input of an output to its last."""
    stride: int

    @classmethod
    def of(cls, layer: nn.Conv2d, padding: tuple[int, int], values: Tensor, axis: int) -> Side:
        """An axis of a layer, 0 down, 1 across, for an input (B, C, H, W) with so many pixels of padding."""
        before, after = padding
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        return cls(values.shape[2 + axis], before, after, reach, layer.stride[axis])

    @property
    def count(self) -> int:
        """Number of outputs."""
        return (self.length + self.before + self.after - self.reach - 1) // self.stride + 1

    @property
    def head(self) -> int:
        """Number of outputs that depend on padding before the first input."""
        return -(-self.before // self.stride)

    @property
    def tail(self) -> int:
        """The first output that depends on padding behind the last input."""
        return min(self.count, (self.length + self.before - self.reach - 1) // self.stride + 1)

    @property
    def has_middle(self) -> bool:
        """Whether some outputs depend on no padding, and each output on at least one input."""
        return self.head < self.tail and max(self.before, self.after) <= self.reach

    @property
    def whole(self) -> Outputs:
        """All outputs."""
        return self._outputs(0, self.count)

    @property
    def middle(self) -> Outputs:
        """The outputs that depend on no padding."""
        return self._outputs(self.head, self.tail)

    @property
    def ends(self) -> list[Outputs]:
        """The ranges of outputs that depend on padding."""
        return [self._outputs(*end) for end in ((0, self.head), (self.tail, self.count)) if end[0] < end[1]]

    def _outputs(self, first: int, last: int) -> Outputs:
        start = first * self.stride - self.before
        stop = (last - 1) * self.stride - self.before + self.reach + 1
        pads = max(0, -start), max(0, stop - self.length)
        return Outputs(first, last, max(0, start), min(stop, self.length), pads)


# ---------------------------------------------------------------------------------- layers with a padding of their own


def _pads_by_itself(module: nn.Module) -> bool:
    """Whether a layer zero-pads in a way of its own: average pooling, transposed and subclassed convolutions."""
    if isinstance(module, nn.AvgPool2d):
        pads = module.count_include_pad and module.padding not in (0, (0, 0))
        return pads or type(module) is not nn.AvgPool2d  # timm's pads its input itself: the pooling counts that always
    if isinstance(module, nn.ConvTranspose2d):
        return any(module.kernel_size[i] > module.stride[i] for i in (0, 1))
    return isinstance(module, nn.Conv2d) and not isinstance(module, EdgeConv2d) and max(module.kernel_size) > 1


def _margin(module: Any) -> tuple[int, int]:
    """Pixels by which a layer's input is padded at the top and bottom, left and right.

    They are whole strides of its reach, so that whole outputs are cropped; of a transposed convolution, whose outputs
    reach only that many strides back, as many pixels as strides.
    """
    kernel, stride, dilation = (_pair(getattr(module, name, 1)) for name in ("kernel_size", "stride", "dilation"))
    strides = [-(-d * (k - 1) // s) for k, s, d in zip(kernel, stride, dilation, strict=True)]
    if isinstance(module, nn.ConvTranspose2d):
        return strides[0], strides[1]
    return strides[0] * stride[0], strides[1] * stride[1]


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _pad_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Forward pre-hook that pads the input by replication, wider than the effect of the layer's own padding."""
    if module.training:
        return None
    down, across = _margin(module)
    return functional.pad(inputs[0], (across, across, down, down), mode="replicate"), *inputs[1:]


def has_own_hooks(layer: nn.Module) -> bool:
    """Whether others have hooked themselves to a layer."""
    hooks = (*layer._forward_pre_hooks.values(), *layer._forward_hooks.values())
    return any(hook not in (_pad_input, _crop) for hook in hooks)


def _crop(module: nn.Module, inputs: tuple[Any, ...], answer: Tensor) -> Tensor:
    """Forward hook that crops the outputs of the pixels that `_pad_input` has added."""
    if module.training:
        return answer
    is_wider = isinstance(module, nn.ConvTranspose2d)
    down, across = (
        margin * step if is_wider else margin // step
        for margin, step in zip(_margin(module), _pair(module.stride), strict=True)  # type: ignore[arg-type]
    )
    return answer[:, :, down : answer.shape[2] - down, across : answer.shape[3] - across]
