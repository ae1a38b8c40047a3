"""Dynamic mutual training: two networks learn each other's classes, the less the less they agree.

Feng, Zhou, Gu, Tan, Cheng, Lu, Shi and Ma, "DMT: Dynamic mutual training for semi-supervised learning", Pattern
Recognition 2022: its dynamic loss weight, with the paper's gamma 1 = gamma 2 = 5. In the paper, networks are trained in
turns, each on classes that the other one has given once, of which more and more are taken. Here both learn at once, of
all pixels, as in cross pseudo supervision.

In: labelled windows and windows without labels. Out: the losses of both networks.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from geoseg.training.methods.method import Setup
from geoseg.training.methods.two_students import TwoStudents, TwoStudentsSettings
from geoseg.training.perturbations.targets import Targets


class MutualTrainingSettings(TwoStudentsSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    gamma_agreeing: float = Field(default=5.0, ge=0, le=100)
    """Exponent of the weight where both networks see the same class (gamma 1)."""
    gamma_other: float = Field(default=5.0, ge=0, le=100)
    """Exponent of the weight where they see different classes, and the teaching one is surer (gamma 2)."""


class MutualTraining(TwoStudents):
    """Minimises the losses of both networks, and their weighted cross-entropies against each other's classes."""

    Settings = MutualTrainingSettings

    def __init__(self, setup: Setup, settings: MutualTrainingSettings):
        super().__init__(setup, settings)
        self._agreeing, self._other = settings.gamma_agreeing, settings.gamma_other

    def pixel_weights(self, probabilities: Tensor, targets: Targets) -> Tensor:
        """A power of the learning network's own probability of the class; 0 where it is surer of another one."""
        classes = targets.classes
        own = probabilities.gather(1, classes.unsqueeze(1)).squeeze(1)
        agrees = probabilities.argmax(dim=1) == classes
        learns = targets.confidence >= probabilities.amax(dim=1)
        return (own**self._agreeing).where(agrees, own**self._other * learns)
