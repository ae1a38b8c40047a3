"""What a command imports: no more than it needs, for each library takes a part of a second, or whole ones."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.models import save_bundle
from support.rasters import write_raster

from geoseg.cli import COMMANDS
from geoseg.commands.environment import _ACCELERATORS
from geoseg.spec import NetworkSpec

REPORT = """
import sys
from geoseg.cli import main
try:
    main(prog_name="geoseg")
finally:
    print(*sys.modules, file=open({file!r}, "w"))
"""
SCENE = Path(__file__).parents[2] / "sample_data" / "scene.tif"
NETWORKS = {"timm", "torchvision", "segmentation_models_pytorch", "huggingface_hub"}
COMPILERS = {"numba", "llvmlite", "sympy", "torch._dynamo", "torch._inductor"}
POLYGONS = {"pyogrio", "geopandas", "pandas", "pyarrow"}
TRAINING = {"lightning", "pytorch_lightning", "torchmetrics", "kornia", "tensorboard", "torch.utils.tensorboard"}
PICTURES = {"PIL", "jinja2", "matplotlib", "rich", "rich.progress"}
CLUSTERS = {"distributed", "dask", "scipy"}
SELDOM = NETWORKS | COMPILERS | POLYGONS | TRAINING | PICTURES | CLUSTERS


def imported(folder: Path, *arguments: str, exit_code: int = 0) -> set[str]:
    """The modules that a command has imported when it ends."""
    script = folder / "report.py"
    script.write_text(REPORT.format(file=str(folder / "modules.txt")))
    command = [sys.executable, str(script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == exit_code, result.stderr
    return set((folder / "modules.txt").read_text().split())


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_imports_no_more_than_settings_and_their_reader(tmp_path, command):
    modules = imported(tmp_path, *command, "--help")
    assert not modules & (SELDOM | {"torch", "rasterio", "shapely", "pyproj"})
    assert "numpy" not in modules


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("predict", "nothing.tif"), 1),
        (("predict", str(SCENE), "--model", "nothing.safetensors"), 1),
        (("predict", str(SCENE), "--tile", "1"), 1),
        (("predict", str(SCENE), "--tille", "512"), 2),
        (("vectorize", "nothing.tif", "-o", "p.gpkg"), 1),
        (("train", "nothing.yaml", "-o", "run"), 1),
        (("tile", "nothing.yaml", "-o", "tiles"), 1),
        (("evaluate", "nothing.tif", "--labels", "labels.tif"), 1),
        (("info", "nothing.tif"), 1),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_large_is_imported(tmp_path, arguments, exit_code):
    assert not imported(tmp_path, *arguments, exit_code=exit_code) & (SELDOM | {"torch"})


def test_a_raster_is_predicted_with_pytorch_and_gdal_alone(tmp_path):
    scene = write_raster(tmp_path / "s.tif", np.full((3, 64, 64), 100, np.uint8))
    modules = imported(tmp_path, "predict", str(scene), "-o", str(tmp_path), "--no-polygons", "--no-preview")
    assert "torch" in modules
    assert not modules & SELDOM


def test_a_network_over_an_efficientnet_lite_needs_neither_smp_nor_timm(tmp_path):
    arguments = {"encoder_depth": 4, "decoder_channels": [8, 8, 8, 8]}
    network = NetworkSpec(architecture="unet", encoder="tu-tf_efficientnet_lite0", arguments=arguments)
    save_bundle(tmp_path / "m.safetensors", network=network, bands=("red", "green", "blue"))
    scene = write_raster(tmp_path / "s.tif", np.full((3, 64, 64), 100, np.uint8))
    options = ("-m", str(tmp_path / "m.safetensors"), "-o", str(tmp_path), "--no-polygons", "--no-preview")
    assert not imported(tmp_path, "predict", str(scene), *options) & SELDOM


def test_polygons_come_without_pandas_and_without_the_compiler_of_what_is_compiled_already(tmp_path):
    raster = write_raster(tmp_path / "c.tif", np.eye(8, dtype=np.uint8)[None])
    command = ("vectorize", str(raster), "-o", str(tmp_path / "p.gpkg"), "--overwrite")
    imported(tmp_path, *command)  # compiles what was not compiled before
    modules = imported(tmp_path, *command)
    assert {"numba", "pyogrio", "pyarrow"} <= modules
    assert not modules & {"torch", "pandas", "geopandas", "scipy.linalg", "numba.np.linalg", "geoseg.spec.train"}


def test_pandas_is_itself_after_pyogrio_came_without_it(tmp_path):
    code = (
        "import sys; from geoseg.cli.environment import import_pyogrio; import_pyogrio();"
        "assert 'pyogrio.raw' in sys.modules and not {'pandas', 'geopandas'} & set(sys.modules);"
        "import geopandas, shapely; frame = geopandas.GeoDataFrame({'n': [7]}, geometry=[shapely.Point(1, 2)]);"
        "frame.to_file(sys.argv[1], engine='pyogrio');"
        "assert geopandas.read_file(sys.argv[1], engine='pyogrio')['n'].tolist() == [7]"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "p.gpkg")], check=True)


def test_the_environment_is_described_without_pytorch_where_there_is_no_accelerator(tmp_path):
    if sys.platform != "linux" or any(map(os.path.exists, _ACCELERATORS)):
        pytest.skip("there may be an accelerator, which PyTorch is asked for")
    assert "torch" not in imported(tmp_path, "info", "--env")


@pytest.mark.parametrize("subject", [str(SCENE), "default"])
def test_scenes_and_models_are_described_without_pytorch(tmp_path, subject):
    assert not imported(tmp_path, "info", subject) & (SELDOM | {"torch"})
