"""What labelled images have in common, and where they differ although one model is to learn from all of them.

In: images one by one: size of a pixel, scale and offset, how their bands were found. Out: the terms in which all of
them are read, and a line for each difference that a person should know. Opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from geoseg.core.wording import number_of
from geoseg.raster.scaling import conversion, describe_scaling
from geoseg.spec import ScalingSpec

RESOLUTION_FACTOR = 1.5
"""Images are told to show ground at different scales beyond this ratio of their pixels' sizes."""
MOST_FACTOR = 2
"""Beyond this ratio no single size says what a model has learnt from."""


@dataclass
class ImageTerms:
    """Terms of images, fed one after the other."""

    scaling: ScalingSpec | None = None
    """What the values of all images are to stand for: given, else as the first image that says it has it."""
    names: list[str] = field(default_factory=list)
    """Images by name."""
    scalings: list[ScalingSpec | None] = field(default_factory=list)
    """What their values stand for."""
    sizes_m: dict[str, float] = field(default_factory=dict)
    """Size of a pixel, of the images that have one."""
    guessed: list[str] = field(default_factory=list)
    """Images whose bands were found by nothing but their position."""

    def add(self, name: str, size_m: float | None, scaling: ScalingSpec | None, *, is_guess: bool) -> None:
        """Take an image in."""
        self.names.append(name)
        self.scalings.append(scaling)
        self.scaling = self.scaling or scaling
        if size_m is not None:
            self.sizes_m.setdefault(name, size_m)
        if is_guess:
            self.guessed.append(name)

    @property
    def size_range_m(self) -> tuple[float, float] | None:
        """Smallest and largest size of a pixel where images differ in it; None where they are about alike."""
        sizes = self.sizes_m.values()
        differ = bool(sizes) and max(sizes) > RESOLUTION_FACTOR * min(sizes)
        return (_rounded(min(sizes)), _rounded(max(sizes))) if differ else None

    @property
    def resolution_m(self) -> float | None:
        """Size of a pixel, as the first image has it; None where images differ much or none has one."""
        sizes = self.sizes_m.values()
        if not sizes or max(sizes) > MOST_FACTOR * min(sizes):
            return None
        return _rounded(next(iter(self.sizes_m.values())))

    def notices(self, resolution_m: float | None) -> list[str]:
        """What a person should know, given the resolution that the settings name."""
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
            f"bands are found by position in {_listed(self.guessed)}, for no name or colour tells them: say in "
            "data.band_indexes where they stand if it is elsewhere"
        ]


def _these(names: list[str]) -> str:
    return f"{_listed(names)} {'has' if len(names) == 1 else 'have'}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{number_of(len(names), 'image')} ({names[0]}, ...)"


def _rounded(size_m: float) -> float:
    return float(f"{size_m:.4g}")
