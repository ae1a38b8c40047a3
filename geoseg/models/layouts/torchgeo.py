"""Checkpoints of TorchGeo's trainer for semantic segmentation (`SemanticSegmentationTask`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.core.errors import ModelError
from geoseg.models.layouts.found import Example, Found, count_in, example_says, said, text_in
from geoseg.models.layouts.lightning import lightning_task
from geoseg.models.layouts.source import Source

PREFIX = "model."
"""Begin of the names of the network's weights."""
KEYS = {"model", "backbone", "in_channels"}
"""Settings that the task has."""
OWN = "fcn"
"""The network that is TorchGeo's own."""
ARCHITECTURE, BACKBONE = "torchgeo_fcn", "backbone."
"""It in geoseg, and the begin of the names of its layers but the last."""


class TorchGeo:
    """Reads what Lightning's trainer writes of the task."""

    title = "checkpoint of TorchGeo"

    def recognises(self, source: Source) -> bool:
        """By the task's settings."""
        task = lightning_task(source, PREFIX)
        return task is not None and task.settings.keys() >= KEYS and isinstance(task.settings["model"], str)

    def read(self, source: Source) -> Found:
        """The network, and names of classes where the task has them; normalisation is that of its data module.

        Raises:
            ModelError: if the network is neither TorchGeo's own nor one of segmentation-models-pytorch, or its classes
                may overlap.
        """
        from geoseg.models.layouts.smp_settings import architecture_of, network_settings

        task = lightning_task(source, PREFIX)
        assert task is not None  # it is recognised
        settings = task.settings
        if settings.get("task") == "multilabel":
            raise ModelError(
                f"{source.shown} gives classes that may overlap (multilabel): geoseg's models give each pixel one class"
            )
        if settings["model"] == OWN:
            weights = {_own_name(name): tensor for name, tensor in task.weights.items()}
            own = {"architecture": ARCHITECTURE, "arguments": _filters(weights)}
            return Found(weights, said(own | _classes(settings), source.shown), _HINTS, task.notices)
        bands = count_in(settings, "in_channels", source.shown)
        channels = count_in(settings, "num_classes", source.shown)
        keywords = {"encoder_name": text_in(settings, "backbone", source.shown), "classes": channels or 1}
        says = network_settings(architecture_of(settings["model"], source.shown), keywords, source.shown)
        says |= _classes(settings)
        return Found(task.weights, said(says, source.shown), _HINTS, task.notices, bands, channels)

    def example(self, folder: Path) -> Example:
        """A checkpoint with what Lightning writes besides."""
        import segmentation_models_pytorch as smp
        import torch

        model = smp.create_model("deeplabv3plus", "resnet18", encoder_weights=None, classes=4)
        weights = {f"{PREFIX}{name}": tensor for name, tensor in model.state_dict().items()}
        settings = {
            "model": "deeplabv3+", "backbone": "resnet18", "in_channels": 3, "task": "multiclass", "num_classes": 4,
            "num_labels": None, "num_filters": 3, "loss": "ce", "class_weights": None, "ignore_index": None, "lr": 1e-3,
            "patience": 10, "freeze_backbone": False, "freeze_decoder": False,
        }  # fmt: skip
        checkpoint = {"state_dict": weights | {"criterion.weight": torch.ones(4)}, "hyper_parameters": settings}
        torch.save(checkpoint | {"epoch": 1, "pytorch-lightning_version": "2.5.0"}, folder / "last.ckpt")
        return Example(folder / "last.ckpt", example_says())


def _own_name(name: str) -> str:
    """The name of a weight of the FCN in geoseg's."""
    return f"encoder.{name.removeprefix(BACKBONE)}" if name.startswith(BACKBONE) else name


def _filters(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Channels of the FCN's layers."""
    last = weights.get("last.weight")
    return {} if last is None or last.ndim != 4 else {"filters": last.shape[1]}


def _classes(settings: Any) -> dict[str, Any]:
    labels = settings.get("labels")
    named = isinstance(labels, list | tuple) and all(isinstance(one, str) for one in labels)
    return {"classes": [*labels]} if named and labels else {}


_HINTS = dict.fromkeys(("mean", "std"), "known to the data module of the training, in the values that it reads")
TORCHGEO = TorchGeo()
