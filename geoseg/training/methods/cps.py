"""Cross pseudo supervision: two networks from different starts learn each other's classes.

Chen, Yuan, Zeng and Wang, "Semi-Supervised Semantic Segmentation with Cross Pseudo Supervision", CVPR 2021, section 3:
L_s + λ L_cps, the latter with CutMix, on windows without labels alone. The paper's λ is 1.5 on PASCAL VOC and 6 on
Cityscapes. Two things differ: classes are taken by the running statistics of normalisation layers, and the weight rises
in the first steps.

In: labelled windows and windows without labels. Out: the losses of both networks.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from geoseg.training.methods.two_students import TwoStudents, TwoStudentsSettings
from geoseg.training.perturbations.targets import Targets


class CpsSettings(TwoStudentsSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=1.5, ge=0, le=1000)
    """Weight of the loss of windows without labels; that of the labelled ones is 1."""


class CrossPseudoSupervision(TwoStudents):
    """Minimises the losses of both networks, and their cross-entropies against each other's most probable classes."""

    Settings = CpsSettings

    def pixel_weights(self, probabilities: Tensor, targets: Targets) -> Tensor:
        """1 for all pixels: there is no threshold."""
        return torch.ones_like(targets.confidence)
