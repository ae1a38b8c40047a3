"""MaskFormer and Mask2Former against transformers and their papers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.models import make_spec
from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.losses.combined import SegmentationLoss
from geoseg.models.auxiliary_outputs import AuxiliaryOutputs
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.families import mask_classification
from geoseg.models.families.building import build_body, check_context, check_network
from geoseg.models.families.mask_classification import ABSENT, FAMILY, MaskBody, objects_of, without_unlabelled
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.training_batch import LabelledWindows
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.models.weights.start import start_from
from geoseg.spec import IGNORE, LossSpec, ModelSpec, NetworkSpec, TrainSpec
from geoseg.training.criterion import TrainingCriterion

NAMES = ["maskformer", "mask2former"]
CLASSES = 3
CROSS_ENTROPY = SegmentationLoss(LossSpec(cross_entropy=1, dice=0), [1.0] * CLASSES)


def example(name: str, **more: Any) -> NetworkSpec:
    found = FAMILY.example(name)
    return found.model_copy(update={"arguments": found.arguments | more})


def spec_of(name: str, classes: int = CLASSES, **more: Any) -> ModelSpec:
    return make_spec(classes, bands=("red", "green", "blue"), network=example(name, **more))


def body_of(name: str, **more: Any) -> MaskBody:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    body = build_body(example(name, **more), 3, CLASSES)
    assert isinstance(body, MaskBody)
    return body


def some_labels(side: int = 64) -> Tensor:
    """Class indexes (2, side, side) in squares; all classes are in the first window, two in the second."""
    cells = torch.tensor([[[0, 1], [2, 0]], [[1, 1], [0, 1]]])
    return cells.repeat_interleave(side // 2, dim=1).repeat_interleave(side // 2, dim=2)


class Encoder(nn.Module):
    """A body's encoder as a backbone of transformers."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> SimpleNamespace:
        return SimpleNamespace(feature_maps=self.encoder(image)[2:])


def of_transformers(body: MaskBody) -> Any:
    """The model of transformers with the weights of a body."""
    import transformers

    config = body.decoder.config.to_dict()
    small = transformers.SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config["backbone_config"] = small.to_dict()
    if config["model_type"] == "maskformer":
        model: Any = transformers.MaskFormerForInstanceSegmentation(transformers.MaskFormerConfig(**config))
        model.mask_embedder = body.decoder.mask_embedder
    else:
        model = transformers.Mask2FormerForUniversalSegmentation(transformers.Mask2FormerConfig(**config))
    model.model.pixel_level_module.encoder = Encoder(body.encoder)
    model.model.pixel_level_module.decoder = body.decoder.pixel_decoder
    model.model.transformer_module = body.decoder.transformer_module
    model.class_predictor = body.decoder.class_predictor
    return model.train(body.training)


def processor_of(name: str) -> Any:
    import transformers

    kinds = {"maskformer": "MaskFormerImageProcessor", "mask2former": "Mask2FormerImageProcessor"}
    return getattr(transformers, kinds[name])()


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_the_scores_of_transformers_divided_by_their_sum(name: str) -> None:
    body = body_of(name).eval()
    image = torch.randn(2, 3, 384, 384)  # the size at which transformers makes scores of Mask2Former's masks
    with torch.no_grad():
        logits, outputs = body(image), of_transformers(body)(image, output_hidden_states=True)
    done = processor_of(name).post_process_semantic_segmentation(
        outputs, target_sizes=[(384, 384)] * 2, return_segmentation_scores=True
    )
    scores = torch.stack([one["segmentation_scores"] for one in done])
    assert torch.allclose(logits.softmax(dim=1), scores / scores.sum(dim=1, keepdim=True), atol=1e-5)
    assert torch.allclose(logits.exp().sum(dim=1), torch.ones(2, 384, 384), atol=1e-5)
    assert (logits.argmax(dim=1) == torch.stack([one["segmentation"] for one in done])).float().mean() > 0.999


@pytest.mark.parametrize("name", NAMES)
def test_its_loss_is_that_of_transformers(name: str) -> None:
    """Of MaskFormer's last layer: transformers also trains what it predicts before the first one."""
    body = body_of(name, dropout=0.0, deep_supervision=name == "mask2former").train()
    body.encoder.eval()
    image, labels = torch.randn(2, 3, 64, 64), some_labels()
    watched, objects = AuxiliaryOutputs(body), objects_of(labels)
    logits = body(image)
    torch.manual_seed(1)
    found = watched.loss(logits, labels, CROSS_ENTROPY)
    model = of_transformers(body)
    body.encoder.eval()
    torch.manual_seed(1)
    wanted = model(
        image,
        mask_labels=[one.masks for one in objects],
        class_labels=[one.classes for one in objects],
    ).loss
    assert torch.isclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(("name", "layers"), [("maskformer", 2), ("mask2former", 3)])
def test_all_layers_are_trained_and_the_last_predicts(name: str, layers: int) -> None:
    """Those of Mask2Former's example, and the queries themselves before the first one."""
    body = body_of(name, dropout=0.0)
    maps = body.encoder.eval()(torch.rand(1, 3, 64, 64))[2:]
    deep = body.decoder.train()(maps)
    body.decoder.config.use_auxiliary_loss = False
    last = body.decoder(maps)
    assert len(deep.classes) == len(deep.masks) == layers
    assert len(last.classes) == len(last.masks) == 1
    assert torch.allclose(deep.masks[-1], last.masks[0], atol=1e-5)
    assert torch.allclose(deep.classes[-1], last.classes[0], atol=1e-5)


@pytest.mark.parametrize(("name", "millions"), [("maskformer", 41), ("mask2former", 44)])
def test_it_has_the_papers_number_of_weights(name: str, millions: float) -> None:
    """41 and 44 million with a ResNet-50: table 1 of each paper, ADE20K's 150 classes and the 133 of COCO."""
    pytest.importorskip("transformers")
    with torch.device("meta"):
        body = build_body(FAMILY.usual(name), 3, 150)
    assert sum(weights.numel() for weights in body.parameters()) / 1e6 == pytest.approx(millions, abs=0.6)


def test_labels_are_a_mask_for_each_class_that_is_there() -> None:
    labels = some_labels(8)
    labels[1, :4] = IGNORE
    first, second = objects_of(labels)
    assert first.classes.tolist() == [0, 1, 2]
    assert second.classes.tolist() == [0, 1]
    assert torch.equal(first.masks.sum(dim=0), torch.ones(8, 8))
    assert torch.equal(second.masks.sum(dim=0), (labels[1] != IGNORE).float())


def test_unlabelled_areas_change_no_labelled_pixel_of_a_mask() -> None:
    labels = torch.full((1, 64, 64), IGNORE)
    labels[:, 20:23, 31:50] = 1
    masks = torch.randn(1, 2, 16, 16)
    (changed,) = without_unlabelled([masks], labels)
    assert (changed == ABSENT).float().mean() > 0.5
    before, after = (
        nn.functional.interpolate(one, scale_factor=4.0, mode="bilinear")[:, :, labels[0] == 1]
        for one in (masks, changed)
    )
    assert torch.equal(before, after)


def criterion_of(network: nn.Module, spec: ModelSpec) -> TrainingCriterion:
    data = {"tiles": ".", "bands": spec.bands}
    settings = TrainSpec(
        name="m", data=data, classes=spec.classes, network=spec.network, loss={"cross_entropy": 1, "dice": 0}
    )
    return TrainingCriterion(network, settings, [1.0] * len(spec.classes))


@pytest.mark.parametrize("labelled", ["all", "some", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_gives_each_weight_a_gradient(name: str, labelled: str) -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    spec = spec_of(name)
    network = build_network(spec).train()
    criterion = criterion_of(network, spec)
    labels = some_labels()
    labels[:, :24] = IGNORE if labelled == "some" else labels[:, :24]
    labels[1 if labelled == "some" else slice(0 if labelled == "none" else 2, None)] = IGNORE
    windows = LabelledWindows(torch.rand(2, 3, 64, 64), labels)
    with torch.autocast("cpu", torch.bfloat16):
        loss = network.training_loss(windows, criterion, network, torch.Generator())
    loss.backward()
    assert loss.isfinite()
    assert (loss == 0) == (labelled == "none")
    idle = [part for part, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert idle == []


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_pixels_counts_as_much_as_is_asked_for(name: str) -> None:
    pytest.importorskip("transformers")
    losses = {}
    for weight in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        spec = spec_of(name, pixel_loss=weight, dropout=0.0)
        network = build_network(spec).train()
        criterion = criterion_of(network, spec)
        image = torch.rand(2, 3, 64, 64)
        torch.manual_seed(1)
        logits = network(image)
        losses[weight] = criterion.of_windows(logits, some_labels())
        pixels = criterion(logits, some_labels())
    assert torch.isclose(losses[0.5] - losses[0.0], 0.5 * pixels, atol=1e-4)
    assert torch.isclose(losses[1.0] - losses[0.0], pixels, atol=1e-4)


@pytest.mark.parametrize(("name", "rate"), [("maskformer", 1e-3), ("mask2former", 2e-3)])
def test_it_overfits_four_windows_by_its_own_loss_alone(name: str, rate: float) -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    spec = spec_of(name, dropout=0.0)
    network = build_network(spec).train()
    criterion = criterion_of(network, spec)
    few = torch.randn(4, 3, 2, 2)
    image = nn.functional.interpolate(few, scale_factor=32.0)
    labels = (image.sum(dim=1) / 1.5).round().long().clamp(-1, 1) + 1
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.0)
    for _ in range(50):
        optimizer.zero_grad()
        network.training_loss(LabelledWindows(image, labels), criterion, network, torch.Generator()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        logits = network(image)
    assert (logits.argmax(dim=1) == labels).float().mean() > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_predicts_the_same_bytes(name: str, tmp_path) -> None:
    pytest.importorskip("transformers")
    spec = spec_of(name)
    network = build_network(spec).eval()
    loaded = load_model(save_model(network, spec, tmp_path / "m.safetensors")).module
    windows = np.random.default_rng(0).integers(0, 255, (2, 3, 96, 64), dtype=np.uint8)
    options = RunnerOptions(multiple=spec.network.multiple, bands=3)
    first, second = (Runner(one, "cpu", "fp32", options)(windows) for one in (network, loaded))
    assert first.numpy().tobytes() == second.numpy().tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_its_encoder_starts_from_a_file(name: str, tmp_path) -> None:
    pytest.importorskip("transformers")
    spec = spec_of(name)
    donor, network = build_network(spec), build_network(spec)
    save_file(donor.body.encoder.state_dict(), tmp_path / "encoder.safetensors")
    load_encoder_weights(network, spec, str(tmp_path / "encoder.safetensors"))
    found = network.body.encoder.state_dict()
    assert all(torch.equal(tensor, found[key]) for key, tensor in donor.body.encoder.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_trained_after_it_was_scored_in_windows_of_the_same_size(name: str) -> None:
    """Transformers keeps tables of positions of the last size."""
    body = body_of(name)
    image = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        body.eval()(image)
    body.train()(image).sum().backward()


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_from_a_network_with_other_classes(name: str, tmp_path) -> None:
    """Its classifier has one more row than there are classes: that of no object, the last one."""
    pytest.importorskip("transformers")
    given = spec_of(name, 2)
    donor = build_network(given)
    path = save_model(donor, given, tmp_path / "m.safetensors")
    spec = spec_of(name, 4)
    network = build_network(spec)
    fresh = network.body.decoder.class_predictor.bias.detach().clone()
    start_from(network, spec, path)
    old, new = (one.body.decoder.class_predictor.bias.detach() for one in (donor, network))
    assert torch.equal(new, torch.cat([old[:2], fresh[2:4], old[2:]]))


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_16_bit_arithmetic(name: str) -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    spec = spec_of(name)
    network = build_network(spec).eval()
    windows = np.random.default_rng(0).integers(0, 2, (1, 3, 64, 64), dtype=np.uint8)
    options = RunnerOptions(multiple=spec.network.multiple, bands=3)
    exact, rounded = (Runner(network, "cpu", kind, options)(windows).softmax(dim=1) for kind in ("fp32", "bf16"))
    assert (exact - rounded).abs().max() < 0.1


def test_what_cannot_be_is_refused_when_a_config_is_read() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ModelError, match="did you mean queries"):
        check_network(example("maskformer", querys=3))
    with pytest.raises(ModelError, match="5 attention_heads do not divide 32 channels"):
        check_network(example("mask2former", attention_heads=5))
    with pytest.raises(ModelError, match="maskformer takes no context: leave out context, or take another network"):
        check_context(example("maskformer"))
    check_context(NetworkSpec(architecture="unet", encoder="resnet18"))
    with pytest.raises(ModelError, match="which vision transformers do not give"):
        check_network(NetworkSpec(architecture="maskformer", encoder="tu-vit_small_patch16_224"))


@pytest.mark.parametrize("name", NAMES)
def test_without_transformers_the_line_that_installs_it_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_classification, "find_spec", lambda package: None)
    assert "pip install 'geoseg[transformers]'" in FAMILY.info(name).source
    for use in (check_network, lambda network: build_body(network, 3, 2)):
        with pytest.raises(ModelError, match=rf"^{name} needs the package transformers.*\[transformers\]'$"):
            use(FAMILY.usual(name))
