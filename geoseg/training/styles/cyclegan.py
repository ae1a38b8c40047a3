"""A small CycleGAN: generators redraw windows of one region in the look of another one, and learn it from both.

Zhu, Park, Isola and Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV
2017; for the adaptation of networks Hoffman et al., "CyCADA", ICML 2018. Adversarial losses of both directions; what is
redrawn there and back is to be what it was (λ = 10); what has the look already is to stay. What differs: generators
have three residual blocks at half the resolution and add to the window, at first nothing, so that training begins with
the windows as they are; what has the look already counts a tenth of the way there and back, not half; discriminators
learn by cross-entropy, as by least squares such generators stayed as they began, and see windows with noise (Sønderby
et al. 2017) in place of a buffer of earlier ones; all are trained by the optimizer of the run, beside the network, and
stay after the first half of the steps; the losses are divided by λ, so that those of the network keep their share of a
clipped gradient.

In: windows with their own colours. Out: windows in the look of the other region, recoloured as windows without a style
are. Generators and discriminators are in checkpoints, and left out of the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.discriminator import Judged
from geoseg.training.methods.method import Setup
from geoseg.training.styles.redrawing import CycleGan
from geoseg.training.styles.style import Style, Styled, StyleSettings


class CycleGanSettings(StyleSettings):
    """Parameters of the way."""

    by: str = "cyclegan"
    """Name of the way."""
    learning: float = Field(default=0.5, gt=0, le=1)
    """Share of the steps, from the first on, in which it learns; after these it redraws alone."""
    channels: int = Field(default=32, ge=1, le=1024)
    """Channels of the generators."""
    blocks: int = Field(default=3, ge=0, le=64)
    """Residual blocks of each generator."""
    cycle: float = Field(default=10.0, gt=0, le=1000)
    """Weight λ of the change of windows that are redrawn there and back; that of deceiving a discriminator is 1."""
    identity: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the change of windows that have the look already."""


class CycleGanStyle(Style):
    """Redraws windows by generators, which learn from the windows of each step."""

    Settings = CycleGanSettings
    figures: ClassVar[tuple[str, ...]] = ("cycle", "looks")
    calls: Tensor
    """Batches that were redrawn, from which it learnt as long as it learns."""

    def __init__(self, setup: Setup, settings: CycleGanSettings):
        super().__init__(setup, settings)
        self.networks = CycleGan(len(setup.model.bands), settings.channels, settings.blocks)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self._given = settings

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """The discriminators; generators that learn as slowly would redraw next to nothing in a run."""
        return self.networks.of_target, self.networks.of_source

    @property
    def learns(self) -> bool:
        """Whether it learns in this step."""
        steps = self.setup.steps * self.setup.spec.optimizer.accumulate
        return int(self.calls) < self._given.learning * steps

    def forward(self, labelled: LabelledWindows, target: LabelledWindows, generator: torch.Generator) -> Styled:
        """Redraw the labelled windows; while it learns, with the losses of generators and discriminators."""
        own, other, learns = self._normalised(labelled), self._normalised(target), self.learns
        self.calls += 1
        if not learns:
            return Styled(self._shown(labelled, target, self._redrawn(own), generator))
        losses, there = self.networks.losses(own, other)
        given = self._given
        value = losses.deceiving + given.cycle * losses.cycle + given.identity * losses.identity + losses.judging
        figures = {"cycle": losses.cycle, "looks": losses.judging / 2}
        return Styled(self._shown(labelled, target, there, generator), value / given.cycle, figures)

    @torch.no_grad()
    def back(self, target: LabelledWindows, labelled: LabelledWindows, generator: torch.Generator) -> Tensor:
        """Redraw windows of the target, in their own colours, in the look of labelled ones."""
        image = self._values(self.networks.to_source(self._normalised(target).maps))
        return image.where(_shows(target, labelled), target.in_own_colours.image)

    @torch.no_grad()
    def _redrawn(self, windows: Judged) -> Tensor:
        redrawn: Tensor = self.networks.to_target(windows.maps)
        return redrawn

    def _shown(
        self, labelled: LabelledWindows, target: LabelledWindows, there: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Labelled windows as redrawn ones (B, C, S, S), recoloured; as they are without data, or without a target."""
        image = self.setup.augment.recolored(self._values(there), generator)
        return image.where(_shows(labelled, target), labelled.image)

    def _normalised(self, windows: LabelledWindows) -> Judged:
        """Windows in their own colours, as the network sees them, 0 where there is no data."""
        held = windows.holds_data
        values = self.setup.network.normalize(windows.in_own_colours.image)
        return Judged(values.where(held.unsqueeze(1), 0), held)

    def _values(self, image: Tensor) -> Tensor:
        """Band values of normalised windows, within the range of the data, without a gradient."""
        norm, augment = self.setup.network.normalize, self.setup.augment
        return (image.detach().float() * norm.std + norm.mean).clamp(augment.low, augment.high)


def _shows(windows: LabelledWindows, others: LabelledWindows) -> Tensor:
    """Pixels of windows that hold data (B, 1, S, S), if any of the others do."""
    return (windows.holds_data & others.holds_data.any()).unsqueeze(1)
