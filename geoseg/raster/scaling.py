"""Scale and offset of band values: value * scale + offset is the physical quantity. Pure functions on numbers.

In: scale and offset per band of a scene and of a model's training data. Out: the conversion of the scene's values to
those of the model, and a notice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.spec import ScalingSpec
from geoseg.spec.base import LARGEST

_CLOSE = 1e-9
"""Relative difference up to which two scales or offsets count as equal: they are written with few digits."""


class Change(Protocol):
    """A change of the values of bands."""

    def apply(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Convert values (C, h, w)."""
        ...


@dataclass(frozen=True)
class Conversion:
    """A linear conversion of values, per band: value * factor + shift."""

    factor: tuple[float, ...]
    """Factor per band."""
    shift: tuple[float, ...]
    """Shift per band."""

    def apply(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Convert values (C, h, w)."""
        factor, shift = (np.array(part, np.float32).reshape(-1, 1, 1) for part in (self.factor, self.shift))
        changed: NDArray[np.float32] = image.astype(np.float32) * factor + shift
        return changed


@dataclass(frozen=True)
class Rescaling:
    """Values stretched to the range from 0 to the highest value of a model's type, and clipped."""

    low: float
    """The value that becomes 0."""
    factor: float
    """Factor applied after subtracting `low`."""
    top: float
    """The highest value."""

    @classmethod
    def of(cls, low: float, high: float, top: float) -> Rescaling:
        """Map low to 0 and high to top."""
        return cls(low, top / (high - low), top)

    def apply(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Convert values (C, h, w)."""
        changed: NDArray[np.float32] = np.clip((image.astype(np.float32) - self.low) * self.factor, 0, self.top)
        return changed


def file_scaling(scales: Sequence[float], offsets: Sequence[float]) -> ScalingSpec | None:
    """Scale and offset per band of a file; None where it has none, which reads as 1 and 0.

    A scale of 0, or one that is not finite, counts as none.
    """
    says = any(scale != 1 for scale in scales) or any(offset != 0 for offset in offsets)
    is_usable = all(1 / LARGEST <= abs(scale) <= LARGEST for scale in scales)
    is_usable &= all(abs(offset) <= LARGEST for offset in offsets)
    return ScalingSpec(scale=tuple(scales), offset=tuple(offsets)) if says and is_usable else None


def conversion(own: ScalingSpec | None, wanted: ScalingSpec | None) -> Conversion | None:
    """Conversion between two scalings of the same quantity; None where they are equal or one is unknown."""
    if own is None or wanted is None:
        return None
    pairs = list(zip(own.scale, own.offset, wanted.scale, wanted.offset, strict=True))
    factor = tuple(scale / other for scale, _, other, _ in pairs)
    shift = tuple((offset - other) / scale for _, offset, scale, other in pairs)
    is_same = all(math.isclose(f, 1, rel_tol=_CLOSE) for f in factor) and all(abs(s) < _CLOSE for s in shift)
    return None if is_same else Conversion(factor, shift)


def describe_scaling(scaling: ScalingSpec) -> str:
    """Scale and offset on one line: once if all bands have the same."""
    pairs = list(dict.fromkeys(zip(scaling.scale, scaling.offset, strict=True)))
    return ", ".join(
        f"value x {scale:g}" + (f" {'+' if offset > 0 else '-'} {abs(offset):g}" if offset else "")
        for scale, offset in pairs
    )


def scaling_notice(
    own: ScalingSpec | None, wanted: ScalingSpec | None, *, is_rescaled: bool, whose: str = "scene"
) -> str | None:
    """Notice about scale and offset of a scene, or of another raster, against a model's; None where they agree."""
    if own is None and wanted is None:
        return None
    if is_rescaled:
        return "scale and offset are not applied: --rescale sets how the file's values become the model's"
    if wanted is None:
        assert own is not None
        return (
            f"the {whose}'s values stand for {describe_scaling(own)}, the model does not say what its values stand "
            "for: they are taken as they are"
        )
    if own is None:
        return (
            f"the model's values stand for {describe_scaling(wanted)}, the {whose} has no scale and offset: its values "
            "are taken as they are"
        )
    if conversion(own, wanted) is None:
        return None
    return f"values are converted from {describe_scaling(own)} to the model's {describe_scaling(wanted)}"
