"""The part of a model that other tools can run: normalisation and body, without the view of the surroundings."""

from __future__ import annotations

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body
from geoseg.models.model import Model
from geoseg.models.segmentation import SegmentationNetwork


def body_of(model: Model) -> Body:
    """The network of a model without normalisation and branch.

    Raises:
        ModelError: if it is known as a graph only.
    """
    if not isinstance(model.module, SegmentationNetwork):
        raise ModelError(
            f"{model.spec.name} is no network of PyTorch, but a file of another runtime: export the bundle that it was "
            "made from"
        )
    return model.module.body


def branch_notice(model: Model) -> tuple[str, ...]:
    """The sentence that a model loses its branch; nothing if it has none."""
    if not model.spec.branch.levels:
        return ()
    return (
        f"{model.spec.name} sees the surroundings of its windows ({model.spec.branch.kind}), which the export leaves "
        "out: it is the local network alone, as predict --no-context runs it, and its scores are not those of the card",
    )
