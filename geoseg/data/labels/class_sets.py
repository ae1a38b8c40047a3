"""Sets of classes: labels of which it is known only that the class of a pixel is one of several.

In: lists of classes, by name or id. Out: an index for each set, after those of the classes. A set of one class has the
index of that class; one of all classes says nothing, and has that of pixels without a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from geoseg.core.errors import SpecError
from geoseg.spec import IGNORE, ClassSpec

MOST_INDEXES = 254
"""Indexes of classes and sets; 254 and 255 mark pixels without a label."""

ClassSets = tuple[tuple[int, ...], ...]
"""Class indexes of each set, sorted; the set number i has the index K + i."""
Lists = Sequence[tuple[int | str, ...]]
"""Lists of classes, by name or by label value."""


def class_sets(classes: Sequence[ClassSpec], lists: Lists) -> ClassSets:
    """The sets of several, but not all, of K classes, each once.

    Raises:
        SpecError: if a list names no class, or there are too many.
    """
    found = dict.fromkeys(_members(classes, one) for one in lists)
    several = tuple(one for one in found if 1 < len(one) < len(classes))
    if len(classes) + len(several) > MOST_INDEXES:
        raise SpecError(
            f"{len(classes)} classes, and {len(several)} lists of classes in data.label_values: together they may be "
            f"{MOST_INDEXES}"
        )
    return several


def set_indexes(classes: Sequence[ClassSpec], lists: Lists) -> Mapping[tuple[int | str, ...], int]:
    """The index of each list of classes.

    Raises:
        SpecError: as `class_sets`.
    """
    sets, found = class_sets(classes, lists), {}
    for one in lists:
        members = _members(classes, one)
        own = IGNORE if len(members) == len(classes) else members[0]
        found[one] = len(classes) + sets.index(members) if members in sets else own
    return found


def describe_sets(classes: Sequence[ClassSpec], sets: ClassSets) -> str:
    """The sets in words: "building or road; forest or water"."""
    return "; ".join(" or ".join(classes[index].name for index in one) for one in sets)


def _members(classes: Sequence[ClassSpec], names: Sequence[int | str]) -> tuple[int, ...]:
    known = {key: index for index, c in enumerate(classes) for key in (c.name, c.label_value)}
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(f"{c.label_value} {c.name}" for c in classes)
        raise SpecError(
            f"data.label_values leads to {unknown[0]!r}, among others, which is no class: give some of {listed}"
        )
    return tuple(sorted({known[name] for name in names}))
