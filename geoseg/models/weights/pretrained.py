"""Weights that a network starts from: an encoder's pretrained ones, or a whole bundle's.

In: a fresh network, and a tag of smp or timm, a file of encoder weights, or a geoseg bundle. The network is changed in
place. Knows nothing of training. Pickled files are read as plain tensors only, so that they cannot run code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file
from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.core.files import one_line
from geoseg.core.quiet import quiet
from geoseg.models.architectures import OVERLAY
from geoseg.models.build import SegmentationNetwork, build_network
from geoseg.models.bundle import load_model
from geoseg.models.weights.matching import check_numbers
from geoseg.spec import ModelSpec
from geoseg.spec.train import WEIGHT_FILES

WEIGHTS_NAME = "model.safetensors"
"""Name of the weights in a repository of Hugging Face."""
PATIENCE_S = 5.0
"""How long Hugging Face may take to answer before a download is tried, in seconds."""
REFINE = "refine."
"""How the names of a refinement's weights begin."""
CONTEXT = "context."
"""How the names of a context branch's weights begin."""
_MORE_BANDS, _MORE_CLASSES = 1, 2
"""By how much a network is grown, to see which sides of which weights follow its bands and which its classes."""
_PREFIXES = ("", "encoder.", "body.encoder.")
"""What stands before an encoder's names in the files of an encoder, of an smp model, of a geoseg bundle."""


@dataclass(frozen=True)
class Source:
    """Where the pretrained weights of an encoder are found."""

    encoder: str
    """smp's name of the encoder, with timm's tag if the weights have one."""
    tag: str
    """Name of the weights."""
    repo: str | None
    """Repository of Hugging Face."""
    revision: str | None
    """Its commit; None means the newest."""
    url: str | None
    """Address of the file, where there is no repository."""

    @property
    def place(self) -> str:
        """Where a person finds the file."""
        return f"{WEIGHTS_NAME} from https://huggingface.co/{self.repo}" if self.repo else str(self.url)


def load_encoder_weights(network: SegmentationNetwork, spec: ModelSpec, weights: str) -> None:
    """Give the network's encoder pretrained weights.

    A first convolution made for other bands is adapted as smp and timm do it: its kernels repeat in turn, band by band,
    scaled so that equal bands give the response that they gave before.

    Args:
        network: as `build_network(spec)` makes it.
        spec: what the network is.
        weights: imagenet, another tag of smp or timm, or a file (.safetensors, .pth, .pt) of timm's or smp's weights.

    Raises:
        ModelError: if the network has no encoder, the tag is unknown, the weights cannot be downloaded or read, or they
            are not those of this encoder.
    """
    encoder = encoder_of(network)
    if Path(weights).suffix in WEIGHT_FILES:
        found = _from_file(encoder, spec, Path(weights))
    else:
        found = _from_source(find_source(encoder, spec.network.encoder, weights), spec)
    encoder.load_state_dict(encoder.state_dict() | found)


def encoder_of(network: SegmentationNetwork) -> nn.Module:
    """The network's encoder.

    Raises:
        ModelError: if it has none.
    """
    encoder = getattr(network.body, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ModelError(
            "this network has no encoder: choose another architecture, or leave out encoder_weights, frozen_epochs and "
            "loss.auxiliary"
        )
    return encoder


def find_source(encoder: nn.Module, name: str, tag: str) -> Source:
    """Where the weights with a tag are found.

    Raises:
        ModelError: if the encoder has no weights of that name.
    """
    sources = _timm_sources(str(encoder.name)) if _is_timm(encoder) else _smp_sources(name)
    if not sources:
        raise ModelError(f"there are no pretrained weights of {name}: leave out encoder_weights or give a file")
    if tag not in sources:
        raise ModelError(f"{name} has no weights {tag!r}: choose one of {', '.join(sources)}, or give a file")
    return sources[tag]


def _smp_sources(name: str) -> dict[str, Source]:
    settings: dict[str, dict[str, str]] = smp.encoders.encoders[name]["pretrained_settings"] or {}
    return {tag: Source(name, tag, where["repo_id"], where["revision"], None) for tag, where in settings.items()}


def _timm_sources(name: str) -> dict[str, Source]:
    """timm's weights by tag; imagenet means the tag in the encoder's name, else timm's default."""
    architecture = name.split(".")[0]
    names = [known for known in timm.list_pretrained(f"{architecture}*") if known.split(".")[0] == architecture]
    tagged = {known.partition(".")[2]: _timm_source(known, known.partition(".")[2]) for known in names}
    return {"imagenet": _timm_source(name, "imagenet"), **tagged} if names else {}


def _timm_source(name: str, tag: str) -> Source:
    settings = timm.get_pretrained_cfg(name)
    assert settings is not None  # the network was built with that name
    url = settings.url if isinstance(settings.url, str) else None
    return Source(f"tu-{name}", tag, settings.hf_hub_id, None, url)


def _is_timm(encoder: nn.Module) -> bool:
    return isinstance(encoder, (smp.encoders.TimmUniversalEncoder, smp.encoders.TimmViTEncoder))


def _from_source(source: Source, spec: ModelSpec) -> dict[str, Tensor]:
    """An encoder's pretrained weights, downloaded unless they have been before."""
    try:
        _check_connection(source)
        return _pretrained(spec, source, {})
    except ModelError:
        raise
    except Exception as error:  # huggingface_hub has changed its HTTP client twice, and its errors with it
        raise ModelError(
            f"cannot download the weights {source.tag} of {source.encoder}: {one_line(error)}: on a connected machine "
            f"download {source.place}, copy it here, and give its path as encoder_weights; or leave encoder_weights out"
        ) from error


def _check_connection(source: Source) -> None:
    """Fail within seconds where there is no connection: smp and timm would retry for 20 to 50 seconds."""
    if source.repo is None or isinstance(
        try_to_load_from_cache(source.repo, WEIGHTS_NAME, revision=source.revision), str
    ):
        return
    with suppress(HfHubHTTPError):  # an answer: smp and timm, which try other file names too, will make something of it
        get_hf_file_metadata(hf_hub_url(source.repo, WEIGHTS_NAME, revision=source.revision), timeout=PATIENCE_S)


def _pretrained(spec: ModelSpec, source: Source, arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of the same encoder in a network that smp and timm have filled with pretrained ones.

    The whole network is built, because only its architecture knows how its encoder is: how deep, how dilated.
    """
    if spec.network.architecture == "dpt":  # its encoder has timm's classifier, whose size changes with the tag
        arguments = arguments | {"num_classes": 0}
    donor = spec.network.model_copy(update={"encoder": source.encoder, "arguments": spec.network.arguments | arguments})
    with quiet("timm"):
        built = build_network(spec.model_copy(update={"network": donor}), encoder_weights=source.tag)
    return dict(encoder_of(built).state_dict())


def _from_file(encoder: nn.Module, spec: ModelSpec, path: Path) -> dict[str, Tensor]:
    """An encoder's weights from a file that has the encoder's own names, or timm's."""
    given = read_weights(path)
    wanted = encoder.state_dict()
    for prefix in _PREFIXES:
        named = {name.removeprefix(prefix): tensor for name, tensor in given.items() if name.startswith(prefix)}
        if not _missing(wanted, named):
            return {name: _fitted(name, named.get(name, own), own, spec, path) for name, own in wanted.items()}
    if not _is_timm(encoder):
        raise _lacking(path, spec, _missing(wanted, given))
    return _through_timm(encoder, spec, given, path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors, .pth or .pt file; surrounding checkpoints are taken off.

    Raises:
        ModelError: if the file is missing or holds anything but tensors.
    """
    if not path.is_file():
        raise ModelError(f"no encoder weights at {path}: check the path")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception:  # unpickling raises whatever the bytes lead to
        raise ModelError(
            f"{path} cannot be read as weights: give a .safetensors file, or a .pth file that holds tensors only"
        ) from None
    for around in ("state_dict", "model"):
        content = content[around] if isinstance(content, dict) and isinstance(content.get(around), dict) else content
    weights = {name: t for name, t in content.items() if isinstance(t, Tensor)} if isinstance(content, dict) else {}
    if not weights:
        raise ModelError(f"{path} holds no weights by name: give a file with an encoder's state dict")
    check_numbers(weights, str(path))
    return weights


def _missing(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Names of the weights that are not given; counters and tables of indexes are no weights."""
    return [name for name, tensor in wanted.items() if tensor.is_floating_point() and name not in given]


def _lacking(path: Path, spec: ModelSpec, missing: Sequence[str]) -> ModelError:
    return ModelError(
        f"{path} lacks weights of {spec.network.encoder}, {missing[0]} and {len(missing) - 1} more: "
        "give that encoder's weights"
    )


def _fitted(name: str, given: Tensor, own: Tensor, spec: ModelSpec, path: Path) -> Tensor:
    """A weight for a place of its own shape, adapted if it is the first convolution's."""
    bands = len(spec.bands)
    if given.ndim == own.ndim == 4 and given.shape[1] != own.shape[1] == bands:
        given = fit_bands(given, bands)
    if given.shape != own.shape:
        raise ModelError(
            f"{path}: {name} is {tuple(given.shape)}, but {spec.network.encoder} needs {tuple(own.shape)}: "
            "give that encoder's weights"
        )
    return given


def fit_bands(kernels: Tensor, bands: int) -> Tensor:
    """Kernels (O, I, h, w) as (O, bands, h, w): in turn, scaled so that the response to equal bands stays the same.

    One band gets the sum. This is what smp and timm do when they load weights themselves.
    """
    count = kernels.shape[1]
    if bands == 1:
        return kernels.sum(dim=1, keepdim=True)
    turns = [band % count for band in range(bands)]
    return kernels[:, turns] * (count / bands)


def _through_timm(encoder: nn.Module, spec: ModelSpec, given: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Weights with timm's own names, loaded by timm: only it knows how it renames and reshapes what its files hold.

    timm passes over what it misses. So the file's values are first replaced by NaN: what is finite after that was not
    in the file.
    """
    source = Source(f"tu-{encoder.name}", "imagenet", None, None, None)
    dyed = {name: torch.full_like(t, torch.nan) if t.is_floating_point() else t for name, t in given.items()}
    try:
        traced = _pretrained(spec, source, {OVERLAY: {"state_dict": dyed}})
        found = _pretrained(spec, source, {OVERLAY: {"state_dict": dict(given)}})
    except (ModelError, IndexError, AttributeError):
        name = spec.network.encoder
        raise ModelError(f"{path} holds other weights than {name} has: give that encoder's weights") from None
    missing = _missing(traced, {name: tensor for name, tensor in traced.items() if tensor.isnan().any()})
    if missing:
        raise _lacking(path, spec, missing)
    return found


def start_from(network: SegmentationNetwork, spec: ModelSpec, bundle: Path) -> str:
    """Give a network the weights of a bundle whose bands and classes may differ, and say what was taken.

    Classes and bands are matched by name. New classes keep their random weights; new bands get the mean of the known
    ones, or of all if none is known. The normalisation stays the network's own. A context branch or a
    refinement module is taken along if both have the same, with the same bands and classes; else it starts anew.

    Args:
        network: as `build_network(spec)` makes it.
        spec: what the network is.
        bundle: a geoseg bundle of the same architecture, encoder and arguments.

    Raises:
        ModelError: if the bundle cannot be read, or holds another network.
    """
    model = load_model(bundle)
    _check_same_network(model.spec, spec, bundle)
    bands = _positions([*spec.bands], [*model.spec.bands])
    classes = _positions([c.name for c in spec.classes], [c.name for c in model.spec.classes])
    given, own = model.module.state_dict(), network.state_dict()
    for name, growth in _growths(own, spec).items():
        taken = given[name]
        if _MORE_BANDS in growth:
            taken = _take_bands(taken, growth.index(_MORE_BANDS), bands)
        own[name] = _put_classes(taken, own[name], classes) if _MORE_CLASSES in growth else taken
    if _has_same_branch(model.spec, spec):
        own |= {name: tensor for name, tensor in given.items() if name.startswith(CONTEXT)}
    if _has_same_module(model.spec, spec):
        own |= {name: tensor for name, tensor in given.items() if name.startswith(REFINE)}
    network.load_state_dict(own)
    return _account(model.spec, spec)


def _has_same_branch(given: ModelSpec, wanted: ModelSpec) -> bool:
    """Whether a branch's weights mean the same in both: its views may differ in size and margin, but not in ratio."""
    if given.context is None or wanted.context is None:
        return False
    one, other = (
        (
            [level.ratio for level in context.levels],
            context.network.model_dump(mode="json"),
            context.channels,
            spec.bands,
            [c.name for c in spec.classes],
        )
        for spec, context in ((given, given.context), (wanted, wanted.context))
    )
    return one == other


def _has_same_module(given: ModelSpec, wanted: ModelSpec) -> bool:
    """Whether a refinement module's weights mean the same in both."""
    if given.refine is None or wanted.refine is None:
        return False
    one, other = ((spec.refine.channels, [c.name for c in spec.classes]) for spec in (given, wanted) if spec.refine)
    return one == other


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


def _growths(own: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, list[int]]:
    """By how much each side of each weight grows with one more band and two more classes.

    Sizes alone would not tell: an inner layer may well have as many channels as there are bands.
    """
    more = {"bands": spec.bands + spec.bands[:_MORE_BANDS], "classes": spec.classes + spec.classes[:1] * _MORE_CLASSES}
    grown = build_network(spec.model_copy(update=more)).body.state_dict(prefix="body.")
    growths = {
        name: [more - size for more, size in zip(t.shape, own[name].shape, strict=True)] for name, t in grown.items()
    }
    if {step for growth in growths.values() for step in growth} != {0, _MORE_BANDS, _MORE_CLASSES}:
        raise ModelError(
            f"{_network_name(spec)} mixes its bands in a way that geoseg cannot follow: leave out init_from"
        )
    return growths


def _positions(names: list[str], known: list[str]) -> list[int | None]:
    """Where each name stands among the known ones."""
    return [known.index(name) if name in known else None for name in names]


def _take_bands(given: Tensor, axis: int, bands: Sequence[int | None]) -> Tensor:
    """Slices along an axis in the order of the new bands; a new band gets the mean of the ones that were taken."""
    known = [band for band in bands if band is not None] or list(range(given.shape[axis]))
    mean = given.index_select(axis, torch.tensor(known)).mean(dim=axis)
    return torch.stack([mean if band is None else given.select(axis, band) for band in bands], dim=axis)


def _put_classes(given: Tensor, own: Tensor, classes: Sequence[int | None]) -> Tensor:
    """The network's own rows (K, ...), those of known classes replaced by the given ones."""
    return torch.stack([own[row] if known is None else given[known] for row, known in enumerate(classes)])


def _account(given: ModelSpec, wanted: ModelSpec) -> str:
    known = {c.name for c in given.classes}
    new = [f"class {c.name}" for c in wanted.classes if c.name not in known]
    new += [f"band {band}" for band in wanted.bands if band not in given.bands]
    new += ["the context branch"] if wanted.context is not None and not _has_same_branch(given, wanted) else []
    new += ["the refinement module"] if wanted.refine is not None and not _has_same_module(given, wanted) else []
    return f"all weights of {given.name}" + (f"; new: {', '.join(new)}" if new else "")
