"""Which scenes a person means: a raster, a folder, a pattern, a list, or STAC Items.

In: what was given on the command line. Out: `SceneRef`s, a path as GDAL opens it and a name for the results each. Knows
paths, text and JSON; never opens a raster, so that a hundred thousand scenes are listed in a moment.
"""

from geoseg.scenes.find import find_scenes
from geoseg.scenes.reference import SceneRef, open_scene

__all__ = ["SceneRef", "find_scenes", "open_scene"]
