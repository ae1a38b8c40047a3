"""Label rules: which number, colour or text of a label file stands for which class, and which is ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from geoseg.core.errors import SpecError
from geoseg.data.labels.class_sets import set_indexes
from geoseg.spec import IGNORE, ClassSpec, DataSpec
from geoseg.spec.data import AS_DATA_SAYS, LABEL_BUFFER_PX, LABEL_VALUES, SourceLegendSpec

Meaning = int | str | tuple[int | str, ...]
"""Id or name of a class, or of several, one of which is meant."""
OTHER = "other"
"""Key of LabelRules.values for all values that no other key names."""


@dataclass(frozen=True)
class LabelRules:
    """Which values of a label file stand for which classes, and where they are in a vector file."""

    values: tuple[tuple[int | str, Meaning], ...] = ()
    """Value in the file (number, #rrggbb, text, or `other`) -> id or name of a class, several of them, or `ignore`."""
    column: str | None = None
    """Column of the polygons that holds their class."""
    layer: str | None = None
    """Layer of the vector file."""
    outside: Meaning | None = None
    """Id or name of the class of all that has no label, or several; None if that is not labelled."""
    extent: Path | None = None
    """Polygons outside of which `outside` does not count."""
    corrections: tuple[Path, ...] = ()
    """Vector files that correct the labels; the last one counts."""
    buffer_px: float = LABEL_BUFFER_PX
    """Radius of points and half the width of lines, in pixels of the image."""
    box_rim: float | None = None
    """Share of the width and height of polygons, which are boxes, that is not labelled on each side; None: they are
    outlines."""
    border_px: int = 0
    """Width of the strip on each side of borders between classes that is not labelled, in pixels of the image."""
    resamples: bool = False
    """Whether rasters may lie on other grids than their images."""
    class_sets: tuple[tuple[int | str, ...], ...] = ()
    """All lists of classes that values of the run's labels stand for, of these and of other labels."""
    values_in: str = LABEL_VALUES
    """Where `values` stand in the settings, for messages."""
    everywhere: int | None = None
    """Index of all pixels, of an image that has tags in place of a label file; None: the file says."""

    @classmethod
    def of(cls, values: Mapping[int | str, Meaning], column: str | None = None, layer: str | None = None) -> Self:
        """Make rules from values of labels, and the place of the class in vector files."""
        return cls(tuple((_plain_key(key), value) for key, value in values.items()), column, layer)

    @classmethod
    def of_data(cls, data: DataSpec, legend: SourceLegendSpec = AS_DATA_SAYS, values_in: str = LABEL_VALUES) -> Self:
        """Make rules from the settings of a config, and from those of one source, whose label values stand there."""
        given = legend.label_values or data.label_values
        return cls(
            tuple((_plain_key(key), value) for key, value in given.items()),
            legend.label_column or data.label_column,
            legend.label_layer or data.label_layer,
            data.outside if legend.outside is None else legend.outside,
            data.extent,
            data.corrections,
            data.label_buffer_px,
            data.label_box_rim,
            data.label_border_px if legend.label_border_px is None else legend.label_border_px,
            data.label_resample,
            data.class_sets,
            values_in,
        )

    @property
    def only_other(self) -> bool:
        """Whether the rules give one class to all values."""
        return [key for key, _ in self.values] == [OTHER]

    @property
    def by_color(self) -> bool:
        """Whether the rules name colours."""
        return any(str(key).startswith("#") for key, _ in self.values)


def resolve_rules(classes: Sequence[ClassSpec], rules: LabelRules) -> dict[int | str, int]:
    """Class index by value in the file.

    Raises:
        SpecError: if a value is given a class that does not exist.
    """
    known = class_indexes(classes) | {"ignore": IGNORE}
    sets = set_indexes(classes, rules.class_sets)
    unknown = [value for _, value in rules.values if not isinstance(value, tuple) and value not in known]
    if unknown:
        raise SpecError(
            f"{rules.values_in} leads to {unknown[0]!r}, which is neither a class ({class_list(classes)}) nor ignore"
        )
    return {key: sets[value] if isinstance(value, tuple) else known[value] for key, value in rules.values}


def sole_class(classes: Sequence[ClassSpec], rules: LabelRules) -> int | None:
    """Index of the class of all polygons where no column says it: of `other`, or the only one besides `outside`."""
    if rules.only_other:
        return resolve_rules(classes, rules)[OTHER]
    if rules.outside is None or rules.values or len(classes) != 2:
        return None
    outside = rules.outside if isinstance(rules.outside, tuple) else (rules.outside,)
    taken = {str(one) for one in outside}
    return next((k for k, c in enumerate(classes) if taken.isdisjoint((c.name, str(c.label_value)))), None)


def class_indexes(classes: Sequence[ClassSpec]) -> dict[int | str, int]:
    """Class index by the name and by the label value of each class."""
    numbered = list(enumerate(classes))
    by_name: dict[int | str, int] = {c.name: index for index, c in numbered}
    return by_name | {c.label_value: index for index, c in numbered}


def class_list(classes: Sequence[ClassSpec]) -> str:
    """Ids and names of classes, for messages."""
    return ", ".join(f"{c.label_value} {c.name}" for c in classes)


def left_out(rules: LabelRules, values: str) -> str:
    """The error text for values of labels of which rules say nothing."""
    return (
        f"{rules.values_in} says nothing of {values}: add what is missing there, with a class or `ignore`, or "
        f"`{OTHER}: ignore` for all the rest"
    )


def _plain_key(key: int | str) -> int | str:
    return key.lower() if isinstance(key, str) and key.startswith("#") else key
