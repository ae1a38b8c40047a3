"""The contract of fusions, held by every one that is registered, and what each keeps from its paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.branches import CrossEntropy, in_training
from support.context_networks import awake, context_spec, local_spec, model_spec, network
from torch import Tensor
from torch.nn import functional

from geoseg.core.errors import SpecError
from geoseg.models.box_sampling import sample_boxes
from geoseg.models.branches.context import ContextSegmenter
from geoseg.models.bundle import load_model, save_model
from geoseg.models.fusions.fctl import KEYS, FctlFusion
from geoseg.models.fusions.fusion import Fusion, Widths
from geoseg.models.fusions.sgnet import WINDOW, SurroundingContext, pooled
from geoseg.models.surroundings import Context, Views
from geoseg.models.training_batch import LabelledWindows
from geoseg.models.tta import Augmentation
from geoseg.models.weights.start import start_from
from geoseg.spec import ContextSpec, ModelSpec, parse_spec
from geoseg.spec.fusion import FUSIONS

WIDTHS = Widths(local=5, context=4, levels=2, classes=3)
MAKERS = {"random": context_spec, "local": local_spec}
fusions = pytest.mark.parametrize("name", FUSIONS.names)
inits = pytest.mark.parametrize("init", MAKERS)


def a_network(name: str, init: str = "random", **changes: Any) -> ContextSegmenter:
    spec = MAKERS[init](fusion=name, **changes)
    return network(context=spec, architecture="pointwise", encoder="") if init == "local" else network(context=spec)


def views(count: int = 2, sizes: tuple[int, int] = (64, 32)) -> Views:
    generator = torch.Generator().manual_seed(1)
    boxes = [torch.tensor([[0.3, 0.4, 0.5, 0.6], [0.31, 0.28, 0.53, 0.5], [0.5, 0.4, 0.7, 0.6]])[:count]] * 2
    return Views(tuple(torch.rand(count, 3, size, size, generator=generator) for size in sizes), tuple(boxes))


def windows() -> LabelledWindows:
    generator = torch.Generator().manual_seed(2)
    labels = [torch.randint(3, (2, size, size), generator=generator) for size in (48, 64, 32)]
    return LabelledWindows(torch.rand(2, 2, 48, 48, generator=generator), labels[0], views(), tuple(labels[1:]))


def loss_of(net: ContextSegmenter, batch: LabelledWindows) -> Tensor:
    return net.training_loss(batch, CrossEntropy(), net, torch.Generator())


def a_fusion(name: str, widths: Widths = WIDTHS, *, bias: bool = False) -> Any:
    """A fusion whose weights are all random."""
    torch.manual_seed(0)
    fusion: Fusion = FUSIONS.get(name)(widths, bias=bias)
    for parameter in fusion.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    return fusion.eval()


def features(count: int = 2, side: int = 12, sizes: tuple[int, int] = (24, 20)) -> tuple[Tensor, list[Tensor], Tensor]:
    """Features of windows and of their views, and boxes (B, 4)."""
    generator = torch.Generator().manual_seed(3)
    local = torch.randn(count, 5, side, side + 3, generator=generator)
    return local, [torch.randn(count, 4, size, size, generator=generator) for size in sizes], views(count).boxes[0]


def in_views(fusion: Fusion, maps: list[Tensor], boxes: Tensor) -> Context:
    return Context(tuple(fusion.of_view(level, one) for level, one in enumerate(maps)), (boxes,) * len(maps))


# ------------------------------------------------------------------------------------------------------- every fusion


@inits
@fusions
def test_untrained_it_changes_no_bit(name: str, init: str) -> None:
    net, image = a_network(name, init).eval(), torch.rand(2, 2, 48, 56)
    with torch.inference_mode():
        alone = super(ContextSegmenter, net).forward(image)
        assert torch.equal(net(image, net.see(views())), alone)
        assert torch.equal(net(image), alone)
        assert not torch.equal(awake(net)(image, net.see(views())), alone)
        assert torch.equal(net(image), alone)


@inits
@fusions
def test_all_of_it_learns_from_the_second_step_on(name: str, init: str) -> None:
    net, batch = a_network(name, init, dropout=0.0).train(), windows()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(net, batch).backward()
        optimizer.step()
    still = [n for n, p in net.context.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@inits
@fusions
def test_what_a_frozen_network_makes_of_windows_is_computed_once(name: str, init: str) -> None:
    net, batch = in_training(awake(a_network(name, init, freeze_local=True, dropout=0.0))), windows()
    outputs = net.frozen_outputs(batch)
    blind = replace(batch, image=torch.zeros(2, 2, 1, 1), frozen=outputs)
    assert torch.equal(loss_of(net, blind), loss_of(net, batch))


@fusions
def test_views_without_features_bring_no_evidence(name: str) -> None:
    fusion, (local, maps, boxes) = a_fusion(name), features()
    nothing = [torch.zeros_like(one) for one in maps]
    with torch.inference_mode():
        assert not fusion(local, in_views(fusion, nothing, boxes), (40, 44)).any()
        assert fusion(local, in_views(fusion, maps, boxes), (40, 44)).any()


@pytest.mark.parametrize("sizes", [(64, 64), (1, 3), (24, 17)])
@fusions
def test_windows_and_views_have_any_size(name: str, sizes: tuple[int, int]) -> None:
    fusion = a_fusion(name, bias=True)
    for side in (1, 5, 16):
        local, maps, boxes = features(3, side, sizes)
        with torch.inference_mode():
            logits = fusion(local, in_views(fusion, maps, boxes), (4 * side - 3, 30))
        assert logits.shape == (3, 3, 4 * side - 3, 30)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


@fusions
def test_windows_do_not_depend_on_each_other(name: str) -> None:
    """Whether they are alone, or have one view together."""
    fusion, (local, maps, boxes) = a_fusion(name), features(3)
    boxes = torch.tensor([[0.1, 0.1, 0.2, 0.3], [0.4, 0.2, 0.7, 0.6], [0.5, 0.5, 0.9, 0.95]])
    with torch.inference_mode():
        together = in_views(fusion, [one[:1] for one in maps], boxes)
        found = fusion(local, together, (48, 60))
        apart = [fusion(local[i : i + 1], together.part([i]), (48, 60)) for i in range(3)]
        each = Context(tuple(one.expand(3, -1, -1, -1) for one in together.maps), together.boxes)
        assert torch.allclose(found, torch.cat(apart), atol=1e-5)
        assert torch.allclose(found, fusion(local, each, (48, 60)), atol=1e-5)


@fusions
def test_it_can_be_mirrored_and_turned(name: str) -> None:
    """By test-time augmentation, which turns what was made of a view."""
    how, (local, maps, boxes) = Augmentation(turns=1, mirrored=True), features()
    fusion = a_fusion(name)
    with torch.inference_mode():
        turned = how.apply_context(in_views(fusion, maps, boxes))
        assert fusion(how.apply(local), turned, (60, 48)).shape == (2, 3, 60, 48)


@fusions
def test_in_16_bits_it_answers_much_the_same(name: str) -> None:
    fusion, (local, maps, boxes) = a_fusion(name), features()
    with torch.inference_mode():
        exact = fusion(local, in_views(fusion, maps, boxes), (40, 44))
        with torch.autocast("cpu", torch.bfloat16):
            found = fusion(local.bfloat16(), in_views(fusion, [one.bfloat16() for one in maps], boxes), (40, 44))
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 0.1 * exact.abs().max()


@fusions
def test_a_bundle_keeps_it_and_another_fusion_starts_anew(name: str, tmp_path: Path) -> None:
    context = context_spec(fusion=name)
    net, spec = awake(network(context=context)).eval(), model_spec(context=context)
    path = save_model(net, spec, tmp_path / "m.safetensors")
    loaded, image = load_model(path), torch.rand(2, 2, 64, 64)
    assert loaded.spec.context == context
    with torch.inference_mode():
        found = loaded.module(image, loaded.module.see(views()))
        assert torch.equal(found, net(image, net.see(views())))
    for other in FUSIONS:
        wanted = context_spec(fusion=other)
        account = start_from(network(context=wanted), model_spec(context=wanted), path)
        assert account == "all weights of test" + "; new: the context branch" * (other != name)


@fusions
def test_a_config_names_it(name: str) -> None:
    spec = model_spec(context=context_spec(fusion=name))
    plain = spec.model_dump(mode="json")
    assert parse_spec(ModelSpec, plain, source="test").context == spec.context
    is_default = name == "gated"
    assert ("fusion" in plain["context"]) != is_default
    assert spec.context.describe().endswith(f", fused as in {name}") != is_default


def test_gated_is_what_is_taken_without_a_name() -> None:
    assert ContextSpec().fusion == "gated"
    names = [n for n in network().state_dict() if n.startswith("context.fusion.")]
    layers = "gate.0.weight", "gate.0.bias", "gate.2.weight", "gate.2.bias", "out.weight", "out.bias"
    assert names == [f"context.fusion.{layer}" for layer in layers]


def test_a_misspelt_fusion_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"no fusion is called 'fctll': did you mean 'fctl'\?.*install it"):
        parse_spec(ContextSpec, {"fusion": "fctll"}, source="test")


# ----------------------------------------------------------------------------------------------------------------- FCtL


def correlations(fusion: FctlFusion, local: Tensor, maps: list[Tensor], boxes: Tensor) -> list[Tensor]:
    context = in_views(fusion, maps, boxes)
    return [fusion.correlation(level, local, context) for level in range(2)]


@torch.inference_mode()
def test_the_correlation_of_fctl_is_a_softmax_over_the_places_of_a_view() -> None:
    fusion, (local, maps, boxes) = a_fusion("fctl"), features(sizes=(12, 16))
    a = fusion.nearness.copy_(torch.tensor([0.1, 0.3]))
    for level, found in enumerate(correlations(fusion, local, maps, boxes)):
        side = maps[level].shape[-1]
        queries, keys = fusion.queries[level](local), fusion.keys[level](maps[level])
        values = fusion.values[level](maps[level]).flatten(2)
        for window, row, col in ((0, 0, 0), (1, 7, 11), (1, 11, 14)):
            left, top, right, bottom = boxes[window]
            y, x = top + (bottom - top) * (row + 0.5) / 12, left + (right - left) * (col + 0.5) / 15
            places = (torch.arange(side) + 0.5) / side
            squares = KEYS**2 * ((places[:, None] - y) ** 2 + (places[None, :] - x) ** 2)
            affinities = (queries[window, :, row, col][:, None, None] * keys[window]).sum(dim=0) - a[level] * squares
            wanted = values[window] @ affinities.flatten().softmax(dim=0)
            assert torch.allclose(found[window, :, row, col], wanted, atol=1e-4)


@torch.inference_mode()
def test_fctl_attends_to_what_is_near_if_it_learns_so() -> None:
    """With a large factor, the answer is the value of the place that a pixel lies in."""
    fusion, (local, maps, boxes) = a_fusion("fctl"), features(sizes=(16, 16))
    fusion.nearness.fill_(1e4)
    for level, found in enumerate(correlations(fusion, local, maps, boxes)):
        nearest = functional.interpolate(fusion.values[level](maps[level]), scale_factor=20, mode="nearest")
        differ = (found - sample_boxes(nearest, boxes, (12, 15))).abs() > 1e-3
        assert differ.float().mean() < 0.1  # halfway between two places


@torch.inference_mode()
def test_the_sum_of_fctl_lies_between_the_answers_of_the_windows() -> None:
    fusion, (local, maps, boxes) = a_fusion("fctl"), features()
    answers = correlations(fusion, local, maps, boxes)
    weights = fusion.weights(answers)
    assert weights.shape == (2, 2, 4, 12, 15)
    assert torch.allclose(weights.sum(dim=1), torch.ones(2, 4, 12, 15))
    assert weights.min() > 1 / (1 + torch.e) - 1e-6  # sigmoids differ by less than 1
    fused = (weights * torch.stack(answers, dim=1)).sum(dim=1)
    assert (fused >= torch.minimum(*answers) - 1e-6).all()
    assert (fused <= torch.maximum(*answers) + 1e-6).all()


def test_keys_of_fctl_are_few_however_large_a_view_is() -> None:
    fusion = a_fusion("fctl")
    sides = [fusion.of_view(0, torch.rand(1, 4, side, side)).shape[-1] for side in (5, 16, 17, 48, 256)]
    assert sides == [5, 16, 9, 16, 16]


# ---------------------------------------------------------------------------------------------------------------- GLNet


@torch.inference_mode()
def test_local_features_of_glnet_are_put_back_into_the_whole_map() -> None:
    """What is computed around the window is what a convolution of the whole map gives."""
    fusion, (local, maps, _) = a_fusion("glnet"), features(sizes=(24, 24))
    boxes = torch.tensor([[6.3 / 24, 5.0 / 24, 11.0 / 24, 9.8 / 24], [10.5 / 24, 3.25 / 24, 15.2 / 24, 8.05 / 24]])
    found = fusion.put_back(0, local, maps[0], boxes)
    fine = 20  # pixels of a picture of the map in each of its own
    whole = torch.zeros(2, 5, 24 * fine, 24 * fine)
    for window, box in enumerate(boxes):
        left, top, right, bottom = (box * 24 * fine).round().int().tolist()
        whole[window, :, top:bottom, left:right] = functional.interpolate(
            local[window : window + 1], size=(bottom - top, right - left), mode="area"
        )
    averaged = functional.avg_pool2d(whole, fine)
    wanted = sample_boxes(fusion.into_views[0](averaged, maps[0]), boxes, (12, 15))
    assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()


@torch.inference_mode()
def test_a_pixel_of_a_view_inside_the_window_has_the_mean_of_its_local_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fusion, local = a_fusion("glnet"), torch.rand(1, 5, 8, 8)
    seen: list[Tensor] = []
    monkeypatch.setattr(fusion.into_views[0], "forward", lambda placed, maps: seen.append(placed) or maps)
    fusion.put_back(0, local, torch.rand(1, 4, 16, 16), torch.tensor([[4 / 16, 5 / 16, 8 / 16, 9 / 16]]))
    assert torch.allclose(seen[0][:, :, 2:6, 2:6], functional.avg_pool2d(local, 2), atol=1e-6)
    seen[0][:, :, 2:6, 2:6] = 0
    assert not seen[0].any()


@torch.inference_mode()
def test_global_features_of_glnet_reach_the_window_from_just_around_it_alone() -> None:
    fusion, (local, maps, _) = a_fusion("glnet"), features(sizes=(24, 24))
    boxes = torch.tensor([[8 / 24, 8 / 24, 12 / 24, 12 / 24]] * 2)
    before = fusion(local, in_views(fusion, maps, boxes), (48, 60))
    for one in maps:
        one[:, :, :5] = one[:, :, 15:] = one[..., :5] = one[..., 15:] = 9
    assert torch.allclose(fusion(local, in_views(fusion, maps, boxes), (48, 60)), before, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------- SGNet


@torch.inference_mode()
def test_the_mean_of_sgnet_is_that_of_the_whole_view() -> None:
    maps = torch.rand(2, 4, 24, 24)
    assert torch.allclose(pooled(maps)[..., 0, 0], maps.flatten(2).mean(dim=2))
    layer = SurroundingContext(4).eval()
    far = maps.clone()
    far[..., -1] += 1
    changed = layer(far) != layer(maps)
    assert changed[..., 0].any(), "what lies at one edge of a view changes the other"


@torch.inference_mode()
def test_attention_of_sgnet_stays_within_its_windows() -> None:
    torch.manual_seed(0)
    attention = SurroundingContext(16).attention.eval()
    attention.nearness.normal_()
    maps = torch.rand(1, 16, 2 * WINDOW, 3 * WINDOW)
    far = maps.clone()
    far[:, :, WINDOW + 3, 2 * WINDOW + 1] += 1
    changed = (attention(far) != attention(maps)).any(dim=1)[0]
    assert changed[WINDOW:, 2 * WINDOW :].all()
    changed[WINDOW:, 2 * WINDOW :] = False
    assert not changed.any()


@torch.inference_mode()
def test_attention_of_sgnet_is_a_softmax_of_products_less_the_squared_distance() -> None:
    torch.manual_seed(0)
    attention = SurroundingContext(8).attention.eval()
    attention.nearness.fill_(0.05)
    maps = torch.randn(1, 8, WINDOW, WINDOW)
    queries, keys, values = attention.to_qkv(maps)[0].flatten(1).chunk(3)
    places = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
    squares = (places[:, None] - places[None]).square().sum(dim=2)
    wanted = (queries.T @ keys / 8**0.5 - 0.05 * squares).softmax(dim=1) @ values.T
    assert torch.allclose(attention(maps)[0].flatten(1).T, wanted, atol=1e-5)
