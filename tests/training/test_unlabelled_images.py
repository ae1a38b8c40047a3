"""Images without labels: what is learnt from them, what is hidden in them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.transform import from_origin
from support.labelled_tiles import COLORS, SMALL, write_config, write_tile, write_tiles
from support.rasters import write_raster
from support.reporters import Watching

from geoseg.commands.train import train
from geoseg.core.errors import GeosegError, LabelError, SpecError
from geoseg.core.events import NoticeLog
from geoseg.data.listing import list_unlabelled
from geoseg.geo.grid import Window
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.spec import IGNORE, ModelSpec, NormalizationSpec, load_train_spec
from geoseg.training.data.training_data import TrainingData, read_training_data
from geoseg.training.windows.random_windows import UNLABELLED, Sampling, TrainingWindows

FAR = 5000.0
"""Easting of an image that touches no other."""


def write_scene(path: Path, left: float = FAR, width: int = 96) -> Path:
    """An image of 64 rows whose western half has the colour of grass, and its eastern half that of water."""
    index = (np.arange(width) >= width // 2).astype(int) * np.ones((64, 1), int)
    noise = np.random.default_rng(1).integers(0, 30, (3, 64, width))
    return write_tile(path, (np.moveaxis(COLORS[index], 2, 0) + noise).astype(np.uint8), left=left)


def make_teacher(path: Path) -> Path:
    """A bundle that tells grass from water by the green and the blue band."""
    classes = load_train_spec(write_config(path.parent)).classes
    spec = ModelSpec(
        name="teacher",
        network={"architecture": "pointwise"},
        bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(60.0, 120.0, 120.0), std=(30.0, 50.0, 50.0)),
        classes=classes,
        tile=64,
        overlap=8,
    )
    torch.manual_seed(0)
    network = build_network(spec)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    labels = torch.arange(2).repeat(1, 32, 16)
    image = torch.from_numpy(COLORS[labels[0].numpy()]).permute(2, 0, 1)[None].float() + 15
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(network(image), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return save_model(network, spec, path)


def configure(folder: Path, unlabelled: Any = ("scene*.tif",), method: Any = None, **changes: Any) -> Path:
    taught = {"name": "distillation", "teachers": ["teacher.safetensors"], "weight": 0.5}
    data = SMALL["data"] | {"unlabelled": list(unlabelled)} | changes.pop("data", {})
    return write_config(folder, data=data, method=method or taught, **changes)


def forget_crs(path: Path) -> None:
    """Write a raster anew with its transform, but without its coordinate system."""
    with rasterio.open(path) as file:
        values, transform = file.read(), file.transform
    write_raster(path, values, crs=None, transform=transform)


def read(folder: Path, **changes: Any) -> tuple[TrainingData, list[str]]:
    lines: list[str] = []
    reporter = Watching(lambda _: None)
    reporter.notice = lines.append  # type: ignore[method-assign]
    return read_training_data(load_train_spec(configure(folder, **changes)), reporter=reporter), lines


def test_a_student_learns_from_an_image_without_labels_what_its_labels_do_not_show(tmp_path: Path) -> None:
    write_tiles(tmp_path, splits="train val")
    labels = np.full((40, 48), 255, np.uint8)
    labels[:, :20] = 3
    labels[0, 40] = 9  # a class must have a pixel
    write_tile(tmp_path / "train_labels.tif", labels, left=0)
    write_scene(tmp_path / "scene.tif")
    make_teacher(tmp_path / "teacher.safetensors")
    more = {"epochs": 6, "windows_per_epoch": 32}
    result = train(configure(tmp_path, data={"class_balance": 0.0, "unlabelled_share": 0.8}, **more), tmp_path / "run")
    assert result.scores.miou > 0.9
    training = load_model(result.bundle).spec.card.training
    assert (training["unlabelled_images"], training["unlabelled_pixels"]) == (1, 64 * 96)
    assert training["data"]["unlabelled"] == ["scene*.tif"]
    assert any("unlabelled: 1 image, 6,144 px with data, in 80% of the training windows" in x for x in result.notices)
    assert "Unlabelled rasters" in result.report.read_text("utf-8")


def test_windows_are_drawn_from_both_by_the_share_and_statistics_count_labels_alone(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    write_scene(tmp_path / "scene.tif")
    data, _ = read(tmp_path)
    alone, _ = read(tmp_path, unlabelled=())
    assert data.normalization == alone.normalization
    assert (data.train.class_counts == alone.train.class_counts).all()
    assert data.fingerprint != alone.fingerprint
    rasters = (*data.train.rasters, *data.unlabelled.rasters)
    cells = data.train.cells.joined_by(data.unlabelled.cells, len(data.train.rasters))
    sampling = Sampling(32, 32, 400, 0.4, 0, marks_unlabelled=True, unlabelled=0.25)
    windows = TrainingWindows(rasters, cells, sampling, data.normalization.mean)
    bare = [set(np.unique(windows[index][1])) <= {UNLABELLED, IGNORE} for index in range(400)]
    assert 0.18 < np.mean(bare) < 0.32


def test_what_overlaps_validation_labels_is_hidden_and_said(tmp_path: Path) -> None:
    """The validation tile begins at 1000 m and is 24 m wide, the scene reaches over its western half."""
    write_tiles(tmp_path)
    write_scene(tmp_path / "scene.tif", left=1000.0 - 36.0)
    data, lines = read(tmp_path)
    (raster,) = data.unlabelled.rasters
    own = raster.own(Window(0, 0, 64, 96))
    assert own[:, :60].all()
    assert not own[:43, 69:].any()
    assert (own == raster.read(Window(0, 0, 64, 96))[1]).all()
    assert data.unlabelled.pixels == own.sum() < own.size
    assert any("validation or test labels lie in 1 unlabelled image:" in line for line in lines)


def test_an_image_that_shows_validation_labels_alone_is_refused_or_left_out(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    with pytest.raises(LabelError, match=r"val.*shows nothing but validation or test labels of val") as error:
        read(tmp_path, unlabelled=["val.tif"])
    assert "\n" not in str(error.value)
    write_scene(tmp_path / "scene.tif")
    data, lines = read(tmp_path, unlabelled=["val.tif", "scene.tif", "./scene.tif"])
    assert data.unlabelled.images == 1
    assert any("1 of 2 unlabelled images left out" in line for line in lines)


def test_images_given_as_test_are_hidden_unread(tmp_path: Path) -> None:
    write_tiles(tmp_path, splits="train val test")
    with pytest.raises(LabelError, match="test labels of test"):
        read(tmp_path, unlabelled=["test.tif"])


def test_without_coordinates_a_notice_says_that_overlap_is_not_seen(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    write_raster(tmp_path / "scene.tif", np.ones((3, 40, 40), np.uint8), crs=None, transform=Affine.identity())
    assert any("no coordinates" in line for line in read(tmp_path)[1])


@pytest.mark.parametrize("name", ["scene", "val"])
def test_a_transform_without_a_coordinate_system_on_one_side_gives_that_notice_too(tmp_path: Path, name: str) -> None:
    write_tiles(tmp_path)
    write_scene(tmp_path / "scene.tif", left=1000.0 - 36.0)
    forget_crs(tmp_path / f"{name}.tif")
    lost, unplaced = ("1 unlabelled image", "0 labelled") if name == "scene" else ("0 unlabelled images", "1 labelled")
    (line,) = [line for line in read(tmp_path)[1] if "unless the file is the same" in line]
    assert line.startswith(f"{lost} and {unplaced}")
    assert "no coordinate system" in line


def test_images_that_all_lack_a_coordinate_system_are_compared_and_give_no_such_notice(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    write_scene(tmp_path / "scene.tif", left=1000.0 - 36.0)
    for path in tmp_path.glob("*.tif"):
        forget_crs(path)
    lines = read(tmp_path)[1]
    assert any("validation or test labels lie in 1 unlabelled image:" in line for line in lines)
    assert not any("no coordinate system" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "said"), [("train", "1 training image and 0 images"), ("val", "0 training images and 1")]
)
def test_labelled_images_of_which_one_side_has_no_coordinate_system_give_a_notice(
    tmp_path: Path, name: str, said: str
) -> None:
    write_tiles(tmp_path)
    write_scene(tmp_path / "scene.tif")
    assert not any("no coordinate system" in line for line in read(tmp_path)[1])
    for path in tmp_path.glob(f"{name}*.tif"):
        forget_crs(path)
    (line,) = [line for line in read(tmp_path)[1] if "no guard band" in line]
    assert line.startswith(said)


def test_pixels_of_another_size_and_paths_without_an_image_are_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    where = {"crs": "EPSG:32631", "transform": from_origin(FAR, 0, 2, 2)}
    write_raster(tmp_path / "scene.tif", np.ones((3, 40, 40), np.uint8), **where)
    with pytest.raises(LabelError, match=r"has pixels of 2.* m, the run of 0\.5 m"):
        read(tmp_path)
    for pattern in ("nothing*.tif", "nothing.tif"):
        with pytest.raises(LabelError, match=r"no image matches .*nothing.*data.unlabelled"):
            list_unlabelled(load_train_spec(configure(tmp_path, unlabelled=[pattern])).data)


@pytest.mark.parametrize(
    ("values", "said"),
    [(np.ones((3, 40, 40), np.uint16), "holds uint16, not uint8"), (np.ones((1, 40, 40), np.uint8), "has 1 band .*")],
)
def test_other_bands_and_types_are_refused_as_those_of_an_unlabelled_image(
    tmp_path: Path, values: np.ndarray, said: str
) -> None:
    write_tiles(tmp_path)
    write_tile(tmp_path / "scene.tif", values, left=FAR)
    with pytest.raises(LabelError, match=rf"^unlabelled image .*scene\.tif {said}: leave it out of data\.unlabelled$"):
        read(tmp_path)


def test_a_folder_stands_for_the_rasters_in_it_without_results(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    for name in ("b.tif", "a.tif", "a_landcover.tif", "notes.txt"):
        (tmp_path / "archive" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "archive" / name).touch()
    for given in ("archive", "arch*"):
        found = list_unlabelled(load_train_spec(configure(tmp_path, unlabelled=[given])).data)
        assert [path.name for path in found] == ["a.tif", "b.tif"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match="no image matches"):
        list_unlabelled(load_train_spec(configure(tmp_path, unlabelled=["empty"])).data)


def test_a_target_is_read_and_reported_as_images_without_labels_are_in_its_own_word(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    write_scene(tmp_path / "scene.tif", left=1000.0 - 36.0)
    data = SMALL["data"] | {"target": "scene.tif"}
    config = write_config(tmp_path, data=data, method="mean_teacher", epochs=1)
    result = train(config, tmp_path / "run")
    wanted, _ = read(tmp_path, unlabelled=["scene.tif"])
    training = load_model(result.bundle).spec.card.training
    assert (training["target_images"], training["target_pixels"]) == (1, wanted.unlabelled.pixels)
    assert training["data"]["target"] == ["scene.tif"]
    assert not any("unlabelled" in name for name in training)
    assert sum(line.startswith("target: 1 image, ") for line in result.notices) == 1
    assert any("validation or test labels lie in 1 target image:" in line for line in result.notices)
    assert not any("no validation or test label is seen to lie in the target" in line for line in result.notices)
    assert "Target rasters" in result.report.read_text("utf-8")


def test_labels_of_another_region_are_said_to_say_little_of_the_target(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    write_scene(tmp_path / "scene.tif")
    for data, said in (({"target": "scene.tif"}, 1), ({"target": "scene.tif", "split": {"by": "none"}}, 0)):
        log = NoticeLog()
        read_training_data(load_train_spec(write_config(tmp_path, data=SMALL["data"] | data)), reporter=log)
        assert sum("no validation or test label is seen to lie in the target" in line for line in log.lines) == said
    assert not any("is seen to lie" in line for line in read(tmp_path)[1])


@pytest.mark.parametrize(
    ("method", "batch_size", "devices", "share", "said"),
    [
        ("mean_teacher", 8, 1, 0.5, "50%"),
        ("mean_teacher", 1, 1, 0.25, "50%"),
        ("mean_teacher", 4, 1, 0.3, "33%"),
        ("mean_teacher", 4, 2, 0.1, "33%"),
        ("mean_teacher", 2, 1, 0.8, "80%"),
        ({"name": "distillation", "teachers": ["teacher.safetensors"]}, 1, 1, 0.25, "25%"),
    ],
)
def test_the_share_that_is_said_is_that_of_whole_windows(
    tmp_path: Path, method: Any, batch_size: int, devices: int, share: float, said: str
) -> None:
    write_tiles(tmp_path)
    write_scene(tmp_path / "scene.tif")
    more = {"method": method, "batch_size": batch_size, "devices": devices, "data": {"unlabelled_share": share}}
    assert any(line.endswith(f"with data, in {said} of the training windows") for line in read(tmp_path, **more)[1])


def test_colours_are_varied_within_the_range_of_labelled_values_and_those_of_the_target(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    for path in tmp_path.glob("*.tif"):
        with rasterio.open(path) as file:
            values, transform = file.read(), file.transform
        if len(values) == 3:
            write_raster(path, values.astype(np.uint16) * 10, crs="EPSG:32631", transform=transform)
    bright = np.random.default_rng(0).integers(5000, 6000, (3, 64, 96)).astype(np.uint16)
    write_tile(tmp_path / "scene.tif", bright, left=FAR)
    ranges = {}
    for setting in ("unlabelled", "target"):
        config = write_config(tmp_path, data=SMALL["data"] | {"dtype": "uint16", setting: "scene.tif"})
        ranges[setting] = read_training_data(load_train_spec(config)).value_range
    assert ranges["target"][0] == ranges["unlabelled"][0]
    assert ranges["unlabelled"][1] < 3000
    assert 5990 < ranges["target"][1] < 6000


def test_what_is_wrong_with_a_target_names_its_setting(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    write_tile(tmp_path / "scene.tif", np.ones((1, 40, 40), np.uint8), left=FAR)
    for given, said in (
        ("scene.tif", r"^target image .*scene\.tif has 1 band .*: leave it out of data\.target$"),
        ("none*.tif", r"^no image matches .*none\*\.tif: check data\.target$"),
    ):
        with pytest.raises(LabelError, match=said):
            train(write_config(tmp_path, data=SMALL["data"] | {"target": given}, method="fixmatch"), tmp_path / "run")
    with pytest.raises(SpecError, match="unlabelled and target are both images without labels: give one of them"):
        read(tmp_path, data={"target": "scene.tif"})


def test_a_method_that_learns_from_labels_alone_refuses_them(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="method supervised learns from labels alone"):
        train(configure(tmp_path, method="supervised"), tmp_path / "run")


def stop(state: Any) -> None:
    if state.stage == "training" and state.epoch == 2:
        raise KeyboardInterrupt


def test_a_run_that_is_resumed_is_the_run_it_would_have_been_unless_an_image_has_changed(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    write_scene(tmp_path / "scene.tif")
    make_teacher(tmp_path / "teacher.safetensors")
    config = configure(tmp_path)
    whole = train(config, tmp_path / "whole")
    for name in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / name, reporter=Watching(stop))
    resumed = train(config, tmp_path / "a", resume=True)
    weights = [load_model(one.bundle).module.state_dict() for one in (whole, resumed)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    write_scene(tmp_path / "scene.tif", width=128)
    with pytest.raises(GeosegError, match=r"changed|other"):
        train(config, tmp_path / "b", resume=True)
