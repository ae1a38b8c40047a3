"""What is known of the file that a model was read from. Needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelFile:
    """A model's file."""

    path: Path
    """Where it was read."""
    size: int
    """Bytes."""
    sha256: str
    """SHA-256 of its content, in hexadecimal digits."""
    media_type: str
    """Media type, see `Backend`."""
    artifact_type: str
    """How such a file is written, see `Backend`."""
    framework: str = "PyTorch"
    """What its network is made with, see `Backend`."""
