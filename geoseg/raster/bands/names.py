"""Names of bands, and the spectral roles that they denote. Pure functions on text.

In: the names of a file's bands, as writers and vendors put them: "Red", "blue_band", "Band 1: Blue", "B02_10m",
"SR_B4", "Red (665 nm)". Out: a role per band: red, green, nir, rededge1, swir16, alpha, ...; None where a name denotes
none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NO_BAND = "no band"
"""Role of bands that are no part of the spectrum: masks, indices, heights, angles."""
ALPHA = "alpha"
"""Role of a band of transparency."""

_PHRASES = {
    "coastal": ("coastal", "coastal blue", "coastal aerosol", "ultra blue", "ultrablue", "deep blue", "aerosol"),
    "rededge": ("red edge", "rededge"),
    "swir": ("short wave infra red", "short wave infrared", "shortwave infrared", "swir", "mid infrared", "mir"),
    "thermal": ("thermal", "tir", "lwir"),
    "nir": ("near infra red", "near infrared", "nearinfrared", "nir", "infra red", "infrared"),
    "pan": ("pan", "panchromatic"),
    "yellow": ("yellow",),
    "cirrus": ("cirrus",),
    "watervapour": ("water vapour", "water vapor", "watervapour", "watervapor"),
    ALPHA: ("alpha", "transparency", "opacity"),
    "red": ("red", "rot", "rouge", "rojo", "rosso", "vermelho", "rood"),
    "green": ("green", "grün", "gruen", "vert", "verde", "groen"),
    "blue": ("blue", "blau", "bleu", "azul", "blu", "blauw"),
    NO_BAND: (
        "mask", "qa", "quality", "scl", "cloud", "shadow", "ndvi", "ndwi", "ndbi", "evi", "savi", "dem", "dsm", "dtm",
        "ndsm", "chm", "height", "elevation", "slope", "aspect", "hillshade", "angle", "azimuth", "class", "label",
    ),
}  # fmt: skip
"""Words for each role; of overlapping ones the earlier role counts: red edge is not red, near infrared not thermal."""
_PATTERNS = {
    role: re.compile(r"\b(?:{})\b".format("|".join(sorted(phrases, key=len, reverse=True))))
    for role, phrases in _PHRASES.items()
}
_BAND = re.compile(r"\bband|band\b")
"""Text that may be written together with a word: redband, bandred."""
_LETTERS = {"r": "red", "g": "green", "b": "blue", "n": "nir", "ir": "nir", "re": "rededge", "a": ALPHA}
"""Names of one or two letters."""
_NUMBERED = {
    "rededge": {"1": "rededge1", "2": "rededge2", "3": "rededge3"},
    "swir": {"1": "swir16", "2": "swir22", "16": "swir16", "22": "swir22"},
    "nir": {"2": "nir08", "08": "nir08", "8": "nir08", "09": "watervapour"},
}
"""Roles with parts that are distinguished by a number after the word, as STAC names them."""
_WAVELENGTHS_NM = (
    (425, 455, "coastal"), (455, 520, "blue"), (520, 600, "green"), (600, 690, "red"), (690, 720, "rededge1"),
    (720, 760, "rededge2"), (760, 790, "rededge3"), (790, 900, "nir"), (1550, 1750, "swir16"), (2080, 2350, "swir22"),
)  # fmt: skip
"""First and last wavelength of each role, for names that give nothing but a wavelength."""
_WAVELENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(nm|nanomet\w+|um|µm|μm|micromet\w+)\b")

SENTINEL_2, LANDSAT_8, LANDSAT_4, MODIS = "Sentinel-2", "Landsat 8 and 9", "Landsat 4 to 7", "MODIS"
_SENSORS: Mapping[str, Mapping[str, str]] = {
    SENTINEL_2: {
        "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "rededge1", "6": "rededge2", "7": "rededge3",
        "8": "nir", "8a": "nir08", "9": "watervapour", "10": "cirrus", "11": "swir16", "12": "swir22",
    },
    LANDSAT_8: {
        "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir", "6": "swir16", "7": "swir22", "8": "pan",
        "9": "cirrus", "10": "thermal", "11": "thermal",
    },
    LANDSAT_4: {
        "1": "blue", "2": "green", "3": "red", "4": "nir", "5": "swir16", "6": "thermal", "7": "swir22", "8": "pan",
    },
    MODIS: {
        "1": "red", "2": "nir", "3": "blue", "4": "green", "5": "swir12", "6": "swir16", "7": "swir22",
    },
}  # fmt: skip
"""Role of each band number, by sensor."""
_BESIDE_PAN = {LANDSAT_8: frozenset({"10", "11"}), LANDSAT_4: frozenset({"1"})}
"""Bands without which band 8 is not the panchromatic one, but Sentinel-2's infrared."""
RECENT = frozenset({SENTINEL_2, LANDSAT_8})
"""Sensors of most scenes."""
_CODE = re.compile(
    r"(?:^|[^a-z0-9])(?P<sr>sr|toa|st)?[_ -]?b(?:and)?[_ -]?(?P<number>\d{1,2}a?)(?![a-z0-9])"
    r"(?P<metres>[_ (]*[126]0 ?m\b)?"
)
_HINTS = {
    SENTINEL_2: re.compile(r"\b(?:s2[abc]?|sentinel ?2 ?[abc]?)\b"),
    LANDSAT_8: re.compile(r"\bl[co]0?[89]\b|\blandsat ?[89]\b"),
    LANDSAT_4: re.compile(r"\bl[etm]0?[4-7]\b|\blandsat ?[4-7]\b|\bvcid\b"),
    MODIS: re.compile(r"\bsur refl\b|\bm[oy]d\d\d|\bmodis\b"),
}
"""Other text in a name that identifies the sensor."""
_TILE_NAME = re.compile(r"(?:^|_)T\d{2}[A-Z]{3}_\d{8}T\d{6}(?:_|$)")
"""Tile and time in the names of Sentinel-2's files, which may stand for themselves."""
_ORDINAL = re.compile(r"(?:band|channel|layer|bande|kanal)?[ _#-]*(\d+)")


def word_role(name: str) -> str | None:
    """Role denoted by the words of a name or by its wavelength; None if there is none.

    A name with several roles is that of an index or a ratio, which has none of them.
    """
    text = _plain(name)
    if text in _LETTERS:
        return _LETTERS[text]
    words = _BAND.sub(" ", re.sub(r"[\W\d_]+", " ", text))
    found: list[str] = []
    for role, pattern in _PATTERNS.items():
        if pattern.search(words):
            found.append(role)
            words = pattern.sub("|", words)
    if len(found) > 1:
        return NO_BAND
    return _numbered(found[0], text) if found else _wavelength_role(text)


def _plain(name: str) -> str:
    """A name in lower case, with a blank where a capital follows a small letter: RedEdge is two words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.strip()).lower()


def _numbered(role: str, text: str) -> str:
    """The part of a role that is given by the number after its word."""
    number = re.search(r"(?:edge|swir|infrared|red|nir)[ _-]*(\d{1,2})\b", text)
    return _NUMBERED.get(role, {}).get(number[1], role) if number else role


def _wavelength_role(text: str) -> str | None:
    found = _WAVELENGTH.search(text)
    if not found:
        return None
    nm = float(found[1]) * (1 if found[2].startswith("n") else 1000)
    return next((role for first, last, role in _WAVELENGTHS_NM if first <= nm < last), None)


def band_code(name: str) -> str | None:
    """Number of a sensor's band without leading zeros: 4 of B04_10m, 8a of SR_B8A; None without one."""
    found = _CODE.search(_plain(name))
    return found["number"].lstrip("0") or None if found else None


@dataclass(frozen=True)
class Reading:
    """Roles of bands, assuming that their numbers are those of a sensor."""

    sensor: str | None
    """Sensor; None where no band is numbered."""
    roles: tuple[str | None, ...]
    """Role per band."""


def readings(names: Sequence[str]) -> list[Reading]:
    """Roles of bands for each sensor that their numbers may belong to; at least one reading, by words alone.

    Words in a name have precedence over its number. Numbers that only count a file's bands (Band 1, Band 2, ...) are
    ignored.
    """
    words = tuple(word_role(name) for name in names)
    codes = [band_code(name) if role is None else None for name, role in zip(names, words, strict=True)]
    if not any(codes) or _only_counts(names):
        return [Reading(None, words)]
    possible = _sensors(names)
    return [
        Reading(sensor, tuple(table[code] if code else role for role, code in zip(words, codes, strict=True)))
        for sensor, table in _SENSORS.items()
        if sensor in possible and _holds(sensor, {code for code in codes if code})
    ] or [Reading(None, words)]


def _holds(sensor: str, codes: set[str]) -> bool:
    """Whether a sensor has bands of all these numbers; a panchromatic band is accepted in whole stacks only."""
    is_stack = "8" not in codes or _BESIDE_PAN.get(sensor, frozenset()) <= codes
    return is_stack and codes <= _SENSORS[sensor].keys()


def agreed_roles(names: Sequence[str]) -> tuple[str | None, ...]:
    """Roles of bands; None where the readings differ or have none."""
    columns = zip(*(reading.roles for reading in readings(names)), strict=True)
    return tuple(roles[0] if len(set(roles)) == 1 else None for roles in columns)


def _sensors(names: Sequence[str]) -> frozenset[str]:
    """The sensors to which the names may belong, by their spelling."""
    plain = [_plain(name) for name in names]
    hinted = {s for s, hint in _HINTS.items() if any(hint.search(re.sub(r"[\W_]+", " ", name)) for name in plain)}
    if len(hinted) == 1:
        return frozenset(hinted)
    found = [code for name in plain if (code := _CODE.search(name))]
    if any(code["metres"] or code["number"].endswith("a") for code in found):
        return frozenset({SENTINEL_2})
    if any(code["sr"] for code in found):
        numbers = {code["number"].lstrip("0") for code in found if code["sr"] == "sr"}
        return frozenset({LANDSAT_8} if "6" in numbers else {LANDSAT_8, LANDSAT_4})
    if any(code["number"].startswith("0") for code in found):
        return frozenset({SENTINEL_2, LANDSAT_8})
    return frozenset(_SENSORS) - {MODIS}


def sensor_of(text: str) -> str | None:
    """The sensor that a text such as the name of a file identifies; None for none or several."""
    plain = re.sub(r"[\W_]+", " ", _plain(text))
    found = [sensor for sensor, hint in _HINTS.items() if hint.search(plain)]
    found += [SENTINEL_2] if _TILE_NAME.search(text) and not found else []
    return found[0] if len(found) == 1 else None


def role_of_number(sensor: str, number: str) -> str | None:
    """Role of a sensor's band, given its number as in B04 or 8A; None if it has no such band."""
    return _SENSORS[sensor].get(number.lstrip("0").lower())


def _only_counts(names: Sequence[str]) -> bool:
    """Whether names give only the position of the bands: "Band 1", "b1" or "1" for the first, and so on."""
    counted = [_ORDINAL.fullmatch(name.strip().lower()) or re.fullmatch(r"b(\d+)", name.strip()) for name in names]
    return all(found is not None and int(found[1]) == i for i, found in enumerate(counted, 1))


def only_counts(name: str) -> bool:
    """Whether the name of a file's only band gives nothing but its position: "Band 1", "b1", "1"."""
    return _only_counts([name])


def counts_bands(names: Sequence[str]) -> bool:
    """Whether names are B1, B2, ... in the order of the bands, which may also be a sensor's numbers."""
    return all(name.strip().lower() == f"b{i}" for i, name in enumerate(names, 1))


def fits(wanted: str | None, role: str | None) -> bool:
    """Whether a band of a role may serve as the wanted one: swir is swir16 or swir22, nir also the narrow nir08."""
    return wanted is not None and (wanted == role or is_part(wanted, role))


def is_part(one: str | None, other: str | None) -> bool:
    """Whether one role is a part of the other: swir is swir16 or swir22, nir also the narrow nir08."""
    pairs = (one, other), (other, one)
    return any(whole in _NUMBERED and part is not None and part.startswith(whole) for whole, part in pairs)
