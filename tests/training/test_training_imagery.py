"""What a bundle keeps of the imagery that its network learnt from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.imagery import imagery
from support.labelled_tiles import SMALL, write_config, write_tile
from support.models import make_spec

from geoseg.commands.describe_imagery import with_training_imagery
from geoseg.commands.info import describe_model
from geoseg.commands.predict import predict
from geoseg.commands.soup import soup
from geoseg.commands.train import train
from geoseg.core.events import SILENT, Progress, Reporter
from geoseg.inference.unlike import UNLIKE
from geoseg.models.build import build_network
from geoseg.models.header import read_spec
from geoseg.models.model import Model
from geoseg.spec import NetworkSpec
from geoseg.training.run.settings import resolve_settings
from geoseg.training.run.training_imagery import MOST_CROPS

TILES = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles of imagery of 64 pixels, far apart, and a config that trains on them."""
    folder = tmp_path_factory.mktemp("data")
    lines = ["image,label,split"]
    for number in range(TILES + 2):
        values = imagery(px=64, seed=number).clip(1, 255)
        values[:, :20, :20] = 0 if number == 3 else values[:, :20, :20]
        write_tile(folder / f"{number}.tif", values, left=1000.0 * number)
        labels = np.where(np.arange(64) < 32, 3, 9).astype(np.uint8) * np.ones((64, 1), np.uint8)
        write_tile(folder / f"{number}_labels.tif", labels, left=1000.0 * number)
        lines.append(f"{number}.tif,{number}_labels.tif,{'train' if number < TILES else 'val'}")
    (folder / "tiles.csv").write_text("\n".join(lines))
    data = SMALL["data"] | {"tiles": str(folder / "tiles.csv"), "nodata": 0}
    return write_config(folder, data=data, epochs=1)


def described(config: Path, **network: Any) -> Model:
    """A network that was never trained, with a description of the training side of a config."""
    settings = resolve_settings(config, None, {})
    spec = make_spec(
        bands=settings.data.bands,
        network=NetworkSpec(**{"architecture": "pointwise"} | network),
    ).model_copy(update={"classes": settings.classes})
    return with_training_imagery(Model(spec, build_network(spec).eval()), settings, "cpu", SILENT)


def test_it_is_that_of_the_training_side_over_pixels_with_data(data: Path) -> None:
    found = described(data).spec.imagery
    assert found is not None
    assert found.bands is not None
    assert found.features is not None
    assert found.bands.crops == TILES
    assert found.resolution_m == (0.5, 0.5)
    tiles = np.stack([imagery(px=64, seed=number).clip(1, 255) for number in range(TILES)]).astype(float)
    tiles[3, :, :20, :20] = np.nan
    np.testing.assert_allclose(np.mean(found.values, axis=1), np.nanmean(tiles, axis=(0, 2, 3)), rtol=1e-3)
    means = np.nanmean(tiles, axis=(2, 3)).mean(axis=0)
    np.testing.assert_allclose(found.bands.mean[:3], means, rtol=1e-3)
    assert found.values[0][0] > 0


def test_it_is_the_same_each_time_and_of_the_network_only_the_features(data: Path) -> None:
    one, again = described(data).spec.imagery, described(data).spec.imagery
    assert one is not None
    assert again is not None
    assert (one.values, one.bands) == (again.values, again.bands)


def test_few_crops_have_values_but_no_spread(tmp_path: Path) -> None:
    for name, seed in (("train", 1), ("val", 2)):
        write_tile(tmp_path / f"{name}.tif", imagery(px=64, seed=seed), left=1000.0 * seed)
        labels = np.where(np.arange(64) < 32, 3, 9).astype(np.uint8) * np.ones((64, 1), np.uint8)
        write_tile(tmp_path / f"{name}_labels.tif", labels, left=1000.0 * seed)
    rows = ["image,label,split", "train.tif,train_labels.tif,train", "val.tif,val_labels.tif,val"]
    (tmp_path / "tiles.csv").write_text("\n".join(rows))
    found = described(write_config(tmp_path)).spec.imagery
    assert found is not None
    assert (found.bands, found.features) == (None, None)


def test_of_a_large_image_some_crops_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoseg.training.run import training_imagery

    monkeypatch.setattr(training_imagery, "CROP_PX", 32)
    monkeypatch.setattr(training_imagery, "MOST_CROPS", 20)
    assert MOST_CROPS > 20
    for name, px in (("train", 320), ("val", 64)):
        write_tile(tmp_path / f"{name}.tif", imagery(px=px), left=float(px) * 10)
        labels = np.where(np.arange(px) < px // 2, 3, 9).astype(np.uint8) * np.ones((px, 1), np.uint8)
        write_tile(tmp_path / f"{name}_labels.tif", labels, left=float(px) * 10)
    rows = ["image,label,split", "train.tif,train_labels.tif,train", "val.tif,val_labels.tif,val"]
    (tmp_path / "tiles.csv").write_text("\n".join(rows))
    found = described(write_config(tmp_path)).spec.imagery
    assert found is not None
    assert found.bands is not None
    assert found.bands.crops == 20


def test_a_trained_bundle_knows_its_imagery_and_predict_compares_with_it(data: Path, tmp_path: Path) -> None:
    bundle = train(data, tmp_path / "run").bundle
    spec = read_spec(bundle)
    assert spec.imagery is not None
    assert spec.imagery.bands is not None
    assert describe_model(bundle)["imagery"]["resolution_m"] == (0.5, 0.5)
    quick: dict[str, Any] = {"polygons": False, "preview": False, "device": "cpu", "rescale": None, "overwrite": True}
    for name, factor, is_unlike in (("like", 1.0, False), ("dark", 0.3, True)):
        scene = write_tile(tmp_path / f"{name}.tif", imagery(px=64, factor=factor, seed=77), left=0.0)
        notices = predict(scene, tmp_path, model=bundle, **quick).notices
        assert any(line.startswith(UNLIKE) for line in notices) == is_unlike, notices


def test_the_target_is_imagery_that_the_model_knows(tmp_path: Path) -> None:
    lines = ["image,label,split"]
    for number in range(TILES):
        px, split = 128, "val" if number == 0 else "train"
        write_tile(tmp_path / f"{number}.tif", imagery(px=px, seed=number), left=1000.0 * number)
        labels = np.where(np.arange(px) < px // 2, 3, 9).astype(np.uint8) * np.ones((px, 1), np.uint8)
        write_tile(tmp_path / f"{number}_labels.tif", labels, left=1000.0 * number)
        lines.append(f"{number}.tif,{number}_labels.tif,{split}")
        write_tile(
            tmp_path / f"dark_{number}.tif", imagery(px=px, factor=0.4, seed=100 + number), left=-1000.0 * (number + 1)
        )
    (tmp_path / "tiles.csv").write_text("\n".join(lines))
    scene = write_tile(tmp_path / "scene.tif", imagery(factor=0.4, seed=77), left=1e5)
    quick: dict[str, Any] = {"polygons": False, "preview": False, "device": "cpu", "overwrite": True}
    for name, changes in (("alone", {}), ("there", {"method": "style_transfer"})):
        data = SMALL["data"] | ({"target": "dark_*.tif"} if changes else {})
        bundle = train(write_config(tmp_path, data=data, epochs=1, **changes), tmp_path / name).bundle
        known = read_spec(bundle).imagery
        assert known is not None
        assert known.bands is not None
        assert known.bands.crops == TILES - 1 + TILES * bool(changes)
        for rescale in ("auto", None):
            notices = predict(scene, tmp_path, model=bundle, rescale=rescale, **quick).notices
            doubts = [line for line in notices if "times as bright as the model's" in line or line.startswith(UNLIKE)]
            assert bool(doubts) == (name == "alone"), notices


class Killed(Reporter):
    """Ends a run while its imagery is described."""

    def progress(self, progress: Progress) -> None:
        if progress.stage == "imagery":
            raise KeyboardInterrupt


def test_a_run_that_is_killed_at_its_end_goes_on_with_that(data: Path, tmp_path: Path) -> None:
    whole = read_spec(train(data, tmp_path / "whole").bundle)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", reporter=Killed())
    assert read_spec(tmp_path / "run").imagery is None
    resumed = read_spec(train(data, tmp_path / "run", resume=True).bundle)
    assert resumed.imagery == whole.imagery


def test_a_soup_without_data_keeps_values_and_not_the_features_of_a_member(data: Path, tmp_path: Path) -> None:
    bundle = train(data, tmp_path / "run").bundle
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(bundle.read_bytes())
    made = read_spec(soup([bundle, copy], tmp_path / "soup.safetensors").bundle)
    own = read_spec(bundle).imagery
    assert made.imagery is not None
    assert own is not None
    assert (made.imagery.values, made.imagery.bands, made.imagery.features) == (own.values, own.bands, None)
    with_data = read_spec(soup([bundle, copy], tmp_path / "soup2.safetensors", config=data).bundle)
    assert with_data.imagery is not None
    assert with_data.imagery.bands == own.bands
    assert with_data.imagery.features is not None
