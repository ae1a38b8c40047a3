"""Models of IGN's FLAIR-HUB with one image as input: an encoder, and a decoder of segmentation-models-pytorch.

Their weights are below `encoders.MODALITY.seg_model.` and `main_decoders.TASK.seg_model.`, beside those of auxiliary
decoders, of losses, and of a fusion that a single modality does not pass. Facts are those of IGN's configurations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.core.errors import ModelError, shown
from geoseg.models.families.timm_names import TIMM
from geoseg.models.layouts.cards import README, licence_of
from geoseg.models.layouts.found import Example, Found, said
from geoseg.models.layouts.smp_decoders import architecture_by_decoder
from geoseg.models.layouts.source import Source
from geoseg.spec import ImportSpec

ENCODERS, DECODERS = "encoders", "main_decoders"
"""Parts that classify."""
WRAPPER = "model."
"""Begin of all names in checkpoints."""
NETWORK = "seg_model."
"""Begin of the names within a part."""
TIMM_NETWORK = "encoder.model."
"""Begin of the names of encoders that smp takes from timm."""
WINDOWED = "relative_position_bias_table"
"""End of the names of weights of Swin transformers, whose windows depend on the size of the images."""
AREA_M = 102.4
"""Side of the training images."""
NAMED = re.compile(r"\bencoder\b[\s*_`:|]+([\w.]+)", re.IGNORECASE)
"""How README.md names the encoder."""
CREDITS = "IGN, FLAIR-HUB"


@dataclass(frozen=True)
class Modality:
    """What IGN's configurations say of an image."""

    dtype: str
    """Type of its values."""
    resolution: float
    """Metres per pixel."""
    bands: Mapping[str, tuple[float, float]]
    """Mean and standard deviation by band, in the order of the file; none where they depend on what was computed."""
    is_assumed: bool = False
    """Whether the resolution is in no file of IGN's that was read."""

    def sure(self, count: int) -> dict[str, Any]:
        """Bands and statistics of so many, where there is no choice."""
        if count != 1 or len(self.bands) != 1:
            return {}
        (name, (mean, std)) = next(iter(self.bands.items()))
        return {"bands": (name,), "mean": (mean,), "std": (std,)}

    def hints(self) -> dict[str, str]:
        """What helps where there is a choice: the weights do not say which bands they take."""
        if not self.bands:
            return {}
        listed = ", ".join(self.bands)
        means, stds = (", ".join(f"{name} {pair[place]:g}" for name, pair in self.bands.items()) for place in range(2))
        return {
            "bands": f"in the order of inputs_channels of the model's config; 1, 2, ... are {listed}: IGN's own "
            "[4, 1, 2] is [nir, red, green]",
            "mean": f"in IGN's configurations: {means}",
            "std": f"in IGN's configurations: {stds}",
        }


MODALITIES = {
    "AERIAL_RGBI": Modality(
        "uint8",
        0.2,
        {"red": (105.66, 52.23), "green": (111.35, 45.62), "blue": (102.18, 44.29), "nir": (106.59, 39.78)},
    ),
    "AERIAL-RLT_PAN": Modality("uint8", 0.4, {"panchromatic": (125.92, 38.45)}, is_assumed=True),
    "SPOT_RGBI": Modality(
        "uint16",
        1.6,
        {"red": (433.26, 312.76), "green": (508.75, 284.61), "blue": (467.77, 226.02), "nir": (1137.03, 543.11)},
        is_assumed=True,
    ),
    "DEM_ELEV": Modality("float32", 0.2, {}),
}
"""Images by the names of FLAIR-HUB."""
SERIES = "SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS"
"""Inputs of many dates, whose encoder is FLAIR-HUB's own."""
COSIA = (
    ("building", "#ce7079"), ("greenhouse", "#b9e2d4"), ("swimming pool", "#62d0ff"), ("impervious surface", "#a6aab7"),
    ("pervious surface", "#987752"), ("bare soil", "#bbb096"), ("water", "#3375a1"), ("snow", "#e9effe"),
    ("herbaceous vegetation", "#8cd76a"), ("agricultural land", "#decf55"), ("plowed land", "#d0a349"),
    ("vineyard", "#b08290"), ("deciduous", "#4c9129"), ("coniferous", "#126421"), ("brushwood", "#b5c335"),
)  # fmt: skip
"""Classes of land cover in the order of the channels. Those behind them have no weight in IGN's losses."""
CROPS = (
    ("grasses", "#92d050"), ("wheat", "#d7e600"), ("barley", "#e0e000"), ("maize", "#fff100"),
    ("other cereals", "#ffff00"), ("rice", "#e8e8e8"), ("flax, hemp and tobacco", "#dceaf7"), ("sunflower", "#d29ead"),
    ("rapeseed", "#d29ed0"), ("other oilseed crops", "#ffbe99"), ("soy", "#ffc000"), ("other protein crops", "#ff9000"),
    ("fodder legumes", "#009999"), ("beetroots", "#808000"), ("potatoes", "#a7a700"), ("other arable crops", "#89896d"),
    ("vineyard", "#f2cfee"), ("olive groves", "#6f6633"), ("fruit orchards", "#ac8141"), ("nut orchards", "#996633"),
    ("other permanent crops", "#80c1d7"), ("mixed crops", "#444444"), ("background", "#000000"),
)  # fmt: skip
"""Classes of crops in the order of the channels."""
TASKS = {"AERIAL_LABEL-COSIA": (COSIA, 19), "ALL_LABEL-LPIS": (CROPS, 23)}
"""Classes, and channels of the head, by the names of FLAIR-HUB's tasks."""


class FlairHub:
    """Reads weights and checkpoints of FLAIR-HUB."""

    title = "model of FLAIR-HUB"

    def recognises(self, source: Source) -> bool:
        """By the names of its encoders."""
        return bool(_parts(source.weights, ENCODERS) & {*MODALITIES, *SERIES})

    def read(self, source: Source) -> Found:
        """The network, and the classes of its task; bands where there is no choice of them.

        Raises:
            ModelError: if it takes several inputs or time series, has several tasks, or a decoder that geoseg lacks.
        """
        name = _only(source, ENCODERS, "takes several inputs ({}), which layers of its own join")
        if name in SERIES:
            raise ModelError(f"{source.shown} takes time series ({name}), in a network that geoseg does not have")
        task = _only(source, DECODERS, "has a decoder for each of several tasks ({}), geoseg's models have one")
        weights, others = _network(source.weights, name, task)
        bands, channels = _counts(weights)
        modality = MODALITIES[name]
        resolution = modality.resolution
        says = ImportSpec(
            architecture=architecture_by_decoder(weights, source.shown),
            encoder=_encoder(source, weights),
            arguments=_arguments(weights, round(AREA_M / resolution)),
            resolution=resolution,
            credits=CREDITS,
            licence=licence_of(source),
        )
        classes, notices = _classes(task, channels)
        more = modality.sure(bands) | {"dtype": modality.dtype} | ({"classes": classes} if classes else {})
        dropped = (f"{part} is dropped: it is no part of the network that classifies" for part in others)
        hints = modality.hints() | {"encoder": "README.md of the model may name it; geoseg's name begins with tu-"}
        if modality.is_assumed:
            notices += (f"{name} is assumed to have pixels of {resolution:g} m: give --resolution if it has others",)
        return Found(weights, said(says.said | more, source.shown), hints, (*dropped, *notices))

    def example(self, folder: Path) -> Example:
        """A folder as the Hugging Face Hub has it."""
        import segmentation_models_pytorch as smp
        from safetensors.torch import save_file

        model = smp.Unet(f"{TIMM}test_resnet", encoder_weights=None, classes=19)
        weights = {_their_name(name): tensor for name, tensor in model.state_dict().items()}
        (folder / "model").mkdir()
        save_file(weights, folder / "model" / "FLAIR-HUB_LC-A.safetensors")
        card = "---\nlicense: etalab-2.0\n---\n- **Encoders**: two\n- **Encoder:** test_resnet\n- **Decoder:** unet\n"
        (folder / "model" / README).write_text(card, "utf-8")
        says = ImportSpec(bands=("nir", "red", "green"), mean=(106.59, 105.66, 111.35), std=(39.78, 52.23, 45.62))
        return Example(folder / "model", says)


def _their_name(name: str) -> str:
    """The name of a weight of smp's in an example."""
    if name.startswith("encoder."):
        return f"{WRAPPER}{ENCODERS}.AERIAL_RGBI.{NETWORK}{name.removeprefix('encoder.')}"
    return f"{WRAPPER}{DECODERS}.AERIAL_LABEL-COSIA.{NETWORK}{name}"


def _parts(weights: Mapping[str, Tensor], kind: str) -> set[str]:
    """Names of the modalities that have encoders, or of the tasks that have decoders."""
    split = (name.removeprefix(WRAPPER).split(".", 2) for name in weights)
    return {parts[1] for parts in split if parts[0] == kind and len(parts) == 3}


def _only(source: Source, kind: str, problem: str) -> str:
    """The only part of a kind.

    Raises:
        ModelError: if there are none, or several, with the problem.
    """
    found = sorted(_parts(source.weights, kind))
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelError(
            f"{source.shown} {problem.format(shown(', '.join(found), 200, quoted=False))}: geoseg imports models of "
            "FLAIR-HUB with one image and one task"
        )
    raise ModelError(f"{source.shown} is a model of FLAIR-HUB without weights below {kind}.: copy it again")


def _network(weights: Mapping[str, Tensor], modality: str, task: str) -> tuple[dict[str, Tensor], Sequence[str]]:
    """Weights of encoder, decoder and head under smp's names, and the names of the parts that are left."""
    encoder, decoder = f"{ENCODERS}.{modality}.{NETWORK}", f"{DECODERS}.{task}.{NETWORK}"
    found, others = {}, set()
    for name, tensor in weights.items():
        inner = name.removeprefix(WRAPPER)
        if inner.startswith(encoder):
            found[f"encoder.{inner.removeprefix(encoder)}"] = tensor
        elif inner.startswith(decoder):
            found[inner.removeprefix(decoder)] = tensor
        else:
            others.add(inner.partition(".")[0])
    return found, sorted(others)


def _counts(weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Bands that the first kernels take, and channels of the head; 0 where there are none of these names."""
    kernels = next((one for name, one in weights.items() if name.startswith("encoder.") and one.ndim == 4), None)
    head = weights.get("segmentation_head.0.weight")
    return (0 if kernels is None else kernels.shape[1]), (0 if head is None else head.shape[0])


def _encoder(source: Source, weights: Mapping[str, Tensor]) -> str | None:
    """The encoder that README.md names, under geoseg's name."""
    named = NAMED.search(source.text(README))
    if named is None:
        return None
    of_timm = any(name.startswith(TIMM_NETWORK) for name in weights)
    return f"{TIMM if of_timm else ''}{named[1].removeprefix(TIMM)}"


def _arguments(weights: Mapping[str, Tensor], side: int) -> dict[str, Any] | None:
    """The arguments without which it would be another network: where attention is shifted depends on the size."""
    return {"img_size": side} if any(name.endswith(WINDOWED) for name in weights) else None


def _classes(task: str, channels: int) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Classes of a task, and the notice on channels that are cut off; none where the head is another."""
    classes, wanted = TASKS.get(task, ((), 0))
    if channels != wanted:
        return [], ()
    found = [{"name": name, "color": color, "channel": channel} for channel, (name, color) in enumerate(classes)]
    line = f"{task} has {len(classes)} classes that a model learns: the channels of its others are cut off"
    return found, (line,) if len(classes) < channels else ()


FLAIR_HUB = FlairHub()
