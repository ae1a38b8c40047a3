"""The text of a training config that `geoseg init` writes: settings with comments on what was found.

In: what was found. Out: a YAML file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoseg.commands.found_bands import FoundImages
from geoseg.commands.found_classes import FoundClasses
from geoseg.commands.start_model import StartModel
from geoseg.core.files import draft_of
from geoseg.core.version import __version__
from geoseg.core.wording import number_of

MULTIPLE = 32
"""Sides of windows are multiples of this many pixels, as the network needs."""
BATCH = 8
STEPS = (320, 2000)
"""Fewest and most steps of the optimizer."""
EPOCHS = 40


@dataclass(frozen=True)
class Split:
    """A way to split the data."""

    by: str
    """As `data.split.by`."""
    reason: str
    """A sentence for the config."""
    block_px: int | None = None
    """Side of blocks in pixels, by blocks."""


@dataclass(frozen=True)
class ConfigText:
    """What a config says."""

    name: str
    """Name of the model."""
    data: dict[str, Any]
    """The settings that name images and labels."""
    images: FoundImages
    """Bands, type and sizes."""
    classes: FoundClasses
    """Classes and what label values stand for."""
    split: Split = field(default_factory=lambda: Split("none", ""))
    """How the data are split."""
    start: StartModel | None = None
    """The model from which training goes on."""

    @property
    def window(self) -> int:
        """Side of a training window: 256 px, or what fits; less for polygons one by one, and for many bands."""
        fitting = max(MULTIPLE, self.images.sides[0] // MULTIPLE * MULTIPLE)
        return min(128 if self.split.by == "polygons" or self.images.are_axes else 256, fitting)

    @property
    def windows_per_epoch(self) -> int:
        """Windows per epoch: as many as cover the labels twice, in whole batches, within bounds."""
        labelled = self.images.pixels
        if self.classes.are_polygons and self.classes.outside is None:
            labelled = min(labelled, sum(self.classes.amounts.values()) * self.window**2 // 4)
        steps = 2 * labelled / self.window**2 / BATCH
        low, high = (bound // EPOCHS for bound in STEPS)
        return BATCH * min(max(math.ceil(steps), low), high)

    @property
    def is_uneven(self) -> bool:
        """Whether some class has twenty times what another has."""
        amounts = self.classes.amounts.values()
        return max(amounts) > 20 * max(1, min(amounts))


def write_config(text: ConfigText, path: Path) -> None:
    """Write a config, atomically.

    Raises:
        OutputError: if it cannot be written.
    """
    with draft_of(path) as draft:
        draft.write_text("\n".join(_lines(text, path)) + "\n", "utf-8")


def _lines(text: ConfigText, path: Path) -> Iterator[str]:
    yield f"# Written by geoseg {__version__} init. All settings: docs/config.md of geoseg. It trains as it is:"
    yield f"#   geoseg train {path.name} -o runs/{text.name}"
    yield f"name: {_quoted(text.name)}"
    yield ""
    yield from _data(text)
    yield ""
    yield from _classes(text)
    yield ""
    yield from _training(text)
    yield ""
    yield from _card()


def _data(text: ConfigText) -> Iterator[str]:
    images, classes = text.images, text.classes
    yield "data:  # paths are relative to this file"
    for key, value in text.data.items():
        if isinstance(value, list):
            yield f"  {key}:"
            for item in value:
                yield from _scene(item)
        else:
            yield f"  {key}: {_quoted(value)}"
    yield f"  bands: {_flow(list(images.bands))}"
    if images.band_indexes is not None:
        yield f"  band_indexes: {_flow(list(images.band_indexes))}  # where they stand in the files"
    yield f"  dtype: {images.dtype}"
    if images.nodata is not None:
        yield f"  nodata: {images.nodata:g}  # fills the images from their frame inwards"
    if images.resolution_m is None:
        yield "  # resolution_m: 0.5  # the images do not say how large a pixel is on the ground: say it if you know"
    if classes.layer is not None and classes.column is not None:
        yield f"  label_column: {_quoted(classes.column)}"
    if classes.outside is not None:
        yield f"  outside: {_quoted(classes.outside)}  # class of what lies outside of the polygons"
        yield "  # extent: mapped.gpkg  # where the polygons are complete, if that is not everywhere"
    elif classes.are_polygons:
        yield "  # What lies outside of the polygons is not learnt from. If it is a class of its own, as of kinds of"
        yield "  # buildings, add it to the classes and name it here: outside: background"
    if classes.label_values:
        yield "  label_values:  # value in the label files -> class, or ignore"
        yield from (f"    {_key(key)}: {_quoted(value)}" for key, value in classes.label_values.items())
    yield from _split(text.split)


def _scene(scene: dict[str, Any]) -> Iterator[str]:
    """An image with its labels: on a line, or on several if there is a file for each band."""
    bands = scene["image"]
    if not isinstance(bands, dict):
        yield f"    - {_flow(scene)}"
        return
    yield "    - image:"
    yield from (f"        {name}: {_quoted(path)}" for name, path in bands.items())
    yield from (f"      {key}: {_quoted(value)}" for key, value in scene.items() if key != "image")


def _split(split: Split) -> Iterator[str]:
    yield "  split:"
    yield f"    by: {split.by}  # {split.reason}"
    if split.block_px is not None:
        yield f"    block_px: {split.block_px}"
    if split.by not in ("column", "none"):
        yield "    val_share: 0.2  # for validation"
        yield "    # test_share: 0.1  # for a test of the finished model on labels that chose nothing; drawn first"
        yield "    # folds: 5  # instead: five models, each scored on a fifth of the labels, and one trained on all"
    if split.by != "none":
        yield "  # For a final model from all labels, without scores: split: {by: none}"


def _classes(text: ConfigText) -> Iterator[str]:
    yield "classes:  # id in the class raster; names and colours are yours to change"
    for c in text.classes.classes:
        count = text.classes.amounts.get(c.name, 0)
        amount = number_of(count, "polygon") if text.classes.are_polygons else f"{count:,} px"
        amount = "what lies outside of the polygons" if c.name == text.classes.outside else amount
        code = "" if c.code is None else f"code: {c.code}, "  # value in the labels
        yield f"  - {{id: {c.id}, {code}name: {_quoted(c.name)}, color: {_quoted(c.color)}}}  # {amount}"


def _training(text: ConfigText) -> Iterator[str]:
    window = text.window
    if text.start is not None:
        yield from _known_network(text.start)
    else:
        yield from _network_of_axes() if text.images.are_axes else _new_network()
    yield ""
    yield f"window: {window}  # side of a training window, in pixels"
    yield f"batch_size: {BATCH}"
    yield f"epochs: {EPOCHS}"
    yield f"windows_per_epoch: {text.windows_per_epoch}  # for {text.images.pixels / 1e6:,.2f} Mpx of images"
    yield "ema: 0.98" if text.windows_per_epoch // BATCH * EPOCHS < 1000 else "ema: 0.99"
    if text.is_uneven:
        yield "loss: {cross_entropy: 1.0, dice: 1.0, class_weights: sqrt_inverse}  # some classes are rare"


def _new_network() -> Iterator[str]:
    yield "network:"
    yield "  architecture: unet"
    yield "  encoder: resnet18  # others of segmentation-models-pytorch and timm: resnet34, tu-convnext_atto, ..."
    yield "# encoder_weights: imagenet  # pretrained weights are worth it with few labels; fetched once"


def _network_of_axes() -> Iterator[str]:
    yield "network:"
    yield "  architecture: pointwise  # a linear classifier of each pixel: the embedding has seen what is around it"
    yield "# architecture: unet, encoder: resnet18 sees the neighbours, too, and needs more labels"


def _known_network(start: StartModel) -> Iterator[str]:
    yield f"init_from: {_quoted(start.written)}  # the model from which training goes on; this is its network:"
    yield "network:"
    yield from (f"  {name}: {_flow(value)}" for name, value in start.network.items())
    rates = "learning_rate: 0.001" + (", encoder_rate: 0.3" if start.spec.network.encoder else "")
    yield f"optimizer: {{{rates}}}  # low rates keep what it knows"


def _card() -> Iterator[str]:
    yield "card:  # who considers using the model reads this"
    yield '  description: ""  # classes and kind of imagery, in a sentence'
    yield '  data: ""  # where images and labels are from'
    yield '  limits: ""'


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(one) for one in value) + "]"
    return _quoted(value)


def _key(value: int | str) -> str:
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(value: Any) -> str:
    """A value as YAML; texts in quotes, which JSON's are for YAML."""
    return json.dumps(value, ensure_ascii=False)
