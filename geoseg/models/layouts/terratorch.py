"""Checkpoints of TerraTorch whose network is one of segmentation-models-pytorch (`SMPModelFactory`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.core.errors import ModelError, shown
from geoseg.models.layouts.found import Example, Found, count_in, example_says, said, text_in
from geoseg.models.layouts.lightning import lightning_task
from geoseg.models.layouts.source import Source

PREFIX = "model.smp_model."
"""Begin of the names of the network's weights."""
FACTORY = "model_factory"
"""Setting that names what built the network."""
SMP_FACTORY = "SMPModelFactory"
OF_SMP = "smp_"
"""Begin of the names of arguments that are smp's."""


class TerraTorch:
    """Reads what Lightning's trainer writes of TerraTorch's tasks."""

    title = "checkpoint of TerraTorch"

    def recognises(self, source: Source) -> bool:
        """By the task's settings."""
        task = lightning_task(source, PREFIX)
        return task is not None and FACTORY in task.settings and isinstance(task.settings.get("model_args"), dict)

    def read(self, source: Source) -> Found:
        """The network, its bands as TerraTorch names them, and names of classes where the task has them.

        Raises:
            ModelError: if another factory built the network: its code alone knows how.
        """
        from geoseg.models.layouts.smp_settings import architecture_of, network_settings

        task = lightning_task(source, PREFIX)
        assert task is not None  # it is recognised
        arguments: Mapping[str, Any] = task.settings["model_args"]
        if task.settings[FACTORY] != SMP_FACTORY:
            what = shown(arguments.get("backbone", task.settings[FACTORY]), quoted=False)
            raise ModelError(
                f"{source.shown} holds a network that TerraTorch's {shown(task.settings[FACTORY], quoted=False)} built "
                f"({what}): geoseg has those of {SMP_FACTORY} alone"
            )
        own = {name.removeprefix(OF_SMP): value for name, value in arguments.items() if name.startswith(OF_SMP)}
        channels = count_in(arguments, "num_classes", source.shown)
        keywords = own | {"encoder_name": text_in(arguments, "backbone", source.shown), "classes": channels or 1}
        architecture = architecture_of(text_in(arguments, "model", source.shown), source.shown)
        says = network_settings(architecture, keywords, source.shown)
        says |= _texts("bands", arguments.get("bands")) | _texts("classes", task.settings.get("class_names"))
        bands = count_in(arguments, "in_channels", source.shown)
        return Found(task.weights, said(says, source.shown), _HINTS, task.notices, bands, channels)

    def example(self, folder: Path) -> Example:
        """A checkpoint with what Lightning writes besides."""
        import segmentation_models_pytorch as smp
        import torch

        model = smp.PSPNet("resnet18", encoder_weights=None, classes=4)
        weights = {f"{PREFIX}{name}": tensor for name, tensor in model.state_dict().items()}
        arguments = {"backbone": "resnet18", "model": "PSPNet", "bands": ["RED", "GREEN", "BLUE"], "in_channels": 3,
                     "num_classes": 4, "pretrained": False}  # fmt: skip
        settings = {FACTORY: SMP_FACTORY, "model_args": arguments, "class_names": None, "loss": "ce", "lr": 1e-3}
        torch.save({"state_dict": weights, "hyper_parameters": settings, "epoch": 1}, folder / "last.ckpt")
        return Example(folder / "last.ckpt", example_says(bands=None))


def _texts(name: str, values: Any) -> dict[str, Any]:
    """A list of texts as a field; nothing for what is none. TerraTorch's names of bands are in capitals."""
    if not isinstance(values, list | tuple) or not values or not all(isinstance(one, str) for one in values):
        return {}
    return {name: [one.lower().replace("_", " ") if name == "bands" else one for one in values]}


_HINTS = dict.fromkeys(("mean", "std"), "known to the data module of the training, in the values that it reads")
TERRATORCH = TerraTorch()
