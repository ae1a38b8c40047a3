"""Files of models on the Hugging Face Hub, in the Hub's own cache.

In: OWNER/NAME[@REVISION][/FILE]. Out: paths in a snapshot of one commit. `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and
`HF_HUB_OFFLINE` hold as they do for the Hub's library.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from geoseg.core.errors import ModelError, OutputError
from geoseg.core.files import one_line
from geoseg.models.backends import BACKENDS
from geoseg.models.downloads.download import Download, check_digest, sha256_of

SCHEME = "hf://"
_REPOSITORY = re.compile(r"([\w.-]+)/([\w.-]+)(?:@([^/\s]+))?(?:/+(.*?))?/*", re.ASCII)
ONNX = ".onnx"
"""Ending of models that may need other files beside them."""
_TEXTS = ".json", ".yaml", ".yml", ".md", ".txt", ".csv"
"""Endings of files that may describe weights."""
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors of a cache that cannot be written, unlike those of a connection."""
_PATIENCE_S = 10.0
"""Longest silence of the Hub before a file is taken from the cache."""


@dataclass(frozen=True)
class Repository:
    """A repository at a revision, and perhaps one of its files."""

    name: str
    """Owner and name."""
    revision: str
    """Branch, tag or commit."""
    file: str
    """Path of the file; empty for the repository."""

    @property
    def shown(self) -> str:
        """Its address."""
        return f"{SCHEME}{self.name}@{self.revision}{'/' if self.file else ''}{self.file}"


def fetch_file(place: str) -> Download:
    """A file of a repository: the one that is named, else its bundle, else its one file of another kind of models.

    Raises:
        ModelError: if there is none or several, it cannot be downloaded, or its content is not what the Hub says.
        OutputError: if the cache cannot be written.
    """
    repository = _parse(place)
    opened = ".safetensors", *(ending for ending in BACKENDS if ending != ".safetensors")
    file = repository.file or _only(_names(repository), opened, repository)
    found = _download(repository, file)
    if file.endswith(ONNX):
        _fetch_beside(file, found, repository)
    return found


def fetch_folder(place: str, endings: Sequence[str]) -> Download:
    """The folder of a repository with its texts and one file of weights; the file alone if one is named.

    Raises:
        ModelError, OutputError: as `fetch_file`.
    """
    repository = _parse(place)
    if repository.file:
        return _download(repository, repository.file)
    names = _names(repository)
    wanted = [name for name in names if name.lower().endswith(_TEXTS)]
    weights = _download(repository, _only(names, endings, repository))
    folder = weights.path.parent
    _check_one_commit([_download(repository, name) for name in wanted], folder, repository)
    return Download(folder, f"{SCHEME}{repository.name}@{folder.name}")


def _fetch_beside(file: str, found: Download, repository: Repository) -> None:
    """Download what belongs to an ONNX file in its folder: its weights, and what it is."""
    text = f"{file.removesuffix(ONNX)}.json"
    named = [name for name in _all_names(repository) if name != file and (name.startswith(file) or name == text)]
    _check_one_commit([_download(repository, name) for name in named], found.path.parent, repository)


def _check_one_commit(files: Sequence[Download], folder: Path, repository: Repository) -> None:
    """Check that files are of one commit, as their folder is.

    Raises:
        ModelError: if not.
    """
    if any(one.path.parent != folder for one in files):
        raise ModelError(f"{repository.shown} changed while it was downloaded: try again")


def _parse(place: str) -> Repository:
    """Read OWNER/NAME[@REVISION][/FILE].

    Raises:
        ModelError: if it is something else.
    """
    found = _REPOSITORY.fullmatch(place)
    if found is None or ".." in (found[4] or "").split("/"):
        raise ModelError(f"{SCHEME}{place} is no address of a model: give {SCHEME}OWNER/NAME[@REVISION][/FILE]")
    return Repository(f"{found[1]}/{found[2]}", unquote(found[3] or "main"), found[4] or "")


def _only(names: Sequence[str], endings: Sequence[str], repository: Repository) -> str:
    """The file with the first of some endings that is there.

    Raises:
        ModelError: if there is none, or several.
    """
    for ending in endings:
        found = [name for name in names if name.lower().endswith(ending)]
        if len(found) > 1:
            raise ModelError(f"{repository.shown} has {len(found)} files {ending}: name one, e.g. .../{found[0]}")
        if found:
            return found[0]
    raise ModelError(f"{repository.shown} has no file {' or '.join(endings)}: name a file of it, {SCHEME}.../FILE")


def _names(repository: Repository) -> list[str]:
    """Names of the files at the top of a repository.

    Raises:
        ModelError: as `_all_names`.
    """
    return [name for name in _all_names(repository) if "/" not in name]


def _all_names(repository: Repository) -> list[str]:
    """Names of the files of a repository, with their folders; without a connection those in the cache.

    Raises:
        ModelError: if the repository is not there, or neither the Hub nor the cache has it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        found = HfApi().model_info(repository.name, revision=repository.revision, timeout=_PATIENCE_S)
        names = [one.rfilename for one in found.siblings or ()]
    except HfHubHTTPError as error:
        raise _failure(repository.shown, error) from None
    except Exception as error:  # huggingface_hub has changed its HTTP client twice, and its errors with it
        names = _cached_names(repository)
        if not names:
            raise _failure(repository.shown, error) from None
    return sorted(names)


def _cached_names(repository: Repository) -> list[str]:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository.name, repo_type="model")
    named = folder / "refs" / repository.revision
    commit = named.read_text() if named.is_file() else repository.revision
    snapshot = folder / "snapshots" / commit
    return [one.relative_to(snapshot).as_posix() for one in snapshot.rglob("*") if one.is_file()]


def _download(repository: Repository, file: str) -> Download:
    """A file in the cache, which is checked when it is new there; without a connection the one that is there.

    Raises:
        ModelError: if it cannot be downloaded, or its content is not what the Hub says.
        OutputError: if the cache cannot be written.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    shown = f"{SCHEME}{repository.name}@{repository.revision}/{file}"
    before = try_to_load_from_cache(repository.name, file, revision=repository.revision)
    try:
        url = hf_hub_url(repository.name, file, revision=repository.revision)
        digest = get_hf_file_metadata(url, timeout=_PATIENCE_S).etag or ""
        path = Path(hf_hub_download(repository.name, file, revision=repository.revision))
        if str(path) != before:
            _check(path, digest, shown)
    except (HfHubHTTPError, ModelError) as error:
        raise _failure(shown, error) from None
    except Exception as error:  # huggingface_hub has changed its HTTP client twice, and its errors with it
        if getattr(error, "errno", None) in _OF_THE_DISK:
            raise OutputError(
                f"cannot write {shown} into the cache, {constants.HF_HUB_CACHE}: {one_line(error)}: check the free "
                "space and the permissions, or set HF_HOME to another folder"
            ) from None
        if not isinstance(before, str):
            raise _failure(shown, error) from None
        path = Path(before)
    commit = path.parents[file.count("/")].name
    return Download(path, f"{SCHEME}{repository.name}@{commit}/{file}")


def _check(path: Path, wanted: str, shown: str) -> None:
    """Compare a new file with the digest that the Hub names; remove it if it differs.

    Raises:
        ModelError: if it differs.
    """
    try:
        if re.fullmatch(r"[0-9a-f]{64}", wanted):
            check_digest(sha256_of(path), wanted, shown)
        elif re.fullmatch(r"[0-9a-f]{40}", wanted):
            check_digest(_git_digest(path), wanted, shown)
    except ModelError:
        content = path.resolve()
        path.unlink()
        content.unlink(missing_ok=True)
        raise


def _git_digest(path: Path) -> str:
    """The name that git has for a content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _failure(shown: str, error: Exception) -> ModelError:
    """The error of a failed request, with what to do."""
    from huggingface_hub import errors

    if isinstance(error, ModelError):
        return error
    if isinstance(error, errors.GatedRepoError):
        return ModelError(f"{shown} is given to those who asked for it: ask on its page, and log in: hf auth login")
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return ModelError(
            f"cannot reach the Hub for {shown}, and it is not in the cache: check the connection and HF_HUB_OFFLINE, "
            "or copy the file here and give its path"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelError(f"no {shown} on the Hub: check owner and name; a private one needs a login: hf auth login")
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelError(f"no {shown} on the Hub: check the revision, a branch, tag or commit")
    if isinstance(error, errors.EntryNotFoundError):
        return ModelError(f"no {shown} on the Hub: check the name of the file")
    return ModelError(
        f"cannot download {shown}: {one_line(error)}: check the connection, or copy the file here and give its path"
    )
