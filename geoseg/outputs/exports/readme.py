"""What goes with a model into a repository of the Hugging Face Hub: its README.md, with licence and credits."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from geoseg.core.spdx import spdx_identifier
from geoseg.spec import ModelSpec

README = "README.md"


def readme(spec: ModelSpec, files: Sequence[str], usage: Sequence[str]) -> bytes:
    """The page of a model.

    Args:
        spec: the model.
        files: names of the files of the repository.
        usage: sentences on how these are used.
    """
    card = spec.card
    head = {
        "pipeline_tag": "image-segmentation",
        "tags": ["geoseg", "remote-sensing", "land-cover", "semantic-segmentation"],
        **({"license": (spdx_identifier(card.licence) or "other").lower()} if card.licence else {}),
    }
    texts = {"Data": card.data, "Credits": card.credits, "Licence": card.licence, "Limits": card.limits}
    facts = [
        f"Bands: {', '.join(spec.bands)} ({spec.dtype})",
        f"Means of the bands: {_numbers(spec.normalization.mean)}",
        f"Standard deviations of the bands: {_numbers(spec.normalization.std)}",
        f"Resolution: {f'{spec.resolution_m:g} m' if spec.resolution_m else 'unknown'}",
        f"Classes: {', '.join(f'{i} {one.name}' for i, one in enumerate(spec.classes))}",
        f"Network: {spec.network.architecture} {spec.network.encoder}".rstrip(),
        f"Files: {', '.join(files)}",
    ]
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n",
        f"# {spec.name}\n",
        *(f"{text}\n" for text in (card.what_for, *usage) if text),
        "\n".join(f"- {fact}" for fact in facts) + "\n",
        *(f"## {title}\n\n{text}\n" for title, text in texts.items() if text),
    ]
    return "\n".join(parts).encode()


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.9g}" for value in values)
