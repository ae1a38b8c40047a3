"""Statistics of batch normalisation, mixed of those of training and those of the scene (Schneider et al. 2020).

Mean and variance of each channel are (N m + n s) / (N + n), where m are those of training, s those of the n samples
that were seen, and N is a pseudo-count that says how many samples the training is worth. Here the `share` of the
settings is what n / (N + n) becomes for many samples; a sample is a place in the map of features of a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from geoseg.core.errors import ModelError
from geoseg.inference.adaptations.adaptation import SceneWindow

FEW_PLACES = 256
"""Places of a layer for which the scene's statistics get half of their share: those of a layer of stride 32 in a window
of 512 px. So a scene of few pixels, or a layer that sees windows as a whole, stays near the training."""


class BatchNorm:
    """Mixes the running statistics of all layers of batch normalisation with those of the scene.

    The statistics of a window are added when the layer gets it, before it is normalised: so the layers behind are shown
    what the layers before make of the scene with the mixture, and not with the trained statistics.

    The share is small by default. More gains more where a scene differs in its values alone, but of a scene of woods
    alone the default model's mIoU falls from 0.78 to 0.66 with 0.2, and to 0.41 with 0.5 (benchmarks/adapt_scenes.py).
    """

    share = 0.1

    def describe(self, share: float) -> str:
        """The mixture."""
        return (
            f"statistics of its batch normalisation are {share:.3g} × the scene's + {1 - share:.3g} × those of training"
        )

    def check(self, network: nn.Module) -> None:
        """Refuse a network without running statistics.

        Raises:
            ModelError: with the reason.
        """
        if not any(_layers(network)):
            raise ModelError(
                "--adapt bn: this network has no batch normalisation with running statistics: take --adapt entropy, or "
                "leave --adapt out"
            )

    def adapt(self, network: nn.Module, windows: Iterable[SceneWindow], share: float) -> Mapping[str, Tensor]:
        """The mixed statistics of every layer."""
        statistics = Statistics(network, share)
        with torch.no_grad():
            for window in windows:
                with statistics.taken(window):
                    network(window.image)
        return statistics.entries()


class Statistics:
    """The running statistics of all layers of batch normalisation of a network, mixed while windows pass through it."""

    def __init__(self, network: nn.Module, share: float):
        self._mixtures = {name: _Mixture(layer, share) for name, layer in _layers(network)}

    @contextmanager
    def taken(self, window: SceneWindow) -> Iterator[None]:
        """Add those of a window, which is forwarded inside."""
        hooks = [mixture.watch(window.valid) for mixture in self._mixtures.values()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def entries(self) -> dict[str, Tensor]:
        """The mixed statistics, by their names in the network's state dict."""
        return {
            f"{name}.{entry}": values
            for name, mixture in self._mixtures.items()
            for entry, values in mixture.entries().items()
        }


def _layers(network: nn.Module) -> Iterator[tuple[str, _BatchNorm]]:
    for name, layer in network.named_modules():
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None:
            yield name, layer


class _Mixture:
    """The statistics of one layer while windows pass."""

    def __init__(self, layer: _BatchNorm, share: float):
        self._layer, self._share = layer, share
        self._trained = {name: values.detach().double() for name, values in self.entries().items()}
        self._places = 0
        self._mean, self._scatter = (torch.zeros_like(values) for values in self._trained.values())

    def entries(self) -> dict[str, Tensor]:
        """The statistics by name."""
        return {name: getattr(self._layer, name) for name in ("running_mean", "running_var")}

    def watch(self, valid: Tensor) -> torch.utils.hooks.RemovableHandle:
        """Take the statistics of what the layer gets next, of a window of which some pixels hold data (1, h, w)."""
        return self._layer.register_forward_pre_hook(lambda _layer, inputs: self._take(_held(inputs[0], valid)))

    def _take(self, features: Tensor) -> None:
        """Add features (C, n), and set the layer's statistics."""
        count = features.shape[1]
        if not count or not self._share:
            return
        mean = features.mean(dim=1).double()
        scatter = features.var(dim=1, correction=0).double() * count
        total = self._places + count
        step = mean - self._mean  # pairwise, as in Chan et al. 1983
        self._mean += step * (count / total)
        self._scatter += scatter + step.square() * (self._places * count / total)
        self._places = total
        weight = self._share * total / (total + FEW_PLACES)
        own = {"running_mean": self._mean, "running_var": self._scatter / total}
        for name, trained in self._trained.items():
            mixed = (1 - weight) * trained + weight * own[name]
            # in another tensor: gradients may still need the one before
            setattr(self._layer, name, mixed.to(getattr(self._layer, name).dtype))


def _held(features: Tensor, valid: Tensor) -> Tensor:
    """The features (C, n) of the places that hold data, given those of a window (1, C, ...)."""
    flat = features.detach().transpose(0, 1).flatten(1).float()
    if features.ndim != 4 or valid.all():
        return flat
    height, width = features.shape[-2:]
    held = F.adaptive_avg_pool2d(valid.float(), (height, width)) >= 0.5
    return flat[:, held.expand(len(features), -1, -1).flatten()]


BATCH_NORM = BatchNorm()
