"""`geoseg export`: a model in the form of another tool. In: a model. Out: files, perhaps in a hub, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg.core.errors import OutputError, SpecError
from geoseg.core.events import SILENT, Reporter
from geoseg.core.files import draft_of, one_line, write_errors
from geoseg.models.bundle import load_model
from geoseg.models.model import Model
from geoseg.outputs.exports import EXPORTS, FOLDER, Exported, ExportOptions, kind_of
from geoseg.outputs.exports.readme import README, readme
from geoseg.spec.base import LARGEST_TILE, SMALLEST_TILE

HUB = "hf://"
"""Beginning of the address of a repository of the Hugging Face Hub."""


@dataclass(frozen=True)
class ExportResult:
    """The result of an export."""

    model: str
    """Name of the model."""
    kind: str
    """What was written, in a few words."""
    paths: tuple[Path, ...]
    """Files written; the first is the model."""
    licence: str
    """Licence of the weights, as the model's card has it; empty if it is unknown."""
    notices: tuple[str, ...]
    """Sentences for the user."""
    pushed: str | None = None
    """Address of the commit in a hub; None if it was not wanted."""

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self) | {"paths": [str(path) for path in self.paths]}


def export_model(
    model: Model | str | os.PathLike[str] | None,
    output: str | os.PathLike[str],
    *,
    size: int | None = None,
    geoai: bool = False,
    push: str | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> ExportResult:
    """Write a model in the form of another tool, with its licence and credits.

    Args:
        model: a model's path, or a loaded model; None means the default model.
        output: what it becomes, by its suffix: .onnx, .pt2, .json (a STAC Item of the model's file); a folder that
            segmentation-models-pytorch opens, if it has none.
        size: fixed height and width of the images in pixels, as Deepness in QGIS needs it; None leaves both free.
        geoai: write geoai's side file beside an ONNX model, too.
        push: hf://OWNER/NAME: upload the files, and a page about the model, to that repository of the Hugging Face Hub.
        overwrite: replace files that exist.
        reporter: takes notices.

    Raises:
        ModelError: if the model cannot be read, or has no such form.
        OutputError: if files exist or cannot be written, or the hub refuses them.
        SpecError: if an option does not go with the form.
    """
    path = Path(output)
    kind = kind_of(path)
    options = _checked(ExportOptions(size, geoai), EXPORTS.get(kind).options, kind)
    repository = None if push is None else _repository(push)
    folder = path if kind == FOLDER else path.parent
    _check_free(path, kind, overwrite=overwrite)
    loaded = model if isinstance(model, Model) else load_model(model)
    exported = EXPORTS.get(kind).make(loaded, path, options)
    paths = _write(exported.files, folder)
    for line in exported.notices:
        reporter.notice(line)
    pushed = None if repository is None else _push(repository, _with_page(exported, loaded))
    return ExportResult(
        model=loaded.spec.name,
        kind=EXPORTS.get(kind).title,
        paths=paths,
        licence=loaded.spec.card.licence,
        notices=exported.notices,
        pushed=pushed,
    )


def _checked(options: ExportOptions, heeded: frozenset[str], kind: str) -> ExportOptions:
    """The options, if an export heeds all that were given.

    Raises:
        SpecError: if not.
    """
    idle = [name for name, value in asdict(options).items() if value and name not in heeded]
    if idle:
        raise SpecError(f"{idle[0]} changes nothing in an export to {kind}: leave it out")
    if options.size is not None and not SMALLEST_TILE <= options.size <= LARGEST_TILE:
        raise SpecError(f"size {options.size}: give {SMALLEST_TILE} to {LARGEST_TILE} pixels")
    return options


def _check_free(path: Path, kind: str, *, overwrite: bool) -> None:
    """Refuse to replace what is there, before any work is done."""
    if kind != FOLDER and path.is_dir():
        raise OutputError(f"{path} is a folder: choose another name for the file")
    is_there = any(path.iterdir()) if path.is_dir() else path.exists()
    if is_there and not overwrite:
        raise OutputError(f"{path} exists: pass --overwrite to replace it, or choose another --output")
    if kind == FOLDER and path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file: choose another folder")


def _write(files: Mapping[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Write files into a folder, each complete or not at all, the model last."""
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in reversed([*files.items()]):
        with draft_of(folder / name) as draft:
            draft.write_bytes(content)
    return tuple(folder / name for name in files)


def _with_page(exported: Exported, model: Model) -> Mapping[str, bytes]:
    """The files and a page about them."""
    return {README: readme(model.spec, list(exported.files), ()), **exported.files}


def _repository(address: str) -> str:
    """Owner and name of a repository.

    Raises:
        SpecError: if an address is none.
    """
    owner, _, name = address.removeprefix(HUB).partition("/")
    if not address.startswith(HUB) or not owner or not name or "/" in name:
        raise SpecError(f"push {address}: give {HUB}OWNER/NAME")
    return f"{owner}/{name}"


def _push(repository: str, files: Mapping[str, bytes]) -> str:
    """Upload files in one commit, into a repository that is made if it is not there; return the commit's address.

    Raises:
        OutputError: if the hub refuses them, or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    hub = HfApi()
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    try:
        hub.create_repo(repository, exist_ok=True)
        commit = hub.create_commit(repository, operations, commit_message="Model exported by geoseg")
    except Exception as error:  # the hub's errors and the network's
        raise OutputError(
            f"cannot push to {HUB}{repository}: {one_line(error)}: log in with `hf auth login` or HF_TOKEN; the files "
            "are written"
        ) from None
    return str(commit.commit_url)
