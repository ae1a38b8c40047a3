"""A network's own auxiliary outputs are part of the training loss, with any branch, and of nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from support.models import make_spec
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.auxiliary_outputs import AuxiliaryOutputs
from geoseg.models.branches import BRANCHES
from geoseg.models.families.pointwise import Pointwise
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import IGNORE, TrainSpec
from geoseg.training.criterion import TrainingCriterion

SPEC = make_spec(4)
CROSS_ENTROPY = {"cross_entropy": 1, "dice": 0}


class Coarse(Pointwise):
    """A network with a second head, for every second pixel, whose loss counts by a half."""

    def __init__(self) -> None:
        super().__init__(1, 4)
        self.second = nn.Conv2d(1, 4, kernel_size=2, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(self.encoder(image))

    @property
    def auxiliary_parts(self) -> list[nn.Module]:
        return [self.encoder]

    def auxiliary_loss(self, outputs, logits, labels, criterion) -> Tensor:
        coarse = functional.interpolate(self.second(outputs[0]), size=labels.shape[-2:])
        assert logits.shape == coarse.shape
        return 0.5 * criterion(coarse, labels)


@pytest.fixture
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return BRANCHES.get("plain").build(SPEC, Normalize(SPEC.normalization), Coarse(), fresh=True).train()


@pytest.fixture
def windows() -> LabelledWindows:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (2, 8, 8), generator=generator)
    labels[:, :2] = IGNORE
    return LabelledWindows(torch.rand(2, 1, 8, 8, generator=generator), labels)


def criterion_of(network: SegmentationNetwork) -> TrainingCriterion:
    settings = {
        "name": "m",
        "data": {"tiles": ".", "bands": SPEC.bands},
        "classes": SPEC.classes,
        "network": SPEC.network,
    }
    return TrainingCriterion(network, TrainSpec(**settings, loss=CROSS_ENTROPY), [1.0] * 4)


def loss_of(network: SegmentationNetwork, windows: LabelledWindows, criterion: TrainingCriterion) -> Tensor:
    return network.training_loss(windows, criterion, network, torch.Generator())


def test_their_loss_is_added_to_that_of_the_logits(network: SegmentationNetwork, windows: LabelledWindows) -> None:
    loss = loss_of(network, windows, criterion_of(network))
    logits, second = network(windows.image), network.body.second(windows.image)
    wanted = functional.cross_entropy(logits, windows.labels, ignore_index=IGNORE) + 0.5 * functional.cross_entropy(
        functional.interpolate(second, size=(8, 8)), windows.labels, ignore_index=IGNORE
    )
    assert torch.isclose(loss, wanted)
    loss.backward()
    assert network.body.second.weight.grad.abs().sum() > 0


def test_a_network_without_any_has_the_loss_of_its_logits_bit_for_bit(windows: LabelledWindows) -> None:
    plain = BRANCHES.get("plain").build(SPEC, Normalize(SPEC.normalization), Pointwise(1, 4), fresh=True)
    criterion = criterion_of(plain)
    assert torch.equal(loss_of(plain, windows, criterion), criterion(plain(windows.image), windows.labels))
    assert not plain.body.encoder._forward_hooks


def test_they_count_for_the_first_windows_of_a_batch_alone(
    network: SegmentationNetwork, windows: LabelledWindows
) -> None:
    outputs = AuxiliaryOutputs(network.body)
    logits = network(torch.cat([windows.image, windows.image + 1]))[:2]
    found = outputs.loss(logits, windows.labels, criterion_of(network))
    network(windows.image)
    assert torch.isclose(found, outputs.loss(logits, windows.labels, criterion_of(network)))


def test_nothing_is_kept_of_what_is_not_trained(network: SegmentationNetwork, windows: LabelledWindows) -> None:
    criterion = criterion_of(network)
    loss_of(network, windows, criterion)
    copy.deepcopy(network)  # which is an error for tensors with a history
    with torch.no_grad():
        logits = network(windows.image)
    assert torch.equal(criterion.of_windows(logits, windows.labels), criterion(logits, windows.labels))
    network.eval()
    logits = network(windows.image)
    assert torch.equal(criterion.of_windows(logits, windows.labels), criterion(logits, windows.labels))
