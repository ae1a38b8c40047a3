"""Names of bands from the names of files that hold one band each.

In: paths. Out: a name per file, of the words in which the files' names differ, and a short name of the sensor if they
show it: "S2 B04_10m" of T32TQM_20240501T100000_B04_10m, "LC08 SR_B4" of LC08_L2SP_193024_20240501_02_T1_SR_B4, "red" of
scene_red. So a word that all names share, as that of a place, is none of a band.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from geoseg.core.redaction import public_form
from geoseg.raster.bands.names import LANDSAT_4, LANDSAT_8, MODIS, SENTINEL_2, sensor_of

_SHORT = {SENTINEL_2: "S2", LANDSAT_8: "LC08", LANDSAT_4: "LE07", MODIS: "MOD09"}
"""Short names of sensors, which `names` knows."""
_LEVELS = frozenset({"sr", "st", "toa"})
"""Words that belong to the band number behind them."""
_METRES = re.compile(r"\d+m", re.IGNORECASE)


def names_of_files(paths: Sequence[str]) -> list[str]:
    """A name for the band of each file; empty where files of equal names lie in folders of equal names."""
    names = [PurePosixPath(public_form(path).partition("?")[0].replace(os.sep, "/")) for path in paths]
    stems = [name.stem for name in names]
    if len(paths) > 1 and len(set(map(str.casefold, stems))) == 1:
        stems = [name.parent.name for name in names]
        if len(set(map(str.casefold, stems))) == 1:
            return [""] * len(paths)
    words = [re.findall(r"[^\W_]+", stem) for stem in stems]
    sensors = {sensor_of(stem) for stem in stems}
    sensor = _SHORT.get(str(sensors.pop()), "") if len(sensors) == 1 else ""
    first, last = _common(words), _common([list(reversed(of_one)) for of_one in words])
    return [_name(of_one, first, last, sensor) for of_one in words]


def _common(words: Sequence[Sequence[str]]) -> int:
    """Number of words with which all lists begin, at most all but one of each."""
    count = 0
    for same in zip(*words, strict=False):
        if len({word.casefold() for word in same}) > 1:
            break
        count += 1
    return max(0, min(count, min(map(len, words)) - 1))


def _name(words: Sequence[str], first: int, last: int, sensor: str) -> str:
    """The words of a name that differ from those of others, with those that belong to them."""
    if len(words) == 1:
        first = last = 0
    end = max(first + 1, len(words) - last)
    end += end < len(words) and _METRES.fullmatch(words[end]) is not None
    first -= first > 0 and words[first - 1].lower() in _LEVELS
    name = "_".join(words[first:end])
    return name if not sensor or sensor_of(name) else f"{sensor} {name}"
