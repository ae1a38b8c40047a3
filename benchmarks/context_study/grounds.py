"""Labelled images of each ground of the study, written where they are needed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import quarries
from dubai_scenes import write_scenes
from PIL import Image

SEEN_TWICE_ROWS = 693
"""First rows of Dubai's tile 7, part of which tile 8 shows, too: the README of the data set has where."""
SCENES = {"train": 40, "val": 5}
"""Scenes that are drawn."""
DUBAI = {1: "train", 3: "train", 7: "train", 8: "val"}
"""Side of each tile. Tile 4 shows a part of tile 8 on another day, and is left out."""


def write_dubai(source: Path, folder: Path) -> Path:
    """Write whole tiles and their list, given the folder of the data set."""
    Image.MAX_IMAGE_PIXELS = None
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        write_scenes(source, Path(scratch))
        for kind in ("image", "label"):
            for tile in DUBAI:
                shutil.copy(Path(scratch) / f"tile_{tile}_{kind}.png", folder)
            path = folder / f"tile_7_{kind}.png"
            whole = Image.open(path)
            whole.load()
            whole.crop((0, SEEN_TWICE_ROWS, *whole.size)).save(path, compress_level=1)
    lines = [f"tile_{tile}_image.png,tile_{tile}_label.png,{side},{tile}\n" for tile, side in DUBAI.items()]
    path = folder / "tiles.csv"
    path.write_text("image,label,split,tile\n" + "".join(lines))
    return path


def write_drawn(reach_px: int, folder: Path) -> Path:
    """Draw scenes in which the site that decides a pixel's class lies at least so many pixels away."""
    return quarries.write_scenes(folder, quarries.Task(reach_px=reach_px), SCENES)
