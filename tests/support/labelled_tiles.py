"""Small labelled rasters, and a config that trains on them in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rasterio.transform import from_origin

from support.rasters import write_raster

COLORS = np.array([[40, 160, 60], [60, 60, 170]], np.uint8)
"""Band values of the two classes that the small tiles show."""
SMALL: dict[str, Any] = {
    "name": "small",
    "data": {"tiles": "tiles.csv", "bands": ["red", "green", "blue"], "resolution_m": 0.5},
    "classes": [{"id": 3, "name": "grass", "color": "#00ff00"}, {"id": 9, "name": "water", "color": "#0000ff"}],
    "network": {"architecture": "pointwise"},
    "augment": {"gamma": 0.05, "brightness": 0.05, "contrast": 0.05, "band_mix": 0.0},
    "epochs": 3,
    "windows_per_epoch": 16,
    "batch_size": 4,
    "window": 32,
    "optimizer": {"learning_rate": 0.1},
    "ema": 0.5,
    "precision": "fp32",
    "device": "cpu",
}


def write_tile(path: Path, values: np.ndarray, left: float) -> Path:
    """Write (bands, h, w) values with pixels of half a metre, as far to the east as given."""
    return write_raster(path, values, crs="EPSG:32631", transform=from_origin(left, 0, 0.5, 0.5))


def write_tiles(folder: Path, ids: tuple[int, ...] = (3, 9), bands: int = 3, splits: str = "train val") -> Path:
    """Write one 40 × 48 px tile per split that shows every id in bands of columns; give its CSV."""
    rng = np.random.default_rng(0)
    lines = ["image,label,split"]
    for place, split in enumerate(splits.split()):
        index = np.repeat(np.arange(len(ids)), -(-48 // len(ids)))[:48] * np.ones((40, 1), int)
        colors = np.resize(COLORS, (len(ids), bands))
        image = np.moveaxis(colors[index], 2, 0) + rng.integers(0, 30, (bands, 40, 48))
        write_tile(folder / f"{split}.tif", image.astype(np.uint8), left=1000.0 * place)
        write_tile(folder / f"{split}_labels.tif", np.array(ids, np.uint8)[index], left=1000.0 * place)
        lines.append(f"{split}.tif,{split}_labels.tif,{split}")
    (folder / "tiles.csv").write_text("\n".join(lines))
    return folder / "tiles.csv"


def write_config(folder: Path, **changes: Any) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL | changes))
    return path
