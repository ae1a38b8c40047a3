"""Gated-SCNN against its paper."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.overfitting import check_overfitting
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.families.building import build_body
from geoseg.models.families.gated_scnn import FAMILY, GatedConvolution, GatedScnn, image_gradient
from geoseg.models.families.gated_scnn_losses import (
    boundary_loss,
    boundary_map,
    boundary_strength,
    dual_task_loss,
    edge_loss,
)
from geoseg.spec import IGNORE, NetworkSpec


def two_halves(side: int = 16) -> torch.Tensor:
    """Labels (1, side, side): class 0 at the left, class 1 at the right."""
    labels = torch.zeros(1, side, side, dtype=torch.int64)
    labels[:, :, side // 2 :] = 1
    return labels


def logits_of(labels: torch.Tensor, classes: int = 3, size: float = 20.0) -> torch.Tensor:
    return size * functional.one_hot(labels, classes).permute(0, 3, 1, 2).float()


def a_network() -> GatedScnn:
    torch.manual_seed(0)
    body = build_body(FAMILY.example("gated_scnn"), 3, 2)
    assert isinstance(body, GatedScnn)
    return body


def test_its_encoder_has_a_stride_of_8_and_its_shape_stream_sees_every_pixel() -> None:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="gated_scnn", encoder="resnet50"), 3, 19).eval()
        features = body.encode(torch.empty(1, 3, 256, 128))
        assert features.maps[-1].shape == (1, 2048, 32, 16)
        assert body.shape_stream(*features.tokens[0], features.maps).shape == (1, 1, 256, 128)
        assert body.decode(features).shape == (1, 256, 64, 32)


def test_three_gates_take_the_third_fourth_and_last_map() -> None:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="gated_scnn", encoder="resnet50"), 3, 19)
    assert [gate.reduce.in_channels for gate in body.shape_stream.gates] == [512, 1024, 2048]


def test_the_regular_stream_decides_what_passes_a_gate() -> None:
    """Equation 2: with alpha 0, (s alpha + s) w is s w; with alpha 1, it is 2 s w."""
    gate = GatedConvolution(4, 2, deeper=3).eval()
    torch.nn.init.zeros_(gate.weigh.bias)
    shape = torch.rand(1, 4, 8, 8)
    for logit, times in ((-100.0, 1), (100.0, 2)):
        torch.nn.init.zeros_(gate.attend[0].weight)
        torch.nn.init.constant_(gate.attend[0].bias, logit)
        assert torch.allclose(gate(shape, torch.rand(1, 3, 2, 2)), times * gate.weigh(shape), atol=1e-5)


def test_boundaries_reach_the_classes_through_the_fusion() -> None:
    body = a_network().eval()
    features = body.encode(torch.rand(1, 3, 64, 64))
    logits = body.head(body.decode(features))
    (gradient,) = torch.autograd.grad(logits.sum(), body.shape_stream.leave.weight)
    assert gradient.abs().sum() > 0


def test_an_image_has_a_gradient_at_its_edges_alone() -> None:
    image = torch.zeros(1, 2, 6, 6)
    image[:, 1, :, 3:] = 8
    gradient = image_gradient(image)
    assert gradient.shape == (1, 1, 6, 6)
    assert torch.allclose(gradient[0, 0, :, 2:4], torch.tensor(4.0))
    assert gradient[0, 0, :, [0, 1, 4, 5]].max() < 1e-5


def test_boundaries_of_labels_are_the_pixels_beside_another_class() -> None:
    labels = two_halves(8)
    labels[:, 5:] = IGNORE
    edges, known = boundary_map(labels)
    assert edges[0, :5].nonzero()[:, 1].unique().tolist() == [3, 4]
    assert not edges[0, 5:].any()  # next to pixels without a label there is no boundary
    assert torch.equal(known, labels != IGNORE)


def test_the_edge_loss_weighs_both_kinds_alike() -> None:
    """Undecided everywhere, boundaries add as much to it as all other pixels."""
    edges, known = boundary_map(two_halves())
    logits = torch.zeros(1, 16, 16, requires_grad=True)
    edge_loss(logits, edges, known).backward()
    assert logits.grad is not None
    assert torch.isclose(logits.grad[edges].sum(), -logits.grad[~edges].sum())
    assert edge_loss(100 * (2 * edges.float() - 1), edges, known) < 1e-6
    assert edge_loss(torch.zeros(1, 16, 16), edges, torch.zeros_like(known)) == 0


def test_the_strength_of_a_boundary_is_the_gradient_of_its_smoothed_step() -> None:
    """Equation 4: two maps change by the same, so that √2 times one of their gradients is divided by √2."""
    strength = boundary_strength(logits_of(two_halves(), size=1.0))
    weights = [math.exp(-(x**2) / 2) for x in range(-2, 3)]
    step = [sum(weights[:k]) / sum(weights) for k in (2, 3)]  # smoothed values left and right of the boundary
    before, after = sum(weights[:1]) / sum(weights), sum(weights[:3]) / sum(weights)
    assert torch.isclose(strength[0, 8, 7], torch.tensor((after - before) / 2), atol=1e-5)
    assert step[0] < step[1]
    assert strength[0, :, :4].max() < 1e-5


def test_the_dual_task_loss_is_0_for_equal_boundaries_and_pulls_wrong_ones() -> None:
    labels = two_halves()
    assert dual_task_loss(logits_of(labels), labels) < 1e-4
    shifted = logits_of(labels.roll(3, dims=2), size=1.0).requires_grad_()
    loss = dual_task_loss(shifted, labels)
    loss.backward()
    assert loss > 0.1
    assert shifted.grad is not None
    assert shifted.grad.abs().sum() > 0
    assert dual_task_loss(shifted, torch.full_like(labels, IGNORE)) == 0


def test_the_boundary_loss_counts_predicted_boundaries_alone() -> None:
    """Equation 6: elsewhere, wrong classes cost nothing."""
    labels = two_halves()
    wrong = logits_of(1 - labels)
    edges = torch.full((1, 16, 16), -10.0)
    assert boundary_loss(wrong, labels, edges) == 0
    edges[:, 3, 3] = 10.0
    assert torch.isclose(boundary_loss(wrong, labels, edges), torch.tensor(20.0), atol=1e-3)


def test_its_own_losses_train_the_shape_stream() -> None:
    body = a_network()
    image = torch.rand(2, 3, 64, 64)
    maps = body.encoder(image)
    edges = body.shape_stream(image, maps)
    logits = body.head(body.decoder(maps, edges.sigmoid()))
    body.auxiliary_loss([edges], logits, two_halves(64).expand(2, -1, -1), functional.cross_entropy).backward()
    assert all(p.grad is not None for p in body.shape_stream.parameters())


def test_it_overfits_four_windows() -> None:
    check_overfitting(FAMILY.example("gated_scnn"), below=0.35, steps=50, rate=1e-2)


def test_an_encoder_that_cannot_dilate_is_refused_in_a_line() -> None:
    with pytest.raises(ModelError, match="maps of a dilated encoder, which VGG encoders do not give"):
        build_body(NetworkSpec(architecture="gated_scnn", encoder="vgg11"), 3, 2)


def test_without_dilation_it_takes_any_encoder() -> None:
    arguments: Any = {"encoder_output_stride": 32}
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="gated_scnn", encoder="vgg11", arguments=arguments), 3, 2).eval()
        assert body(torch.empty(1, 3, 70, 64)).shape == (1, 2, 70, 64)
