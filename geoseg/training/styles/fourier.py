"""Fourier domain adaptation: low frequencies of labelled windows get the amplitudes of windows of the target.

Yang and Soatto, "FDA: Fourier Domain Adaptation for Semantic Segmentation", CVPR 2020, section 3.1. What differs: each
band is transformed by itself, pixels without data are the mean of their band meanwhile, the mean of a band becomes that
of the target with its sign, values stay within the range of the data, and β is drawn for each step from several ones,
whose three networks the paper averages. All its images show streets; a window from above shows a field or a roof, and
once it has the mean of another, nothing says how bright it was. So amplitudes change by what those of all windows of a
step differ on average, unless those of a pair of windows are asked for.

In: band values of labelled windows and of the target. Out: band values.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.method import Setup
from geoseg.training.styles.style import Style, Styled, StyleSettings


class FourierSettings(StyleSettings):
    """Parameters of the way."""

    by: str = "fourier"
    """Name of the way."""
    betas: tuple[Annotated[float, Field(ge=0, le=0.5)], ...] = Field(default=(0.01, 0.05), min_length=1, max_length=100)
    """Shares of the window's side up to which frequencies are taken from the target; one is drawn in each step. 0 takes
    the mean of each band alone. The paper's largest, 0.09, lays coloured patterns over imagery from above."""
    of: Literal["batch", "window"] = "batch"
    """Whose amplitudes are taken: each window's are multiplied by the ratio of the mean ones of all windows of a step,
    or each window gets those of one of the target, as in the paper."""


class Fourier(Style):
    """Swaps amplitudes; phases, which hold what lies where, stay."""

    Settings = FourierSettings

    def __init__(self, setup: Setup, settings: FourierSettings):
        super().__init__(setup, settings)
        self._given, self._range = settings, (setup.augment.low, setup.augment.high)

    def forward(self, labelled: LabelledWindows, target: LabelledWindows, generator: Generator) -> Styled:
        """Give windows the low frequencies of the target's."""
        betas = self._given.betas
        beta = betas[int(torch.randint(len(betas), (), generator=generator, device=generator.device))]
        image, held, partner = labelled.image, labelled.holds_data, target.holds_data
        with torch.autocast(image.device.type, enabled=False):
            own, others = without_gaps(image.float(), held), without_gaps(target.image.float(), partner)
            order = torch.arange(len(image), device=image.device) % len(others)
            known = partner.flatten(1).any(dim=1)
            if self._given.of == "batch":
                changed = with_mean_amplitudes(own, others, beta, (held.flatten(1).any(dim=1), known))
                shown = held & known.any()
            else:
                changed = with_amplitudes(own, others[order], beta)
                shown = held & known[order].view(-1, 1, 1)
        return Styled(changed.clamp(*self._range).where(shown.unsqueeze(1), image))


def without_gaps(image: Tensor, held: Tensor) -> Tensor:
    """Band values (B, C, h, w) with the mean of their band where pixels (B, h, w) hold no data."""
    held = held.unsqueeze(1)
    means = (image * held).sum(dim=(2, 3), keepdim=True) / held.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    return image.where(held, means)


def with_amplitudes(image: Tensor, others: Tensor, beta: float) -> Tensor:
    """Band values (B, C, h, w) with the amplitudes of others where frequencies are low, and the others' means.

    Args:
        image: the windows, whose phases stay.
        others: as many windows.
        beta: frequencies up to so many times the shorter side, rounded down, are low, in rows and columns.
    """
    own, wanted = torch.fft.rfft2(image), torch.fft.rfft2(others)
    mixed = torch.polar(wanted.abs(), own.angle()).where(_is_held(own.abs()), own)
    mixed[..., 0, 0] = wanted[..., 0, 0]  # the mean may be below 0, which an amplitude is not
    return _with_low(image, own, mixed, beta)


def with_mean_amplitudes(image: Tensor, others: Tensor, beta: float, known: tuple[Tensor, Tensor]) -> Tensor:
    """Band values (B, C, h, w) whose amplitudes, where frequencies are low, and means are the others' on average.

    Args:
        image: the windows, whose phases stay.
        others: other windows (B', C, h, w).
        beta: as in `with_amplitudes`.
        known: which windows of each hold data, and count (B,) and (B',).
    """
    own, wanted = torch.fft.rfft2(image), torch.fft.rfft2(others)
    (first, first_mean), (second, second_mean) = (
        (windows[held].abs().mean(dim=0), windows[held][..., 0, 0].mean(dim=0))
        for windows, held in zip((own, wanted), known, strict=True)
    )
    mixed = own * (second / first).where(_is_held(first), 1)
    mixed[..., 0, 0] = own[..., 0, 0] + second_mean - first_mean
    return _with_low(image, own, mixed, beta)


def _is_held(amplitudes: Tensor) -> Tensor:
    """Which frequencies images hold, given their amplitudes (..., h, w'): others, all but one of a flat window, are
    rounding, and have no phase."""
    return amplitudes > torch.finfo(amplitudes.dtype).eps * amplitudes.amax(dim=(-2, -1), keepdim=True)


def _with_low(image: Tensor, own: Tensor, mixed: Tensor, beta: float) -> Tensor:
    """Band values whose low frequencies are mixed ones, and all others their own."""
    height, width = image.shape[-2:]
    reach = int(min(height, width) * beta)
    rows = torch.fft.fftfreq(height, 1 / height, device=image.device).abs() <= reach
    cols = torch.fft.rfftfreq(width, 1 / width, device=image.device) <= reach
    low = rows.unsqueeze(1) & cols
    changed: Tensor = torch.fft.irfft2(mixed.where(low, own), s=(height, width))
    return changed
