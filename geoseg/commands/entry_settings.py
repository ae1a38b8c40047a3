"""Settings of one model of a comparison, written behind its path: `default@tta=flips,precision=bf16`.

In: an entry as it is given. Out: the path, and the settings by which this model alone classifies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_origin

from geoseg.core.errors import SpecError, did_you_mean
from geoseg.spec import AreaSpec, ClassifySpec, parse_spec

OF_ONE_MODEL = ("bands", "nodata")
"""Settings of classification that say how one model reads a scene: a comparison takes none, nor LOW,HIGH of rescale."""


def split_entry(entry: str) -> tuple[str, str]:
    """The path and the settings of an entry, as texts; without settings, or where a file has that name, all is path."""
    path, _, text = entry.rpartition("@")
    if not path or "=" not in text or Path(entry).exists():
        return entry, ""
    return path, text.strip()


def with_settings(shared: ClassifySpec, text: str, entry: str) -> ClassifySpec:
    """The settings of all models with those of one entry in their place.

    Args:
        shared: the settings of all models.
        text: NAME=VALUE, separated by commas; a value may be a list: tta_scales=1,1.5.
        entry: the whole entry, for errors.

    Raises:
        SpecError: if a setting is unknown, or would score other pixels.
    """
    found = _values(text, entry)
    open_to_one = [name for name in ClassifySpec.settings() if name not in {*OF_ONE_MODEL, *AreaSpec.settings()}]
    if stray := next((name for name in found if name not in open_to_one), None):
        raise SpecError(
            f"{entry}: no setting {stray!r} of one model{did_you_mean(stray, open_to_one)}: there are "
            f"{', '.join(open_to_one)}"
        )
    own = parse_spec(ClassifySpec, {"crf": shared.crf} | found, source=entry)
    if "rescale" in found and own.given_rescale is not None:
        raise SpecError(f"{entry}: of rescale a comparison takes auto and none: the config's data holds for all models")
    return shared.model_copy(update={name: getattr(own, name) for name in found})


def _values(text: str, entry: str) -> dict[str, Any]:
    """The settings of an entry by name, as plain values.

    Raises:
        SpecError: if one is given twice.
    """
    found: dict[str, list[str]] = {}
    last = ""
    for part in text.split(",") if text else []:
        name, sign, value = part.partition("=")
        if sign:
            last = name.strip().replace("-", "_")
            if last in found:
                raise SpecError(f"{entry}: {last} is given twice: give it once")
            found[last] = [value.strip()]
        else:
            found.setdefault(last, []).append(part.strip())
    return {name: values if len(values) > 1 or _is_list(name) else values[0] for name, values in found.items()}


def _is_list(name: str) -> bool:
    """Whether a setting is always a list."""
    field = ClassifySpec.settings().get(name)
    return field is not None and get_origin(field.annotation) is tuple
