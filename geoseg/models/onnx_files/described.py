"""The model that an ONNX file is: its spec, and how values are put in and logits come out.

In: an ONNX file, and `MODEL.onnx.yaml` beside it, in which a user writes what the file does not say. Out: a ModelSpec
and an `OnnxUse`. What neither says is asked for, all at once.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from geoseg.core.errors import ModelError, SpecError
from geoseg.models.onnx_files.reading import Activation, OnnxFile, Port, side_file
from geoseg.models.onnx_files.sources import found_in
from geoseg.spec import ModelSpec, NormalizationSpec, Spec, load_yaml, parse_spec
from geoseg.spec.base import LARGEST_TILE, SMALLEST_TILE

ARCHITECTURE = "onnx"
"""Architecture of networks that are known as a graph only."""
_GOLDEN = 0.618034
"""Turns from the hue of a class to the next: hues of few classes lie far apart."""
_EXAMPLES = {
    "bands": "bands: [red, green, blue]",
    "dtype": "dtype: uint8",
    "normalization": "normalization: {mean: [...], std: [...]}  # the network gets (value - mean) / std",
    "classes": "classes: [background, building]",
}
"""How what a file may leave unsaid is written."""


class OnnxUse(Spec):
    """How values are put into an ONNX model, and what comes out."""

    scaling: NormalizationSpec
    """The graph gets (value - mean) / std of each band."""
    activation: Activation = "logits"
    """What the output is: logits, or probabilities of a softmax or a sigmoid."""
    output: str | None = None
    """Name of the output; None for the only one."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which on a pixel is the class, of a model with one output channel."""


@dataclass(frozen=True)
class Sizes:
    """What a graph fixes of its inputs and outputs."""

    batch: int | None
    """Images at once; None for any number."""
    height: int | None
    """Height of the images in pixels; None for any."""
    width: int | None
    """Width of the images in pixels; None for any."""
    bands_last: bool
    """Whether images are (B, H, W, C) instead of (B, C, H, W)."""


@dataclass(frozen=True)
class Described:
    """An ONNX file as a model."""

    spec: ModelSpec
    """Its spec."""
    use: OnnxUse
    """How it is run."""
    sizes: Sizes
    """What its graph fixes."""


def describe(file: OnnxFile) -> Described:
    """The model that an ONNX file is.

    Raises:
        ModelError: if neither the file nor those beside it say what the model is, or they contradict the graph.
    """
    found, given = found_in(file), _given(file)
    use = found.pop("use", {}) | {name: given.pop(name) for name in ("output", "activation") if name in given}
    if "normalization" in given:
        use["scaling"] = given["normalization"]
    output, values = file.output(use.get("output")), found | given
    if names := values.pop("names_of_outputs", None):
        values["class_names"] = names[min(file.outputs.index(output), len(names) - 1)]
    _name_classes(values, output)
    _check_complete(file, values)
    sizes = _sizes(file, len(values["bands"]))
    if sizes.height and sizes.width:
        values["tile"] = max(SMALLEST_TILE, min(sizes.height, sizes.width, LARGEST_TILE))
    values = {"name": file.path.stem, "network": {"architecture": ARCHITECTURE}} | values
    use = {"scaling": values["normalization"], "activation": file.activation(output.name)} | use
    values["normalization"], use["scaling"] = (
        _per_band(one, len(values["bands"])) for one in (values["normalization"], use["scaling"])
    )
    source = f"{file.path} with {side_file(file.path).name}" if given else str(file.path)
    try:
        spec, run = parse_spec(ModelSpec, values, source=source), parse_spec(OnnxUse, use, source=source)
    except SpecError as error:
        raise ModelError(str(error)) from None
    _check_channels(file, output, spec, run)
    return Described(spec, run, sizes)


def _per_band(statistics: Any, bands: int) -> Any:
    """Statistics with one number for all bands repeated for each."""
    if not isinstance(statistics, dict) or not all(isinstance(part, list | tuple) for part in statistics.values()):
        return statistics
    return {name: [*part] * bands if len(part) == 1 else part for name, part in statistics.items()}


def _given(file: OnnxFile) -> dict[str, Any]:
    """What a user has written beside the file."""
    path = side_file(file.path)
    try:
        return load_yaml(path) if path.is_file() else {}
    except SpecError as error:
        raise ModelError(str(error)) from None


def _name_classes(values: dict[str, Any], output: Port) -> None:
    """Put classes in place of names, which may be all that is said of them."""
    names = values.pop("class_names", None)
    if isinstance(said := values.get("classes"), list) and said and all(isinstance(one, str) for one in said):
        names = said
    elif said:
        return
    if names:
        if len(names) == 1 and _channels(output, 1) in (1, None):
            names = ["background", *names]
        values["classes"] = [
            {"id": i, "name": name, "color": _color(i, name)} for i, name in enumerate(names)
        ]  # fmt: skip


def _color(index: int, name: str) -> str:
    """A colour of a class without one: grey for the background, else far from those before."""
    if name.lower() == "background":
        return "#808080"
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.65, 0.85)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _check_complete(file: OnnxFile, values: Mapping[str, Any]) -> None:
    lacking = [name for name in _EXAMPLES if not values.get(name)]
    if lacking:
        lines = "; ".join(_EXAMPLES[name].partition("  #")[0] for name in lacking)
        raise ModelError(
            f"{file.path} does not say its {', '.join(lacking)}: write them in {side_file(file.path).name} beside it, "
            f"one a line, e.g. {lines}"
        )


def _sizes(file: OnnxFile, bands: int) -> Sizes:
    """What the graph fixes of its input.

    Raises:
        ModelError: if it takes another number of bands.
    """
    batch, *sides = file.input.shape
    is_last = sides[-1] == bands and sides[0] != bands
    channels, height, width = (sides[-1], *sides[:2]) if is_last else sides
    if channels not in (bands, None):
        raise ModelError(f"{file.path} takes images of {channels} bands, and {bands} are named: name as many")
    return Sizes(batch, height, width, is_last)


def _channels(output: Port, classes: int) -> int | None:
    """Channels of an output (B, K, H, W), (B, H, W, K), or (B, H, W) with one; None if their number is free."""
    if len(output.shape) == 3:
        return 1
    first, last = output.shape[1], output.shape[3]
    return last if last == classes and first not in (classes, 1) else first


def _check_channels(file: OnnxFile, output: Port, model: ModelSpec, use: OnnxUse) -> None:
    """Check that a graph gives as many channels as the model has classes, or one for two.

    Raises:
        ModelError: if not.
    """
    classes = len(model.classes)
    channels = _channels(output, classes)
    fits = channels in (classes, None) or (channels == 1 and classes == 2)
    if not fits or (channels == 1 and use.activation == "softmax"):
        raise ModelError(
            f"{file.path} gives {channels} channels, and {classes} classes are named: name one for each channel, of a "
            "single channel the background and the class"
        )
