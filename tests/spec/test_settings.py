"""What editors and type checkers know of the settings that the public functions take."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest
from mypy import api
from typing_extensions import get_type_hints

import geoseg
from geoseg.spec import settings

ROOT = Path(__file__).resolve().parents[2]
TAKEN = {
    "predict": settings.PredictSettings,
    "predict_many": settings.PredictSettings,
    "vectorize": settings.VectorizeSettings,
    "train": settings.TrainSettings,
    "evaluate_model": settings.EvaluateSettings,
    "compare": settings.CompareSettings,
    "tile": settings.TileSettings,
}
FAR = ("torch", "numpy", "rasterio", "pyproj", "shapely", "lightning", "geopandas", "distributed", "affine", "pydantic")
BEHIND = ("data", "geo", "inference", "losses", "metrics", "models", "outputs", "raster", "training", "vector")
SKIPPED = ",".join([*(f"{name}.*" for name in FAR), *(f"geoseg.{name}.*" for name in BEHIND)])
"""What no signature depends on; looking into it takes mypy half a minute."""
CONFIG = f"""
[mypy]
strict = true
follow_imports = silent
ignore_missing_imports = true
[mypy-{SKIPPED}]
follow_imports = skip
"""


@pytest.fixture(scope="module")
def says(tmp_path_factory, request):
    """What mypy says of a program of a user, line by line."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "mypy.ini").write_text(CONFIG)
    (folder / "program.py").write_text(
        "import geoseg\n"
        "from geoseg import predict\n"
        "predict('s.tif', tile=512, bbox=(0, 1, 2, 3), aoi=None, tta='d4', min_area='9px', overwrite=True)\n"
        "predict('s.tif', tilee=512)\n"
        "predict('s.tif', tile='large')\n"
        "geoseg.predict_many(['s.tif'], tta='d5')\n"
        "geoseg.vectorize('c.tif', 'p.gpkg', simplify=1.5, classes=['water'])\n"
        "geoseg.vectorize('c.tif', 'p.gpkg', tile=512)\n"
        "geoseg.train('c.yaml', 'run', epochs=3, optimizer={'learning_rate': 0.1})\n"
        "geoseg.train('c.yaml', 'run', epoch=3)\n"
        "reveal_type(predict('s.tif').polygons)\n"
        "geoseg.segment\n"
    )
    words = [
        "--config-file",
        str(folder / "mypy.ini"),
        "--cache-dir",
        str(request.config.cache.mkdir("mypy")),
        str(folder / "program.py"),
    ]
    found: dict[int, str] = {}
    for line in api.run(words)[0].splitlines():
        if match := re.match(r".*program\.py:(\d+): (.*)", line):
            found.setdefault(int(match[1]), match[2])
    return found


def test_the_settings_are_those_of_the_specs():
    module = importlib.util.spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    made = importlib.util.module_from_spec(module)
    module.loader.exec_module(made)
    assert Path(settings.__file__).read_text(encoding="utf-8") == made.module()


@pytest.mark.parametrize("name", TAKEN)
def test_public_functions_take_settings_by_name(name):
    function = getattr(geoseg, name)
    assert inspect.signature(function).parameters["settings"].annotation == f"Unpack[{TAKEN[name].__name__}]"
    assert get_type_hints(TAKEN[name])


@pytest.mark.parametrize(
    "name", ["predict", "predict_many", "vectorize", "train", "evaluate", "evaluate_model", "tile", "find_scenes"]
)
def test_public_functions_have_few_parameters(name):
    assert len(inspect.signature(getattr(geoseg, name)).parameters) <= 7


def test_type_checkers_know_the_settings_that_there_are(says):
    assert not {3, 7, 9} & set(says)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (4, 'Unexpected keyword argument "tilee"'),
        (5, 'Argument "tile" to "predict" has incompatible type'),
        (6, 'Argument "tta" to "predict_many" has incompatible type'),
        (8, 'Unexpected keyword argument "tile"'),
        (10, 'Unexpected keyword argument "epoch"'),
        (12, 'Module has no attribute "segment"'),
    ],
)
def test_type_checkers_refuse_settings_that_there_are_not(says, line, words):
    assert words in says.get(line, ""), says


def test_type_checkers_know_what_comes_of_a_call(says):
    assert 'Revealed type is "' in says[11]
    assert "int" in says[11]
