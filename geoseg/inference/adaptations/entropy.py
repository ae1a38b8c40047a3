"""TENT: affine parameters of normalisation layers by which the network is surer of the scene (Wang et al. 2021).

In one pass over windows, statistics of batch normalisation are estimated, and the mean entropy of the predictions is
minimised by Adam. Unlike in the paper, the statistics are those of all windows so far, mixed with those of training,
and the scene is predicted afterwards: one network predicts all of its windows alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from geoseg.core.errors import ModelError
from geoseg.inference.adaptations.adaptation import SceneWindow
from geoseg.inference.adaptations.batch_norm import BATCH_NORM, Statistics

LEARNING_RATE = 2.5e-4
"""Of Adam; a quarter of the paper's for small images: of scenes under haze, larger steps made classes worse."""
WINDOWS_PER_STEP = 4
"""Windows whose gradients are added up before a step: one may be all woods."""
_NORMALISATIONS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class Entropy:
    """Learns scale and shift of all normalisation layers, of whatever kind; running statistics are mixed as by `bn`."""

    share = 1.0

    def describe(self, share: float) -> str:
        """What is learnt."""
        part = "" if share == 1 else f", and changed by {share:.3g} of what that gives"
        mixed = f"running statistics, if it has any, are {share * BATCH_NORM.share:.3g} × the scene's"
        return f"scale and shift of its normalisation layers are learnt so that it is surer of the scene{part}; {mixed}"

    def check(self, network: nn.Module) -> None:
        """Refuse a network without such parameters.

        Raises:
            ModelError: with the reason.
        """
        if not any(_affine(network)):
            raise ModelError(
                "--adapt entropy: this network has no normalisation layer with scale and shift: leave --adapt out"
            )

    def adapt(self, network: nn.Module, windows: Iterable[SceneWindow], share: float) -> Mapping[str, Tensor]:
        """The learnt parameters."""
        network.requires_grad_(requires_grad=False)
        learnt = dict(_affine(network))
        trained = {name: parameter.detach().clone() for name, parameter in learnt.items()}
        optimizer, statistics = (
            torch.optim.Adam(learnt.values(), LEARNING_RATE),
            Statistics(network, share * BATCH_NORM.share),
        )
        with torch.enable_grad():
            for parameter in learnt.values():
                parameter.requires_grad_()
            waiting = 0
            for window in windows:
                with statistics.taken(window):
                    logits = network(window.image)
                (_entropy(logits, window.valid) / WINDOWS_PER_STEP).backward()  # type: ignore[no-untyped-call]
                waiting += 1
                if waiting == WINDOWS_PER_STEP:
                    optimizer.step()
                    optimizer.zero_grad()
                    waiting = 0
            if waiting:
                optimizer.step()
        affine = {name: trained[name].lerp(parameter.detach(), share) for name, parameter in learnt.items()}
        return statistics.entries() | affine


def _affine(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, layer in network.named_modules():
        if isinstance(layer, _NORMALISATIONS):
            yield from layer.named_parameters(name, recurse=False)


def _entropy(logits: Tensor, valid: Tensor) -> Tensor:
    """Sum of the entropy (0 to 1) of the pixels with data over the number of all pixels: few pixels weigh little."""
    logs = logits.float().log_softmax(dim=1)
    entropy = -(logs.exp() * logs.clamp(min=-1e4)).sum(dim=1) / math.log(max(2, logits.shape[1]))
    return entropy[valid].sum() / valid.numel()


ENTROPY = Entropy()
