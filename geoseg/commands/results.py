"""What a prediction writes: its rasters, their styles and statistics, a preview, polygons, a STAC Item.

In: the classified scene. Out: drafts of files, to be published.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.commands.output_paths import OutputPaths
from geoseg.core.errors import GeosegError, OutputError
from geoseg.core.events import Progress, Reporter, Stage
from geoseg.core.files import write_errors
from geoseg.core.naming import layer_name
from geoseg.inference.assemble import Assembled, replace_classes
from geoseg.inference.class_shares import ClassShare
from geoseg.inference.cores import origin_tags
from geoseg.inference.job import Job
from geoseg.outputs.attribute_table import write_aux
from geoseg.outputs.cog import write_cog
from geoseg.outputs.drafts import Drafts
from geoseg.outputs.geotiff import INSTANCES_FORMAT
from geoseg.outputs.stac.assets import ResultFile, is_asset
from geoseg.outputs.stac.item import Prediction, landcover_item
from geoseg.outputs.styles import add_layer_style, raster_sld, shared_qml, vector_qml, vector_sld, write_style_files
from geoseg.raster.class_raster import open_classes, read_strips
from geoseg.raster.legend import Legend
from geoseg.raster.rights import Rights
from geoseg.spec import NODATA_ID

if TYPE_CHECKING:
    from geoseg.vector.layer import PolygonLayer


@dataclass(frozen=True)
class VectorCounts:
    """How many polygons and instances were written; None for those that are not wanted."""

    polygons: int | None = None
    """Number of polygons."""
    instances: int | None = None
    """Number of instances."""


@dataclass(frozen=True)
class Results:
    """The classified scene, and the paths of its files."""

    job: Job
    """Scene, model and settings."""
    assembled: Assembled
    """Class raster, confidence, uncertainty and scores, assembled."""
    classes: tuple[ClassShare, ...]
    """Share of each class in the scene."""
    paths: OutputPaths
    """Paths of the finished files."""
    drafts: Drafts
    """Paths of the drafts."""
    reporter: Reporter
    """Takes the progress of `writing`, `preview` and `polygons`."""

    def write_rasters(self) -> None:
        """Write the class raster, and those of confidence, uncertainty and scores if asked for."""
        rasters, formats = self.assembled.rasters, self.assembled.formats
        wanted = {kind: path for kind in rasters if (path := getattr(self.paths, kind)) is not None}
        stage = Stage(self.reporter, "writing", len(wanted))
        stage.advance()
        for kind, path in wanted.items():
            write_cog(rasters[kind], formats[kind], self.drafts[path])
            stage.advance(1)
        self._describe_classes()

    def _describe_classes(self) -> None:
        """Give the class raster its attribute table, statistics and styles."""
        draft, legend = self.drafts[self.paths.landcover], self.job.model.spec.classes
        valid = sum(c.pixels for c in self.classes)
        pixels = {c.id: c.pixels for c in self.classes} | {NODATA_ID: self.job.scene.info.pixels - valid}
        areas = {c.id: c.area_m2 for c in self.classes if c.area_m2 is not None}
        write_aux(draft, legend, pixels, areas if valid and areas else None)
        write_style_files(draft, shared_qml(legend), raster_sld(legend, layer_name(self.paths.landcover.stem)))

    def write_item(self, path: Path) -> None:
        """Write the STAC Item of the finished files; of those that it lists, none may be changed afterwards."""
        draft = self.drafts[path]
        with write_errors(draft.parent.parent):
            item = landcover_item(self._prediction())
            draft.write_text(json.dumps(item, indent=2, ensure_ascii=False, allow_nan=False), "utf-8")

    def _prediction(self) -> Prediction:
        scene, model, formats = self.job.scene, self.job.model, self.assembled.formats
        if self.paths.instances is not None:
            formats = formats | {"instances": INSTANCES_FORMAT}
        files = {
            kind: ResultFile.measured(path, self.drafts[path], formats.get(kind))
            for kind, path in self.paths.by_kind().items()
            if is_asset(kind)
        }
        about = scene.info.name, scene.info.path, scene.grid, scene.taken(), model.spec, files, model.file
        return Prediction(*about, self.assembled.confidence, self.job.notices)

    def write_vectors(self) -> VectorCounts:
        """Write polygons in each format, and the raster of instances; return how many there are.

        Raises:
            OutputError: if they cannot be made; the class raster is complete then.
        """
        from geoseg.commands.instances import write_instances
        from geoseg.vector.polygonize import open_polygonizer

        rasters, spec, path = self.assembled.rasters, self.job.spec.vector.of_generalized_raster, self.paths.instances
        legend, folder = Legend.of(self.job.model.spec.classes), self.assembled.folder
        try:
            with (
                open_polygonizer(rasters["landcover"], rasters.get("confidence"), legend, spec) as polygonizer,
                polygonizer.numbered(folder) as instances,
            ):
                if instances is not None and path is not None:
                    tags = origin_tags(self.job)
                    write_instances(instances, self.job.scene.info, tags, folder, self.drafts[path])
                if instances is not None and instances.notice is not None:
                    self.job.log.notice(instances.notice)
                layer = polygonizer.run(self.reporter, instances) if self.paths.polygons else None
            if layer is not None:
                self._write_layers(replace(layer, notices=self.job.notices, rights=Rights.of(self.job.model.spec)))
        except GeosegError as error:
            raise OutputError(f"{error}; the class raster is complete: {self.paths.landcover}") from None
        counts = (None if found is None else len(found) for found in (layer, instances))
        return VectorCounts(*counts)

    def _write_layers(self, layer: PolygonLayer) -> None:
        failed = [error for path in self.paths.polygons if (error := self._write_layer(layer, path)) is not None]
        if failed:
            raise failed[0]

    def _write_layer(self, layer: PolygonLayer, path: Path) -> OutputError | None:
        """Write polygons in the format of a path; return the error if that fails, so that others are written."""
        from geoseg.vector.formats import format_of
        from geoseg.vector.write import write_polygons

        classes, draft, name = self.job.model.spec.classes, self.drafts[path], layer_name(path.stem)
        try:
            write_polygons(layer, draft, name=name)
            if self.job.spec.vector.embed_style and format_of(path).traits.holds_styles:
                add_layer_style(draft, name, vector_qml(classes), vector_sld(classes, name))
        except GeosegError as error:
            return OutputError(str(error).replace(str(draft), str(path)))
        return None

    def write_preview(self, path: Path) -> None:
        """Write a picture of the scene and its classes."""
        from geoseg.commands.preview import draw, text_of

        self.reporter.progress(Progress("preview", 0, 1))
        picture = draw(self.job, self.assembled, self.classes, self.drafts[self.paths.landcover])
        with write_errors(path.parent):
            picture.save(self.drafts[path], pnginfo=text_of(self.job))
        self.reporter.progress(Progress("preview", 1, 1))


def parts_of(polygons: Iterable[Path]) -> dict[Path, tuple[Path, ...]]:
    """The files that belong to each vector file, beside it."""
    from geoseg.vector.formats import format_of  # only polygons need its libraries

    return {path: tuple(format_of(path).parts(path)) for path in polygons}


def generalize(job: Job, assembled: Assembled) -> None:
    """Filter specks by majority, fill holes and merge small regions in the class raster, as the polygons show it."""
    from geoseg.vector.polygonize import generalized, within

    scene = job.scene
    with open_classes(assembled.rasters["landcover"]) as raster:
        strips = generalized(partial(read_strips, raster, None), scene.grid, NODATA_ID, job.spec.vector)
        found = strips() if scene.area is None else within(strips, scene.area, NODATA_ID)
        replace_classes(assembled, scene.info, job.model.spec.classes, found)
