"""Names of scenes: valid as file names, and distinct.

Names are compared without case, as some file systems ignore it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from geoseg.core.naming import fit_for_files, shortened
from geoseg.core.raster_names import suffix
from geoseg.scenes.paths import folders
from geoseg.scenes.reference import SceneRef


def name_apart(scenes: Sequence[SceneRef]) -> tuple[SceneRef, ...]:
    """Give the scenes distinct names.

    Scenes of equal names are all prefixed with the names of their folders, from the innermost outwards until they
    differ: a/scene.tif and b/scene.tif become a_scene and b_scene. Those in one folder are suffixed with their file
    type, and with numbers if they are still equal. Only these numbers depend on the order of the scenes.
    """
    names = _apart_in_folders(scenes)
    above: dict[int, list[str]] = {}
    while twice := _repeated([name.casefold() for name in names]):
        parents = {i: above.setdefault(i, folders(scenes[i].path)) for i in twice}
        if not any(parents.values()):
            names = _numbered(names)
            break
        for i in twice:
            names[i] = f"{fit_for_files(parents[i].pop())}_{names[i]}" if parents[i] else names[i]
    return tuple(
        scene if name == scene.name else replace(scene, name=shortened(name))
        for scene, name in zip(scenes, names, strict=True)
    )


def _apart_in_folders(scenes: Sequence[SceneRef]) -> list[str]:
    """Names that are distinct within each folder."""
    names = [scene.name for scene in scenes]
    if len({name.casefold() for name in names}) == len(names):
        return names
    places = [scene.path.rpartition("/")[0] for scene in scenes]
    for i in _repeated([(place, name.casefold()) for place, name in zip(places, names, strict=True)]):
        ending = suffix(scenes[i].path)
        names[i] += f"_{fit_for_files(ending)}" if ending else ""
    numbers: Counter[Hashable] = Counter()
    for i in _repeated([(place, name.casefold()) for place, name in zip(places, names, strict=True)]):
        key = places[i], names[i].casefold()
        numbers[key] += 1
        names[i] += f"-{numbers[key]}"
    return names


def _repeated(keys: Sequence[Hashable]) -> list[int]:
    """Positions of the keys that occur more than once."""
    positions: dict[Hashable, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        positions[key].append(i)
    return sorted(i for group in positions.values() if len(group) > 1 for i in group)


def _numbered(names: Sequence[str]) -> list[str]:
    """Names with a number appended to all but the first of equal ones."""
    taken = {name.casefold() for name in names}
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        key, given = name.casefold(), name
        while seen[key] and given.casefold() in taken:
            seen[key] += 1
            given = f"{name}-{seen[key]}"
        seen[key] += not seen[key]
        taken.add(given.casefold())
        numbered.append(given)
    return numbered
