"""Products of Landsat's Collection 2: a folder or a .tar with files ..._B4.TIF or ..._SR_B4.TIF, and ..._MTL.txt.

In: a listing. Out: a scene for each MTL file (.txt, .xml or .json; they say the same), of the files of its bands.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from pathlib import Path

from geoseg.core.naming import fit_for_files
from geoseg.raster.bands.names import LANDSAT_4, LANDSAT_8
from geoseg.scenes.products.bands import ProductBand, parse_time
from geoseg.scenes.products.examples import write_band
from geoseg.scenes.products.listing import Listing
from geoseg.scenes.products.product import FoundProduct
from geoseg.scenes.reference import SceneRef

_METADATA = re.compile(r"(?P<prefix>(?:.*/)?(?P<id>L[A-Z]\d\d_\w+?))_MTL\.(?:txt|xml|json)", re.IGNORECASE)
_BAND = re.compile(r"_(?P<label>(?:(?P<level>SR|ST)_)?B(?P<number>\d\d?)(?:_VCID_1)?)\.TIFF?", re.IGNORECASE)
_TERM = re.compile(
    r"(?P<quantity>\w+?)_(?P<term>MULT|ADD)_BAND_(?P<band>\w+?)\"?\s*(?:=|:|>)\s*\"?(?P<value>[-+.\deE]+)"
)
_TIME = re.compile(r"(DATE_ACQUIRED|SCENE_CENTER_TIME)\"?\s*(?:=|:|>)\s*\"?([-:.\dZ]+)")
_SECTIONS = {
    "SR": ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE", ""),
    "ST": ("LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", "TEMPERATURE", "ST_B"),
    "": ("LEVEL1_RADIOMETRIC_RESCALING", "REFLECTANCE", ""),
}
"""Group of the metadata with scale and offset, by the level of a band; the quantity, and the text before its number."""


class Landsat:
    """Products of Landsat."""

    metadata = re.compile(r"L[A-Z]\d\d_\w+_MTL\.(?:txt|xml|json)", re.IGNORECASE)

    def find(self, listing: Listing) -> list[FoundProduct]:
        """The products among some files, one for each MTL file of different names."""
        found: dict[str, tuple[str, str]] = {}
        for name in listing.names:
            if (match := _METADATA.fullmatch(name)) is not None:
                found.setdefault(match["prefix"], (match["id"], name))
        folders = Counter(map(posixpath.dirname, found))
        return [
            _product(listing, prefix, identity, metadata, is_alone=folders[posixpath.dirname(prefix)] == 1)
            for prefix, (identity, metadata) in found.items()
        ]

    def example(self, folder: Path) -> Path:
        """A small product of level 2 of Landsat 8."""
        return write_example(folder)


LANDSAT = Landsat()


def _product(listing: Listing, prefix: str, identity: str, metadata: str, *, is_alone: bool) -> FoundProduct:
    folder = posixpath.dirname(prefix)
    path = listing.address(metadata) if not is_alone else listing.address(folder) if folder else listing.path
    text = listing.read(metadata)
    sensor = LANDSAT_8 if identity[2:4] in ("08", "09") else LANDSAT_4
    bands = []
    for name in listing.names:
        band = _BAND.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if band is not None:
            scale, offset = _scaling(text, (band["level"] or "").upper(), band["number"])
            bands.append(ProductBand(sensor, band["number"], band["label"], listing.address(name), scale, offset))
    bands.sort(key=lambda band: int(band.number))
    found = dict(_TIME.findall(text))
    taken = parse_time(f"{found.get('DATE_ACQUIRED')}T{found.get('SCENE_CENTER_TIME')}")
    parts = tuple(band.as_file(taken) for band in bands)
    problem = None if parts else f"{path} has no band files {posixpath.basename(prefix)}_*B*.TIF: add them"
    return FoundProduct(SceneRef(path, fit_for_files(identity), problem, parts=parts), metadata, f"{prefix}_")


def _scaling(text: str, level: str, number: str) -> tuple[float, float]:
    """Scale and offset of a band; 1 and 0 where the metadata do not give both."""
    section, quantity, before = _SECTIONS[level]
    begin = text.find(section)
    part = text[begin : text.find(section, begin + len(section)) % (len(text) + 1)] if begin >= 0 else ""
    terms: dict[tuple[str, str, str], str] = {}
    for m in _TERM.finditer(part):
        terms.setdefault((m["quantity"], m["term"], m["band"]), m["value"])
    wanted = [terms.get((quantity, term, f"{before}{number}")) for term in ("MULT", "ADD")]
    try:
        scale, offset = (float(value or "none") for value in wanted)
    except ValueError:
        return 1.0, 0.0
    return scale, offset


def write_example(folder: Path, *, suffix: str = ".txt") -> Path:
    """Write a small product of level 2 with metadata as text, XML or JSON."""
    identity = "LC08_L2SP_193028_20240501_20240510_02_T1"
    product = folder / identity
    for number in range(1, 8):
        write_band(product / f"{identity}_SR_B{number}.TIF", 30, 7000 + 100 * number, "EPSG:32632", shift_m=15)
    write_band(product / f"{identity}_ST_B10.TIF", 30, 44000, "EPSG:32632", shift_m=15)
    write_band(product / f"{identity}_QA_PIXEL.TIF", 30, 21824, "EPSG:32632", shift_m=15)
    (product / f"{identity}_MTL{suffix}").write_text(_WRITERS[suffix](_EXAMPLE_GROUPS))
    return product


_EXAMPLE_GROUPS = {
    "IMAGE_ATTRIBUTES": {"DATE_ACQUIRED": "2024-05-01", "SCENE_CENTER_TIME": '"10:05:59.0246810Z"'},
    "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
        f"REFLECTANCE_{term}_BAND_{n}": value
        for term, value in (("MULT", "2.75e-05"), ("ADD", "-0.2"))
        for n in range(1, 8)
    },
    "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": {
        "TEMPERATURE_MULT_BAND_ST_B10": "0.00341802",
        "TEMPERATURE_ADD_BAND_ST_B10": "149.0",
    },
    "LEVEL1_RADIOMETRIC_RESCALING": {
        f"REFLECTANCE_{term}_BAND_{n}": value
        for term, value in (("MULT", "2.0000E-05"), ("ADD", "-0.100000"))
        for n in range(1, 10)
    },
}


def _as_text(groups: dict[str, dict[str, str]]) -> str:
    lines = [
        line
        for group, terms in groups.items()
        for line in (f"  GROUP = {group}", *(f"    {k} = {v}" for k, v in terms.items()), f"  END_GROUP = {group}")
    ]
    return "\n".join(["GROUP = LANDSAT_METADATA_FILE", *lines, "END_GROUP = LANDSAT_METADATA_FILE", "END"])


def _as_xml(groups: dict[str, dict[str, str]]) -> str:
    inner = "".join(
        f"<{group}>" + "".join(f"<{k}>{v}</{k}>" for k, v in terms.items()) + f"</{group}>"
        for group, terms in groups.items()
    )
    return f"<LANDSAT_METADATA_FILE>{inner}</LANDSAT_METADATA_FILE>"


def _as_json(groups: dict[str, dict[str, str]]) -> str:
    import json

    return json.dumps({"LANDSAT_METADATA_FILE": groups})


_WRITERS = {".txt": _as_text, ".xml": _as_xml, ".json": _as_json}
