"""A model that was downloaded, and the check of its digest. In: a file. Out: whether it is the one that is meant."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.errors import ModelError


@dataclass(frozen=True)
class Download:
    """A file or a folder in a cache."""

    path: Path
    """Its path."""
    address: str
    """The address that names this very version: with the commit, or the digest. It holds no secrets."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(found: str, wanted: str, shown: str) -> None:
    """Compare two digests.

    Raises:
        ModelError: if they differ.
    """
    if found != wanted:
        raise ModelError(
            f"{shown} is not the file that is meant: its digest is {found}, {wanted} is expected: nothing was kept; "
            "try again, or ask where the address is from"
        )
