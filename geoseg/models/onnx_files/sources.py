"""Where an ONNX file, or a file beside it, says what the model is: geoseg's, Deepness', geoai's and ukis-csmask's ways.

In: an ONNX file. Out: what was found, as plain settings: fields of a `ModelSpec`, of an `OnnxUse` (`use`),
`class_names`, and `names_of_outputs` of models with several. Nothing is guessed: what is not found is left out.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.core.errors import ModelError, SpecError, shown
from geoseg.models.onnx_files.reading import OnnxFile
from geoseg.spec import parse_json

METADATA_KEY, USE_KEY = "geoseg", "geoseg_use"
"""Keys of geoseg's own metadata: a whole ModelSpec, and an `OnnxUse`, as JSON."""
_MOST_JSON = 2**22
"""Bytes of the largest side file that is read."""
_BY_255 = 255.0
"""By which Deepness and geoai divide band values, of whatever type."""
_DEEPNESS_KEYS = frozenset({
    "model_type", "class_names", "names", "resolution", "tile_size", "tiles_size", "tiles_overlap",
    "standardization_mean", "standardization_std", "seg_thresh", "seg_small_segment",
})  # fmt: skip
_UKIS_CLASSES = "background", "clouds", "cloud shadows"
"""Classes of ukis-csmask's models, as its documentation has them; its files give their number."""

Found = dict[str, Any]


def found_in(file: OnnxFile) -> Found:
    """What an ONNX file and those beside it say; where they contradict each other, the file itself is right.

    Raises:
        ModelError: if something is said in a form that cannot be understood, or the model is none of segmentation.
    """
    found: Found = {}
    for source in SOURCES:
        found |= source(file)
    return found


def geoai(file: OnnxFile) -> Found:
    """What geoai's side file says, MODEL.onnx.json."""
    values = _json_file(file.path.with_name(f"{file.path.name}.json"))
    if not {"id2label", "task", "input_channels"} & values.keys():
        return {}
    task = values.get("task")
    if task not in (None, "segmentation", "semantic-segmentation"):
        raise ModelError(f"{file.path} is a model for {shown(task)}: geoseg runs semantic segmentation")
    names = values.get("id2label")
    return _scaled(file, [0.0], [1.0]) | ({"class_names": _in_order(names, file)} if names else {})


def ukis(file: OnnxFile) -> Found:
    """What the side file of ukis-csmask says, MODEL.json: statistics of reflectances."""
    values = _json_file(file.path.with_suffix(".json")).get("data", {})
    statistics = values.get("dataset_statistics") if isinstance(values, dict) else None
    said = statistics if isinstance(statistics, dict) else {}
    bands, numbers = said.get("band_names"), said.get("img")
    if not isinstance(bands, list) or not isinstance(numbers, list):
        return {}
    mean, std = (numbers, None) if len(numbers) != 2 else numbers
    count = len(_UKIS_CLASSES)
    return {
        "bands": bands,
        "normalization": {"mean": mean, "std": std},
        "dtype": "float32",
        "scaling": {"scale": [1.0] * len(bands), "offset": [0.0] * len(bands)},
        **({"class_names": list(_UKIS_CLASSES)} if values.get("classes") == count else {}),
    }


def deepness(file: OnnxFile) -> Found:
    """What Deepness' metadata say, each value as JSON."""
    said = {name: _value(text) for name, text in file.metadata.items() if name in _DEEPNESS_KEYS}
    if not said:
        return {}
    if (kind := str(said.get("model_type", "Segmentor"))).capitalize() != "Segmentor":
        raise ModelError(f"{file.path} is a model of Deepness' type {shown(kind)}: geoseg runs Segmentors")
    names = said.get("class_names", said.get("names"))
    outputs = names if isinstance(names, list) and names and all(isinstance(one, dict) for one in names) else []
    names = outputs[0] if outputs else names
    tile = said.get("tile_size", said.get("tiles_size"))
    found = {
        **_scaled(file, said.get("standardization_mean", [0.0]), said.get("standardization_std", [1.0])),
        "class_names": _in_order(names, file) if names else None,
        "names_of_outputs": [_in_order(one, file) for one in outputs] if len(outputs) > 1 else None,
        "resolution_m": _number(said, "resolution", file) / 100 if "resolution" in said else None,
        "tile": tile,
        "overlap": _overlap(said, tile, file),
    }
    if "seg_thresh" in said and 0 < (threshold := _number(said, "seg_thresh", file)) < 1:
        found["use"]["threshold"] = threshold
    return {name: value for name, value in found.items() if value is not None}


def own(file: OnnxFile) -> Found:
    """What geoseg itself has written: everything."""
    if not {METADATA_KEY, USE_KEY} <= file.metadata.keys():
        return {}
    try:
        spec: Found = parse_json(file.metadata[METADATA_KEY], f"{file.path}: its geoseg spec")
        use = parse_json(file.metadata[USE_KEY], f"{file.path}: its geoseg_use")
    except SpecError as error:
        raise ModelError(str(error)) from None
    return {**spec, "use": use, "class_names": None, "names_of_outputs": None}


SOURCES: Sequence[Callable[[OnnxFile], Found]] = (geoai, ukis, deepness, own)


def _scaled(file: OnnxFile, mean: Any, std: Any) -> Found:
    """Settings of values that are divided by 255, then standardised, of bands of 8 bits."""
    try:
        means, stds = ([_BY_255 * float(one) for one in some] for some in (mean, std))
    except (TypeError, ValueError):
        raise ModelError(
            f"{file.path}: its mean and std of standardisation are no lists of numbers: mend its metadata"
        ) from None
    if not all(map(math.isfinite, (*means, *stds))) or not all(one > 0 for one in stds):
        raise ModelError(
            f"{file.path}: its mean and std of standardisation are {shown(mean)} and {shown(std)}, and nothing can be "
            "divided by such a std: mend its metadata"
        )
    statistics = {"mean": means, "std": stds}
    return {"normalization": statistics, "dtype": "uint8", "use": {"scaling": statistics}}


def _in_order(names: Any, file: OnnxFile) -> list[str]:
    """Names of classes in the order of the channels, from a list, or a dict by number."""
    if isinstance(names, list):
        return [str(name) for name in names]
    try:
        numbered = {int(number): str(name) for number, name in names.items()}
    except (AttributeError, TypeError, ValueError):
        numbered = {}
    if not numbered or sorted(numbered) != list(range(len(numbered))):
        raise ModelError(
            f"{file.path}: the names of its classes {shown(names)} are not numbered 0, 1, 2, ...: mend them"
        )
    return [numbered[number] for number in range(len(numbered))]


def _overlap(said: Mapping[str, Any], tile: Any, file: OnnxFile) -> int | None:
    if "tiles_overlap" not in said or not isinstance(tile, int):
        return None
    return round(tile * _number(said, "tiles_overlap", file) / 100)


def _number(said: Mapping[str, Any], name: str, file: OnnxFile) -> float:
    try:
        return float(said[name])
    except (TypeError, ValueError):
        raise ModelError(f"{file.path}: its {name} {shown(said[name])} is no number: mend its metadata") from None


def _value(text: str) -> Any:
    """A value of the metadata: JSON, or Python's form of plain values, as some writers have it; else the text."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _json_file(path: Path) -> Found:
    """The object in a JSON file; nothing if there is none."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_JSON:
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
