"""Licence and credits of the model that made a result, as tags of its files, so that they reach whoever opens these.

In: a model's card, or the tags of a raster. Out: tags, and sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoseg.core.naming import visible

if TYPE_CHECKING:
    from geoseg.spec import ModelSpec

LICENCE_TAG, CREDITS_TAG = "GEOSEG_LICENCE", "GEOSEG_CREDITS"
"""Tags that hold licence and credits of the model's card, each in one line."""
COPYRIGHT_TAG = "TIFFTAG_COPYRIGHT"
"""GDAL's name of the field of TIFF that says whose an image is, which other programs show; it holds one sentence."""


@dataclass(frozen=True)
class Rights:
    """What is to be known of the licence of a result; empty texts where nothing is known."""

    licence: str = ""
    """Licence of the model's weights."""
    credits: str = ""
    """Makers of the training data, in the form in which they wish to be cited."""
    statement: str = ""
    """Both in a sentence that names the model; of a raster of another program what its file says."""

    @classmethod
    def of(cls, model: ModelSpec) -> Rights:
        """Those of a model's card."""
        licence, makers = _one_line(model.card.licence), _one_line(model.card.credits)
        texts = [f"licence of its weights: {licence}"] if licence else []
        texts += [f"credits: {makers}"] if makers else []
        statement = f"made with the model {model.name}; {'; '.join(texts)}" if texts else ""
        return cls(licence, makers, statement)

    @classmethod
    def stated(cls, tags: Mapping[str, str]) -> Rights:
        """Those in the tags of a raster."""
        return cls(*(visible(_one_line(tags.get(tag, ""))) for tag in (LICENCE_TAG, CREDITS_TAG, COPYRIGHT_TAG)))

    def tags(self) -> dict[str, str]:
        """The tags of a raster with these; none where nothing is known."""
        values = {LICENCE_TAG: self.licence, CREDITS_TAG: self.credits, COPYRIGHT_TAG: self.statement}
        return {tag: text for tag, text in values.items() if text}

    def facts(self) -> dict[str, str]:
        """What is known, by name, for people."""
        values = {"licence": self.licence, "credits": self.credits, "copyright": self.statement}
        return {name: text for name, text in values.items() if text}


NO_RIGHTS = Rights()
"""Where nothing is known."""


def _one_line(text: str) -> str:
    return " ".join(text.split())
