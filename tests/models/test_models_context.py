"""The context branch: it starts without effect in every network, works without context, and samples in place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from support.context_networks import SMALL_ENCODER, awake, context_spec, local_spec, model_spec, network, some_views
from support.models import make_spec

from geoseg.core.errors import GeosegError, ModelError, SpecError
from geoseg.models.box_sampling import sample_boxes
from geoseg.models.branches.context import ContextSegmenter
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.families import FAMILIES
from geoseg.models.surroundings import Context, Views
from geoseg.spec import ContextSpec, ModelSpec, TrainSpec, parse_spec

NARROW = {"embed_dim": 48, "num_heads": 3, "decoder_intermediate_channels": [16] * 4, "decoder_fusion_channels": 16}
ENCODERS = {"dpt": ("tu-vit_tiny_patch16_224", NARROW)}
OTHERS = [("unet", "tu-convnext_atto"), ("upernet", "tu-swin_tiny_patch4_window7_224"), ("fpn", "mobilenet_v2")]


# ---------------------------------------------------------------------------------------------------------- any network


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [(name, ENCODERS.get(name, (SMALL_ENCODER, {}))[0]) for name in smp.MODEL_ARCHITECTURES_MAPPING] + OTHERS,
)
def test_an_untrained_branch_changes_no_bit_of_any_network(architecture: str, encoder: str) -> None:
    arguments = ENCODERS.get(architecture, ("", {}))[1] | ({"img_size": 64} if "swin" in encoder else {})
    net = network(architecture=architecture, encoder=encoder, arguments=arguments).eval()
    image = torch.rand(2, 2, 64, 64)
    with torch.inference_mode():
        local = super(ContextSegmenter, net).forward(image)
        assert torch.equal(net(image), local)
        assert torch.equal(net(image, net.see(some_views())), local)
        assert not torch.equal(awake(net)(image, net.see(some_views())), local)
        assert torch.equal(net(image), local)


def test_a_convolution_alone_can_have_context() -> None:
    net = network(architecture="pointwise", encoder="").eval()
    image = torch.rand(2, 2, 17, 30)
    assert torch.equal(net(image, net.see(some_views())), net(image))
    assert awake(net)(image, net.see(some_views())).shape == (2, 3, 17, 30)


def test_the_local_network_keeps_the_names_of_its_weights() -> None:
    local = build_network(model_spec(context=None)).state_dict()
    both = network().state_dict()
    assert set(local) == {name for name in both if not name.startswith("context.")}


# ------------------------------------------------------------------------------------------------- views and windows


def test_one_view_serves_all_windows_of_a_batch() -> None:
    net = awake(network()).eval()
    image, views = torch.rand(2, 2, 64, 64), some_views(1)
    with torch.inference_mode():
        seen = net.see(views)
        boxes = tuple(torch.tensor([[0.1, 0.1, 0.3, 0.3], [0.4, 0.2, 0.6, 0.4]]) for _ in range(2))
        together = net(image, Context(seen.maps, boxes))
        apart = [net(image[i : i + 1], Context(seen.maps, tuple(box[i : i + 1] for box in boxes))) for i in (0, 1)]
    assert torch.allclose(together, torch.cat(apart), atol=1e-5)


def test_what_windows_see_does_not_depend_on_their_order() -> None:
    net = awake(network()).eval()
    image, views, order = torch.rand(4, 2, 64, 64), some_views(4), [2, 0, 3, 1]
    turned = Views(*(tuple(part[order] for part in parts) for parts in views))
    with torch.inference_mode():
        difference = net(image, net.see(views))[order] - net(image[order], net.see(turned))
    assert difference.abs().max() < 1e-5


def test_a_ramp_is_sampled_in_place() -> None:
    ramp = (torch.arange(40) + 0.5).expand(1, 1, 40, 40)
    sampled = sample_boxes(ramp, torch.tensor([[3.3 / 40, 5.1 / 40, 19.7 / 40, 30.2 / 40]]), (50, 60))
    wanted = 3.3 + (19.7 - 3.3) * (np.arange(60) + 0.5) / 60
    assert np.abs(sampled[0, 0].numpy() - wanted).max() < 1e-4


def test_sampling_is_exact_in_any_arithmetic() -> None:
    maps, box = torch.rand(1, 3, 200, 200).bfloat16(), torch.tensor([[0.31, 0.32, 0.43, 0.44]])
    wanted = sample_boxes(maps.float(), box, (64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sample_boxes(maps, box, (64, 64)), wanted)


def test_half_a_window_sampled_alone_is_half_of_it() -> None:
    maps, box = torch.rand(1, 5, 32, 32), torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    whole = sample_boxes(maps, box, (40, 40))
    left = sample_boxes(maps, torch.tensor([[0.25, 0.25, 0.5, 0.75]]), (40, 20))
    assert torch.allclose(whole[..., :20], left, atol=1e-5)


def test_values_without_data_are_not_seen() -> None:
    net = awake(network()).eval()
    views = some_views()
    for view in views.images:
        view[:, -1, :, :16] = 0
    other = Views(tuple(view.clone() for view in views.images), views.boxes)
    for view in other.images:
        view[:, :-1, :, :16] = 99
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(net.see(views).maps, net.see(other).maps, strict=True))


# ------------------------------------------------------------------------------------------------------ while training


def test_some_training_windows_see_no_context() -> None:
    # A convolution has no statistics of the batch, so that windows don't depend on each other.
    net = awake(network(architecture="pointwise", encoder="", context=context_spec(dropout=0.5)))
    image = torch.rand(64, 2, 8, 8)
    context = net.see(some_views(64))
    net.train()
    same = (net(image, context) == net(image)).flatten(1).all(dim=1)
    assert 10 < int(same.sum()) < 54
    net.eval()
    assert not (net(image, context) == net(image)).flatten(1).all(dim=1).any()


def test_the_branch_learns_from_the_first_step() -> None:
    net = network(context=context_spec(dropout=0.0)).train()
    context, told = net.see_and_classify(some_views())
    assert [logits.shape[:2] for logits in told] == [(2, 3), (2, 3)]
    loss = net(torch.rand(2, 2, 64, 64), context).square().mean() + sum(logits.square().mean() for logits in told)
    loss.backward()
    assert net.context.fusion.out.weight.grad.abs().max() > 0
    for level in net.context.nets:
        assert next(level.net.encoder.parameters()).grad.abs().max() > 0


def test_a_copy_is_normalised_by_its_own_statistics() -> None:
    net = network()
    twin = copy.deepcopy(net)
    assert twin.context.nets[0]._normalize[0] is twin.normalize


# --------------------------------------------------------------------------------------------------------------- bundle


def test_a_bundle_carries_the_branch(tmp_path: Path) -> None:
    net = awake(network()).eval()
    loaded = load_model(save_model(net, model_spec(), tmp_path / "a.safetensors"))
    assert loaded.spec.context == context_spec()
    assert isinstance(loaded.module, ContextSegmenter)
    image = torch.rand(2, 2, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded.module(image, loaded.module.see(some_views())), net(image, net.see(some_views())))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": []}, "without levels"),
        ({"levels": [{"ratio": 1}]}, "2 or more"),
        ({"levels": [{"ratio": 4, "size": 30}]}, "size 30 is not a multiple of 8"),
        ({"levels": [{"ratio": "scne"}]}, "did you mean scene"),
        ({"levels": [{"ratio": 4, "size": 32, "margin": 0.5}]}, "less than 0.5"),
    ],
)
def test_a_context_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        context_spec(**changes)


@pytest.mark.parametrize("make", [context_spec, local_spec])
@pytest.mark.parametrize(
    ("architecture", "size", "message"),
    [
        ("segmenter", 36, "size 36 is not a multiple of 16, which .*network needs: take 32"),
        ("pan", 64, "size 64 is too small for .*network: take 128 or more"),
    ],
)
def test_views_that_a_network_would_pad_are_refused(make: Any, architecture: str, size: int, message: str) -> None:
    """Whatever `network.multiple` says; before a network is trained, not when it is loaded."""
    given = FAMILIES.get(architecture).example(architecture).model_copy(update={"multiple": 4})
    own = {"network": given.model_dump()} if make is context_spec else {}
    context = make(levels=[{"ratio": 4, "size": size}], **own)
    spec = make_spec(3, network=given, tile=64, overlap=0, context=context)
    with pytest.raises(ModelError, match=f"context: {message}"):
        build_network(spec)
    build_network(spec, fresh=False)


def test_windows_must_fit_into_the_margin() -> None:
    values = model_spec().model_dump()
    with pytest.raises(SpecError, match=r"tile 65 reaches beyond .* up to 64 pixels"):
        parse_spec(ModelSpec, values | {"tile": 65}, source="test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": {"cutmix": 0.5}}, "cutmix"),
        ({"context": {"freeze_local": True}}, "init_from"),
        ({"tile": 1088}, "tile 1088 reaches beyond"),
    ],
)
def test_training_refuses_what_does_not_go_with_context(changes: dict[str, Any], message: str) -> None:
    values = {
        "name": "a",
        "data": {"tiles": "a.csv", "bands": ["red"]},
        "classes": [{"id": i, "name": str(i), "color": "#000000"} for i in range(2)],
        "network": {"architecture": "pointwise"},
        "context": {},
    }
    with pytest.raises(GeosegError, match=message):
        parse_spec(TrainSpec, values | changes, source="test")


def test_the_branch_costs_less_than_eight_percent(record_property: Any) -> None:
    """At the defaults, multiplications per pixel of a scene, for a network as small as the default model."""
    from torch.utils.flop_counter import FlopCounterMode

    def cost(work: Any) -> int:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            work()
        return counter.get_total_flops()

    arguments = {"encoder_depth": 4, "decoder_channels": [128, 64, 32, 16]}
    net = network(encoder="tu-resnet18", arguments=arguments, context=ContextSpec(), tile=1024).eval()
    image, view = torch.rand(1, 2, 256, 256), torch.rand(1, 3, 256, 256)
    local = cost(lambda: net(image)) / 256**2
    seen = net.see(Views((view,), (torch.tensor([[0.4, 0.4, 0.5, 0.5]]),)))
    fused = cost(lambda: net(image, seen)) / 256**2
    level = net.context.spec.levels[0]
    per_pixel = cost(lambda: net.encode(0, view)) / (level.core_px * level.ratio) ** 2
    record_property("share", f"fusion {(fused - local) / local:.4f}, views {per_pixel / local:.4f}")
    assert fused - local + per_pixel < 0.08 * local
