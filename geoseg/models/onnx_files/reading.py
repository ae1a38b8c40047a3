"""What an ONNX file holds: inputs, outputs, metadata, the operators before its outputs. Runs nothing.

In: a path. Out: an `OnnxFile`. Neither PyTorch nor ONNX Runtime is imported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geoseg.core.errors import ModelError, shown
from geoseg.core.files import one_line

Activation = Literal["logits", "softmax", "sigmoid"]
"""What an output is: logits, or probabilities by a softmax or a sigmoid."""

INSTALL = "install it with: pip install 'geoseg[onnx]'"
_ACTIVATIONS: Mapping[str, Activation] = {"Softmax": "softmax", "Sigmoid": "sigmoid", "HardSigmoid": "sigmoid"}
_PASSING = frozenset({
    "Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Resize", "Upsample", "Clip", "Concat",
})  # fmt: skip
"""Operators through which probabilities stay probabilities."""
_MOST_STEPS = 100
_EXTERNAL = 1
"""`TensorProto.EXTERNAL`: the tensor lies in another file."""
_FLOATS = {1: "float32", 10: "float16", 11: "float64"}
"""Types of fractions, as ONNX counts them."""
_MOST_MB = 2000
"""Largest model, in MB with its weights: what a message of protobuf holds."""


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    name: str
    """Its name."""
    shape: tuple[int | None, ...]
    """Its sides; None for a free one."""
    dtype: str | None
    """Type of its numbers, where they are fractions; None for any other."""


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """An ONNX file, read but not run."""

    path: Path
    """The file."""
    graph: Any
    """The message that it holds, `onnx.ModelProto`, without tensors of other files."""
    inputs: tuple[Port, ...]
    """What is put in."""
    outputs: tuple[Port, ...]
    """What comes out."""
    metadata: Mapping[str, str]
    """Its metadata."""

    @property
    def input(self) -> Port:
        """The image that is put in.

        Raises:
            ModelError: if there is another number of inputs, or it is no batch of images.
        """
        if len(self.inputs) != 1 or len(self.inputs[0].shape) != 4 or self.inputs[0].dtype is None:
            shapes = ", ".join(f"{port.name} {_plain_shape(port)}" for port in self.inputs)
            raise ModelError(
                f"{self.path} takes {shown(shapes, quoted=False)}: geoseg runs models of one image (B, C, H, W)"
            )
        return self.inputs[0]

    def output(self, name: str | None) -> Port:
        """The output of a name; None for the only one.

        Raises:
            ModelError: if there is none of that name, or several and none is named.
        """
        found = [port for port in self.outputs if name in (None, port.name)]
        if len(found) != 1:
            names = ", ".join(shown(port.name) for port in self.outputs)
            raise ModelError(
                f"{self.path} has the outputs {names}: name the one that is meant in {side_file(self.path).name}, as "
                "`output: NAME`"
            )
        if found[0].dtype is None or len(found[0].shape) not in (3, 4):
            raise ModelError(
                f"{self.path}: its output {shown(found[0].name)} {_plain_shape(found[0])} is no score of each class "
                "and pixel (B, K, H, W): export the model without its argmax"
            )
        return found[0]

    def activation(self, output: str) -> Activation:
        """What an output is, by the last operator that changes its values."""
        makers = {name: node for node in self.graph.graph.node for name in node.output}
        for _ in range(_MOST_STEPS):
            node = makers.get(output)
            if node is None or node.op_type not in _PASSING or not node.input:
                break
            output = node.input[0]
        return _ACTIVATIONS.get(node.op_type, "logits") if node is not None else "logits"

    @property
    def weights_count(self) -> int:
        """Number of weights."""
        return sum(math.prod(tensor.dims) for tensor in self.graph.graph.initializer)

    def content(self) -> bytes:
        """The whole model in one message, with the tensors of other files in the folder.

        Raises:
            ModelError: if a tensor lies elsewhere or is missing, or the model is larger than protobuf's messages.
        """
        outside = [tensor for tensor in _tensors(self.graph) if tensor.data_location == _EXTERNAL]
        try:
            if not outside:
                return self.path.read_bytes()
            for tensor in outside:
                self._check_place(tensor)
            return self._joined(outside)
        except (OSError, ValueError, MemoryError) as error:
            raise ModelError(
                f"{self.path} cannot be read: {one_line(error)}: copy it again, with all its files"
            ) from None

    def _check_place(self, tensor: Any) -> None:
        """Refuse a tensor in a file that is not beside the model, by whatever path or link."""
        name = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        folders = {self.path.parent.resolve(), self.path.resolve().parent}
        file = (self.path.parent / name).resolve()
        if not name or Path(name).is_absolute() or not any(file.is_relative_to(folder) for folder in folders):
            raise ModelError(
                f"{self.path} refers to a file outside its folder ({shown(name)}), which is not opened: save the model "
                "with its weights in one file"
            )
        if not file.is_file():
            raise ModelError(f"{self.path} lacks {shown(name)}, which holds its weights: put that file beside it")

    def _joined(self, outside: list[Any]) -> bytes:
        from onnx.external_data_helper import load_external_data_for_tensor

        if sum(math.prod(tensor.dims) for tensor in outside) * 4 > _MOST_MB * 1e6:
            raise ModelError(f"{self.path} is larger than {_MOST_MB:,} MB with its weights, which geoseg does not read")
        for tensor in outside:
            load_external_data_for_tensor(tensor, str(self.path.parent))
            tensor.data_location = 0
            del tensor.external_data[:]
        content: bytes = self.graph.SerializeToString()
        return content


def side_file(path: Path) -> Path:
    """The file in which a user writes what an ONNX file does not say."""
    return path.with_name(f"{path.name}.yaml")


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file, without the weights that lie in others.

    Raises:
        ModelError: if it is none, is damaged, or the library is not installed.
    """
    try:
        from onnx import load_model
    except ImportError:
        raise ModelError(f"{path} is an ONNX model, and the library onnx is missing: {INSTALL}") from None
    try:
        graph = load_model(path, load_external_data=False)
    except PermissionError:
        raise ModelError(f"{path} may not be read: check its permissions") from None
    except Exception:  # protobuf raises errors of its own
        raise ModelError(f"{path} is no ONNX model, or is damaged: take another copy of it") from None
    if not graph.graph.node or not graph.graph.output or not graph.opset_import:
        raise ModelError(f"{path} is no whole ONNX model: take another copy of it")
    if any(node.op_type == "EPContext" for node in graph.graph.node):
        raise ModelError(f"{path} is compiled for one kind of hardware (EPContext): take the model it was made from")
    weights = {tensor.name for tensor in graph.graph.initializer}
    inputs = tuple(_port(value) for value in graph.graph.input if value.name not in weights)
    outputs = tuple(_port(value) for value in graph.graph.output)
    return OnnxFile(path, graph, inputs, outputs, {entry.key: entry.value for entry in graph.metadata_props})


def _port(value: Any) -> Port:
    tensor = value.type.tensor_type
    return Port(value.name, tuple(_side(one) for one in tensor.shape.dim), _FLOATS.get(tensor.elem_type))


def _side(dimension: Any) -> int | None:
    fixed = dimension.WhichOneof("value") == "dim_value" and dimension.dim_value > 0
    return int(dimension.dim_value) if fixed else None


def _plain_shape(port: Port) -> str:
    return f"({', '.join('?' if side is None else str(side) for side in port.shape)})"


def _tensors(message: Any) -> Iterator[Any]:
    """All tensors in a message, wherever in it."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if hasattr(value, "__len__") else [value]:
                yield from _tensors(part)
