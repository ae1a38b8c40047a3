"""Ways to give labelled windows the look of windows of the target, the region where the model is to be used.

A new way is a file here, and a line in `STYLES`; one of another package is an entry point of the group `geoseg.styles`.
A method that learns from images without labels takes it by its setting `style`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from geoseg.core.errors import SpecError
from geoseg.core.registry import Registry
from geoseg.spec.base import parse_spec
from geoseg.training.methods.method import Setup
from geoseg.training.styles.style import Style, StyleSettings

STYLES: Registry[type[Style]] = Registry(
    "way to transfer style",
    "geoseg.styles",
    {
        "none": "geoseg.training.styles.unchanged:Unchanged",
        "fourier": "geoseg.training.styles.fourier:Fourier",
        "histogram": "geoseg.training.styles.histogram:HistogramMatching",
        "cyclegan": "geoseg.training.styles.cyclegan:CycleGanStyle",
    },
)
"""All ways by name."""


def _parsed(value: Any) -> StyleSettings:
    """Settings of the class that `by` names, given a name, or a name and parameters."""
    if isinstance(value, StyleSettings):
        return value
    given = {"by": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("by"), str):
        raise ValueError("give the name of a way to transfer style, or {by: NAME, parameter: ...}")
    try:
        return parse_spec(STYLES.get(given["by"]).Settings, given, source=f"style {given['by']}")
    except SpecError as error:
        raise ValueError(str(error)) from None


StyleSetting = Annotated[StyleSettings, PlainValidator(_parsed), PlainSerializer(lambda value: value.model_dump())]
"""Written as a name, or as {by: name, parameter: ...}; the value is the settings of that name's class."""


def make_style(setup: Setup, settings: StyleSettings) -> Style:
    """Make the way that settings name."""
    return STYLES.get(settings.by)(setup, settings)
