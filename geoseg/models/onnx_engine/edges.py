"""Convolutions that pad by replication, in a graph that ONNX Runtime has optimised for one size of images.

In: an optimised graph whose convolutions pad with zeros. Out: the same graph with replication in their place.

An operator that pads before each convolution takes a quarter of a network's time: the runtime computes in blocks of
channels, and goes from blocks to planes and back for it. So, as in `padding.EdgeConv2d`, a convolution keeps its zeros,
and only the outputs at the edges are computed again, from strips of its input, and put in their place; all of that in
blocks, which are seen as a further axis. Inputs of few values are padded as a whole, likewise in blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.models.onnx_files.runtime import CPU, runtime
from geoseg.models.padding import PADDED_MOST, PADDED_PER_WEIGHT, Outputs, Side

BLOCKED = "com.microsoft.nchwc"
"""Domain of the operators that compute in blocks of channels: (B, C/b, H, W, b), stated as (B, C, H, W)."""
_CONVOLUTIONS = {("", "Conv"), ("com.microsoft", "FusedConv"), (BLOCKED, "Conv")}
_LEAVES_BLOCKS = "ReorderOutput"


@lru_cache
def channels_per_block() -> int:
    """Number b of channels in a block of the runtime's on this processor, found by sending numbers through it."""
    from onnx import TensorProto, helper

    shape = 1, 64, 1, 2
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("planes", "blocks")]
    node = helper.make_node("ReorderInput", ["planes"], ["blocks"], domain=BLOCKED)
    graph = helper.make_graph([node], "blocks", ports[:1], ports[1:])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(BLOCKED, 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=8)
    session = runtime().InferenceSession(model.SerializeToString(), providers=[CPU])
    planes = np.arange(128, dtype=np.float32).reshape(shape)
    (blocks,) = session.run(None, {"planes": planes})
    return int(np.flatnonzero(blocks.reshape(-1) == planes[0, 0, 0, 1])[0])


@dataclass
class _Convolution:
    """A convolution of a graph that pads its input."""

    node: Any
    shapes: tuple[Sequence[int], Sequence[int]]
    """Shapes (B, C, H, W) of its input and output."""
    blocks: tuple[bool, bool]
    """Whether its input and its output are in blocks."""
    weights: int
    """Number of its weights."""

    def attribute(self, name: str) -> list[int]:
        """Numbers of one of its attributes."""
        return next(list(one.ints) for one in self.node.attribute if one.name == name)

    def side(self, axis: int) -> Side:
        """An axis of its input: 0 down, 1 across."""
        pads, strides = self.attribute("pads"), self.attribute("strides")
        reach = self.attribute("dilations")[axis] * (self.attribute("kernel_shape")[axis] - 1)
        return Side(self.shapes[0][2 + axis], pads[axis], pads[2 + axis], reach, strides[axis])

    @property
    def is_small(self) -> bool:
        """Whether its input is padded as a whole."""
        values = int(np.prod(self.shapes[0]))
        return values <= min(PADDED_PER_WEIGHT * self.weights, PADDED_MOST)


@dataclass
class _Writer:
    """Writes the nodes that take the place of a convolution."""

    each: int
    """Channels in a block."""
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, NDArray[np.integer[Any]]] = field(default_factory=dict)
    _names: dict[bytes, str] = field(default_factory=dict)
    _count: int = 0

    def replace(self, one: _Convolution) -> None:
        """Write a convolution that pads by replication.

        Raises:
            ValueError: if its axes are none that this knows.
        """
        rows, cols = one.side(0), one.side(1)
        if one.is_small or not (rows.has_middle and cols.has_middle):
            self._convolved(one, rows.whole, cols.whole, one.node.output[0])
            return
        strips = [(some, cols.whole) for some in rows.ends] + [(rows.middle, some) for some in cols.ends]
        shape, updates, places = self._seen(one.shapes[1], one.blocks[1]), [], []
        numbers = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
        for down, across in strips:
            updates.append(self.reshaped(self._convolved(one, down, across), [-1]))
            places.append(numbers[:, :, down.first : down.last, across.first : across.last].reshape(-1))
        zeros = self.name()
        self.nodes.append(_copy(one.node, [*one.node.input], [zeros]))
        merged, indexes = self.node("Concat", updates, axis=0), self.constant(np.concatenate(places))
        # Of the operators that could do this, the runtime runs this one in place.
        whole = self.node("ScatterElements", [self.reshaped(zeros, [-1]), indexes, merged], axis=0)
        self.reshaped(whole, one.shapes[1], one.node.output[0])

    def _convolved(self, one: _Convolution, down: Outputs, across: Outputs, output: str = "") -> str:
        """Some rows and columns of the outputs, with the input padded by replication where they reach beyond it."""
        values = self._part(one.node.input[0], one.shapes[0], one.blocks[0], (down, across))
        more = list(one.node.input[1:])
        if len(more) > 2:  # what is added to the outputs
            ends = [Outputs(0, 0, some.first, some.last, (0, 0)) for some in (down, across)]
            more[2] = self._part(more[2], one.shapes[1], one.blocks[1], (ends[0], ends[1]))
        output = output or self.name()
        self.nodes.append(_copy(one.node, [values, *more], [output], pads=[0, 0, 0, 0]))
        return output

    def _part(self, values: str, shape: Sequence[int], is_blocked: bool, sides: tuple[Outputs, Outputs]) -> str:
        """A part (B, C, h, w) of values (B, C, H, W), padded."""
        seen, (down, across) = self._seen(shape, is_blocked), sides
        part = self.reshaped(values, seen) if is_blocked else values
        starts, stops = ([getattr(some, end) for some in sides] for end in ("start", "stop"))
        if (starts, stops) != ([0, 0], list(shape[2:])):
            part = self.node("Slice", [part, *map(self.constant, (starts, stops, [2, 3]))])
        if any(down.pads + across.pads):
            rest = [0] * (len(seen) - 4)
            pads = [[0, 0, down.pads[i], across.pads[i], *rest] for i in (0, 1)]
            part = self.node("Pad", [part, self.constant(pads[0] + pads[1])], mode="edge")
        height, width = (some.stop - some.start + sum(some.pads) for some in sides)
        return self.reshaped(part, [*shape[:2], height, width]) if is_blocked else part

    def _seen(self, shape: Sequence[int], is_blocked: bool) -> list[int]:
        """The shape in which values (B, C, H, W) lie in memory."""
        batch, channels, height, width = shape
        if not is_blocked:
            return [batch, channels, height, width]
        return [batch, channels // self.each, height, width, self.each]

    def reshaped(self, values: str, shape: Sequence[int], output: str = "") -> str:
        """The same values in another shape."""
        return self.node("Reshape", [values, self.constant(shape)], output=output)

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Write an operator; the name of its output."""
        from onnx import helper

        output = output or self.name()
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: Any) -> str:
        """The name of a constant, which is written once."""
        array = np.asarray(values, None if isinstance(values, np.ndarray) else np.int64)
        key = array.tobytes()
        if key not in self._names:
            self._names[key] = self.name()
            self.constants[self._names[key]] = array
        return self._names[key]

    def name(self) -> str:
        """A name that no other node has."""
        self._count += 1
        return f"geoseg.{self._count}"


def with_replication(content: bytes, probe: Mapping[str, NDArray[np.float32]]) -> bytes:
    """A graph optimised for this processor whose padding convolutions pad by replication in place of zeros.

    Args:
        content: the graph, as the runtime has optimised it.
        probe: inputs of the size of which the graph is, by name.
    """
    import onnx

    model = onnx.load_model_from_string(content)
    known = {one.name: one for one in model.graph.initializer}
    padded = [node for node in model.graph.node if _pads(node)]
    if not padded:
        return content
    shapes, blocked = _shapes(model, padded, probe), _blocked(model.graph.node)
    writer = _Writer(channels_per_block() if blocked else 1)
    for node in model.graph.node:
        if not _pads(node):
            writer.nodes.append(node)
            continue
        ends = node.input[0], node.output[0]
        weights = int(np.prod(known[node.input[1]].dims))
        writer.replace(_Convolution(
            node, (shapes[ends[0]], shapes[ends[1]]), (ends[0] in blocked, ends[1] in blocked), weights
        ))  # fmt: skip
    del model.graph.node[:]
    model.graph.node.extend(writer.nodes)
    constants = (onnx.numpy_helper.from_array(values, name) for name, values in writer.constants.items())
    model.graph.initializer.extend(constants)
    written: bytes = model.SerializeToString()
    return written


def _pads(node: Any) -> bool:
    """Whether a node is a convolution that pads its input."""
    if (node.domain, node.op_type) not in _CONVOLUTIONS:
        return False
    return any(one.name == "pads" and any(one.ints) for one in node.attribute)


def _shapes(model: Any, nodes: Sequence[Any], probe: Mapping[str, NDArray[np.float32]]) -> dict[str, tuple[int, ...]]:
    """Shapes (B, C, H, W) of the inputs and outputs of nodes, measured."""
    from onnx import ModelProto, TensorProto, helper

    names = list(dict.fromkeys(name for node in nodes for name in (node.input[0], node.output[0])))
    measured = ModelProto()
    measured.CopyFrom(model)
    del measured.graph.output[:]
    for i, name in enumerate(names):
        measured.graph.node.append(helper.make_node("Shape", [name], [f"geoseg.shape.{i}"]))
        measured.graph.output.append(helper.make_tensor_value_info(f"geoseg.shape.{i}", TensorProto.INT64, [4]))
    library = runtime()
    options = library.SessionOptions()
    options.graph_optimization_level = library.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = library.InferenceSession(measured.SerializeToString(), options, providers=[CPU])
    found = session.run(None, dict(probe))
    return {name: tuple(int(side) for side in shape) for name, shape in zip(names, found, strict=True)}


def _blocked(nodes: Sequence[Any]) -> set[str]:
    """Names of values in blocks: what comes of operators in blocks, and what others make of it, value by value."""
    blocked: set[str] = set()
    for node in nodes:
        if node.op_type != _LEAVES_BLOCKS and (node.domain == BLOCKED or any(name in blocked for name in node.input)):
            blocked.update(node.output)
    return blocked


def _copy(node: Any, inputs: Sequence[str], outputs: Sequence[str], pads: Sequence[int] | None = None) -> Any:
    """A convolution with other inputs, outputs, and padding."""
    from onnx import NodeProto, helper

    copied = NodeProto()
    copied.CopyFrom(node)
    copied.name = ""
    for names, given in ((copied.input, inputs), (copied.output, outputs)):
        del names[:]
        names.extend(given)
    if pads is not None:
        kept = [one for one in copied.attribute if one.name != "pads"]
        del copied.attribute[:]
        copied.attribute.extend([*kept, helper.make_attribute("pads", pads)])
    return copied
