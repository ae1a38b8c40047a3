"""Licence and credits of a model in fields of STAC.

The licence is that of the model's weights. A prediction's Item has it on the asset of the model and in fields of
geoseg's own, not as the Item's `license`: whether a map may be passed on depends on its imagery, too.
"""

from __future__ import annotations

from typing import Any

from geoseg.core.spdx import spdx_identifier, spdx_page
from geoseg.spec import ModelSpec

_OTHER = "other"
"""STAC's word for a licence that has no identifier of SPDX."""


def licence_field(model: ModelSpec) -> dict[str, str]:
    """STAC's own field of the model itself; none where the licence is unknown."""
    licence = model.card.licence
    return {"license": spdx_identifier(licence) or _OTHER} if licence else {}


def rights_fields(model: ModelSpec) -> dict[str, str]:
    """Licence and credits as the card has them."""
    texts = {"geoseg:licence": model.card.licence, "geoseg:credits": model.card.credits}
    return {name: text for name, text in texts.items() if text}


def licence_links(model: ModelSpec) -> list[dict[str, Any]]:
    """The link to the text of the licence, where SPDX knows it."""
    identifier = spdx_identifier(model.card.licence)
    if identifier is None:
        return []
    title = f"Licence of the model {model.name}: {identifier}"
    return [{"rel": "license", "href": spdx_page(identifier), "type": "text/html", "title": title}]
