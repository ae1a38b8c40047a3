"""Tags of images: the classes that an image shows, without where.

In: the tags of all images, and the class that any of them may show besides. Out: one index for all pixels of an image:
that of its class, if it has a single tag, else one after those of the classes and of the sets of `class_sets.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from geoseg.core.errors import LabelError, did_you_mean
from geoseg.data.image_tags import SEPARATOR, Names, Tags
from geoseg.data.labels.class_sets import MOST_INDEXES, ClassSets, class_sets
from geoseg.data.labels.rules import LabelRules, class_list
from geoseg.spec import ClassSpec


def tag_sets(classes: Sequence[ClassSpec], tags: Iterable[Tags]) -> ClassSets:
    """The class indexes of each combination of tags, sorted, each once.

    Raises:
        LabelError: if a tag is no class; the message names its place.
    """
    known = _known(classes)
    return tuple(dict.fromkeys(_members(known, classes, one.names, one.place) for one in tags))


def several_tags(sets: ClassSets) -> ClassSets:
    """The combinations of more than one tag, which are numbered in this order."""
    return tuple(one for one in sets if len(one) > 1)


def first_tag_index(classes: Sequence[ClassSpec], rules: LabelRules) -> int:
    """The index of the first combination of several tags; the others follow."""
    return len(classes) + len(class_sets(classes, rules.class_sets))


def tag_index(classes: Sequence[ClassSpec], tags: Tags, rules: LabelRules) -> int:
    """The index of all pixels of an image with tags.

    Raises:
        LabelError: if a tag is no class, or there are too many combinations.
    """
    known = _known(classes)
    own = _members(known, classes, tags.names, tags.place)
    if len(own) == 1:
        return own[0]
    combined = several_tags(tuple(dict.fromkeys(_members(known, classes, names, tags.place) for names in tags.all)))
    first = first_tag_index(classes, rules)
    if first + len(combined) > MOST_INDEXES:
        raise LabelError(
            f"{len(classes)} classes and {len(combined):,} combinations of tags, or of classes in data.label_values: "
            f"together they may be {MOST_INDEXES}: leave out rows with rare combinations, or join classes"
        )
    return first + combined.index(own)


def _known(classes: Sequence[ClassSpec]) -> Mapping[str, int]:
    """Index of each class by its label value and by its name, which counts where both are alike."""
    by_value = {str(c.label_value): index for index, c in enumerate(classes)}
    return by_value | {c.name: index for index, c in enumerate(classes)}


def _members(known: Mapping[str, int], classes: Sequence[ClassSpec], names: Names, place: str) -> tuple[int, ...]:
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise LabelError(
            f"{place}: tag {unknown!r} is no class{did_you_mean(unknown, known)}: give names or ids of "
            f"{class_list(classes)}, with {SEPARATOR!r} between them"
        )
    return tuple(sorted({known[name] for name in names}))
