"""What must be known of another tool's model before it can be used; what its files leave open is None."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from geoseg.spec.base import (
    LARGEST,
    LARGEST_SIZE_M,
    LARGEST_TILE,
    MOST_BANDS,
    NODATA_ID,
    SMALLEST_TILE,
    DataType,
    Name,
    Spec,
    Text,
    Word,
)

MOST_CHANNELS = 2**14
"""Most channels of a head."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) else value


OR_ONE = BeforeValidator(_listed)
"""Takes a number for a list of one."""


class ImportedClass(Spec):
    """A class of another tool's model."""

    name: Name
    """Name shown to people."""
    color: str | None = Field(default=None, pattern=r"^#[0-9a-fA-F]{6}$")
    """Colour as #rrggbb; None means one that its name calls for."""
    id: int | None = Field(default=None, ge=0, lt=NODATA_ID)
    """Value in the class raster; None means its position in the list."""
    channel: int | None = Field(default=None, ge=0, lt=MOST_CHANNELS)
    """Channel of the network's head, from 0; None means its position in the list. Channels of no class are cut off."""


class ImportSpec(Spec):
    """What a model's files say of it, or what a user says where they leave it open."""

    architecture: Name | None = None
    """One of the networks that `geoseg models` lists, e.g. unet."""
    encoder: Word | None = None
    """Encoder of that network, e.g. resnet34 or tu-convnext_tiny."""
    arguments: dict[str, Any] | None = None
    """Further settings of the network, as in a training config, e.g. decoder_channels."""
    bands: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_BANDS)] | None = None
    """Names of the bands in the order in which the network takes them, e.g. red,green,blue,nir."""
    dtype: DataType | None = None
    """Type of the band values that it was trained on."""
    mean: Annotated[tuple[Annotated[float, Field(ge=-LARGEST, le=LARGEST)], ...] | None, OR_ONE] = None
    """Number that was subtracted from the values of each band, in the values of that type; one for all, or one each."""
    std: Annotated[tuple[Annotated[float, Field(ge=1 / LARGEST, le=LARGEST)], ...] | None, OR_ONE] = None
    """Number by which they were divided then, one for all or one each; of values that were divided by 255 alone, mean
    0 and std 255."""
    classes: Annotated[tuple[ImportedClass | Name, ...], Field(min_length=1, max_length=NODATA_ID)] | None = None
    """Classes in the order of the channels of the network's head: names, or mappings with name, color, id, channel."""
    resolution: Annotated[float, Field(ge=1 / LARGEST_SIZE_M, le=LARGEST_SIZE_M)] | Literal["unknown"] | None = None
    """Ground resolution of its training images in metres per pixel, or unknown."""
    tile: int | None = Field(default=None, ge=SMALLEST_TILE, le=LARGEST_TILE)
    """Largest side of a window, in pixels; None means 1024."""
    overlap: int | None = Field(default=None, ge=0, le=LARGEST_TILE)
    """Pixels shared by neighbouring windows; None means 64."""
    purpose: Text | None = None
    """What the model is for, in one sentence."""
    data: Text | None = None
    """Training data."""
    credits: Text | None = None
    """Makers of model and data, as they wish to be cited."""
    licence: Text | None = None
    """Licence of the weights, e.g. Apache-2.0."""
    limits: Text | None = None
    """Known limits of the model."""

    @property
    def listed_classes(self) -> tuple[ImportedClass, ...]:
        """The classes, also those of which there is a name alone; none while they are unknown."""
        return tuple(ImportedClass(name=one) if isinstance(one, str) else one for one in self.classes or ())

    @property
    def said(self) -> dict[str, Any]:
        """The fields that are not None, as they are."""
        return {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}
