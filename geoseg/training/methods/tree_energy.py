"""Tree Energy Loss: labels of a few pixels, as points and lines, are spread over the objects that they lie on.

Liang et al. 2022, "Tree Energy Loss: Towards Sparsely Annotated Semantic Segmentation". Along the minimum spanning tree
of an image, and along one of the network's features, pixels of one object are joined before those of others: averages
of probabilities along both are what pixels without a label are to have.

In: labelled windows, whose pixels without a label count where they hold data. Out: the loss of the labels plus the
weighted tree energy loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.core.errors import SpecError
from geoseg.losses.trees.tree_filter import tree_filter
from geoseg.models.decoded_features import DecodedFeatures
from geoseg.models.families.body import Body
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import IGNORE, Spec
from geoseg.training.criterion import JoinedCriterion, TrainingCriterion
from geoseg.training.methods.method import LABELLED, Method, Setup, StepLoss, TrainingBatch
from geoseg.training.perturbations.targets import share

BANDS = 3
"""Bands of the paper's images. Squared differences of others are rescaled to those of so many bands."""


class TreeEnergySettings(Spec):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=0.4, ge=0, le=100)
    """Weight of the tree energy loss; that of the labels is 1."""
    sigma: float = Field(default=0.002, gt=0, le=1000)
    """Squared difference of neighbouring cells, of three bands from 0 to 1, over which they share 1/e of what equal
    ones share. The larger it is, the fainter are the edges over which classes spread. The paper has 0.002 for streets
    and 0.02 for single objects."""
    stride: int = Field(default=4, ge=1, le=32)
    """Pixels of a window along each side that are averaged to one of the trees'."""
    channels: int = Field(default=64, ge=1, le=4096)
    """Channels of the embedding of the decoder's features, along whose tree probabilities are averaged secondly; 256 in
    the paper, at several times the cost."""


class TreeEnergy(Method):
    """Minimises the loss of labels + weight * mean |P - F_high(F_low(P))| over pixels that hold data but no label.

    F_low averages the probabilities P along the tree of the image, F_high along that of an embedding, which is learnt.
    """

    Settings = TreeEnergySettings
    sees_unlabelled = True
    needs_plain = True
    figures = ("labelled", "tree", "without_label")

    def __init__(self, setup: Setup, settings: TreeEnergySettings):
        """Prepare the losses, and an embedding of the decoder's features.

        Raises:
            SpecError: if the network that gives these features is frozen.
        """
        super().__init__(setup, settings)
        network = setup.network
        if any(part is network.body for part in network.frozen_parts):
            raise SpecError(
                "method tree_energy: the features of the network are frozen in this run: set freeze_local to false, or "
                "take method supervised"
            )
        self.criterion = TrainingCriterion(network, setup.spec, setup.class_counts)
        self.embedding = Embedding(network.body, settings.channels)
        self.weight, self.sigma, self.stride = settings.weight, settings.sigma, settings.stride

    def loss(self, batches: Mapping[str, TrainingBatch], generator: torch.Generator) -> StepLoss:
        """Loss of a batch of labelled windows; its parts, and the share of the pixels with data that have no label."""
        setup = self.setup
        windows = batches[LABELLED].augmented(setup.augment, setup.spec.window, generator)
        cells = Cells.of(windows, self.stride, setup.augment.low, setup.augment.high)

        def energy(logits: Tensor) -> Tensor:
            size = windows.image.shape[-2:]
            return cells.energy(logits, self.embedding(len(logits), size, cells.size), self.sigma)

        criterion = JoinedCriterion(self.criterion, energy, windows.labels, weights=(1.0, self.weight))
        value = setup.network.training_loss(windows, criterion, setup.averaged, generator)
        assert criterion.last is not None  # the body is trained, and so are logits of windows
        parts = {"labelled": value - self.weight * criterion.last, "tree": criterion.last}
        return StepLoss(value, parts | {"without_label": share(windows.unlabelled, windows.holds_data)})


class Embedding(nn.Module):
    """A 1 × 1 convolution, batch normalisation and ReLU of the decoder's features of the batch forwarded last."""

    def __init__(self, body: Body, channels: int):
        super().__init__()
        self._decoded = DecodedFeatures(body)
        self.layers = nn.Sequential(
            nn.Conv2d(body.channels, channels, kernel_size=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, count: int, size: Sequence[int], wanted: tuple[int, int]) -> Tensor:
        """Embedding (count, E, *wanted) of the first windows of the batch, which are (B, C, *size)."""
        features = self._decoded.take(count, size)
        is_finer = features.shape[-2] >= wanted[0]
        features = functional.interpolate(features, wanted, mode="area" if is_finer else "bilinear")
        embedded: Tensor = self.layers(features)
        return embedded


@dataclass(frozen=True)
class Cells:
    """Squares of pixels of windows, which are the nodes of trees."""

    image: Tensor
    """Mean values, from 0 to 1 in the whole of the data (B, C, h, w)."""
    holds_data: Tensor
    """Cells all of whose pixels hold data (B, h, w), bool."""
    unlabelled: Tensor
    """Share of each cell that has no label (B, h, w), 0 where it lacks data."""
    stride: int
    """Side of a cell, in pixels; those at the end may be smaller."""

    @classmethod
    def of(cls, windows: LabelledWindows, stride: int, low: float, high: float) -> Cells:
        """The cells of a batch, `stride` pixels wide, whose band values are from `low` to `high`."""
        assert windows.plain is not None  # the method needs them
        missing = (windows.labels == IGNORE) & ~windows.unlabelled
        holds_data = ~functional.max_pool2d(missing.float(), stride, ceil_mode=True).bool()
        image = _averaged((windows.plain - low) / (high - low), stride)
        return cls(image, holds_data, _averaged(windows.unlabelled.float(), stride) * holds_data, stride)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        height, width = self.holds_data.shape[-2:]
        return height, width

    def energy(self, logits: Tensor, embedded: Tensor, sigma: float) -> Tensor:
        """Tree energy loss of logits (B, K, H, W), a scalar, given an embedding (B, E, h, w); 0 if all is labelled."""
        with torch.autocast(logits.device.type, enabled=False):
            found = _averaged(logits.float().softmax(dim=1), self.stride)
            wanted = tree_filter(found, self.image, self.holds_data, sigma * self.image.shape[1] / BANDS)
            wanted = tree_filter(wanted, embedded.float(), self.holds_data)
            differences = (found - wanted).abs().sum(dim=1)
            return (differences * self.unlabelled).sum() / self.unlabelled.sum().clamp(min=1)


def _averaged(values: Tensor, stride: int) -> Tensor:
    """Means of squares of values (..., H, W); those at the end are of fewer."""
    return functional.avg_pool2d(values, stride, ceil_mode=True)
