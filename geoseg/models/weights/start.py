"""Weights of a bundle, loaded into a network whose bands and classes may differ.

In: a fresh network and a bundle. The network is changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from geoseg.core.errors import ModelError
from geoseg.models.branches import BRANCHES
from geoseg.models.bundle import load_model
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights.axes import Axis, axes_of
from geoseg.spec import ModelSpec

SEMANTIC = "body.semantic."
"""How the names of the weights of semantic-aware normalisation begin."""


def start_from(network: SegmentationNetwork, spec: ModelSpec, bundle: Path) -> str:
    """Load the weights of a bundle whose bands and classes may differ; return a line on what is new, left out
    or doubtful.

    Classes and bands are matched by name. New classes keep their random weights; new bands start at zero, so that the
    network begins as the one that it starts from; where no band is known, all share alike. The normalisation stays the
    network's own. A context branch or a refinement module is loaded if both have the same, with the same bands and
    classes; else it keeps its fresh weights, or starts from the loaded ones (`SegmentationNetwork.start_branch`).

    Args:
        network: built by `build_network(spec)`.
        spec: the network's spec.
        bundle: a geoseg bundle of the same architecture, encoder and arguments.

    Raises:
        ModelError: if the bundle cannot be read, or holds another network.
    """
    model = load_model(bundle)
    _check_same_network(model.spec, spec, bundle)
    bands = _positions([*spec.bands], [*model.spec.bands])
    classes = _positions([c.name for c in spec.classes], [c.name for c in model.spec.classes])
    given, own = model.module.state_dict(), network.state_dict()
    has_same_bands = spec.bands == model.spec.bands
    is_added = _adds_semantic(model.spec, spec)
    for name, axes in _axes(spec, may_mix_bands=has_same_bands).items():
        if is_added and name.startswith(SEMANTIC):
            continue
        taken = given[name]
        if not has_same_bands and (of_bands := [axis for axis, one in enumerate(axes) if one.per_band]):
            taken = _take_bands(taken, of_bands[0], bands)
        own[name] = _put_classes(taken, own[name], [one.per_class for one in axes], classes)
    has_same_branch = _has_same_branch(model.spec, spec)
    if has_same_branch:
        prefixes = tuple(f"{part}." for part in BRANCHES.get(spec.branch.kind).parts)
        own |= {name: tensor for name, tensor in given.items() if name.startswith(prefixes)}
    network.load_state_dict(own)
    notice = "" if has_same_branch else network.start_branch(model.spec.branch.kind)
    return "; ".join(filter(None, (_report_line(model.spec, spec), notice)))


def names_of_classifiers(spec: ModelSpec) -> set[str]:
    """Names of the weights of a network's body that have entries for each class: those of its last layers."""
    axes = _axes(spec, may_mix_bands=True)
    return {name for name, of_one in axes.items() if any(axis.per_class for axis in of_one)}


def _has_same_branch(given: ModelSpec, wanted: ModelSpec) -> bool:
    """Whether the weights of the branch are exchangeable between both."""
    if given.branch.kind != wanted.branch.kind:
        return False
    branch = BRANCHES.get(wanted.branch.kind)
    return branch.meaning(given) == branch.meaning(wanted)


def _adds_semantic(given: ModelSpec, wanted: ModelSpec) -> bool:
    """Whether the network has a semantic-aware normalisation that the given one lacks."""
    return wanted.network.semantic_normalization and not given.network.semantic_normalization


def _check_same_network(given: ModelSpec, wanted: ModelSpec, bundle: Path) -> None:
    if _network_name(given) != _network_name(wanted):
        raise ModelError(
            f"{bundle} holds the network {_network_name(given)}, but {_network_name(wanted)} is to be trained: "
            "give both the same architecture, encoder and arguments"
        )


def _network_name(spec: ModelSpec) -> str:
    network = spec.network.model_dump(mode="json")  # in a bundle, tuples have become lists
    parts = network["architecture"], network["encoder"], dict(sorted(network["arguments"].items()))
    return " ".join(str(part) for part in parts if part)


def _axes(spec: ModelSpec, *, may_mix_bands: bool) -> dict[str, list[Axis]]:
    """The axes of all weights of a network's body, by their names in the network.

    Raises:
        ModelError: if an axis has several entries for a band, or ones for classes too; not with `may_mix_bands`.
    """
    found = axes_of(spec.network, len(spec.bands), len(spec.classes))
    of_bands = [axis for axes in found.values() for axis in axes if axis.per_band]
    if not may_mix_bands and (not of_bands or any(axis != (1, 0) for axis in of_bands)):
        raise ModelError(
            f"{_network_name(spec)} mixes its bands in a way that geoseg cannot follow: leave out init_from, or give "
            "the bands of its model in their order"
        )
    return {f"body.{name}": axes for name, axes in found.items()}


def _positions(names: list[str], known: list[str]) -> list[int | None]:
    """Index of each name among the known ones; None for a new one."""
    return [known.index(name) if name in known else None for name in names]


def _take_bands(given: Tensor, axis: int, bands: Sequence[int | None]) -> Tensor:
    """Slices along an axis in the order of the new bands.

    A new band starts at zero where the axis is one of inputs: on NAIP imagery of Ohio (masks as published), a network
    with near infrared begins at a validation mIoU of 0.677 so, and at 0.664 with a copy of red. If no band is
    known, all get the same share of all, which keeps the response to equal bands. On other axes it gets the mean.
    """
    known = [band for band in bands if band is not None]
    mean = given.index_select(axis, torch.tensor(known or range(given.shape[axis]))).mean(dim=axis)
    fresh = mean if not axis else torch.zeros_like(mean) if known else given.sum(dim=axis) / len(bands)
    return torch.stack([fresh if band is None else given.select(axis, band) for band in bands], dim=axis)


def _put_classes(given: Tensor, own: Tensor, per_class: Sequence[int], classes: Sequence[int | None]) -> Tensor:
    """The network's own weight, with entries of known classes replaced by the given ones.

    Entries behind those of classes, such as the row of no object, are the given ones.

    Args:
        given: weight of the bundle.
        own: weight of the network.
        per_class: of each axis, its entries for each class.
        classes: of each of the network's classes, its index among those of the bundle; None for a new one.
    """
    if not any(per_class):
        return given
    pairs = [_entries(size, given.shape[axis], per_class[axis], classes) for axis, size in enumerate(own.shape)]
    wanted, taken = (torch.meshgrid(*(pair[i] for pair in pairs), indexing="ij") for i in (0, 1))
    return own.clone().index_put_(tuple(wanted), given[taken].to(own.dtype))


def _entries(size: int, given: int, each: int, classes: Sequence[int | None]) -> tuple[Tensor, Tensor]:
    """Indexes along an axis, and of the same entries in the given weight; without those of new classes."""
    known = [(row, index) for row, index in enumerate(classes) if index is not None]
    of_classes = [(row * each + i, index * each + i) for row, index in known for i in range(each)]
    others = range(size - each * len(classes))
    rest = [(size - len(others) + i, given - len(others) + i) for i in others]
    wanted, taken = torch.tensor([*of_classes, *rest], dtype=torch.long).view(-1, 2).T
    return wanted, taken


def _report_line(given: ModelSpec, wanted: ModelSpec) -> str:
    new = _beyond(wanted, given)
    left_out = [part for part in _beyond(given, wanted) if part not in new]  # a branch that is otherwise starts anew
    return (
        f"{'weights' if left_out else 'all weights'} of {given.name}"
        + (f"; new: {', '.join(new)}" if new else "")
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    )


def _beyond(one: ModelSpec, other: ModelSpec) -> list[str]:
    """What the network of one model has that of the other one lacks, or has otherwise."""
    known = {c.name for c in other.classes}
    found = [f"class {c.name}" for c in one.classes if c.name not in known]
    found += [f"band {band}" for band in one.bands if band not in other.bands]
    found += ["semantic normalisation"] if _adds_semantic(other, one) else []
    return found + ([] if _has_same_branch(one, other) else [*BRANCHES.get(one.branch.kind).parts.values()])
