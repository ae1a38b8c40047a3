"""Folders of segmentation-models-pytorch's `save_pretrained`: config.json, model.safetensors and a README.md."""

from __future__ import annotations

from pathlib import Path

from geoseg.models.layouts.cards import licence_of
from geoseg.models.layouts.found import Example, Found, count_in, example_says, said, text_in, without
from geoseg.models.layouts.source import Source

KIND = "_model_class"
"""Key of config.json that names the class."""
BY_DEFAULT = "mit"
"""Licence in the README.md of every model that is saved so, whatever its own is."""


class Smp:
    """Reads what `save_pretrained` writes."""

    title = "folder of segmentation-models-pytorch"

    def recognises(self, source: Source) -> bool:
        """By the class that config.json names."""
        return KIND in source.settings("config.json")

    def read(self, source: Source) -> Found:
        """The network; bands, classes and their meaning are nowhere in the folder.

        Raises:
            ModelError: if geoseg cannot build the network, or the weights cannot be read.
        """
        from geoseg.models.layouts.smp_settings import (
            CLASSIFIER,
            activation_notice,
            architecture_of,
            network_settings,
            preprocessing_hints,
        )

        config = source.settings("config.json")
        network = network_settings(
            architecture_of(text_in(config, KIND, source.shown), source.shown), config, source.shown
        )
        weights, dropped = without(source.weights, CLASSIFIER)
        licence = licence_of(source)
        notices = (*dropped, *activation_notice(config.get("activation")))
        if licence == BY_DEFAULT:
            notices += (f"README.md says licence {BY_DEFAULT}, which the library writes into every model: not taken",)
        says = network | {"licence": None if licence == BY_DEFAULT else licence}
        return Found(
            weights,
            said(says, source.shown),
            hints=preprocessing_hints(network["encoder"], config.get("encoder_weights")),
            notices=notices,
            bands=count_in(config, "in_channels", source.shown),
            channels=count_in(config, "classes", source.shown),
        )

    def example(self, folder: Path) -> Example:
        """A U-Net over timm's smallest ResNet."""
        import segmentation_models_pytorch as smp

        keywords = {"decoder_channels": (32, 16, 8), "encoder_depth": 3, "classes": 4, "activation": "softmax2d"}
        model = smp.Unet("tu-test_resnet", encoder_weights=None, **keywords)
        model.save_pretrained(folder / "model")
        return Example(folder / "model", example_says())


SMP = Smp()
