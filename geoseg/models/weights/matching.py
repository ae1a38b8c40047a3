"""Checks of weights: names, shapes and types against a network, and values for NaN and infinity.

In: names, shapes and types, or tensors. Out: nothing, or an error that names the first wrong weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from geoseg.core.errors import ModelError, shown

COUNTER = "num_batches_tracked"
"""End of the names of counters, which old files lack and nothing depends on."""
_FLOATS = {"F16", "BF16", "F32", "F64"}
_INTEGERS = {"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"}


class Kind(NamedTuple):
    """Shape and type of a weight."""

    shape: tuple[int, ...]
    """Its shape."""
    dtype: str
    """Its type in the words of safetensors: F32, F16, I64, BOOL, ..."""


def kinds_of(weights: Mapping[str, Tensor]) -> dict[str, Kind]:
    """Shapes and types of weights."""
    return {name: Kind(tuple(t.shape), _dtype_of(t)) for name, t in weights.items()}


def check_fit(outline: nn.Module, given: Mapping[str, Kind], source: str) -> None:
    """Check that weights are those of a network, by their names, shapes and types.

    Args:
        outline: the network, which may be on the meta device.
        given: shapes and types of the weights.
        source: where they come from, for the error.

    Raises:
        ModelError: naming the first that does not fit.
    """
    if (problem := misfit(outline, given)) is not None:
        raise ModelError(f"{source}: the weights do not fit the network in its spec: {problem}")


def misfit(outline: nn.Module, given: Mapping[str, Kind]) -> str | None:
    """Why weights are not those of a network, naming the first that does not fit; None if they are."""
    wanted = kinds_of(outline.state_dict())
    lacking = [name for name in wanted if name not in given and not name.endswith(COUNTER)]
    surplus = [name for name in given if name not in wanted]
    wrong = [name for name, kind in wanted.items() if name in given and not _fits(given[name], kind)]
    if lacking:
        return f"{shown(lacking[0])} and {len(lacking) - 1} more are missing"
    if surplus:
        return f"it has no {shown(surplus[0])}, nor {len(surplus) - 1} more"
    if wrong:
        is_, needs = given[wrong[0]], wanted[wrong[0]]
        return f"{shown(wrong[0])} is {is_.dtype} {is_.shape}, it needs {needs.dtype} {needs.shape}"
    return None


def check_numbers(weights: Mapping[str, Tensor], source: str) -> None:
    """Check that weights are finite, variances are not negative and standard deviations are positive.

    Raises:
        ModelError: naming the first that is not.
    """
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            continue
        if not bool(tensor.isfinite().all()):
            problem = "holds NaN or infinity"
        elif name.endswith("running_var") and bool((tensor < 0).any()):
            problem = "holds a variance below 0"
        elif name == "normalize.std" and not bool((tensor > 0).all()):
            problem = "holds a standard deviation of 0 or less"
        else:
            continue
        raise ModelError(f"{source}: the weight {shown(name)} {problem}: the file is damaged, or its training diverged")


def _fits(given: Kind, wanted: Kind) -> bool:
    same = given.dtype == wanted.dtype
    alike = any(given.dtype in kinds and wanted.dtype in kinds for kinds in (_FLOATS, _INTEGERS))
    return given.shape == wanted.shape and (same or alike)


def _dtype_of(tensor: Tensor) -> str:
    name = str(tensor.dtype).removeprefix("torch.")
    return {"bfloat16": "BF16", "bool": "BOOL"}.get(name) or name[0].upper() + "".join(filter(str.isdigit, name))
