"""Optimizer, learning-rate schedule and the running mean of weights.

In: modules and specs. Out: an optimizer with parameter groups, a curve, an update function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from geoseg.spec import OptimizerSpec, ScheduleSpec

ENCODER = "body.encoder."
"""Part of the names of an encoder's parameters."""
OPPONENT_RATE = 0.05
"""Learning rate of an opponent, as a share of the others': 1e-4 by default, as for the discriminators of AdvSemiSeg
(Hung et al. 2018) and ADVENT (Vu et al. 2019)."""
ONE_CYCLE_START = 1 / 25
"""Factor with which one_cycle starts: the div_factor of torch's OneCycleLR."""
ONE_CYCLE_END = ONE_CYCLE_START * 1e-4
"""Factor with which one_cycle ends: the final_div_factor of torch's OneCycleLR, which divides the first rate."""


def make_optimizer(
    modules: nn.Module | Sequence[nn.Module], spec: OptimizerSpec, opponents: Sequence[nn.Module] = ()
) -> Optimizer:
    """Optimizer of a network, or of a network and what is trained along with it.

    Frozen parameters are in it as well, so that it need not change when they are thawed.

    Args:
        modules: what is trained.
        spec: the settings.
        opponents: those of their parts that learn more slowly, as they are trained against the network.
    """
    groups = parameter_groups([modules] if isinstance(modules, nn.Module) else modules, spec, opponents)
    if spec.name == "sgd":
        return SGD(groups, lr=spec.learning_rate, momentum=spec.momentum, nesterov=spec.momentum > 0)
    on_cpu = all(parameter.device.type == "cpu" for group in groups for parameter in group["params"])
    return AdamW(groups, lr=spec.learning_rate, fused=on_cpu or None)  # one pass over the weights, not a dozen


def parameter_groups(
    modules: Sequence[nn.Module], spec: OptimizerSpec, opponents: Sequence[nn.Module] = ()
) -> list[dict[str, Any]]:
    """Parameters by rate and decay: those of the encoder and of opponents apart, kernels apart from all others.

    Only kernels are decayed: shrinking biases and the scales of normalisation layers does not regularise.
    """
    against = {parameter for module in opponents for parameter in module.parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for module in modules:
        for name, parameter in module.named_parameters():
            rate = OPPONENT_RATE if parameter in against else spec.encoder_rate if ENCODER in name else 1.0
            groups.setdefault((rate, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": spec.learning_rate * rate,
            "weight_decay": spec.weight_decay if is_kernel else 0.0,
        }
        for (rate, is_kernel), parameters in groups.items()
    ]


def clip_gradients(optimizer: Optimizer, largest: float, opponents: Sequence[nn.Module]) -> None:
    """Limit the norm of the gradient of a network, and by itself that of each opponent.

    Together, a discriminator's gradient, which may be a hundred times as large, would take the network's steps.
    """
    own = [list(module.parameters()) for module in opponents]
    against = {parameter for parameters in own for parameter in parameters}
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for part in ([one for one in trained if one not in against], *own):
        nn.utils.clip_grad_norm_(part, largest)


def learning_rate_curve(spec: ScheduleSpec, steps: int) -> Callable[[int], float]:
    """Factor of the highest learning rate at a step, counted from 0; 1 at the end of the warm-up, which is one step
    at least.

    one_cycle is the cycle of Smith & Topin 2018 with the figures of torch's OneCycleLR, whose rates these are wherever
    the warm-up is a whole number of steps.
    """
    rising = max(1, round(steps * spec.warmup))
    top = rising - 1

    def progress(step: int, start: int) -> float:
        return 1.0 if step >= steps else (step - start) / (steps - rising)

    def one_cycle(step: int) -> float:
        if step <= top:
            return _along_cosine(ONE_CYCLE_START, 1.0, step / top) if top else 1.0
        return _along_cosine(1.0, ONE_CYCLE_END, progress(step, top))

    def others(step: int) -> float:
        if step <= top:
            return (step + 1) / rising
        if spec.name == "constant":
            return 1.0
        fallen = progress(step, rising)
        return (1 - fallen) ** spec.power if spec.name == "poly" else _along_cosine(1.0, 0.0, fallen)

    return one_cycle if spec.name == "one_cycle" else others


def ema_update(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Update in place of running means whose memory grows to `decay`, so that the first steps are soon forgotten.

    All tensors of a call are of one type on one device; whole numbers, which have no mean, are copied.
    """

    @torch.no_grad()
    def update(means: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        if not means[0].is_floating_point():
            torch._foreach_copy_(list(means), list(current))
            return
        steps = torch.as_tensor(count, dtype=torch.float32, device=means[0].device)  # stays there: no wait for a GPU
        weight = 1 - ((1 + steps) / (10 + steps)).clamp(max=decay)
        if weight.device.type == "cpu":  # in one pass and without copies, which takes a number
            torch._foreach_lerp_(list(means), list(current), float(weight))
            return
        moved = torch._foreach_sub(list(current), list(means))
        torch._foreach_mul_(moved, weight)
        torch._foreach_add_(list(means), moved)

    return update


@torch.no_grad()
def mean_update(means: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
    """Update in place of the means of `count` earlier states; whole numbers, which have no mean, are copied."""
    if not means[0].is_floating_point():
        torch._foreach_copy_(list(means), list(current))
        return
    moved = torch._foreach_sub(list(current), list(means))
    torch._foreach_div_(moved, torch.as_tensor(count + 1, dtype=torch.float32, device=means[0].device))
    torch._foreach_add_(list(means), moved)


def _along_cosine(start: float, end: float, progress: float) -> float:
    """Value on half a wave of a cosine from `start` (progress 0) to `end` (progress 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
