"""`predict --precision int8`: taken by itself where the bundle says that it does no harm, and the same when resumed."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from support.forks import exit_code_of, kill_itself
from support.models import make_spec
from support.rasters import write_raster

from geoseg.commands.predict import predict
from geoseg.core.errors import SpecError
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.model import Model
from geoseg.models.quantization import choice, processor
from geoseg.models.quantization.network import find_ranges
from geoseg.models.quantization.processor import multiplies_integers
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.spec import NetworkSpec
from geoseg.spec.int8 import Int8Spec

pytestmark = pytest.mark.skipif(not multiplies_integers(), reason="this processor has no integers of 8 bits")

UNET = NetworkSpec(
    architecture="unet", encoder="resnet18", arguments={"encoder_depth": 2, "decoder_channels": [8, 8]}, multiple=4
)
GOOD = Int8Spec(miou=0.7, miou_float=0.702, agreement=0.99, pixels=1000)
BAD = GOOD.model_copy(update={"miou": 0.69})


def values(side: int = 300) -> np.ndarray:
    coarse = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return (254 * fine[0] + 1).to(torch.uint8).numpy()


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "scene.tif", values())


def bundle(folder: Path, int8: Int8Spec | None = None) -> Path:
    """A small U-Net, with ranges if `int8` says how it does with integers."""
    torch.manual_seed(0)
    spec = make_spec(4, network=UNET, tile=64, overlap=16, int8=int8, bands=("red", "green", "blue"))
    net = build_network(spec)
    assert isinstance(net, SegmentationNetwork)
    ranges = find_ranges(net, [torch.from_numpy(values())[None, :, :128, :128]]) if int8 else {}
    return save_model(net, spec, folder / f"model-{int8 == GOOD}.safetensors", ranges=ranges)


def classes(folder: Path) -> np.ndarray:
    with rasterio.open(folder / "scene_landcover.tif") as raster:
        read: np.ndarray = raster.read(1)
    return read


def run(scene: Path, model: Path | Model, folder: Path, **changes: Any) -> Any:
    return predict(scene, folder, model=model, polygons=False, preview=False, stac=False, device="cpu", **changes)


def test_integers_are_taken_where_the_bundle_says_that_classes_stay_as_good(scene: Path, tmp_path: Path) -> None:
    assert run(scene, bundle(tmp_path, GOOD), tmp_path / "good").precision == "int8"
    assert run(scene, bundle(tmp_path, BAD), tmp_path / "bad").precision != "int8"
    assert run(scene, bundle(tmp_path), tmp_path / "unknown").precision != "int8"


def test_the_classes_are_nearly_those_of_floats(scene: Path, tmp_path: Path) -> None:
    model = bundle(tmp_path, GOOD)
    run(scene, model, tmp_path / "integers")
    run(scene, model, tmp_path / "floats", precision="fp32")
    assert (classes(tmp_path / "integers") == classes(tmp_path / "floats")).mean() > 0.95


def test_a_bundle_without_ranges_learns_them_from_the_scene_and_says_so(scene: Path, tmp_path: Path) -> None:
    model = bundle(tmp_path)
    result = run(scene, model, tmp_path / "out", precision="int8")
    assert result.precision == "int8"
    assert any("what they do to its classes is unknown" in line for line in result.notices)
    run(scene, model, tmp_path / "floats", precision="fp32")
    assert (classes(tmp_path / "out") == classes(tmp_path / "floats")).mean() > 0.95


def test_processes_that_share_a_scene_find_the_same_classes(scene: Path, tmp_path: Path) -> None:
    for name, model in (("ranges", bundle(tmp_path, GOOD)), ("none", bundle(tmp_path))):
        run(scene, model, tmp_path / name / "one", precision="int8")
        run(scene, model, tmp_path / name / "two", precision="int8", devices="2")
        assert np.array_equal(classes(tmp_path / name / "one"), classes(tmp_path / name / "two"))


@pytest.mark.parametrize("known", [GOOD, None])
def test_a_killed_run_goes_on_to_the_same_classes(scene: Path, tmp_path: Path, known: Int8Spec | None) -> None:
    model = bundle(tmp_path, known)
    run(scene, model, tmp_path / "whole", precision="int8")
    out = tmp_path / "killed"

    def work() -> None:
        kill_itself(lambda: len(list(tmp_path.glob("killed/.*/row-*"))) >= 2 or len(list(out.glob(".*/*"))) > 4)
        run(scene, model, out, precision="int8")

    assert exit_code_of(work) == -signal.SIGKILL or (out / "scene_landcover.tif").exists()
    run(scene, model, out, precision="int8", resume=True)
    assert (out / "scene_landcover.tif").read_bytes() == (tmp_path / "whole" / "scene_landcover.tif").read_bytes()


def test_scenes_of_16_bits_with_nodata(tmp_path: Path) -> None:
    wide = values().astype(np.uint16) * 7
    wide[:, :150, :90] = 0
    scene = write_raster(tmp_path / "scene.tif", wide, nodata=0)
    model = load_model(bundle(tmp_path, GOOD))
    sixteen = replace(model, spec=model.spec.model_copy(update={"dtype": "uint16"}), file=None)
    run(scene, sixteen, tmp_path / "integers", rescale=None)
    run(scene, sixteen, tmp_path / "floats", rescale=None, precision="fp32")
    found, wanted = classes(tmp_path / "integers"), classes(tmp_path / "floats")
    assert np.array_equal(found == 255, wanted == 255)
    assert (found == wanted).mean() > 0.9


def test_what_has_no_integers_is_refused_in_a_line(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bundle(tmp_path, GOOD)
    for changes, words in (({"adapt": "bn"}, "without adapt"), ({"compile": True}, "without compile")):
        with pytest.raises(SpecError, match=words):
            run(scene, model, tmp_path / "out", precision="int8", **changes)
    processor.multiplies_integers.cache_clear()
    for module in (choice, processor):
        monkeypatch.setattr(module, "multiplies_integers", lambda: False)
    monkeypatch.setattr("geoseg.models.runner.multiplies_integers", lambda: False)
    with pytest.raises(SpecError, match="does not multiply integers of 8 bits"):
        run(scene, model, tmp_path / "out", precision="int8")
    assert run(scene, model, tmp_path / "auto").precision != "int8"
