"""Products of Sentinel-2: a .SAFE folder, or a .zip of it, of level 1C or 2A.

In: a listing. Out: a scene of the files B01 to B12, each in its finest resolution. Reflectance is
(value + offset) / quantification, as the product's metadata say; since baseline 04.00 the offset is -1000.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from geoseg.core.naming import fit_for_files
from geoseg.raster.bands.names import SENTINEL_2
from geoseg.scenes.products.bands import ProductBand, parse_time
from geoseg.scenes.products.examples import write_band
from geoseg.scenes.products.listing import Listing
from geoseg.scenes.products.product import FoundProduct
from geoseg.scenes.reference import SceneRef

_GRANULE = re.compile(r"(?P<granule>.*GRANULE/[^/]+)/IMG_DATA/(?:R(?:10|20|60)m/)?[^/]+", re.IGNORECASE)
_BAND = re.compile(r".*_B(?P<number>\d\d|8A)(?:_(?P<metres>\d\d)m)?\.(?:jp2|tiff?)", re.IGNORECASE)
_NUMBERS = "1", "2", "3", "4", "5", "6", "7", "8", "8A", "9", "10", "11", "12"
"""Band numbers in the order of the identifiers in the metadata."""
_QUANTIFICATION = re.compile(r"<(?:BOA_)?QUANTIFICATION_VALUE[^>]*>\s*([\d.]+)")
_TIME = re.compile(r"<PRODUCT_START_TIME>\s*(\S+?)\s*<")
_OFFSET = re.compile(r"<(?:BOA|RADIO)_ADD_OFFSET band_id=\"(\d+)\">\s*(-?[\d.]+)")


class Sentinel2:
    """Products of Sentinel-2."""

    metadata = re.compile(r"MTD_MSIL(?:1C|2A)\.xml|S2[A-Z]_\w+_MTD_\w+\.xml", re.IGNORECASE)

    def find(self, listing: Listing) -> list[FoundProduct]:
        """The products among some files."""
        metadata = [name for name in listing.names if self.metadata.fullmatch(posixpath.basename(name))]
        tops = {posixpath.dirname(name): name for name in metadata if "GRANULE/" not in name}
        return [self._product(listing, top, name) for top, name in tops.items()]

    def _product(self, listing: Listing, top: str, metadata: str) -> FoundProduct:
        path = listing.address(top) if top else listing.path
        folder = posixpath.basename(top) or posixpath.basename(listing.path.rstrip("/"))
        name = fit_for_files(re.sub(r"(\.SAFE|\.zip)+$", "", folder, flags=re.IGNORECASE))
        files = _finest([one for one in listing.names if one.startswith(f"{top}/" if top else "")])
        granules = {granule for granule, _ in files}
        problem = None
        if len(granules) != 1:
            has = f"{len(granules)} tiles" if granules else "no band in GRANULE/*/IMG_DATA"
            problem = f"{path} has {has}: give the bands of one tile, as B04.jp2+B03.jp2+B02.jp2"
        text = listing.read(metadata)
        scaling, time = _scaling(text), _TIME.search(text)
        taken = parse_time(time[1]) if time else None
        bands = [
            ProductBand(SENTINEL_2, number, f"B{number.zfill(2).upper()}", listing.address(file), *scaling[number])
            for (_, number), file in sorted(files.items(), key=lambda entry: _NUMBERS.index(entry[0][1]))
        ]
        parts = tuple(band.as_file(taken) for band in bands)
        return FoundProduct(SceneRef(path, name, problem, parts=parts), metadata, f"{top}/" if top else "")

    def example(self, folder: Path) -> Path:
        """A small product of level 2A, of baseline 04.00: bands of 10, 20 and 60 m."""
        return write_example(folder)


SENTINEL2 = Sentinel2()


def _finest(names: Sequence[str]) -> Mapping[tuple[str, str], str]:
    """File of each granule and band number, the one with the smallest pixels."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for name in names:
        place, band = _GRANULE.fullmatch(name), _BAND.fullmatch(name)
        if place is None or band is None:
            continue
        key = place["granule"], band["number"].lstrip("0").upper()
        found[key] = min(found.get(key, (99, "")), (int(band["metres"] or 10), name))
    return {key: name for key, (_, name) in found.items() if key[1] in _NUMBERS}


def _scaling(text: str) -> dict[str, tuple[float, float]]:
    """Scale and offset of reflectance by band number; 1 and 0 where the metadata do not give any."""
    value = _QUANTIFICATION.search(text)
    scale = 1 / float(value[1]) if value and float(value[1]) > 0 else 1.0
    offsets = {int(band): float(offset) for band, offset in _OFFSET.findall(text)}
    return {number: (scale, offsets.get(i, 0.0) * scale) for i, number in enumerate(_NUMBERS)}


def write_example(folder: Path, *, offset: int | None = -1000) -> Path:
    """Write a small product of level 2A with bands of 10, 20 and 60 m; without an offset as before baseline 04.00."""
    name = "S2B_MSIL2A_20240501T100559_N0510_R022_T32TQM_20240501T135555"
    product = folder / f"{name}.SAFE"
    granule = product / "GRANULE" / "L2A_T32TQM_A037359_20240501T100600"
    for metres, numbers in ((10, "02 03 04 08"), (20, "02 03 04 05 06 07 8A 11 12"), (60, "01 02 03 04 09")):
        for number in numbers.split():
            path = granule / f"IMG_DATA/R{metres}m/T32TQM_20240501T100559_B{number}_{metres}m.tif"
            write_band(path, metres, value=1000 + 100 * int(number.strip("A")), crs="EPSG:32632")
        write_band(granule / f"IMG_DATA/R{metres}m/T32TQM_20240501T100559_AOT_{metres}m.tif", metres, 7, "EPSG:32632")
    offsets = (
        ""
        if offset is None
        else "".join(f'<BOA_ADD_OFFSET band_id="{i}">{offset}</BOA_ADD_OFFSET>' for i in range(len(_NUMBERS)))
    )
    (product / "MTD_MSIL2A.xml").write_text(
        "<n1:Level-2A_User_Product><PRODUCT_START_TIME>2024-05-01T10:05:59.024Z</PRODUCT_START_TIME>"
        '<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
        f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST></n1:Level-2A_User_Product>"
    )
    (granule / "MTD_TL.xml").write_text("<n1:Level-2A_Tile_ID/>")
    return product
