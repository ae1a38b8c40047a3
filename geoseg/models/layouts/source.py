"""A source of a foreign model: a file or a folder, read on demand and at most once.

In: a path. Out: names of files, settings, and the content of the file of weights as plain values and tensors.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.core.errors import ModelError, SpecError
from geoseg.core.redaction import public_form
from geoseg.core.regular_files import check_regular, read_bounded
from geoseg.models.downloads import fetch_folder, is_address
from geoseg.models.layouts.reading import read_content
from geoseg.spec import parse_json

WEIGHT_FILES = ".safetensors", ".pth", ".pt", ".ckpt", ".bin"
"""Endings of files of weights; of several in a folder, those of the first ending are taken."""
MOST_TEXT = 2**22
"""Bytes of the largest text that is read from a folder."""


@dataclass(frozen=True)
class Source:
    """A file, or a folder with a file of weights."""

    path: Path
    """Its path."""
    address: str = ""
    """Where it was downloaded; empty for a file that lies here."""

    @classmethod
    def at(cls, place: str | os.PathLike[str]) -> Source:
        """Find the source of a path or an address; a repository's texts and weights are downloaded.

        Raises:
            ModelError: as `open`, or if it cannot be downloaded.
        """
        if not is_address(place):
            return cls.open(Path(place))
        found = fetch_folder(os.fspath(place), WEIGHT_FILES)
        return cls(found.path, found.address)

    @classmethod
    def open(cls, path: Path) -> Source:
        """Find the source of a path.

        Raises:
            ModelError: if there is none, or it is a pipe or a device.
        """
        try:
            check_regular(path)
        except OSError as error:
            raise ModelError(f"{public_form(path)} cannot be read: {error.strerror}") from None
        if not path.exists():
            raise ModelError(f"no model at {public_form(path)}: check the path")
        if path.suffix.lower() == ".onnx" and path.is_file():
            raise ModelError(
                f"{public_form(path)} is an ONNX model, which is used as it is: geoseg predict -m {public_form(path)}"
            )
        return cls(path)

    @property
    def shown(self) -> str:
        """Its path or address for messages."""
        return self.address or public_form(self.path)

    @property
    def name(self) -> str:
        """Its address, or the name of the file or folder."""
        return self.address or self.path.name

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Names of the files in the folder; none for a file."""
        return tuple(sorted(one.name for one in self.path.iterdir() if one.is_file())) if self.path.is_dir() else ()

    @property
    def weight_files(self) -> tuple[str, ...]:
        """Names of the files of weights in the folder; none for a file."""
        return tuple(name for name in self.files if name.lower().endswith(WEIGHT_FILES))

    @cached_property
    def weights_file(self) -> Path:
        """The file of weights: itself, or the one in the folder.

        Raises:
            ModelError: if the folder has none, or several.
        """
        if not self.path.is_dir():
            return self.path
        for ending in WEIGHT_FILES:
            found = [name for name in self.weight_files if name.lower().endswith(ending)]
            if len(found) > 1:
                raise ModelError(f"{self.shown} holds {len(found)} files {ending}: give one of them, e.g. {found[0]}")
            if found:
                return self.path / found[0]
        kinds = ", ".join(WEIGHT_FILES)
        raise ModelError(f"{self.shown} holds no file of weights ({kinds}): give the folder or file of a model")

    @cached_property
    def content(self) -> Any:
        """What the file of weights holds: tensors by name, or a checkpoint with plain values and tensors.

        Raises:
            ModelError: if it cannot be read without running code, or is damaged.
        """
        return read_content(self.weights_file)

    @cached_property
    def weights(self) -> Mapping[str, Tensor]:
        """Tensors by name, of the file itself or of the state dict in its checkpoint; empty if there are none."""
        content = self.content
        for key in STATE_DICTS:
            content = content[key] if isinstance(content, dict) and isinstance(content.get(key), dict) else content
        if not isinstance(content, dict):
            return {}
        return {name: one for name, one in content.items() if isinstance(one, Tensor) and isinstance(name, str)}

    def checkpoint(self, *keys: str) -> Mapping[str, Any] | None:
        """The content, if it is a checkpoint with all of some keys."""
        content = self.content
        return content if isinstance(content, dict) and all(key in content for key in keys) else None

    def text(self, name: str) -> str:
        """A text file of the folder; empty if there is none.

        Raises:
            ModelError: if it cannot be read as UTF-8.
        """
        if name not in self.files:
            return ""
        path = self.path / name
        try:
            return read_bounded(path, MOST_TEXT).decode("utf-8")
        except OSError as error:
            raise ModelError(f"{public_form(path)} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ModelError(f"{public_form(path)} is no text in UTF-8: save it as UTF-8") from None

    def settings(self, name: str) -> Mapping[str, Any]:
        """Settings in a JSON file of the folder; empty if there is none.

        Raises:
            ModelError: if it is no JSON.
        """
        text = self.text(name)
        try:
            values = parse_json(text, public_form(self.path / name)) if text else {}
        except SpecError as error:
            raise ModelError(str(error)) from None
        return values if isinstance(values, dict) else {}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file of weights, in hexadecimal digits."""
        with self.weights_file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


STATE_DICTS = "state_dict", "model_state_dict", "model"
"""Keys of checkpoints below which weights are."""
