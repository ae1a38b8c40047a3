"""Check of what label values stand for: classes that there are, in all legends of the training data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from geoseg.spec.classes import ClassSpec
from geoseg.spec.data import LABEL_VALUES, Classes, DataSpec, Label, legend_values, scene_values


def check_label_values(data: DataSpec, classes: Sequence[ClassSpec]) -> None:
    """Refuse label values, and classes outside of labels in legends, that are none of the classes.

    Raises:
        ValueError: saying where.
    """
    known = {key for c in classes for key in (c.name, c.label_value)}
    listed = ", ".join(f"{c.label_value} {c.name}" for c in classes)
    for place, values in _places(data):
        for meant in values.values():
            if isinstance(meant, tuple):
                if unknown := [one for one in meant if one not in known]:
                    raise ValueError(
                        f"{place} leads to {unknown[0]!r}, among others, which is no class: give some of {listed}"
                    )
            elif meant not in known | {"ignore"}:
                raise ValueError(f"{place} leads to {meant!r}, which is neither a class ({listed}) nor ignore")
    texts = set(map(str, known))
    for name, legend in data.legends.items():
        beside = legend.outside if isinstance(legend.outside, tuple) else (legend.outside,)
        if unknown := [one for one in beside if one is not None and str(one) not in texts]:
            raise ValueError(f"data.legends.{name}.outside = {unknown[0]!r}: no such class: give one of {listed}")


def _places(data: DataSpec) -> Iterator[tuple[str, Mapping[Label, Classes]]]:
    """All label values, and where they stand."""
    yield LABEL_VALUES, data.label_values
    for name, legend in data.legends.items():
        yield legend_values(name), legend.label_values
    for number, scene in enumerate(data.scenes):
        yield scene_values(number), scene.label_values
