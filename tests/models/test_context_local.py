"""Views seen by a copy of the local network: it starts as that, learns apart from it, and knows where data are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from support.branches import CrossEntropy, in_training
from support.context_networks import SMALL_ENCODER, awake, context_spec, local_spec, model_spec, network
from torch import Tensor, nn

from geoseg.core.errors import SpecError
from geoseg.models.branches.context import ContextSegmenter
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.families import FAMILIES
from geoseg.models.gradient_balance import balanced
from geoseg.models.surroundings import Views
from geoseg.models.training_batch import LabelledWindows
from geoseg.models.weights.start import start_from
from geoseg.spec import ContextSpec, ModelSpec, TrainSpec, parse_spec

NARROW = {"embed_dim": 48, "num_heads": 3, "decoder_intermediate_channels": [16] * 4, "decoder_fusion_channels": 16}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {"dpt": ("tu-vit_tiny_patch16_224", NARROW), "pointwise": ("", {})}
SIZES = 64, 32


def views(*sizes: int) -> Views:
    """Two views per level, without data in their leftmost columns."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(2, 3, size, size, generator=generator) for size in sizes]
    for image in images:
        image[:, -1, :, : image.shape[-1] // 4] = 0
    return Views(tuple(images), tuple(torch.tensor([[0.3, 0.4, 0.5, 0.6]] * 2) for _ in sizes))


def windows(*sizes: int) -> LabelledWindows:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, 2, 64, 64, generator=generator)
    labels = [torch.randint(3, (2, size, size), generator=generator) for size in (64, *sizes)]
    return LabelledWindows(image, labels[0], views(*sizes), tuple(labels[1:]))


def loss_of(net: ContextSegmenter, batch: LabelledWindows) -> Tensor:
    torch.manual_seed(0)  # context dropout
    return net.training_loss(batch, CrossEntropy(), net, torch.Generator())


# ------------------------------------------------------------------------------------------------- before it is trained


@pytest.mark.parametrize(
    "architecture", [name for name in FAMILIES if name in {*smp.MODEL_ARCHITECTURES_MAPPING, *ENCODERS}]
)
def test_each_level_answers_as_the_local_network_does(architecture: str) -> None:
    """Of any architecture: on its view, in which pixels without data are the mean; and windows are as without it."""
    encoder, arguments = ENCODERS.get(architecture, (SMALL_ENCODER, {}))
    context = local_spec(levels=[{"ratio": 4, "size": 128}, {"ratio": "scene", "size": 128}])
    net = network(architecture=architecture, encoder=encoder, arguments=arguments, context=context).eval()
    image, seen = torch.rand(2, 2, 128, 128), views(128, 128)
    with torch.inference_mode():
        around, answers = net.see_and_classify(seen)
        for view, answer in zip(seen.images, answers, strict=True):
            filled = torch.where(view[:, -1:] > 0, view[:, :-1], net.normalize.mean)
            assert torch.equal(answer, net.body(net.normalize(filled)))
        assert torch.equal(net(image, around), net(image))


def test_places_without_data_bring_no_evidence() -> None:
    net, image, seen = awake(network(context=local_spec())).eval(), torch.rand(2, 2, 64, 64), views(*SIZES)
    with torch.inference_mode():
        assert all(not level[..., : level.shape[-1] // 4].any() for level in net.see(seen).maps)
        assert not torch.equal(net(image, net.see(seen)), net(image))
        for view in seen.images:
            view[:, -1] = 0
        assert torch.equal(net(image, net.see(seen)), net(image))


def test_weights_of_a_local_network_go_into_both(tmp_path: Path) -> None:
    for context in (None, context_spec()):
        torch.manual_seed(5)
        given = build_network(model_spec(context=context))
        path = save_model(given, model_spec(context=context), tmp_path / "m.safetensors")
        net, spec = network(context=local_spec()), model_spec(context=local_spec())
        assert start_from(net, spec, path) == "all weights of test; new: the context branch"
        for name, tensor in given.body.state_dict().items():
            assert torch.equal(tensor, net.body.state_dict()[name])
            assert torch.equal(tensor, net.context.body.state_dict()[name])


def test_weights_of_the_same_branch_are_its_own(tmp_path: Path) -> None:
    given, spec = network(context=local_spec()), model_spec(context=local_spec())
    for parameter in given.context.parameters():
        nn.init.normal_(parameter)
    path = save_model(given, spec, tmp_path / "m.safetensors")
    assert load_model(path).spec.context == local_spec()
    torch.manual_seed(1)
    net = build_network(spec)
    assert start_from(net, spec, path) == "all weights of test"
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in given.state_dict().items())


# ------------------------------------------------------------------------------------------------------ while it learns


@pytest.mark.parametrize("make", [context_spec, local_spec])
def test_what_a_frozen_network_makes_of_windows_can_be_computed_once(make: Any) -> None:
    spec = make(freeze_local=True)
    sizes = [level.size for level in spec.levels]
    net, batch = in_training(awake(network(context=spec))), windows(*sizes)
    outputs = net.frozen_outputs(batch)
    assert {len(one) for one in outputs} == {2}
    assert not any(one.requires_grad for one in outputs)
    kept = [one.clone() for one in outputs]
    blind = replace(batch, image=torch.zeros(2, 2, 1, 1), frozen=outputs)
    assert torch.equal(loss_of(net, blind), loss_of(net, batch))
    assert all(torch.equal(one, other) for one, other in zip(outputs, kept, strict=True))
    assert network(context=make()).frozen_outputs(batch) == ()


def test_the_shared_network_learns_and_a_frozen_local_one_does_not() -> None:
    net = in_training(network(context=local_spec(freeze_local=True)))
    local = {name: tensor.clone() for name, tensor in net.body.state_dict().items()}
    optimizer = torch.optim.SGD((p for p in net.parameters() if p.requires_grad), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(net, windows(*SIZES)).backward()
        optimizer.step()
    assert all(torch.equal(tensor, net.body.state_dict()[name]) for name, tensor in local.items())
    shared = net.context.body.state_dict()
    assert not torch.equal(shared["segmentation_head.0.weight"], local["segmentation_head.0.weight"])
    assert all(torch.equal(tensor, shared[name]) for name, tensor in local.items() if "running" in name)
    for level in net.context.nets:
        assert (level.scale != 1).any()
        assert (level.shift != 0).any()


def test_gradients_of_levels_are_rescaled_to_the_mean_of_their_norms() -> None:
    values = [
        torch.ones(3, requires_grad=True),
        torch.ones(2, 2, requires_grad=True),
        torch.ones(1, requires_grad=True),
    ]
    small, large, none = balanced(values)
    assert all(torch.equal(one, other) for one, other in zip((small, large, none), values, strict=True))
    (3 * small.sum() / 3**0.5 + 6 * large.sum() / 2 + 0 * none.sum()).backward()
    gradients = [one.grad for one in values]
    assert gradients[0].norm() == pytest.approx(3.0)
    assert gradients[1].norm() == pytest.approx(3.0)
    assert gradients[2].norm() == 0
    assert torch.equal(gradients[0] > 0, torch.ones(3, dtype=torch.bool))


def test_the_gradient_of_one_level_stays_as_it_is() -> None:
    value = torch.ones(3, requires_grad=True)
    assert balanced([value])[0] is value


# ------------------------------------------------------------------------------------------------------------- settings


def test_settings_leave_out_the_network_that_is_not_used() -> None:
    spec = model_spec(context=local_spec())
    assert "network" not in spec.model_dump()["context"]
    assert parse_spec(ModelSpec, spec.model_dump(mode="json"), source="test").context == spec.context
    assert "network" in context_spec().model_dump()
    assert spec.context.describe().endswith("seen by a copy of its own network")


def test_a_network_and_a_copy_of_the_local_one_are_not_both_given() -> None:
    with pytest.raises(SpecError, match=r"context.network is for init random.*leave one of them out"):
        parse_spec(ContextSpec, {"init": "local", "network": {"architecture": "pointwise"}}, source="test")


def test_views_suit_the_models_own_network() -> None:
    values = model_spec(context=local_spec()).model_dump()
    values["context"] |= {"levels": [{"ratio": 4, "size": 48}]}
    with pytest.raises(SpecError, match=r"size 48 is not a multiple of 32, which the model's network needs: take 32"):
        parse_spec(ModelSpec, values, source="test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "init local would copy random weights: give a trained bundle as init_from"),
        ({"network": {"architecture": "pointwise", "multiple": 3}, "window": 255}, "not a multiple of 3"),
        ({"context": {"freeze_local": True}, "loss": {"auxiliary": 0.4}, "init_from": "default"}, "set it to 0"),
    ],
)
def test_training_refuses_what_does_not_go_with_it(changes: dict[str, Any], message: str) -> None:
    values = {
        "name": "a",
        "data": {"tiles": "a.csv", "bands": ["red"]},
        "classes": [{"id": i, "name": str(i), "color": "#000000"} for i in range(2)],
        "network": {"architecture": "pointwise"},
        "context": {"init": "local"},
    }
    with pytest.raises(SpecError, match=message):
        parse_spec(TrainSpec, values | changes, source="test")
