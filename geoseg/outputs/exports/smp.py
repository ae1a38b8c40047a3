"""Folders of segmentation-models-pytorch, as its `from_pretrained` opens them: config.json and model.safetensors."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml

from geoseg.core.errors import ModelError
from geoseg.models.model import Model
from geoseg.outputs.exports import Exported, ExportOptions
from geoseg.outputs.exports.local import body_of, branch_notice
from geoseg.outputs.exports.readme import README, readme
from geoseg.spec import ModelSpec
from geoseg.spec.arguments import ARCHITECTURES

CONFIG, WEIGHTS, MEANING = "config.json", "model.safetensors", "import.yaml"
USAGE = (
    "`segmentation_models_pytorch.from_pretrained(FOLDER)` gives the network without its normalisation: it takes "
    "(value - mean) / std of each band, and gives logits. geoseg pads by replication where the library pads with "
    "zeros, so that both differ near the edges of images.",
    f"`geoseg import FOLDER --spec FOLDER/{MEANING} -o MODEL.safetensors` makes a bundle of it again.",
)


class SmpFolder:
    """Writes a folder."""

    title = "folder of segmentation-models-pytorch"
    options: frozenset[str] = frozenset()

    def make(self, model: Model, path: Path, options: ExportOptions) -> Exported:
        """The weights, the library's settings, a page, and what `geoseg import` asks for.

        Raises:
            ModelError: if the network is none of the library's.
        """
        spec = model.spec.without_branch()
        if spec.network.architecture.lower() not in ARCHITECTURES:
            raise ModelError(
                f"{spec.network.architecture} is no network of segmentation-models-pytorch, which has "
                f"{', '.join(sorted(ARCHITECTURES))}: export to .onnx instead"
            )
        if spec.network.semantic_normalization:
            raise ModelError(
                "segmentation-models-pytorch has no semantic normalisation, which this network was trained with: "
                "export to .pt2 instead"
            )
        made = _saved(model, spec)
        page = readme(spec, [WEIGHTS, CONFIG, MEANING], USAGE)
        return Exported({**made, MEANING: _meaning(spec), README: page}, branch_notice(model))


def _saved(model: Model, spec: ModelSpec) -> dict[str, bytes]:
    """What the library writes."""
    import segmentation_models_pytorch as smp

    from geoseg.models.families.combinations import encoder_arguments

    network = spec.network
    same = smp.create_model(
        network.architecture,
        network.encoder,
        encoder_weights=None,
        in_channels=len(spec.bands),
        classes=len(spec.classes),
        **encoder_arguments(network.encoder) | network.arguments,
    )
    same.load_state_dict(body_of(model).state_dict())
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
        same.save_pretrained(folder)
        return {name: (Path(folder) / name).read_bytes() for name in (WEIGHTS, CONFIG)}


def _meaning(spec: ModelSpec) -> bytes:
    """What the library's files do not say, as `geoseg import --spec` reads it."""
    plain = spec.model_dump(mode="json")
    values = {
        "bands": plain["bands"],
        "dtype": spec.dtype,
        "mean": plain["normalization"]["mean"],
        "std": plain["normalization"]["std"],
        "classes": plain["classes"],
        "resolution": spec.resolution_m or "unknown",
        **({"licence": spec.card.licence} if spec.card.licence else {}),
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()


EXPORT = SmpFolder()
