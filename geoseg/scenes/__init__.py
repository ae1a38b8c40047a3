"""Resolution of inputs to scenes: a raster, a folder, a pattern, a list, or STAC Items.

In: paths and URLs from the command line. Out: `SceneRef`s, each with a path for GDAL and a name for the results. Knows
paths, text and JSON; opens no raster, so that a hundred thousand scenes are listed quickly.
"""

from geoseg.scenes.find import find_scenes
from geoseg.scenes.opening import files_below, open_scene
from geoseg.scenes.reference import SceneRef

__all__ = ["SceneRef", "files_below", "find_scenes", "open_scene"]
