"""Where the weights of an encoder lie: a file, a folder as timm saves it on the Hub, or an address of either.

In: the setting `encoder_weights`. Out: a path, whose content is read elsewhere, as tensors alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.core.errors import ModelError, SpecError, shown
from geoseg.core.regular_files import read_bounded
from geoseg.models.downloads import Download, fetch_folder, is_address
from geoseg.models.families.timm_names import TIMM
from geoseg.spec import NetworkSpec, parse_json
from geoseg.spec.train import WEIGHT_FILES, is_path_of_weights

CONFIG = "config.json"
"""File in which timm names the encoder."""
MOST_CONFIG = 2**20
"""Bytes of the largest such file that is read."""


def download_weights(weights: str) -> Download | None:
    """The download of weights that are named by an address, and the address of that very version; None for others.

    Raises:
        ModelError: if there are none, or they cannot be downloaded.
        OutputError: if the cache cannot be written.
    """
    return fetch_folder(weights, WEIGHT_FILES) if is_address(weights) else None


def find_weights(weights: str, network: NetworkSpec) -> Path | None:
    """The file of weights that a path or an address names; None for a tag.

    Raises:
        ModelError: if there is none, several, or a folder names another encoder than the network has.
        OutputError: if a download cannot be written.
    """
    download = download_weights(weights)
    if download is None and not is_path_of_weights(weights):
        return None
    path = Path(weights) if download is None else download.path
    if not path.is_dir():
        return path
    what = weights if download is not None else str(path)
    _check_encoder(_config(path, what), network, what)
    return _file_in(path, what)


def licence_of_folder(weights: str) -> str | None:
    """The licence that timm's config.json names; None where there is none."""
    download = download_weights(weights)
    path = Path(weights) if download is None else download.path
    settings = _config(path, weights).get("pretrained_cfg") if path.is_dir() else None
    licence = settings.get("license") if isinstance(settings, dict) else None
    return licence if isinstance(licence, str) else None


def _file_in(folder: Path, what: str) -> Path:
    """The file of weights in a folder: that of the first ending of which there is one.

    Raises:
        ModelError: if there is none, or several of one ending.
    """
    for ending in WEIGHT_FILES:
        found = sorted(one for one in folder.iterdir() if one.suffix.lower() == ending and one.is_file())
        if len(found) > 1:
            raise ModelError(f"{what} holds {len(found)} files {ending}: name one of them, e.g. {found[0].name}")
        if found:
            return found[0]
    raise ModelError(f"{what} holds no weights ({', '.join(WEIGHT_FILES)}): give a folder as timm saves it, or a file")


def _config(folder: Path, what: str) -> Mapping[str, Any]:
    """What timm says of an encoder; empty if the folder has no such file.

    Raises:
        ModelError: if it cannot be read.
    """
    path = folder / CONFIG
    if not path.is_file():
        return {}
    try:
        found = parse_json(read_bounded(path, MOST_CONFIG).decode("utf-8"), f"{what}: {CONFIG}")
    except (OSError, UnicodeDecodeError):
        raise ModelError(f"{what}: {CONFIG} cannot be read as text in UTF-8: save it as UTF-8") from None
    except SpecError as error:
        raise ModelError(str(error)) from None
    return found if isinstance(found, dict) else {}


def _check_encoder(config: Mapping[str, Any], network: NetworkSpec, what: str) -> None:
    """Refuse another encoder of timm than the network has; those of smp have other names.

    Raises:
        ModelError: with both.
    """
    name = config.get("architecture")
    own = network.encoder.removeprefix(TIMM).partition(".")[0]
    if isinstance(name, str) and network.encoder.startswith(TIMM) and name != own:
        named = shown(name, quoted=False)
        raise ModelError(
            f"{what} holds timm's {named}, but the network's encoder is {network.encoder}: give encoder: "
            f"{TIMM}{named}, or weights of {own}"
        )
