"""DDRNet against its paper."""

from __future__ import annotations

import pytest
import torch
from support.overfitting import check_overfitting
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.families.building import build_body
from geoseg.models.families.ddrnet import FAMILY, Dappm, DdrNet
from geoseg.spec import NetworkSpec


@pytest.mark.parametrize(("name", "millions"), [("ddrnet23_slim", 5.7), ("ddrnet23", 20.1)])
def test_it_has_the_papers_number_of_weights(name: str, millions: float) -> None:
    """For the 19 classes of Cityscapes, without the auxiliary head, which is used in training alone."""
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture=name), 3, 19)
    count = sum(p.numel() for part, p in body.named_parameters() if not part.startswith("seghead_extra"))
    assert abs(count / 1e6 - millions) < 0.06  # half of the last digit, and the biases of normalisation


def test_its_branches_have_strides_8_and_64() -> None:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="ddrnet23_slim"), 3, 19).eval()
        image, fused, high, low = body.encode(torch.empty(1, 3, 1024, 512)).maps
        assert image.shape == (1, 3, 1024, 512)
        assert fused.shape == (1, 64, 128, 64)
        assert high.shape == (1, 128, 128, 64)
        assert low.shape == (1, 512, 16, 8)
        assert body.decode(body.encode(torch.empty(1, 3, 1024, 512))).shape == (1, 128, 128, 64)


def test_each_branch_learns_from_the_other() -> None:
    body = build_body(FAMILY.example("ddrnet23_slim"), 3, 2).eval()
    assert isinstance(body, DdrNet)
    _, _, high, low = body.encode(torch.rand(1, 3, 128, 128)).maps
    by_name = dict(body.encoder.named_parameters())
    for output, other in ((high, "layer4.0.conv1.weight"), (low, "layer4_.0.conv1.weight")):
        (gradient,) = torch.autograd.grad(output.sum(), by_name[other], retain_graph=True)
        assert gradient.abs().sum() > 0


def test_pooled_maps_add_up_from_the_smallest_to_the_whole() -> None:
    """The first scale sees a pixel; each further one adds its own wider view to the one before."""
    torch.manual_seed(0)
    pooling = Dappm(4, 4, 4).eval()
    values = torch.rand(1, 4, 32, 32, requires_grad=True)
    reach = []
    for number, module in enumerate((pooling.scale0, pooling.process1, pooling.process2, pooling.process4)):
        seen: list[torch.Tensor] = []
        handle = module.register_forward_hook(lambda m, inputs, output, seen=seen: seen.append(output))
        pooling(values)
        handle.remove()
        (gradient,) = torch.autograd.grad(seen[0][0, :, 16, 16].sum(), values)
        reach.append(int((gradient.abs().sum(dim=1) > 0).sum()))
        assert number == 0 or reach[-1] > reach[-2]
    assert reach[0] == 1
    assert reach[-1] == 32 * 32


def test_means_of_pooled_maps_are_those_of_the_pixels_inside() -> None:
    """With zeros beyond a map of 2 × 2 pixels, a mean of 17 × 17 would be a 72nd of what it is in evaluation."""
    pooling = Dappm(4, 4, 4).train()
    for scale in (pooling.scale1, pooling.scale2, pooling.scale3):
        assert torch.equal(scale[0](torch.ones(1, 4, 2, 2)), torch.ones(1, 4, 1, 1))


def test_logits_of_small_windows_are_as_large_in_evaluation_as_in_training() -> None:
    torch.manual_seed(0)
    body = build_body(FAMILY.example("ddrnet23_slim"), 3, 2)
    for layer in body.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the mean of all batches
    images = torch.randn(8, 4, 3, 1, 1) + torch.randn(8, 4, 3, 128, 128)
    with torch.no_grad():
        in_training = torch.stack([body.train()(batch) for batch in images])
        in_evaluation = torch.stack([body.eval()(batch) for batch in images])
    assert in_evaluation.std() < 4 * in_training.std()


def test_the_auxiliary_head_learns_from_the_first_fusion() -> None:
    body = build_body(FAMILY.example("ddrnet23"), 3, 2)
    maps = body.encoder(torch.rand(2, 3, 64, 64))
    labels = torch.randint(0, 2, (2, 64, 64))
    body.auxiliary_loss([maps], torch.zeros(2, 2, 64, 64), labels, functional.cross_entropy).backward()
    assert body.encoder.layer3_[0].conv1.weight.grad is not None  # before the first fusion
    assert body.encoder.layer4_[0].conv1.weight.grad is None  # after it


def test_weights_of_its_authors_have_its_names() -> None:
    """Those of their network for ImageNet, in which it differs by further layers alone."""
    names = set(build_body(FAMILY.example("ddrnet23_slim"), 3, 2).encoder.state_dict())
    assert {
        "conv1.0.bias", "conv1.4.running_var", "layer1.1.bn2.weight", "layer2.0.downsample.1.bias",
        "layer3.0.conv1.weight", "layer4.0.downsample.0.weight", "layer5.0.bn3.weight", "layer5.0.downsample.0.weight",
        "layer3_.1.conv2.weight", "layer4_.0.bn1.weight", "layer5_.0.conv3.weight", "compression3.1.weight",
        "compression4.0.weight", "down3.0.weight", "down4.0.weight", "down4.3.weight", "down4.4.running_mean",
    } <= names  # fmt: skip


def test_it_overfits_four_windows() -> None:
    check_overfitting(FAMILY.example("ddrnet23_slim"), below=0.35, steps=80, rate=1e-2)


def test_wrong_arguments_are_answered_in_a_line() -> None:
    with pytest.raises(ModelError, match="ddrnet23 has no argument 'widht', did you mean width"):
        build_body(NetworkSpec(architecture="ddrnet23", arguments={"widht": 4}), 3, 2)
