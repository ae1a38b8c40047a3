"""Labels that are others with some pixels changed.

In: open labels. Out: what they say, but for the class indexes that a subclass reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import Self

from geoseg.data.labels.features import Features
from geoseg.data.labels.opened import Indexes, Labels
from geoseg.geo.grid import Window


class ChangedLabels(ABC):
    """Labels as they are, with a `read` of its own."""

    def __init__(self, labels: Labels):
        self._labels = labels

    def __enter__(self) -> Self:
        self._labels.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._labels.__exit__(*error)

    @abstractmethod
    def read(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window."""

    def features(self) -> Features:
        """The features of the labels: changes are of the class of pixels, and not of which of them lie together."""
        return self._labels.features()

    def unmarked_px(self) -> int:
        """That of the labels."""
        return self._labels.unmarked_px()

    def disputed(self) -> Counter[str]:
        """Those of the labels."""
        return self._labels.disputed()
