"""The path of a bundle that a command writes. In: a path. Out: nothing, or an error before any work is done."""

from __future__ import annotations

from pathlib import Path

from geoseg.core.errors import OutputError
from geoseg.core.redaction import public_form

SUFFIX = ".safetensors"


def check_bundle_path(output: Path, *, overwrite: bool) -> None:
    """Refuse a path of a bundle.

    Raises:
        OutputError: if it is no path of a bundle, or exists.
    """
    if output.suffix.lower() != SUFFIX or output.is_dir():
        raise OutputError(f"{public_form(output)} is no path of a bundle: choose one that ends in {SUFFIX}")
    if output.exists() and not overwrite:
        raise OutputError(f"{public_form(output)} exists: pass --overwrite to replace it, or choose another --output")
