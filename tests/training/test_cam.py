"""Tags of images: how they are read, what is made of their maps, and that tags alone teach where classes are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.labelled_tiles import SMALL, write_tile
from support.methods import STILL
from support.models import make_spec
from support.reporters import Heard

from geoseg.core.errors import GeosegError
from geoseg.geo.grid import Window
from geoseg.models.build import build_network
from geoseg.spec import IGNORE, ClassSpec, NetworkSpec, NormalizationSpec, TrainSpec, parse_spec
from geoseg.training.data.training_data import TrainingData, read_training_data
from geoseg.training.methods.cam import TaggedWindows
from geoseg.training.methods.method import LABELLED, Setup, check_method, make_method
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.random_windows import WindowBatch

NAMES = ("grass", "water", "road")
CLASSES = [{"id": index + 1, "name": name, "color": f"#00000{index}"} for index, name in enumerate(NAMES)]
SIDE = 32


def spec_of(folder: Path, rows: list[str], method: Any = "cam", **data: Any) -> TrainSpec:
    """Settings of tiles that are written for the rows of a list, all of one colour."""
    for place, row in enumerate(rows):
        image, label = row.split(",")[:2]
        write_tile(folder / image, np.full((3, 64, 64), 40 * place + 20, np.uint8), left=1000.0 * place)
        if label:
            mask = np.repeat(np.array([1, 2, 3, 3], np.uint8), 16) * np.ones((64, 1), np.uint8)
            write_tile(folder / label, mask, left=1000.0 * place)
    (folder / "tiles.csv").write_text("\n".join(["image,label,split,tags", *rows]))
    given = SMALL["data"] | {"tiles": str(folder / "tiles.csv"), "tags_column": "tags"} | data
    return parse_spec(TrainSpec, SMALL | {"classes": CLASSES, "data": given, "method": method}, source="test")


ROWS = ["v.tif,v_l.tif,val,", "a.tif,,train,water", "b.tif,,train,grass; 3", "c.tif,,train,grass;water;road"]


def read(folder: Path, rows: list[str], **data: Any) -> tuple[TrainingData, list[str]]:
    heard = Heard()
    return read_training_data(spec_of(folder, rows, **data), reporter=heard), heard.lines


# --------------------------------------------------------------------------------------------------------- the reading


def test_images_with_tags_are_labelled_by_their_one_class_or_by_their_combination(tmp_path: Path) -> None:
    data, lines = read(tmp_path, ROWS)
    found = [set(np.unique(one.read_labels(Window(0, 0, 64, 64))).tolist()) for one in data.train.rasters]
    assert found == [{1}, {3}, {4}]
    assert data.tag_sets == ((1,), (0, 2), (0, 1, 2))
    assert data.train.class_counts.tolist() == [0, 64 * 64, 0]
    assert data.train.cells.partial.sum() == 2 * 64 * 64
    assert data.normalization.mean == pytest.approx((100, 100, 100))
    assert any("3 images without labels; 1 with one tag" in line for line in lines)


def test_any_pixel_of_an_image_with_tags_may_be_of_the_class_outside(tmp_path: Path) -> None:
    data, _ = read(tmp_path, ROWS, outside="road")
    assert data.tag_sets == ((1, 2), (0, 2), (0, 1, 2))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b.tif,,train,gras", r"tiles\.csv, line 3: tag 'gras' is no class, did you mean grass\?"),
        ("b.tif,,train,", r"line 3: the row has neither a label nor tags"),
        ("b.tif,,val,grass", r"line 3: split val needs a label"),
        ("b.tif,,test,grass", r"line 3: split test needs a label"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(GeosegError, match=message):
        read(tmp_path, [ROWS[0], row])


def test_tags_are_refused_where_nothing_learns_from_them_and_missed_where_something_does(tmp_path: Path) -> None:
    with pytest.raises(GeosegError, match=r"method supervised learns nothing from tags: remove data\.tags_column"):
        check_method(spec_of(tmp_path, ROWS, method="supervised"))
    with pytest.raises(GeosegError, match="method cam learns from tags of images: name their column"):
        check_method(spec_of(tmp_path, ROWS, tags_column=None))
    with pytest.raises(GeosegError, match=r"tags_column does not go with split\.by: blocks"):
        spec_of(tmp_path, ROWS, split={"by": "blocks"})
    with pytest.raises(GeosegError, match=r"has no column tag, which data\.tags_column names"):
        read(tmp_path, ROWS, tags_column="tag")


def test_an_image_with_tags_where_validation_labels_lie_is_not_learnt_from(tmp_path: Path) -> None:
    rows = [*ROWS, "d.tif,,train,road;water"]
    spec = spec_of(tmp_path, rows)
    write_tile(tmp_path / "d.tif", np.full((3, 64, 64), 200, np.uint8), left=0.0)
    data = read_training_data(spec)
    assert data.train.images == 3
    assert data.normalization.mean == pytest.approx((100, 100, 100))


# ----------------------------------------------------------------------------------------------------------- the seeds


def tagged(shown: list[bool], labels: torch.Tensor) -> TaggedWindows:
    """A window (1, 1, 3) of an image with several tags; the last pixel has a label."""
    several = torch.tensor([[[True, True, False]]])
    classes = torch.tensor(shown).view(1, -1, 1, 1).expand(1, -1, 1, 3)
    return TaggedWindows(labels, several, classes, torch.ones_like(several), torch.tensor([True]))


def test_seeds_are_where_the_map_of_one_tagged_class_is_high_and_ahead() -> None:
    labels = torch.tensor([[[IGNORE, IGNORE, 1]]])
    windows = tagged([True, True, False], labels)
    maps = torch.tensor([[[4.0, 2.0, 9.0]], [[-1.0, 1.0, 9.0]], [[8.0, 8.0, 9.0]]]).unsqueeze(0)
    assert windows.seeded(maps, (), 0.3, 0.2).tolist() == [[[0, 1, 1]]]
    assert windows.seeded(maps, (), 0.3, 0.6).tolist() == [[[0, IGNORE, 1]]]
    assert windows.seeded(maps, (1,), 0.3, 0.2).tolist() == [[[0, IGNORE, 1]]]
    assert windows.seeded(maps, (0, 1), 0.3, 0.2).tolist() == [[[IGNORE, IGNORE, 1]]]


def test_probabilities_of_classes_that_are_no_tags_cost_and_have_finite_gradients() -> None:
    windows = tagged([True, False, True], torch.full((1, 1, 3), IGNORE))
    logits = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 1, 3).clone().requires_grad_()
    loss = windows.loss_of_one(logits)
    loss.backward()
    assert loss.item() == pytest.approx(-np.log(1 - torch.tensor([1.0, 2, 3]).softmax(0)[1].item()), rel=1e-5)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[..., 2].any()


# -------------------------------------------------------------------------------------------------------- the learning


def drawn(rng: np.random.Generator, shown: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """An image (3, S, S) of squares of some classes, each of a colour, and their indexes (S, S)."""
    classes = np.kron(rng.choice(shown, (4, 4)), np.ones((8, 8), int))
    colours = np.array([[70, 150, 60], [60, 80, 160], [150, 130, 120]])
    values = colours[classes].transpose(2, 0, 1) + rng.normal(0, 12, (3, SIDE, SIDE))
    return values.clip(0, 255).astype(np.uint8), classes


PAIRS = (0, 1), (0, 2), (1, 2)


def make_setup(**settings: Any) -> Setup:
    """A run with images of pairs of tags alone, on a network of single pixels."""
    normalization = NormalizationSpec(mean=(95.0, 120.0, 110.0), std=(40.0,) * 3)
    model = make_spec(bands=("r", "g", "b"), network=NetworkSpec(architecture="pointwise"), normalization=normalization)
    model = model.model_copy(update={"classes": tuple(ClassSpec(**c) for c in CLASSES)})
    data = SMALL["data"] | {"tags_column": "tags"}
    values = SMALL | {"method": "cam", "augment": STILL, "window": SIDE, "classes": CLASSES, "data": data} | settings
    spec = parse_spec(TrainSpec, values, source="test")
    torch.manual_seed(0)
    network = build_network(model).train()
    augment = Augment(spec.augment, 0.0, 255.0, torch.zeros(3), keeps_plain=True)
    return Setup(network, network, spec, (0, 0, 0), augment, model, 150, PAIRS)


def miou_of_tags(*, random: bool) -> float:
    """mIoU on an image of all classes, after training with pairs of tags alone, as shown or at random."""
    rng, setup = np.random.default_rng(0), make_setup()
    network, method = setup.network, make_method(setup)
    optimizer = torch.optim.AdamW([*network.parameters(), *method.parameters()], lr=0.05)
    numbers = np.arange(24) % 3
    images = torch.from_numpy(np.stack([drawn(rng, PAIRS[number])[0] for number in numbers]))
    tags = rng.permutation(numbers) if random else numbers
    labels = torch.from_numpy(3 + tags).to(torch.uint8).view(-1, 1, 1).expand(-1, SIDE, SIDE).contiguous()
    for step in range(150):
        chosen = torch.from_numpy(rng.choice(24, 6, replace=False))
        loss = method.loss({LABELLED: WindowBatch(images[chosen], labels[chosen])}, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        method.after_step()
    image, truth = drawn(rng, (0, 1, 2))
    found = network.eval()(torch.from_numpy(image[np.newaxis]).float()).argmax(dim=1)[0].numpy()
    ious = [((found == k) & (truth == k)).sum() / max(1, ((found == k) | (truth == k)).sum()) for k in range(3)]
    return float(np.mean(ious))


def test_weights_that_would_leave_out_classes_with_tags_alone_are_refused() -> None:
    with pytest.raises(GeosegError, match=r"loss\.class_weights: inverse counts .* class grass has tags alone"):
        make_method(make_setup(loss={"class_weights": "inverse"}))


def test_tags_alone_teach_where_classes_are_and_tags_at_random_do_not() -> None:
    found, by_chance = miou_of_tags(random=False), miou_of_tags(random=True)
    assert found > 0.8
    assert found > by_chance + 0.3
