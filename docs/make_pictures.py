"""Makes the pictures of the pages: works through each page as its reader would, and keeps what it shows.

python docs/make_pictures.py [PAGE...]     from a checkout with the `dev` extra; all pages take an hour on two cores
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from PIL import Image

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS.parent / "tests")]

from support.readers import Reader  # noqa: E402

PICTURES: dict[str, dict[str, tuple[str, ...]]] = {
    "index.md": {"first-map": ("first/scene_landcover.png",)},
    "tasks/aerial.md": {"aerial": ("aerial/scene_landcover.png",)},
    "tasks/sentinel-2.md": {"sentinel-2": ("s2-map/T32UPV_20260614_landcover.png",)},
    "tasks/buildings.md": {"buildings": ("houses/scene_landcover.png",)},
    "tasks/fine-tune.md": {"fine-tune": ("before/scene_landcover.tif", "after/scene_landcover.tif")},
    "tasks/few-labels.md": {"few-labels": ("few-map/scene_landcover.png",)},
    "label-next.md": {
        "label-next": ("places.png",),
        "label-next-place": ("photo.png", "guess.png", "right.png"),
    },
    "tasks/archives.md": {"archives": tuple(f"maps/scene_{number}_landcover.tif" for number in range(3))},
    "tasks/python.md": {"python": ("classes.png",)},
}
"""Pages, their pictures, and the files of which each picture is made, side by side."""
WIDTH_PX, MOST_BYTES, GAP_PX = 1000, 95_000, 8


def main() -> None:
    """Make the pictures of the pages that are named, or of all."""
    for page in sys.argv[1:] or PICTURES:
        with TemporaryDirectory() as folder:
            Reader(Path(folder)).read(DOCS / page)
            for name, files in PICTURES[page].items():
                save(beside([opened(Path(folder, file)) for file in files]), DOCS / "pictures" / f"{name}.jpg")


def opened(path: Path) -> Image.Image:
    """A picture, or a class raster in the colours of its table."""
    if path.suffix != ".tif":
        return Image.open(path).convert("RGB")
    with rasterio.open(path) as raster:
        table = np.array([raster.colormap(1)[value][:3] for value in range(256)], np.uint8)
        return Image.fromarray(table[raster.read(1)])


def beside(pictures: list[Image.Image]) -> Image.Image:
    """Pictures in a row, all as high as the lowest, on white."""
    height = min(picture.height for picture in pictures)
    scaled = [picture.resize((picture.width * height // picture.height, height)) for picture in pictures]
    row = Image.new("RGB", (sum(p.width for p in scaled) + GAP_PX * (len(scaled) - 1), height), "white")
    left = 0
    for picture in scaled:
        row.paste(picture, (left, 0))
        left += picture.width + GAP_PX
    return row


def save(picture: Image.Image, path: Path) -> None:
    """Write a JPEG of at most `MOST_BYTES`, in the best quality that fits."""
    if picture.width > WIDTH_PX:
        picture = picture.resize((WIDTH_PX, picture.height * WIDTH_PX // picture.width), Image.Resampling.LANCZOS)
    for quality in range(90, 20, -5):
        picture.save(data := io.BytesIO(), "JPEG", quality=quality, optimize=True, progressive=True)
        if data.tell() <= MOST_BYTES:
            break
    path.write_bytes(data.getvalue())
    print(path.relative_to(DOCS.parent), len(data.getvalue()))


if __name__ == "__main__":
    main()
