"""Estimates of a network's activation memory and of a device's free memory, to choose batch sizes by."""

from __future__ import annotations

from pathlib import Path

import torch


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device in bytes; None where it cannot be measured."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, but unused
        return int(torch.cuda.mem_get_info(device)[0]) + held
    if device.type == "cpu":
        return _available_bytes()
    return None


def _available_bytes() -> int | None:
    """Available memory of Linux in bytes, with the page cache."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError, StopIteration):
        return None


def activation_bytes(module: torch.nn.Module, bands: int, window_px: int, bytes_each: int) -> int:
    """Estimate the activations of one window in bytes: the largest convolution outputs of a probe, scaled by area."""
    side = 64
    sizes: list[int] = []
    convolutions = [layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)]
    if not convolutions:
        return 0
    hooks = [layer.register_forward_hook(lambda _m, _i, out: sizes.append(out.numel())) for layer in convolutions]
    was_training = module.training
    module.eval()
    try:
        parameter = next(module.parameters(), torch.zeros(()))
        with torch.inference_mode():
            module(torch.zeros(1, bands, side, side, device=parameter.device))
    except Exception:  # e.g. a network of one input size: an error on windows will say so
        return 0
    finally:
        module.train(was_training)
        for hook in hooks:
            hook.remove()
    largest = sorted(sizes)[-6:]
    return int(sum(largest) * bytes_each * window_px / side**2)
