"""What a user reads about a network before choosing it. In: nothing. Out: `NetworkInfo`, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkInfo:
    """A network as `geoseg models` and the docs show it."""

    title: str
    """Name as its paper writes it, e.g. "U-Net"."""
    year: int
    """Year of the paper."""
    paper: str
    """Authors, title in quotation marks, and where it was published."""
    source: str
    """Whose code builds it: "segmentation-models-pytorch", "here" for geoseg's own, or the name of another package."""
    licence: str
    """Licence of that code, e.g. "MIT"."""
    encoders: str
    """The values of `network.encoder` that it takes, in words; "none" for a network that has its own."""
    takes_context: bool = True
    """Whether it can carry a branch for the surroundings of windows (`context`)."""
    limits: str = ""
    """What it cannot do, or needs, in a sentence; empty if there is nothing to say."""
