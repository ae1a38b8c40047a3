"""`geoseg import`: another tool's model as a bundle.

In: its files, and what they leave open. Out: a bundle with the same weights, whose card names the source. What is still
open is asked for, all at once; nothing is guessed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from torch import Tensor

from geoseg.commands.bundle_path import check_bundle_path
from geoseg.commands.import_classes import FittedHead, fit_head, read_classes
from geoseg.commands.import_draft import Draft, write_draft
from geoseg.core.errors import ModelError, OutputError, SpecError, shown
from geoseg.core.events import SILENT, NoticeLog, Reporter
from geoseg.core.redaction import public_form
from geoseg.core.version import __version__
from geoseg.core.wording import number_of
from geoseg.models.build import build_network
from geoseg.models.bundle import save_model
from geoseg.models.downloads import address_line
from geoseg.models.families import FAMILIES
from geoseg.models.families.building import family_of
from geoseg.models.families.licences import forbids_commerce, non_commercial
from geoseg.models.layouts import layout_of
from geoseg.models.layouts.found import Found
from geoseg.models.layouts.head import Counts, counts_of
from geoseg.models.layouts.smp_decoders import with_names_of_today
from geoseg.models.layouts.source import Source
from geoseg.models.meta_network import build_meta_network
from geoseg.models.weights.matching import check_numbers, kinds_of, misfit
from geoseg.spec import ImportSpec, ModelCard, ModelSpec, NetworkSpec, load_yaml, parse_spec
from geoseg.spec.settings import ImportSettings

__all__ = ["ImportResult", "import_model"]

NEEDED = "bands", "dtype", "mean", "std", "classes", "resolution"
"""Fields without which weights mean nothing, besides those of the network."""
OPTIONS = {name: f"--{name}" for name in ("architecture", "encoder", *NEEDED)}
"""Options that give a field."""
TEXTS = "purpose", "data", "credits", "licence", "limits"
"""Fields that are those of the card."""
SETTINGS = "architecture", "encoder", "arguments", "bands", "dtype", "mean", "std", "classes", "resolution"
"""Fields that decide pixels: a word is said where what the files say is replaced."""


@dataclass(frozen=True)
class ImportResult:
    """The result of `import_model`."""

    bundle: Path
    """The model file."""
    name: str
    """Name of the model."""
    source: str
    """Name of the source; of a download the address of that very version."""
    layout: str
    """What it was, e.g. "checkpoint of TorchGeo"."""
    network: str
    """Architecture and encoder."""
    bands: tuple[str, ...]
    """Names of the bands in the order in which the network takes them."""
    classes: tuple[str, ...]
    """Names of the classes."""
    licence: str
    """Licence of the weights; empty if it is unknown."""
    notices: tuple[str, ...]
    """What was dropped, decided or not run: a sentence each."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"bundle": str(self.bundle)}


def import_model(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    spec: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[ImportSettings],
) -> ImportResult:
    """Write another tool's model as a bundle.

    The layout is recognised by what is in it. Weights are read by safetensors, or as tensors alone from pickled files:
    no code is run. What the files leave open is taken from `settings`, else from the file `spec`; if something is still
    open, a draft of such a file is written beside the output.

    Args:
        source: a file of weights, a checkpoint, a folder with one, or an address (`hf://OWNER/NAME`, `https://...`).
        output: path of the bundle, NAME.safetensors; NAME becomes the model's name.
        spec: YAML with fields of ImportSpec.
        overwrite: replace a bundle that exists.
        reporter: gets notices.
        settings: fields of ImportSpec, over what the spec and the source say.

    Raises:
        ModelError: if the source is of no known layout, cannot be read without running code, or its weights don't fit.
        SpecError: if a setting makes no sense, or something is left open: all that is missing is named.
        OutputError: if the bundle exists or cannot be written.
    """
    path, log = Path(output), NoticeLog(reporter)
    check_bundle_path(path, overwrite=overwrite)
    given = _given(spec, settings)
    opened = Source.at(source)
    _check_not_source(path, opened)
    if opened.address:
        reporter.notice(address_line("source", opened.address))
    _, layout = layout_of(opened)
    found = layout.read(opened)
    weights = with_names_of_today(found.weights)
    for line in (*_taken_file(opened), *found.notices):
        log.notice(line)
    says = _joined(found.says, given, log)
    network = _network(says)
    counts = None if network is None else counts_of(network, weights)
    _check_said(found, counts, opened.shown)
    _check_complete(Draft(opened.shown, layout.title, says, _missing(says), found.hints, counts), path, spec)
    assert network is not None  # it is complete
    assert counts is not None
    _check_bands(says, counts)
    head = fit_head(says.listed_classes, weights, counts)
    for line in head.notices:
        log.notice(line)
    _notice_licence(says, network, log)
    made = _model_spec(path.stem, says, network, head)
    card = _card(says, opened, layout.title, log.lines)
    _save(head.weights, made.model_copy(update={"card": card}), path, opened.shown)
    return ImportResult(
        bundle=path,
        name=made.name,
        source=opened.name,
        layout=layout.title,
        network=f"{network.architecture} {network.encoder}".strip(),
        bands=made.bands,
        classes=tuple(c.name for c in made.classes),
        licence=card.licence,
        notices=tuple(log.lines),
    )


# ------------------------------------------------------------------------------------------------------ what is known


def _given(spec: str | os.PathLike[str] | None, settings: Mapping[str, Any]) -> ImportSpec:
    """What the user says: settings over the file.

    Raises:
        SpecError: if one makes no sense.
    """
    written = {} if spec is None else load_yaml(Path(spec))
    if isinstance(written.get("classes"), str):
        written["classes"] = [written["classes"]]
    source = "settings" if spec is None else f"{public_form(spec)} and settings"
    values = written | {name: value for name, value in settings.items() if value is not None}
    if values.get("classes") is not None:
        values["classes"] = read_classes(values["classes"])
    return parse_spec(ImportSpec, values, source=source)


def _check_not_source(path: Path, source: Source) -> None:
    """Refuse to replace the weights that are imported.

    Raises:
        OutputError: if the output is the file of weights.
    """
    if path.exists() and path.samefile(source.weights_file):
        raise OutputError(f"{public_form(path)} is the model that is imported: choose another --output")


def _taken_file(source: Source) -> tuple[str, ...]:
    """The notice on which of several files is taken."""
    others = [name for name in source.weight_files if name != source.weights_file.name]
    return (f"weights of {source.weights_file.name}, not of {', '.join(others)} beside it",) if others else ()


def _joined(found: ImportSpec, given: ImportSpec, log: Reporter) -> ImportSpec:
    """What is known in all: what the user says over what the files say, with a notice where they differ."""
    for name in SETTINGS:
        old, new = getattr(found, name), getattr(given, name)
        if old is not None and new is not None and old != new:
            log.notice(f"{name} as given, not as the source says ({shown(_plain(old), 200, quoted=False)})")
    return found.model_copy(update=given.said)


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(getattr(one, "name", None) or str(one) for one in value)
    return str(value)


def _network(says: ImportSpec) -> NetworkSpec | None:
    """The network; None while it is unknown.

    Raises:
        ModelError: if there is no such network.
        SpecError: if its arguments make no sense.
    """
    if says.architecture is None or _missing_encoder(says):
        return None
    values = {
        "architecture": says.architecture.lower(),
        "encoder": says.encoder or "",
        "arguments": says.arguments or {},
    }
    network = parse_spec(NetworkSpec, values, source="network")
    family_of(network).check(network)
    return network


def _missing_encoder(says: ImportSpec) -> bool:
    """Whether the network takes an encoder that is not named."""
    name = str(says.architecture).lower()
    takes_any = name not in FAMILIES or FAMILIES.get(name).info(name).encoders != "none"
    return not says.encoder and takes_any


def _missing(says: ImportSpec) -> list[str]:
    of_network = ["architecture"] if says.architecture is None else []
    of_network += ["encoder"] if says.architecture is not None and _missing_encoder(says) else []
    of_network += ["encoder"] if says.architecture is None and not says.encoder else []
    return [*of_network, *(name for name in NEEDED if getattr(says, name) is None)]


def _check_complete(draft: Draft, output: Path, spec: str | os.PathLike[str] | None) -> None:
    """Refuse to go on while something is missing; write a draft in which it can be filled in.

    Raises:
        SpecError: naming all that is missing.
    """
    if not draft.missing:
        return
    path = output.with_suffix(".yaml")
    is_new = not path.exists()
    if is_new:
        write_draft(draft, path)
    there = "has what was found: fill in the rest and give" if is_new else "is there already: fill in all and give"
    names = ", ".join(f"{name}{draft.amount(name)}" for name in draft.missing)
    options = " ".join(OPTIONS[name] for name in draft.missing)
    raise SpecError(
        f"{draft.source} ({draft.layout}) does not say {names}: give {options}; or {public_form(path)} {there} --spec "
        f"{public_form(path)}"
    )


# ------------------------------------------------------------------------------------------------------- what is made


def _check_said(found: Found, counts: Counts | None, source: str) -> None:
    """Refuse settings that contradict the weights beside them: one of both is of another model.

    Raises:
        ModelError: with both.
    """
    if counts is None:
        return
    for what, said, is_ in (("bands", found.bands, counts.bands), ("classes", found.channels, counts.channels)):
        if said is not None and is_ is not None and said != is_:
            raise ModelError(
                f"{source}: its settings say {said} {what}, its weights have {is_}: one of both is of another model; "
                "give the settings that belong to them, or the file of weights alone"
            )


def _check_bands(says: ImportSpec, counts: Counts) -> None:
    """Refuse another number of bands than the weights have.

    Raises:
        ModelError: with both.
    """
    assert says.bands is not None
    if counts.bands is not None and counts.bands != len(says.bands):
        raise ModelError(
            f"the weights take {number_of(counts.bands, 'band')}, {number_of(len(says.bands), 'band')} named: name "
            "those in the order in which the network takes them"
        )


def _model_spec(name: str, says: ImportSpec, network: NetworkSpec, head: FittedHead) -> ModelSpec:
    """The spec of the bundle, without its card.

    Raises:
        SpecError: if bands and statistics don't go together.
    """
    assert says.bands is not None
    assert says.mean is not None
    assert says.std is not None
    values = {
        "name": name,
        "network": network.model_dump(),
        "bands": says.bands,
        "dtype": says.dtype,
        "normalization": {"mean": _for_each(says.mean, says.bands), "std": _for_each(says.std, says.bands)},
        "classes": [one.model_dump() for one in head.classes],
        "resolution_m": None if says.resolution == "unknown" else says.resolution,
        "tile": says.tile,
        "overlap": says.overlap,
    }
    given = {name: value for name, value in values.items() if value is not None}
    return parse_spec(ModelSpec, given, source="the model")


def _for_each(numbers: Sequence[float], bands: Sequence[str]) -> list[float]:
    """A number for each band: one alone is that of all."""
    return [*numbers] * len(bands) if len(numbers) == 1 else [*numbers]


def _notice_licence(says: ImportSpec, network: NetworkSpec, log: Reporter) -> None:
    if not says.licence:
        log.notice("nothing says under which licence the weights are: ask their makers, and give --licence")
    elif forbids_commerce(says.licence):
        log.notice(f"licence {says.licence}: for non-commercial use only, as is all that is made with the model")
    if (line := non_commercial(network, None)) is not None:
        log.notice(line)


def _card(says: ImportSpec, source: Source, layout: str, notices: Sequence[str]) -> ModelCard:
    texts = {name: getattr(says, name) for name in TEXTS if getattr(says, name) is not None}
    imported = {
        "source": source.name,
        "file": source.weights_file.name,
        "sha256": source.sha256,
        "layout": layout,
        "geoseg": __version__,
        "notices": [*notices],
    }
    return ModelCard(**texts, training={"imported": imported})


def _save(weights: Mapping[str, Tensor], spec: ModelSpec, path: Path, source: str) -> None:
    """Build the network with the weights, and write it.

    Raises:
        ModelError: if the weights don't fit.
        OutputError: if the bundle cannot be written.
    """
    outline = build_meta_network(spec)
    if (problem := misfit(outline.get_submodule("body"), kinds_of(weights))) is not None:
        what = f"{spec.network.architecture} {spec.network.encoder}".strip()
        example = shown(next(iter(weights), ""))
        raise ModelError(
            f"{source}: the weights do not fit {what}: {problem} (the first name there is {example}): give the "
            "architecture, encoder and arguments that they are of"
        )
    check_numbers(weights, source)
    module = build_network(spec, fresh=False)
    named = {f"body.{name}": tensor for name, tensor in weights.items()}
    module.load_state_dict(named, strict=False)  # what is lacking was checked: counters, and the normalisation
    save_model(module, spec, path)
