"""Colours that the names of classes call for. In: a legend. Out: classes with colours."""

from __future__ import annotations

import re

from geoseg.raster.legend import Legend
from geoseg.spec import ClassSpec

KNOWN_COLORS = {
    "water|river|lake|sea|ocean|haline|pond": "#2b7fd0",
    "forest|tree|wood": "#1f7a3c",
    "building|house|roof": "#d7301f",
    "urban|built|residential": "#e06c5c",
    "road|street|rail|path": "#6e6e6e",
    "wetland|marsh|swamp|mangrove": "#5fae9d",
    "crop|field|agri|farm|arable": "#e6c35c",
    "grass|pasture|meadow|lawn|herb": "#a9d26b",
    "shrub|bush|scrub": "#8a9a4b",
    "sand|beach|dune": "#ead8a0",
    "bare|soil|rock|barren|land": "#d9a860",
    "snow|ice": "#cfe8f7",
    "background|other|ground": "#c8d6a0",
}
"""Colours by what a class's name has in it."""


def colored_classes(legend: Legend) -> tuple[ClassSpec, ...]:
    """Classes with their colours, else those that their names call for, else any."""
    taken = set(legend.colors.values())
    colors = dict(legend.colors)
    for class_id, name in legend.names.items():
        meant = next((color for words, color in KNOWN_COLORS.items() if re.search(words, name, re.I)), None)
        if class_id not in colors and meant is not None and meant not in taken:
            colors[class_id] = meant
            taken.add(meant)
    return Legend(legend.names, colors).classes(sorted(legend.names))
