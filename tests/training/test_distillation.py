"""Distillation: frozen teachers, pixels without a label that count, and what no teacher may differ in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rasterio.transform import from_origin
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.models import make_spec
from support.reporters import Watching

from geoseg.commands.train import train
from geoseg.core.errors import GeosegError, ModelError, SpecError
from geoseg.data.areas import Rectangles
from geoseg.data.labelled_raster import MemoryRaster
from geoseg.data.mosaic import Mosaic
from geoseg.data.partly_labelled import PartlyLabelled
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.spec import (
    IGNORE,
    AugmentSpec,
    ClassSpec,
    ModelCard,
    ModelSpec,
    NetworkSpec,
    NormalizationSpec,
    ScalingSpec,
    TrainSpec,
    parse_spec,
)
from geoseg.training.methods.distillation import SoftTargets
from geoseg.training.methods.method import LABELLED, Method, Setup, StepLoss, make_method
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.random_windows import UNLABELLED, WindowBatch, mark_unlabelled, read_filled

STILL: dict[str, Any] = {
    name: {float: 0, bool: False}.get(type(field.default), field.default)
    for name, field in AugmentSpec.model_fields.items()
}


def model_spec(**fields: Any) -> ModelSpec:
    """A network of 1 × 1 convolutions, with a normalisation of its own."""
    classes = tuple(ClassSpec(**c) for c in SMALL["classes"])
    normalization = NormalizationSpec(mean=(100.0, 90.0, 120.0), std=(30.0, 40.0, 50.0))
    network = NetworkSpec(architecture="pointwise")
    spec = make_spec(bands=("red", "green", "blue"), network=network, normalization=normalization)
    return spec.model_copy(update={"classes": classes, **fields})


def make_teacher(path: Path, seed: int = 1, **fields: Any) -> Path:
    """A bundle that tells colours apart with large logits."""
    torch.manual_seed(seed)
    spec = model_spec(**fields)
    network = build_network(spec)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4)
    return save_model(network, spec, path)


def make_student(teachers: list[Path], seed: int = 0, start: Path | None = None, **parameters: Any) -> Setup:
    """A network with another start and another normalisation; or the one in a bundle."""
    torch.manual_seed(seed)
    model = model_spec(normalization=NormalizationSpec(mean=(60.0,) * 3, std=(60.0,) * 3))
    network = build_network(model)
    if start is not None:
        module = load_model(start).module
        assert isinstance(module, SegmentationNetwork)
        network = module
    method = {"name": "distillation", "teachers": [str(path) for path in teachers], **parameters}
    spec = parse_spec(TrainSpec, SMALL | {"method": method, "augment": STILL}, source="test")
    return Setup(network, network, spec, (500, 500), Augment(spec.augment, 0.0, 255.0, torch.zeros(3)), model, 100)


def a_batch(seed: int = 0, label: int | None = None) -> dict[str, WindowBatch]:
    image = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    labels = (image[:, 0] > 128).to(torch.uint8) if label is None else torch.full((2, 32, 32), label, dtype=torch.uint8)
    return {LABELLED: WindowBatch(image, labels)}


def step(method: Method, batch: dict[str, WindowBatch]) -> StepLoss:
    return method.loss(batch, torch.Generator().manual_seed(1))


def test_teachers_stay_as_they_are_have_no_gradients_and_are_no_part_of_the_state(tmp_path: Path) -> None:
    setup = make_student([make_teacher(tmp_path / "a.safetensors"), make_teacher(tmp_path / "b.safetensors", 2)])
    method: Any = make_method(setup)
    method.train()
    teachers = [teacher.module for teacher in method._teachers]
    before = [{name: tensor.clone() for name, tensor in one.state_dict().items()} for one in teachers]
    step(method, a_batch()).value.backward()
    assert all(parameter.grad is not None for parameter in setup.network.parameters())
    for teacher, was in zip(teachers, before, strict=True):
        assert not teacher.training
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in teacher.parameters())
        assert all(torch.equal(tensor, was[name]) for name, tensor in teacher.state_dict().items())
    assert not method.state_dict()


def test_a_student_learns_its_teachers_classes_from_pixels_without_a_label(tmp_path: Path) -> None:
    path = make_teacher(tmp_path / "a.safetensors")
    setup = make_student([path])
    method, optimizer = make_method(setup), torch.optim.Adam(setup.network.parameters(), lr=0.05)
    for number in range(60):
        loss = step(method, a_batch(number, UNLABELLED))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
    image = a_batch(1000)[LABELLED].image.float()
    with torch.no_grad():
        wanted, found = (one(image).argmax(dim=1) for one in (load_model(path).module, setup.network))
    assert 0.2 < wanted.float().mean() < 0.8
    assert (wanted == found).float().mean() > 0.95


def test_pixels_without_data_teach_nothing(tmp_path: Path) -> None:
    setup = make_student([make_teacher(tmp_path / "a.safetensors")])
    loss = step(make_method(setup), a_batch(label=IGNORE))
    loss.value.backward()
    assert loss.value == 0
    assert not any(parameter.grad.any() for parameter in setup.network.parameters() if parameter.grad is not None)


def test_with_weight_0_the_loss_is_that_of_supervised_training_exactly(tmp_path: Path) -> None:
    setup = make_student([make_teacher(tmp_path / "a.safetensors")], weight=0)
    supervised = Setup(
        setup.network,
        setup.averaged,
        parse_spec(TrainSpec, SMALL | {"augment": STILL}, source="test"),
        setup.class_counts,
        setup.augment,
        setup.model,
        setup.steps,
    )
    gradients = []
    for one in (setup, supervised):
        setup.network.zero_grad()
        loss = step(make_method(one), a_batch())
        loss.value.backward()
        gradients.append([loss.value, *(p.grad.clone() for p in setup.network.parameters() if p.grad is not None)])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


@pytest.mark.parametrize("temperature", [0.5, 1, 2, 20])
def test_a_student_equal_to_its_teacher_has_no_loss(tmp_path: Path, temperature: float) -> None:
    path = make_teacher(tmp_path / "a.safetensors")
    setup = make_student([path], start=path, weight=1, temperature=temperature)
    loss = step(make_method(setup), a_batch())
    loss.value.backward()
    assert loss.value.item() == pytest.approx(0, abs=1e-5)
    assert all(p.grad is not None and p.grad.abs().max() < 1e-5 for p in setup.network.parameters())


def test_targets_are_the_mean_of_probabilities_at_the_temperature(tmp_path: Path) -> None:
    """T² KL(mean || student), as written down with the definitions."""
    paths = [make_teacher(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]
    setup = make_student(paths, weight=1, temperature=3)
    loss = step(make_method(setup), a_batch())
    image = a_batch()[LABELLED].image.float()
    mean = sum((load_model(path).module(image) / 3).softmax(dim=1) for path in paths) / 2
    given = (setup.network(image) / 3).softmax(dim=1)
    wanted = 9 * (mean * (mean.log() - given.log())).sum(dim=1).mean()
    assert loss.value.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert loss.figures["distillation"].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_at_a_high_temperature_the_gradient_is_that_of_matched_logits() -> None:
    """Hinton et al. 2015, section 2.1: it tends to (student - teacher) / K of logits with the mean 0."""
    logits = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    teacher = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    hot = 1000.0
    SoftTargets((teacher / hot).softmax(dim=1), torch.ones(1, 8, 8, dtype=torch.bool), hot).loss(logits).backward()
    difference = (logits - logits.mean(dim=1, keepdim=True)) - (teacher - teacher.mean(dim=1, keepdim=True))
    assert logits.grad is not None
    assert torch.allclose(logits.grad * 64, difference.detach() / 4, atol=1e-2)


# ---------------------------------------------------------------------------------------------------------- mismatches


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"bands": ("red", "green", "nir")}, r"differ in bands \(red, green, nir; red, green, blue\)"),
        ({"dtype": "uint16"}, r"differ in type of values \(uint16; uint8\)"),
        (
            {"classes": tuple(ClassSpec(id=i, name=n, color="#000000") for i, n in ((3, "grass"), (9, "sea")))},
            r"differ in classes \(grass, sea; grass, water\)",
        ),
    ],
)
def test_a_teacher_of_other_data_is_refused_before_any_image_is_read(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    make_teacher(tmp_path / "a.safetensors", **fields)
    config = write_config(tmp_path, method={"name": "distillation", "teachers": ["a.safetensors"]})
    with pytest.raises(ModelError, match=said) as error:
        train(config, tmp_path / "run")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("teachers", "kind", "said"),
    [
        (["nothing.safetensors"], ModelError, "no model at"),
        (["a.safetensors", "./a.safetensors"], SpecError, "given twice"),
        ([], SpecError, "method distillation: teachers"),
        (["tiles.csv"], ModelError, "no bundle of weights"),
    ],
)
def test_teachers_that_make_no_sense_are_refused_before_any_image_is_read(
    tmp_path: Path, teachers: list[str], kind: type[GeosegError], said: str
) -> None:
    make_teacher(tmp_path / "a.safetensors")
    (tmp_path / "tiles.csv").write_text("")
    with pytest.raises(kind, match=said):
        train(write_config(tmp_path, method={"name": "distillation", "teachers": teachers}), tmp_path / "run")


@pytest.mark.parametrize(
    ("fields", "run", "said"),
    [
        ({"resolution_m": 10.0}, {"resolution_m": 0.5}, r"differ in pixel size \(10 m; 0\.5 m\)"),
        (
            {"scaling": ScalingSpec(scale=(1.0,) * 3, offset=(0.0,) * 3)},
            {"scaling": ScalingSpec(scale=(0.1,) * 3, offset=(0.0,) * 3)},
            r"differ in scaling",
        ),
    ],
)
def test_a_teacher_of_other_pixels_or_values_is_refused(
    tmp_path: Path, fields: dict[str, Any], run: dict[str, Any], said: str
) -> None:
    setup = make_student([make_teacher(tmp_path / "a.safetensors", **fields)])
    with pytest.raises(ModelError, match=said):
        make_method(Setup(**{**setup.__dict__, "model": setup.model.model_copy(update=run)}))


# ---------------------------------------------------------------------------------------------------------------- runs


def test_a_run_takes_teachers_beside_its_config_and_names_them_on_the_card(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    (tmp_path / "runs").mkdir()
    path = make_teacher(tmp_path / "runs" / "a.safetensors")
    config = write_config(tmp_path, method={"name": "distillation", "teachers": ["runs"], "weight": 0.25})
    result = train(config, tmp_path / "student", epochs=1)
    card, file = load_model(result.bundle).spec.card, load_model(path).file
    assert file is not None
    assert card.training["teachers"] == [{"name": "test", "file": "a.safetensors", "sha256": file.sha256}]
    assert card.training["method"] == {"name": "distillation", "teachers": ["runs"], "weight": 0.25}
    assert str(tmp_path) not in str(card.training)


def test_a_teacher_of_another_split_is_named(tmp_path: Path) -> None:
    known = {"data": {"tiles": "tiles.csv"}, "train_images": 3, "train_pixels": 1000}
    cards = {"a": known, "b": known | {"train_pixels": 900}, "c": {}}
    paths = [
        make_teacher(tmp_path / f"{name}.safetensors", card=ModelCard(training=training))
        for name, training in cards.items()
    ]
    (line,) = make_method(make_student(paths)).notices(known)
    assert "2 teachers learnt other labels" in line
    assert "(b.safetensors, c.safetensors)" in line
    assert not make_method(make_student(paths[:1])).notices(known)


def test_a_run_whose_teacher_has_changed_is_not_resumed(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    make_teacher(tmp_path / "a.safetensors")
    config = write_config(tmp_path, method={"name": "distillation", "teachers": ["a.safetensors"]})

    def stop(state: Any) -> None:
        if state.stage == "training" and state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", reporter=Watching(stop))
    make_teacher(tmp_path / "a.safetensors", seed=2)
    with pytest.raises(SpecError, match="models that it learns from"):
        train(config, tmp_path / "run", resume=True)


def a_raster() -> MemoryRaster:
    """A raster whose first row holds no data, with one labelled pixel."""
    valid, labels = np.ones((6, 8), bool), np.full((6, 8), IGNORE, np.uint8)
    valid[0], labels[1, 2] = False, 1
    grid = PixelGrid(6, 8, from_origin(0, 6, 1, 1), None)
    return MemoryRaster("a.tif", grid, np.zeros((1, 6, 8), np.uint8), valid, labels)


@pytest.mark.parametrize("hides", [False, True])
def test_pixels_with_data_and_without_a_label_are_marked_on_the_training_side_alone(hides: bool) -> None:
    """Labels count in the left half, without a guard band; what else is no guard band is shown where that is hidden."""
    left, guard = Rectangles.of([Window(0, 0, 6, 4)]), Rectangles.of([Window(0, 3, 6, 2)])
    raster = Mosaic([PartlyLabelled(a_raster(), left, guard, hides_closed=hides)])
    window = Window(-1, 0, 8, 8)
    labels = read_filled(raster, window, [0.0])[1]
    wanted = np.full((8, 8), IGNORE, np.uint8)
    wanted[2:7, :3] = UNLABELLED
    if hides:
        wanted[2:7, 5:] = UNLABELLED
    wanted[2, 2] = 1
    assert (mark_unlabelled(raster, window, labels) == wanted).all()
