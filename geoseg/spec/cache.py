"""Settings of training windows that are kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field

from geoseg.spec.base import LARGEST_COUNT, FilePath, Spec


class CacheSpec(Spec):
    """Training windows that are drawn, augmented and forwarded through frozen parts once, and kept on disk.

    Every epoch draws from them, in another order. The network sees no others: fewer distinct windows are the price of
    steps that read, augment and forward nothing that is known.
    """

    windows: int = Field(default=4000, ge=1, le=LARGEST_COUNT)
    """Number of windows that are kept. An epoch draws `windows_per_epoch` of them without replacement, or all of them
    several times where that is more."""
    folder: FilePath | None = None
    """Folder in which other runs with the same windows and frozen weights find them; null keeps them in the run's
    folder until the run is done."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the windows and their augmentation; the order in which they are seen depends on the run's `seed`."""

    def below(self, folder: Path) -> Self:
        """The same settings, with a relative folder taken from another one."""
        return self if self.folder is None else self.model_copy(update={"folder": folder / self.folder})
