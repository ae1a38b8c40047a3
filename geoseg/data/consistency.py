"""Consistency of the images that one model learns from: pixel size, scale and offset, bands.

In: these properties, image by image. Out: the pixel size and scaling that are common to all, and a notice for each
difference that the user should know. Opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from geoseg.core.wording import number_of
from geoseg.raster.scaling import conversion, describe_scaling
from geoseg.spec import ScalingSpec

NOTICED_SIZE_RATIO = 1.5
"""Ratio of the largest to the smallest pixel size above which the user is notified."""
LARGEST_SIZE_RATIO = 2
"""Ratio of the pixel sizes above which no single resolution describes the model."""


@dataclass
class ImageProperties:
    """Properties of images, added one after the other."""

    scaling: ScalingSpec | None = None
    """Scaling to which the values of all images are converted: given, else that of the first image that has one."""
    names: list[str] = field(default_factory=list)
    """Names of the images."""
    scalings: list[ScalingSpec | None] = field(default_factory=list)
    """Scalings of the images; None for one without scale and offset."""
    sizes_m: dict[str, float] = field(default_factory=dict)
    """Pixel size in metres by name, of the images for which it is known."""
    guessed: list[str] = field(default_factory=list)
    """Names of the images whose bands were found by position only."""

    def add(self, name: str, size_m: float | None, scaling: ScalingSpec | None, *, is_guess: bool) -> None:
        """Add an image."""
        self.names.append(name)
        self.scalings.append(scaling)
        self.scaling = self.scaling or scaling
        if size_m is not None:
            self.sizes_m.setdefault(name, size_m)
        if is_guess:
            self.guessed.append(name)

    @property
    def size_range_m(self) -> tuple[float, float] | None:
        """Smallest and largest pixel size in metres if images differ in it; None if they are about equal."""
        sizes = self.sizes_m.values()
        differ = bool(sizes) and max(sizes) > NOTICED_SIZE_RATIO * min(sizes)
        return (_rounded(min(sizes)), _rounded(max(sizes))) if differ else None

    @property
    def resolution_m(self) -> float | None:
        """Pixel size of the first image in metres; None if images differ much, or it is known for none."""
        sizes = self.sizes_m.values()
        if not sizes or max(sizes) > LARGEST_SIZE_RATIO * min(sizes):
            return None
        return _rounded(next(iter(self.sizes_m.values())))

    def notices(self, resolution_m: float | None) -> list[str]:
        """Notices for the user, given the resolution in the settings, in metres."""
        return [*self._of_sizes(resolution_m), *self._of_scalings(), *self._of_bands()]

    def _of_sizes(self, resolution_m: float | None) -> list[str]:
        if self.size_range_m is None:
            return []
        finest, coarsest = (
            min(self.sizes_m, key=self.sizes_m.__getitem__),
            max(self.sizes_m, key=self.sizes_m.__getitem__),
        )
        low, high = self.size_range_m
        own = f"{self.resolution_m:g} m, as the first has" if self.resolution_m else "no resolution"
        kept = f"{resolution_m:g} m, as data.resolution_m says" if resolution_m else own
        return [
            f"pixels are of different size, from {low:g} m ({finest}) to {high:g} m ({coarsest}), and are learnt as if "
            f"they were alike; the model gets {kept}: resample the images to one size (gdalwarp -tr), or train apart"
        ]

    def _of_scalings(self) -> list[str]:
        if self.scaling is None:
            return []
        pairs = list(zip(self.names, self.scalings, strict=True))
        silent = [name for name, own in pairs if own is None]
        other = [name for name, own in pairs if conversion(own, self.scaling) is not None]
        terms, lines = describe_scaling(self.scaling), []
        if other:
            lines.append(f"{_these(other)} scale and offset of their own: values are converted to {terms}")
        if silent:
            lines.append(f"{_these(silent)} no scale and offset: values are taken as they are, the model's are {terms}")
        return lines

    def _of_bands(self) -> list[str]:
        if not self.guessed:
            return []
        return [
            f"bands are found by position in {_listed(self.guessed)}, for no name or colour identifies them: say in "
            "data.band_indexes where they stand if it is elsewhere"
        ]


def _these(names: list[str]) -> str:
    return f"{_listed(names)} {'has' if len(names) == 1 else 'have'}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{number_of(len(names), 'image')} ({names[0]}, ...)"


def _rounded(size_m: float) -> float:
    return float(f"{size_m:.4g}")
