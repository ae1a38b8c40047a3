"""The Dubai tiles as whole scenes: the nine parts of each are put together, so that there is ground to look around in.

    python benchmarks/dubai_scenes.py .../dubai_mbrsc_6class FOLDER     # writes the scenes and their list, tiles.csv

Masks stay coded by colour; where parts differ in size by a pixel, the gap is unlabelled.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

UNLABELLED = (155, 155, 155)
Part = dict[str, str]


def write_scenes(source: Path, folder: Path) -> Path:
    """Write a picture and a mask for each tile, and give the CSV that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    tiles: dict[str, list[Part]] = {}
    for part in csv.DictReader((source / "split.csv").open()):
        tiles.setdefault(part["tile"], []).append(part)
    lines = ["image,label,split,tile"]
    for tile, parts in sorted(tiles.items()):
        for kind, fill in (("image", (0, 0, 0)), ("label", UNLABELLED)):
            Image.fromarray(join(source, parts, kind, fill)).save(folder / f"tile_{tile}_{kind}.png", compress_level=1)
        lines.append(f"tile_{tile}_image.png,tile_{tile}_label.png,{parts[0]['split']},{tile}")
    path = folder / "tiles.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def join(source: Path, parts: Sequence[Part], kind: str, fill: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Put the parts of a tile, a grid without overlap, into one picture (H, W, 3)."""
    rows, cols = (starts(parts, along, size) for along, size in (("grid_row", "height"), ("grid_col", "width")))
    whole = np.full((rows[-1], cols[-1], 3), fill, np.uint8)
    for part in parts:
        picture = np.asarray(Image.open(source / part[kind]).convert("RGB"))
        row, col = rows[int(part["grid_row"])], cols[int(part["grid_col"])]
        whole[row : row + picture.shape[0], col : col + picture.shape[1]] = picture
    return whole


def starts(parts: Sequence[Part], along: str, size: str) -> list[int]:
    """First pixel of each row or column of parts, and the end of the last one."""
    count = 1 + max(int(part[along]) for part in parts)
    sizes = [max(int(part[size]) for part in parts if int(part[along]) == i) for i in range(count)]
    return [0, *np.cumsum(sizes).tolist()]


if __name__ == "__main__":
    print(write_scenes(Path(sys.argv[1]), Path(sys.argv[2])))
