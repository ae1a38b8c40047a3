"""Settings of training data: labelled images, the values of their labels, and the split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from geoseg.core.composites import NAME, join_composite
from geoseg.core.errors import shown
from geoseg.spec.base import LARGEST_COUNT, LARGEST_SIZE_M, MOST_BANDS, DataType, FilePath, Name, Spec


def _as_written(value: Any) -> Any:
    """Refuse a label that YAML or Python read as another type: its text in the file is lost."""
    if isinstance(value, bool | float):
        kind = "a truth value" if isinstance(value, bool) else "a number with a fraction"
        raise ValueError(f"read as {kind}: put the label in quotes, as it stands in the file")
    return value


Label = Annotated[int | str, BeforeValidator(_as_written)]
"""A number, a colour, a text, or the name or id of a class."""


def _as_address(value: Any) -> Any:
    """The address of an image, given a path for each band: {red: a.tif, green: b.tif} is red=a.tif+green=b.tif."""
    if not isinstance(value, dict):
        return value
    for name, path in value.items():
        if not isinstance(name, str) or not re.fullmatch(NAME, name):
            raise ValueError(f"{shown(name)} is no name of a band: give names of letters and digits, as red: a.tif")
        if not isinstance(path, str) or not path.strip():
            raise ValueError(f"band {name}: give the path of its file")
    if not value:
        raise ValueError("give the path of an image, or one for each band: {red: a.tif, green: b.tif}")
    return join_composite(list(value.items()))


def _as_list(value: Any) -> Any:
    """A list of one file for its path."""
    return [value] if isinstance(value, str | Path) else value


Files = Annotated[tuple[FilePath, ...], BeforeValidator(_as_list)]
"""Paths of files, or that of one."""
ImagePath = Annotated[FilePath, BeforeValidator(_as_address)]
"""Path of an image, or the address of several files."""


def _not_empty(pattern: str) -> str:
    if not pattern.strip():
        raise ValueError("it is empty: give a path or a pattern, or leave it out")
    return pattern


ImagePattern = Annotated[str, BeforeValidator(_as_address), AfterValidator(_not_empty)]
"""Path or pattern of images, or of a file for each band."""


LABEL_BUFFER_PX = 1.5
"""Radius of points and half the width of lines by default: a click is off by a pixel, and marks three pixels."""


def _as_classes(value: Any) -> Any:
    """Refuse what is neither a class nor a list of classes."""
    if not isinstance(value, int | float | str | list | tuple):
        raise ValueError("give the name or id of a class, or a list of some")
    if isinstance(value, list | tuple) and not value:
        raise ValueError("the list is empty: give the classes one of which is meant, or `ignore`")
    return _as_written(value)


Classes = Annotated[int | str | tuple[Label, ...], BeforeValidator(_as_classes)]
"""A class, or several of which one is meant, by their names or ids."""

LABEL_VALUES = "data.label_values"
"""Where the label values of a config stand that are those of all labels without their own."""


def legend_values(name: str) -> str:
    """Where the label values of a legend stand."""
    return f"data.legends.{name}.label_values"


def scene_values(number: int) -> str:
    """Where the label values of a scene stand, given its index."""
    return f"data.scenes[{number}].label_values"


class SourceLegendSpec(Spec):
    """How the labels of one source are read; what is not given is as in `data`."""

    label_values: dict[Label, Classes] = Field(default={})
    """Label value -> class, several classes, or `ignore`, in place of data.label_values."""
    label_column: str | None = None
    """Column of the polygons that holds their class."""
    label_layer: str | None = None
    """Layer of the vector file."""
    outside: Classes | None = None
    """Class, or several, of all that has no label."""
    label_border_px: int | None = Field(default=None, ge=0, le=LARGEST_COUNT)
    """Width of the strip on each side of borders between classes that is not labelled, in pixels of the image."""

    @property
    def meanings(self) -> list[Classes]:
        """What label values stand for."""
        return [*self.label_values.values(), *([] if self.outside is None else [self.outside])]


AS_DATA_SAYS = SourceLegendSpec()
"""The legend of labels that have none of their own."""


class LabelledRasterSpec(Spec):
    """A labelled raster: an image of any size and the file with its labels."""

    image: ImagePath
    """Raster with the bands, or a file for each band by its name: {red: B04.tif, green: B03.tif}."""
    label: FilePath
    """Raster of labels on the image's grid, or polygons in any vector format and CRS."""
    split: str | None = None
    """train, val, test, or another name, which is left out; None leaves it to data.split."""
    group: str | None = None
    """Group that goes to one side together, by scene and by clusters; None: it is in none."""
    legend: Name | None = None
    """Name of the legend, among data.legends, by which its labels are read; None: as `data` says."""
    label_values: dict[Label, Classes] = Field(default={})
    """Label value -> class, several classes, or `ignore`, for these labels alone."""

    @model_validator(mode="after")
    def _one_legend(self) -> Self:
        if self.legend is not None and self.label_values:
            raise ValueError("legend and label_values both say what labels stand for: keep one")
        return self


class SplitSpec(Spec):
    """Which pixels are used for training, which for validation, and which for the test at the end."""

    by: Literal["auto", "column", "blocks", "scene", "clusters", "random", "polygons", "none"] = "auto"
    """column: as given; blocks: by square blocks of pixels; scene: whole images; clusters: whole clusters of images
    that lie near each other; random: image by image, which lets
    neighbours of training pixels into the scores; polygons: each labelled polygon as a whole, those of
    each class by themselves; none: all for training, nothing scored, the last epoch kept; auto: column where splits are
    given, else blocks, or polygons where there are too few for blocks."""
    column: str = "split"
    """Column of the CSV that holds train, val or test; rows with another word are left out. Images given as test are
    the test side however the others are split."""
    val_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the labelled pixels that is kept for validation, when geoseg splits; by polygons, share of each class's
    polygons; 0 keeps none, and the last epoch."""
    test_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the labelled pixels, or polygons, that is kept for the test of the finished model, and is in no fold; it
    is drawn first. Where images are given as test, these are the test side."""
    folds: int | None = Field(default=None, ge=2, le=100)
    """Cross-validation: the blocks, scenes, clusters or polygons are dealt out to so many folds, and a model is trained
    for each, which is scored on it; the model itself is then trained on all labels. None means a single split."""
    fold: int | None = Field(default=None, ge=1, le=100)
    """The only fold that is trained, counted from 1: the one on which it is scored; None means all of them."""
    block_px: int = Field(default=1024, ge=64, le=LARGEST_COUNT)
    """Side of a block, in pixels."""
    cluster_gap_m: float = Field(default=500.0, ge=0, le=1e6)
    """By clusters, images no farther apart than this are neighbours, in metres on the ground, and all that neighbours
    link are one cluster. Images without coordinates have no neighbours."""
    group_column: str | None = Field(default=None, min_length=1)
    """Column of the CSV with the group of each image, such as a flight, a town or a cluster, by scene and by clusters:
    images of one group go to one side together."""
    test_where: dict[Annotated[str, Field(min_length=1)], str] = Field(default={})
    """Column of the CSV -> value, e.g. {region: chengdu}: the test side is the images of whose row all of these hold,
    instead of those given as test, which are then left out. The column of images in `scenes` is group."""
    guard_px: int | None = Field(default=None, ge=0, le=LARGEST_COUNT)
    """Labels nearer than this to validation pixels are not used for training; None means the side of a window as read,
    so that no training window reaches validation pixels, or, where that would leave too little, and by polygons, 3 px,
    with validation areas hidden from training windows. Images without coordinates have no neighbours."""
    seed: int = Field(default=0, ge=0, le=LARGEST_COUNT)
    """Seed of the draw of blocks or images."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.folds is not None and self.by in ("column", "random", "none"):
            raise ValueError(f"folds do not go with by: {self.by}: take blocks, scene, clusters or polygons")
        if self.group_column is not None and self.by not in ("scene", "clusters", "none"):
            raise ValueError(f"group_column does not go with by: {self.by}: take scene or clusters")
        if self.fold is not None and self.fold > (self.folds or 0):
            raise ValueError(f"fold {self.fold} is none of {self.folds or 0} folds: correct fold or folds")
        self._check_test()
        return self

    def _check_test(self) -> None:
        if self.test_share and self.test_where:
            raise ValueError("test_share and test_where both say what is for the test: leave out one of both")
        if self.test_share and self.by in ("column", "none"):
            raise ValueError(
                f"test_share does not go with by: {self.by}: give some images the split test, or take blocks, scene, "
                "clusters, random or polygons"
            )
        if self.test_share and self.folds is not None and self.by == "auto":
            raise ValueError("test_share goes with folds only if by says how to split: take blocks, scene, ...")
        if self.val_share + self.test_share >= 1:
            raise ValueError(
                f"val_share {self.val_share:g} and test_share {self.test_share:g} leave nothing for training: lower one"
            )

    @property
    def has_several_folds(self) -> bool:
        """Whether a model is trained for each of several folds."""
        return self.folds is not None and self.fold is None

    @property
    def validates(self) -> bool:
        """Whether there is a validation side, by which the best epoch is chosen."""
        is_given = self.by == "column" or self.folds is not None
        return self.by != "none" and (is_given or self.val_share > 0)

    @property
    def keeps_last(self) -> bool:
        """Whether the last epoch is kept, not the best: where none is scored, and in folds, whose scores choosing would
        flatter."""
        return not self.validates or self.folds is not None


class DataSpec(Spec):
    """Labelled images, given in one of three ways: `tiles`, `images` with `labels`, or `scenes`."""

    tiles: FilePath | None = None
    """CSV with the columns image, label and, unless geoseg splits, split; its paths start at the CSV's folder."""
    images: ImagePattern | None = None
    """Path or pattern of the images, e.g. images/*/*.tif or tiles/**/area_[13].{tif,png}."""
    labels: str | None = None
    """Path or pattern of their labels; each wildcard (*, **, ?, [13], {a,b}) stands for the same text as in
    `images`, e.g. labels/*/*_mask.png."""
    scenes: tuple[LabelledRasterSpec, ...] = ()
    """List of images with their labels."""
    unlabelled: Annotated[tuple[ImagePattern, ...], BeforeValidator(_as_list)] = ()
    """Images without labels, for training methods that learn from them: paths, folders or patterns, one or a list, of
    equal bands, type of values and pixel size. What lies in validation or test labels is hidden."""
    target: Annotated[tuple[ImagePattern, ...], BeforeValidator(_as_list)] = ()
    """In place of `unlabelled`: images without labels of the region where the model is to be used, which training
    methods adapt it to; given in the same way."""
    unlabelled_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the training windows drawn from `unlabelled` or `target`, uniformly by area; the rest are drawn about
    labels."""
    split: SplitSpec = SplitSpec()
    """Which pixels are used for training, which for validation, and which for the test at the end."""
    bands: tuple[Name, ...] = Field(min_length=1, max_length=MOST_BANDS)
    """Band names in the network's order: red, green, blue, nir, ..."""
    band_indexes: tuple[Annotated[int, Field(ge=1, le=LARGEST_COUNT)], ...] | None = None
    """Where the bands stand in the image files, counted from 1; None finds them by name, colour, or position."""
    dtype: DataType = "uint8"
    """Type of the band values."""
    nodata: float | None = Field(default=None, allow_inf_nan=True)
    """Value that marks pixels without data, over what the files say."""
    resolution_m: float | None = Field(default=None, ge=1 / LARGEST_SIZE_M, le=LARGEST_SIZE_M)
    """Pixel size on the ground, in metres; None takes it from the first image that has coordinates."""
    label_values: dict[Label, Classes] = Field(default={})
    """Label value -> name or id of a class, or `ignore`. Label values are numbers, colours like "#3c1098" (palette and
    RGB images), or texts (polygons); `other` stands for all the rest. Empty means: class ids or class names. A list of
    classes, as in `built: [building, road]`, means one of them: the loss sums their probabilities, and nothing scores
    these pixels."""
    legends: dict[Name, SourceLegendSpec] = Field(default={})
    """Further ways to read labels, by name, so that sources with different legends train one model: those of `scenes`
    by their `legend`, those of `tiles` by a column of the CSV."""
    legend_column: str = "legend"
    """Column of the CSV with the name of the legend of each row, where there are `legends`; an empty cell means that
    its labels are read as `data` says."""
    tags_column: str | None = Field(default=None, min_length=1)
    """Column of the CSV with the classes that an image shows, by name or id: "building;road". Training rows may have
    tags in place of a label, for training methods that learn from them (cam); any of their pixels may also be of the
    class `outside`. Where there is a label, it counts alone."""
    label_column: str | None = None
    """Column of the polygons that holds their class; needed where there are several columns."""
    label_layer: str | None = None
    """Layer of the vector file; None means its only one."""
    label_buffer_px: float = Field(default=LABEL_BUFFER_PX, ge=0.75, le=LARGEST_COUNT)
    """Radius of points and half the width of lines of vector files, in pixels of the image: what lies within is of
    their class, all else is unknown. Where those of several classes overlap, nothing is labelled."""
    label_box_rim: float | None = Field(default=None, ge=0, lt=0.5)
    """Polygons are boxes around objects, not outlines: this share of their width and height on each side is not
    labelled, e.g. 0.2; what lies further in is of their class, in overlaps of the smallest box. None: they are
    outlines."""
    label_border_px: int = Field(default=0, ge=0, le=LARGEST_COUNT)
    """Width of the strip on each side of borders between classes that is not labelled, in pixels of the image: e.g.
    half a pixel of labels of a coarser resolution, whose borders are steps."""
    label_resample: bool = False
    """Rasters of labels may lie on other grids than their images, as products of a coarser resolution or in another
    CRS: a pixel has the label at its centre, and none beyond the raster. False: they are an error."""
    outside: Classes | None = None
    """Name or id of the class of all that lies outside of the polygons, or is not labelled in rasters, within the valid
    pixels of the images: for footprints of one kind and nothing else. A list of classes means one of them, as in
    label_values. None: it is not labelled."""
    extent: FilePath | None = None
    """Polygons outside of which nothing counts as `outside`: the area that was mapped. A vector file in any CRS,
    FILE|layername=NAME where it has several layers; None: the images."""
    corrections: Files = ()
    """Polygons that correct the labels under them, e.g. suspects.gpkg: vector files in any CRS, one or a list,
    FILE|layername=NAME where a file has several layers. The column `correction` holds the name or id of the class of a
    polygon's pixels; where it is empty, or missing, they are not labelled, neither in training nor in scoring."""
    class_balance: float = Field(default=0.4, ge=0, le=1)
    """Share of the training windows drawn to show a class drawn uniformly; the rest are drawn uniformly by area."""
    memory_mb: int = Field(default=2048, ge=0, le=LARGEST_COUNT)
    """Images are held in memory if all of them fit into this; else windows are read from the files when drawn."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ways = [self.tiles is not None, self.images is not None or self.labels is not None, bool(self.scenes)]
        if sum(ways) != 1:
            raise ValueError("give one of `tiles` (a CSV), `images` with `labels` (patterns), or `scenes` (a list)")
        unknown = [
            scene.legend for scene in self.scenes if scene.legend is not None and scene.legend not in self.legends
        ]
        if unknown:
            raise ValueError(
                f"legend {shown(unknown[0])} is none of `legends`: {', '.join(self.legends) or 'there are none'}"
            )
        if self.legends and self.images is not None:
            raise ValueError("legends are for `tiles`, by a column, and for `scenes`: list the images in one of these")
        outsides = [self.outside, *(legend.outside for legend in self.legends.values())]
        if self.extent is not None and not any(one is not None for one in outsides):
            raise ValueError("extent says where outside counts: give outside, the class between the polygons, as well")
        if self.unlabelled and self.target:
            raise ValueError("unlabelled and target are both images without labels: give one of them")
        self._check_tags()
        if (self.images is None) != (self.labels is None):
            raise ValueError("`images` and `labels` belong together: give both")
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands {', '.join(self.bands)}: one is named twice, give each its own name")
        if self.band_indexes is not None and len(self.band_indexes) != len(self.bands):
            raise ValueError(f"{len(self.bands)} bands, {len(self.band_indexes)} band_indexes: give one index per band")
        return self

    def _check_tags(self) -> None:
        if self.tags_column is None:
            return
        if self.tiles is None:
            raise ValueError("tags_column is a column of a CSV: list the images in one, and name it in tiles")
        if self.split.by not in ("auto", "column", "none"):
            raise ValueError(
                f"tags_column does not go with split.by: {self.split.by}: give the split of each row (column), as tags "
                "are for training alone"
            )

    @property
    def without_labels(self) -> tuple[ImagePattern, ...]:
        """Paths, folders and patterns of the images without labels, of either kind."""
        return self.target or self.unlabelled

    @property
    def kind_without_labels(self) -> Literal["unlabelled", "target"]:
        """The setting that names the images without labels, which is also what they are called."""
        return "target" if self.target else "unlabelled"

    @property
    def class_sets(self) -> tuple[tuple[Label, ...], ...]:
        """The lists of classes that label values stand for, each once, in the order of the settings."""
        own = SourceLegendSpec(label_values=self.label_values, outside=self.outside)
        scenes = [SourceLegendSpec(label_values=scene.label_values) for scene in self.scenes]
        meant = [one for legend in (own, *self.legends.values(), *scenes) for one in legend.meanings]
        return tuple(dict.fromkeys(one for one in meant if isinstance(one, tuple)))
