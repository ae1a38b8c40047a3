"""Where the pretrained weights of smp's and timm's encoders are, and whether that place can be reached.

In: an encoder, and the tag of its weights. Out: a URL or a repository. Downloads nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from urllib.request import Request, urlopen

import segmentation_models_pytorch as smp
import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from torch import nn

from geoseg.core.errors import ModelError
from geoseg.core.files import one_line
from geoseg.models.families.timm_names import TIMM
from geoseg.models.families.vit_encoder import TimmModel

WEIGHTS_NAME = "model.safetensors"
"""Name of the weights in a repository of Hugging Face."""
PATIENCE_S = 5.0
"""Timeout in seconds of the request that checks the connection to Hugging Face before a download."""


@dataclass(frozen=True)
class Source:
    """Where the pretrained weights of an encoder are."""

    encoder: str
    """smp's name of the encoder, with timm's tag if the weights have one."""
    tag: str
    """Name of the weights."""
    repo: str | None = None
    """Repository of Hugging Face."""
    revision: str | None = None
    """Its commit; None means the newest."""
    url: str | None = None
    """Address of the file, where there is no repository."""

    @property
    def place(self) -> str:
        """Where to download the file by hand."""
        return f"{WEIGHTS_NAME} from https://huggingface.co/{self.repo}" if self.repo else str(self.url)


def find_source(encoder: nn.Module, name: str, tag: str) -> Source:
    """The source of the weights with a tag.

    Raises:
        ModelError: if the encoder has no weights of that name.
    """
    sources = _of_timm(str(encoder.name)) if is_timm(encoder) else _of_smp(name)
    if not sources:
        raise ModelError(f"there are no pretrained weights of {name}: leave out encoder_weights or give a file")
    if tag not in sources:
        raise ModelError(f"{name} has no weights {tag!r}: choose one of {', '.join(sources)}, or give a file")
    return sources[tag]


def is_timm(encoder: nn.Module) -> bool:
    """Whether an encoder wraps a model of timm; some of smp's do without `tu-` in their name."""
    return isinstance(encoder, (smp.encoders.TimmUniversalEncoder, smp.encoders.TimmViTEncoder, TimmModel))


def check_connection(source: Source) -> None:
    """Fail within seconds where there is no connection: smp and timm would retry for 20 to 50 seconds."""
    if source.repo is None or _is_cached(source):
        return
    with suppress(HfHubHTTPError):  # a server answers: smp and timm try other file names too
        get_hf_file_metadata(hf_hub_url(source.repo, WEIGHTS_NAME, revision=source.revision), timeout=PATIENCE_S)


def reach(source: Source) -> str:
    """Check that weights are in the cache, or can be downloaded; return where they are.

    Raises:
        ModelError: if there is no connection, or the place has no such file.
    """
    try:
        if source.repo is None:
            with urlopen(Request(str(source.url), method="HEAD"), timeout=PATIENCE_S):
                return str(source.url)
        place = f"https://huggingface.co/{source.repo}"
        if _is_cached(source):
            return f"the cache, from {place}"
        get_hf_file_metadata(hf_hub_url(source.repo, WEIGHTS_NAME, revision=source.revision), timeout=PATIENCE_S)
    except Exception as error:  # huggingface_hub has changed its HTTP client twice, and its errors with it
        raise ModelError(
            f"cannot reach the weights {source.tag} of {source.encoder}: {one_line(error)}: on a connected machine "
            f"download {source.place}, copy it here, and give its path as encoder_weights"
        ) from error
    return place


def _is_cached(source: Source) -> bool:
    return isinstance(try_to_load_from_cache(str(source.repo), WEIGHTS_NAME, revision=source.revision), str)


def _of_smp(name: str) -> dict[str, Source]:
    settings: dict[str, dict[str, str]] = smp.encoders.encoders[name]["pretrained_settings"] or {}
    return {
        tag: Source(name, tag, where.get("repo_id"), where.get("revision"), where.get("url"))
        for tag, where in settings.items()
    }


def _of_timm(name: str) -> dict[str, Source]:
    """timm's weights by tag; imagenet means the tag in the encoder's name, else timm's default."""
    architecture = name.split(".")[0]
    names = [known for known in timm.list_pretrained(f"{architecture}*") if known.split(".")[0] == architecture]
    tagged = {known.partition(".")[2]: _timm_source(known, known.partition(".")[2]) for known in names}
    return {"imagenet": _timm_source(name, "imagenet"), **tagged} if names else {}


def _timm_source(name: str, tag: str) -> Source:
    settings = timm.get_pretrained_cfg(name)
    assert settings is not None  # the network was built with that name
    url = settings.url if isinstance(settings.url, str) else None
    return Source(f"{TIMM}{name}", tag, settings.hf_hub_id, None, url)
