"""Equal digests are equal work: whatever changes the pixels changes the digest."""

from pathlib import Path

import numpy as np
import pytest
from support.models import echo_model
from support.rasters import write_raster

from geoseg.inference.fingerprint import fingerprint
from geoseg.raster.scene import Scene
from geoseg.spec import ClassifySpec


@pytest.mark.parametrize("layer", ["", "|layername=north"])
def test_a_changed_area_of_interest_is_other_work(tmp_path: Path, layer: str) -> None:
    path, model = tmp_path / "areas.gpkg", echo_model()
    with Scene.open(write_raster(tmp_path / "s.tif", np.zeros((4, 4), np.uint8))) as scene:

        def of(aoi: str) -> str:
            return fingerprint(scene, model, ClassifySpec(aoi=aoi), "cpu")

        path.write_bytes(b"one")
        before = of(f"{path}{layer}")
        assert of(f"{path}{layer}") == before
        assert of(f"{path}|layername=south") != before
        path.write_bytes(b"another")
        assert of(f"{path}{layer}") != before
