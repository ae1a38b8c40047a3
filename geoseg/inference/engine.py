"""The engine that computes a model's network: PyTorch, or ONNX Runtime.

In: a model, settings, and the engine of work that was begun. Out: settings that say which.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from geoseg.core.errors import SpecError
from geoseg.geo.grid import Grid
from geoseg.models.model import Model
from geoseg.models.onnx_engine.body import OnnxEngine, check_libraries, needs_decoded
from geoseg.models.other_runtime import OtherRuntime
from geoseg.models.tta import Augmentation, seen_sizes
from geoseg.spec import ClassifySpec


def with_engine(spec: ClassifySpec, model: Model, device: str, begun: str = "") -> ClassifySpec:
    """Settings whose engine and arithmetic go together; of work that was begun the engine that it had.

    Args:
        spec: the settings.
        model: the model.
        device: as the settings name it.
        begun: the engine of work that is resumed, if any.

    Raises:
        GeosegError: if the model, the device or other settings do not go with the engine, or a library is missing.
    """
    engine = spec.engine
    if isinstance(model.module, OtherRuntime):
        if engine == "torch":
            raise SpecError(f"engine torch: {model.spec.name} is a file of ONNX Runtime: leave --engine out")
        return spec.model_copy(update={"engine": "onnx"})
    if engine == "auto" and begun == "onnx" and spec.precision in ("auto", "fp32"):
        engine = "onnx"
    if engine != "onnx":
        return spec
    _check(spec, device)
    return spec.model_copy(update={"engine": "onnx", "precision": "fp32"})


def _check(spec: ClassifySpec, device: str) -> None:
    if spec.precision not in ("auto", "fp32"):
        raise SpecError(
            f"precision {spec.precision}: ONNX Runtime computes in fp32 here: leave --precision out, or take --engine "
            "torch"
        )
    if device not in ("auto", "cpu"):
        raise SpecError(f"engine onnx runs on the CPU: leave out --device {device}, or take --engine torch")
    if spec.compile:
        raise SpecError("compile fuses a network of PyTorch: leave out --compile, or take --engine torch")
    check_libraries()


def device_for(spec: ClassifySpec, device: str) -> str:
    """The device on which the engine of the settings runs, auto if any."""
    return "cpu" if device == "auto" and spec.engine == "onnx" else device


def onnx_engine(
    model: Model, spec: ClassifySpec, grids: Iterable[Grid], augmentations: Sequence[Augmentation]
) -> OnnxEngine | None:
    """How ONNX Runtime runs a model's network on the windows of grids; None if PyTorch runs it, or it is a file."""
    if spec.engine != "onnx" or isinstance(model.module, OtherRuntime):
        return None
    sizes = {size for grid in grids for size in product(grid.rows.sizes, grid.cols.sizes)}
    return OnnxEngine(
        identity=model.spec.model_dump_json(include={"network", "bands", "classes"}),
        sizes=frozenset(seen_sizes(sizes, augmentations, model.spec.network.multiple)),
        bands=len(model.spec.bands),
        decoded=needs_decoded(model.module, context=spec.context),
        is_made_at_once=spec.adapt is None,
    )
