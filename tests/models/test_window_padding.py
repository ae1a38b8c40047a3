"""Windows of any size: padded by what lies at their edges for networks that take some sizes alone, and cropped."""

from __future__ import annotations

import pytest
import torch
from support.models import make_spec
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.auxiliary_head import AuxiliaryHead
from geoseg.models.auxiliary_outputs import AuxiliaryOutputs
from geoseg.models.build import build_network
from geoseg.models.families.body import Body, Features
from geoseg.models.surroundings import Views
from geoseg.models.window_padding import Sides, cropped
from geoseg.spec import IGNORE, ContextLevel, ContextSpec, NetworkSpec

FPN = NetworkSpec(architecture="fpn", encoder="tu-test_resnet")
SMALL = NetworkSpec(architecture="pointwise", multiple=8)
BANDS = ("red", "green", "blue")


class Eights(Body):
    """A network that takes images of 16, 24, 32, ... pixels, and classifies squares of 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 6, kernel_size=8, stride=8)
        self.up = nn.ConvTranspose2d(6, 4, kernel_size=8, stride=8)
        self.second = nn.Conv2d(6, 4, kernel_size=1)

    @property
    def head(self) -> nn.Module:
        return self.up

    @property
    def channels(self) -> int:
        return 6

    @property
    def stages(self) -> tuple[int, ...]:
        return (6,)

    @property
    def sides(self) -> Sides:
        return Sides(8, least=16)

    @property
    def auxiliary_parts(self) -> tuple[nn.Module, ...]:
        return (self.encoder,)

    def auxiliary_loss(self, outputs, logits, labels, criterion) -> Tensor:
        coarse = functional.interpolate(self.second(outputs[0]), scale_factor=8.0)
        assert coarse.shape == logits.shape
        return criterion(coarse, labels)

    def encode(self, image: Tensor) -> Features:
        assert all(side % 8 == 0 and side >= 16 for side in image.shape[-2:])
        return Features([self.encoder(image)])

    def decode(self, features: Features) -> Tensor:
        return features.maps[0]


@pytest.mark.parametrize(
    ("sides", "size", "wanted"),
    [
        (Sides(), (1, 7), (1, 7)),
        (Sides(32), (64, 65), (64, 96)),
        (Sides(16, least=128), (64, 130), (128, 144)),
        (Sides(14, least=30), (1, 42), (42, 42)),
    ],
)
def test_windows_are_padded_to_the_next_sides(sides: Sides, size, wanted) -> None:
    assert sides.fitting(size) == wanted
    image = torch.rand(2, 3, *size)
    padded = sides.padded(image)
    assert padded.shape == (2, 3, *wanted)
    assert torch.equal(padded[:, :, : size[0], : size[1]], image)
    assert torch.equal(padded[:, :, :, -1], functional.pad(image[:, :, :, -1], (0, wanted[0] - size[0]), "replicate"))
    labels = torch.ones(2, *size, dtype=torch.long)
    assert (sides.padded_labels(labels) == IGNORE).sum() == 2 * (wanted[0] * wanted[1] - size[0] * size[1])


def test_a_window_that_fits_is_passed_on_itself() -> None:
    image, labels = torch.rand(1, 3, 64, 96), torch.zeros(1, 64, 96, dtype=torch.long)
    assert Sides(32).padded(image) is image
    assert Sides(32).padded_labels(labels) is labels


def test_maps_of_a_coarser_stride_keep_each_pixel_that_shows_a_part_of_the_image() -> None:
    maps = torch.rand(1, 2, 8, 24)  # at a stride of 4, of an image of 32 x 96
    part = cropped(maps, torch.Size((1, 3, 32, 96)), torch.Size((1, 3, 17, 80)))
    assert torch.equal(part, maps[:, :, :5, :20])


@pytest.mark.parametrize("training", [False, True])
def test_logits_are_those_of_the_padded_window_cropped(training: bool) -> None:
    body, image = Eights().train(training), torch.rand(2, 3, 13, 30)
    decoded, logits = body.classify(image)
    padded = functional.pad(image, (0, 2, 0, 3), "replicate")
    assert torch.equal(logits, body(padded)[:, :, :13, :30])
    assert torch.equal(body(image), logits)
    assert decoded.shape == (2, 6, 2, 4)


def test_auxiliary_outputs_of_padding_count_nowhere() -> None:
    torch.manual_seed(0)
    body, image, labels = Eights().train(), torch.rand(2, 3, 13, 30), torch.randint(4, (2, 13, 30))
    outputs, compared = AuxiliaryOutputs(body), []

    def criterion(logits: Tensor, ids: Tensor) -> Tensor:
        compared.append(ids)
        return functional.cross_entropy(logits, ids, ignore_index=IGNORE)

    outputs.loss(body(image), labels, criterion).backward()
    assert compared[0].shape == (2, 16, 32)
    assert torch.equal(compared[0][:, :13, :30], labels)
    assert (compared[0] == IGNORE).sum() == 2 * (16 * 32 - 13 * 30)


def test_an_auxiliary_head_sees_the_window_where_it_is() -> None:
    network = build_network(make_spec(bands=BANDS, network=FPN)).train()
    head = AuxiliaryHead(network, 4).eval()
    image = torch.rand(2, 3, 50, 90)
    network(image)
    found = head.logits((50, 90))
    network(functional.pad(image, (0, 6, 0, 14), "replicate"))
    assert torch.allclose(found, head.logits((64, 96))[:, :, :50, :90], atol=1e-5)


def test_a_network_with_a_context_takes_any_window() -> None:
    context = ContextSpec(levels=(ContextLevel(ratio=4, size=32),), network=SMALL, channels=4)
    network = build_network(make_spec(bands=BANDS, network=FPN, context=context, tile=64, overlap=16)).eval()
    views = Views((torch.rand(2, 4, 32, 32),), (torch.tensor([[0.25, 0.25, 0.75, 0.75]] * 2),))
    image = torch.rand(2, 3, 50, 61)
    with torch.inference_mode():
        assert torch.equal(network(image, network.see(views)), network(image).float())  # it is untrained
        network.context.fusion.out.weight.normal_()
        assert network(image, network.see(views)).shape == (2, 4, 50, 61)
