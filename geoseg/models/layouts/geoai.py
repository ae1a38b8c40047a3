"""Models of geoai: checkpoints of its training, and folders as it uploads them.

A checkpoint (`checkpoint_epoch_N.pth`) and a folder (model.pth, config.json) say what the network is; files of weights
alone say nothing, and are read by the layout of these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.core.errors import ModelError, shown
from geoseg.models.layouts.cards import licence_of
from geoseg.models.layouts.found import Example, Found, count_in, example_says, said, text_in
from geoseg.models.layouts.source import Source
from geoseg.models.layouts.state_dict import unwrapped

KEYS = "architecture", "encoder_name", "num_channels", "num_classes"
"""Settings that a checkpoint and a config.json have."""
WEIGHTS = "model_state_dict"
"""Key of a checkpoint's weights."""
WHOLE = "use_timm_model"
"""Setting of a network that is timm's as a whole, with no encoder and decoder of smp."""


class Geoai:
    """Reads what geoai's `train_segmentation_model` and `push_timm_model_to_hub` write."""

    title = "model of geoai"

    def recognises(self, source: Source) -> bool:
        """By the settings in config.json, or in the checkpoint."""
        return bool(_settings(source))

    def read(self, source: Source) -> Found:
        """The network; geoai scales bytes to 0..1 when it reads files, which no file of it says.

        Raises:
            ModelError: if the network is none of segmentation-models-pytorch.
        """
        from geoseg.models.layouts.smp_settings import architecture_of, network_settings

        settings = _settings(source)
        if settings.get(WHOLE):
            name = shown(settings.get("timm_model_name") or settings["encoder_name"], quoted=False)
            raise ModelError(f"{source.shown} is a network of timm as a whole ({name}), which geoseg does not have")
        bands, channels = (count_in(settings, name, source.shown) for name in KEYS[2:])
        architecture, encoder = (text_in(settings, name, source.shown) for name in KEYS[:2])
        architecture = architecture_of(architecture, source.shown)
        keywords = {"encoder_name": encoder, "classes": channels}
        weights, _ = unwrapped(source.weights)
        says = network_settings(architecture, keywords, source.shown) | {"licence": licence_of(source)}
        hints = {name: f"geoai divides values above 1 by 255: {value}" for name, value in (("mean", 0), ("std", 255))}
        return Found(weights, said(says, source.shown), hints, bands=bands, channels=channels)

    def example(self, folder: Path) -> Example:
        """A folder as `push_timm_model_to_hub` uploads it."""
        import segmentation_models_pytorch as smp
        import torch

        model = smp.create_model("linknet", "tu-test_resnet", encoder_weights=None, classes=4)
        settings = dict(zip(KEYS, ("linknet", "tu-test_resnet", 3, 4), strict=True))
        (folder / "model").mkdir()
        torch.save(model.state_dict(), folder / "model" / "model.pth")
        more = {WHOLE: False, "timm_model_name": None, "model_type": "timm_segmentation"}
        (folder / "model" / "config.json").write_text(json.dumps(settings | more), "utf-8")
        return Example(folder / "model", example_says())


def _settings(source: Source) -> Mapping[str, Any]:
    """The settings of geoai; empty if there are none."""
    config = source.settings("config.json")
    if all(key in config for key in KEYS):
        return config
    if config:
        return {}
    return source.checkpoint(WEIGHTS, *KEYS) or {}


GEOAI = Geoai()
