"""The contract of a way to give labelled windows the look of others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from geoseg.core.errors import SpecError
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import Spec, TrainSpec
from geoseg.training.methods.method import Setup


class StyleSettings(Spec):
    """Parameters of a way to transfer style."""

    by: str = "none"
    """Name of the way."""


@dataclass(frozen=True)
class Styled:
    """Labelled windows with the look of others."""

    image: Tensor
    """Band values (B, C, S, S), float32, without a gradient; as they were where there is no data."""
    loss: Tensor = field(default_factory=lambda: torch.zeros(()))
    """What the way itself minimises in this step: 0 where it learns nothing."""
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    """Further scalars by name; the way's `figures` are among them, in steps in which they mean something."""


class Style(nn.Module, ABC):
    """A way to give labelled windows the look of windows of the target.

    Its own parameters are trained with the network's, and are in checkpoints, as all of its state; the bundle has none
    of it. Labels stay as they are: what a pixel shows does not move, and its values stay within the range of the data.
    `tests/training/test_style_transfer.py` tests that of every registered way.
    """

    Settings: ClassVar[type[StyleSettings]] = StyleSettings
    """Its parameters in a config."""
    figures: ClassVar[tuple[str, ...]] = ()
    """Names of those figures of a step whose mean over each epoch is shown and written to metrics.csv: that of the
    steps that have them; empty where none has."""

    def __init__(self, setup: Setup, settings: StyleSettings):
        super().__init__()
        self.setup, self.settings = setup, settings

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """Its modules that learn more slowly than the network, as those of `Method.opponents`."""
        return ()

    @classmethod
    def check(cls, spec: TrainSpec, settings: StyleSettings) -> None:
        """Refuse a run without a target, and one whose network sees more than its windows.

        Raises:
            SpecError: saying what to change.
        """
        if not spec.data.target:
            raise SpecError(
                f"method {spec.method.name}: style {settings.by} is that of the region where the model is to be used: "
                "give images of it as data.target, or set style to none"
            )
        if spec.views:
            raise SpecError(
                f"method {spec.method.name}: style {settings.by} changes windows, not their surroundings: set style "
                "to none, or take a network that sees its windows alone"
            )

    @abstractmethod
    def forward(self, labelled: LabelledWindows, target: LabelledWindows, generator: Generator) -> Styled:
        """Give labelled windows the look of those of the target.

        Args:
            labelled: the labelled windows of the step, with varied colours (`image`).
            target: windows of the target (B', C, S, S), as many as others or not.
            generator: source of all randomness, on the device.
        """

    def back(self, target: LabelledWindows, labelled: LabelledWindows, generator: Generator) -> Tensor:
        """Give windows of the target, in their own colours, the look of labelled ones (B', C, S, S).

        By default as the other way round, with the two in each other's place.
        """
        styled: Styled = self(target.in_own_colours, labelled.in_own_colours, generator)
        return styled.image
