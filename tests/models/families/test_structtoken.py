"""StructToken against its paper and its authors' code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import make_spec
from support.overfitting import check_overfitting
from torch import nn

from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.bundle import save_model
from geoseg.models.families.building import build_body
from geoseg.models.families.structtoken import FAMILY, SliceAttention, StructToken, window_norm
from geoseg.models.training_batch import LabelledWindows
from geoseg.models.weights.start import start_from
from geoseg.spec import NetworkSpec

KINDS = ["cse", "sse", "pwe"]


def an_example(kind: str, **arguments: Any) -> NetworkSpec:
    example = FAMILY.example("structtoken")
    return example.model_copy(update={"arguments": {**example.arguments, "extraction": kind, **arguments}})


def built(kind: str, classes: int = 3) -> StructToken:
    torch.manual_seed(0)
    body = build_body(an_example(kind), 3, classes).eval()
    assert isinstance(body, StructToken)
    return body


def weights_in(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def of_projection(n: int) -> int:
    """Two 1 × 1 and a depthwise 3 × 3 convolution, three norms."""
    return 2 * (n * n + n) + 10 * n + 6 * n


def of_refinement(n: int) -> int:
    """A 1 × 1 convolution to 4 n channels, a 3 × 3 one in n groups of 4, a 1 × 1 one back; norms."""
    return (4 * n * n + 4 * n) + (4 * n * 4 * 9 + 4 * n) + (4 * n * n + n) + 2 * (4 * n + 4 * n + n)


@pytest.mark.parametrize("kind", KINDS)
def test_its_decoder_has_the_authors_layers(kind: str) -> None:
    """On ADE20K with a base transformer: four rounds, 150 classes of 32 × 32 pixels, 768 channels."""
    with torch.device("meta"):
        network = NetworkSpec(
            architecture="structtoken", encoder="tu-vit_base_patch16_384", arguments={"extraction": kind}
        )
        decoder = build_body(network, 3, 150).decoder
    k, c = 150, 768
    n = k + c
    rounds = {
        "cse": 4 * (2 * of_projection(k) + 2 * of_projection(c) + of_refinement(k)) + 3 * of_refinement(c),
        "sse": 4 * (4 * of_projection(n) + of_refinement(n)),
        "pwe": 4 * (2 * of_projection(n) + n * n + n + of_refinement(n)),
    }
    assert weights_in(decoder) == k * 32 * 32 + c * c + c + rounds[kind]


def test_a_slice_is_a_weighted_mean_of_slices_with_the_same_weights_in_all_pixels() -> None:
    torch.manual_seed(0)
    attention = SliceAttention(3, window_norm, 8, window_norm).eval()
    found: list[torch.Tensor] = []
    attention.out.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
    tokens, features = torch.randn(1, 3, 5, 7), torch.randn(1, 8, 5, 7)
    assert attention(tokens, features).shape == tokens.shape
    query, key = attention.query(tokens).flatten(2), attention.key(features).flatten(2)
    weights = (query @ key.transpose(1, 2) / 35**0.5).softmax(dim=2)
    assert weights.shape == (1, 3, 8)
    expected = torch.einsum("bkc,bchw->bkhw", weights, attention.value(features))
    assert torch.allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_without_interaction_all_images_give_the_learnt_structure(kind: str) -> None:
    """Features reach the logits through the tokens alone: no layer classifies a pixel by its features."""
    body = built(kind)
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        first, second = body(images)
        assert not torch.allclose(first, second, atol=1e-3)
        for extraction in body.decoder.rounds:
            out = extraction.attention.out if kind != "pwe" else extraction.layers[2]
            nn.init.zeros_(out[-1].weight)
            refine = extraction.refine_tokens if kind == "cse" else extraction.refine
            if kind != "cse":  # the 1 × 1 convolutions of the refinement mix tokens with features
                nn.init.zeros_(refine.layers[-1].weight)
        first, second = body(images)
    assert torch.allclose(first, second, atol=1e-6)
    assert first.std() > 0


def test_the_structure_is_resampled_to_windows_of_any_size() -> None:
    body = built("cse")
    seen: list[torch.Tensor] = []
    body.decoder.rounds[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        body(torch.rand(2, 3, 64, 64))  # as many patches as the tokens have pixels
        body(torch.rand(1, 3, 128, 32))
    assert torch.equal(seen[0][1], body.decoder.tokens[0])
    assert seen[1].shape == (1, 3, 8, 2)
    assert torch.allclose(seen[1].mean(dim=(2, 3)), body.decoder.tokens.mean(dim=(2, 3)), atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_gives_each_weight_a_gradient(kind: str) -> None:
    spec = make_spec(3, bands=("red", "green", "blue"), network=an_example(kind, drop_path=0.0))
    network = build_network(spec).train()
    windows = LabelledWindows(torch.rand(2, 3, 64, 64), torch.randint(0, 3, (2, 64, 64)))
    nn.functional.cross_entropy(network(windows.image), windows.labels).backward()
    assert [part for part, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_from_a_network_with_other_classes_of_which_known_ones_keep_their_structure(
    kind: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    given = make_spec(2, bands=("red", "green", "blue"), network=an_example(kind))
    donor = build_network(given)
    bundle = save_model(donor, given, tmp_path / "m.safetensors")
    spec = make_spec(3, bands=given.bands, network=given.network)
    network = build_network(spec)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start_from(network, spec, bundle)
    old, new = donor.state_dict(), network.state_dict()
    tokens = "body.decoder.tokens"
    assert torch.equal(new[tokens], torch.cat([old[tokens], fresh[tokens][:, 2:]], dim=1))
    part = "refine_tokens" if kind == "cse" else "refine"
    name = f"body.decoder.rounds.0.{part}.layers.3.weight"  # groups of four channels for each class, then features
    assert torch.equal(new[name], torch.cat([old[name][:8], fresh[name][8:12], old[name][8:]]))


@pytest.mark.parametrize("kind", KINDS)
def test_two_classes_leave_more_of_a_mask_than_its_sign(kind: str) -> None:
    logits = built(kind, classes=2)(torch.rand(1, 3, 64, 64))
    assert logits.detach().unique().numel() > 1000


@pytest.mark.parametrize("kind", KINDS)
def test_it_overfits_four_windows(kind: str) -> None:
    check_overfitting(an_example(kind), below=0.5, steps=60, rate=2e-3, cell=32)


def test_another_extraction_is_refused_in_a_line() -> None:
    with pytest.raises(ModelError, match="extraction = 'cross': give one of cse, sse, pwe"):
        build_body(an_example("cross"), 3, 2)
