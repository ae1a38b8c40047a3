"""Listing of labelled rasters: each image with its labels, and its side of the split if that is given.

In: a DataSpec. Out: a list of files. Reads the CSV and lists folders; never opens an image.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.core.composites import matching, paths_in, split_composite
from geoseg.core.errors import LabelError
from geoseg.core.events import SILENT, Reporter
from geoseg.core.patterns import resolved
from geoseg.core.raster_names import is_raster, is_result
from geoseg.core.safe_paths import is_elsewhere, joined, whole_url
from geoseg.core.tables import Table
from geoseg.core.wording import number_of
from geoseg.data.file_pairs import file_pairs
from geoseg.data.image_tags import Tags, split_tags
from geoseg.spec import DataSpec, SplitSpec
from geoseg.spec.data import AS_DATA_SAYS, LABEL_VALUES, SourceLegendSpec, legend_values, scene_values

COLUMNS = ("image", "label")
CHOOSING = ("train", "val")
"""Sides of a split that training reads."""
TEST = "test"
"""The side that is read once the model is chosen."""
MOST_WORDS = 5
"""Words for rasters that are left out, in a message."""


@dataclass(frozen=True)
class ListedRaster:
    """An image and the file with its labels."""

    image: Path
    """Raster with the bands, or the address of several files."""
    label: Path
    """Raster on the image's grid, or polygons; of an image with tags alone the list that holds these."""
    split: str | None
    """train, val or test; another word for one that is left out; None if it is not given."""
    group: str | None = None
    """What goes to one side together with others of the same group; None if it is in none."""
    legend: SourceLegendSpec = AS_DATA_SAYS
    """How its labels are read where that differs from the other ones."""
    tags: Tags | None = None
    """The classes that it shows, in place of labels of its pixels; None if it has these."""
    values_in: str = LABEL_VALUES
    """Where the settings say what the values of its labels stand for."""
    cells: tuple[str, ...] = ()
    """What the columns of data.split.test_where hold in its row, in their order."""

    @property
    def is_left_out(self) -> bool:
        """Whether it is on no side."""
        return self.split not in (*CHOOSING, TEST, None)


def list_rasters(data: DataSpec, reporter: Reporter = SILENT) -> list[ListedRaster]:
    """List the labelled rasters of a DataSpec, without those whose split is none of train, val and test.

    Args:
        data: names them.
        reporter: gets a notice of those that are left out.

    Raises:
        LabelError: if the CSV cannot be read or lacks a column, a pattern matches nothing, or labels are missing.
    """
    found = _with_own_test(_named(data), data.split, reporter)
    words = Counter(str(one.split) for one in found if one.is_left_out)
    if words.total() == len(found):
        raise LabelError(
            f"all images have the split {', '.join(sorted(words)[:MOST_WORDS])}, and are left out: write train or val "
            "for some of them"
        )
    if words:
        shown = ", ".join(f"{word} ({count:,})" for word, count in words.most_common(MOST_WORDS))
        more = ", ..." if len(words) > MOST_WORDS else ""
        reporter.notice(
            f"{words.total():,} of {number_of(len(found), 'image')} left out, as the split is neither train, val nor "
            f"test: {shown}{more}"
        )
    return [one for one in found if not one.is_left_out]


def values_in(data: DataSpec, column: str) -> list[str]:
    """The values of a column of the list of tiles, or the groups of scenes, of images that are not left out.

    Raises:
        LabelError: if there is no such column, or a cell is empty.
    """
    split = data.split.model_copy(update={"test_where": {column: ""}})
    named = _named(data.model_copy(update={"split": split}))
    found = list(dict.fromkeys(one.cells[0] for one in named if not one.is_left_out))
    if "" in found:
        raise LabelError(f"an image of data.scenes has no {column}: give each one")
    return found


def _with_own_test(found: Sequence[ListedRaster], split: SplitSpec, reporter: Reporter) -> Sequence[ListedRaster]:
    """The same with the test side that data.split.test_where says, if it does, without others given as test."""
    wanted = tuple(split.test_where.values())
    if not wanted:
        return found
    sided = [(one, one.cells == wanted) for one in found]
    kept = [
        replace(one, split=TEST) if is_tested and not one.is_left_out else one
        for one, is_tested in sided
        if (one.tags is None if is_tested else one.split != TEST)
    ]
    if not any(one.split == TEST for one in kept):
        shown = ", ".join(f"{column}: {value}" for column, value in split.test_where.items())
        raise LabelError(f"no image with a label has {shown}, as data.split.test_where says: correct it")
    if unused := len(found) - len(kept):
        reporter.notice(
            f"{number_of(unused, 'image')} left out: given as {TEST}, or with tags alone, where data.split.test_where "
            "says what the test side is"
        )
    return kept


def list_unlabelled(data: DataSpec) -> list[Path]:
    """List the images without labels of a DataSpec, each once; of a folder those in it, without geoseg's own results.

    Raises:
        LabelError: if a path or pattern matches nothing.
    """
    kind = data.kind_without_labels
    found = {path.resolve(): path for text in data.without_labels for path in _unlabelled(text, kind)}
    return list(found.values())


def _unlabelled(text: str, kind: str) -> list[Path]:
    if any(map(is_elsewhere, paths_in(text))):
        return [Path(text)]
    composite = split_composite(text)
    found = [address for address, _ in matching(text)] if composite else _paths(text)
    missing = next((path for address in found for path in paths_in(address) if not Path(path).exists()), None)
    if missing is not None or not found:
        raise LabelError(f"no image matches {missing or text}: check data.{kind}")
    return [Path(address) for address in found]


def _paths(text: str) -> list[str]:
    found = resolved(Path(text).as_posix()).paths()
    folders = [path for path in found if Path(path).is_dir()]
    inside = sorted(str(one) for folder in folders for one in Path(folder).iterdir())
    return [path for path in found if path not in folders] + [
        path for path in inside if is_raster(path) and not is_result(path)
    ]


def to_read(listed: Sequence[ListedRaster], only: str | None) -> list[ListedRaster]:
    """The rasters that are read to train, or to score one side alone.

    Rasters that are given as test are read to score the test side, and then no other is needed; else never.

    Raises:
        LabelError: if all are for the test, and another side is wanted.
    """
    given_test = [one for one in listed if one.split == TEST]
    if only == TEST and given_test:
        return given_test
    others = [one for one in listed if one.split != TEST]
    if not others:
        raise LabelError(
            "all images have the split test, which is for the test of a finished model: write train or val for some of "
            "them"
        )
    return others


def _named(data: DataSpec) -> list[ListedRaster]:
    if data.tiles is not None:
        return _rows(data.tiles, data)
    if data.images is not None and data.labels is not None:
        _check_where(data.split, [], "images that match patterns have", "none: list them in a CSV (data.tiles)")
        return [ListedRaster(image, label, None) for image, label in file_pairs(data.images, data.labels)]
    _check_where(data.split, ["group"], "images in data.scenes have", "group")
    return [
        _with_legend(
            ListedRaster(
                scene.image, scene.label, scene.split, scene.group,
                SourceLegendSpec(label_values=scene.label_values), values_in=scene_values(number),
                cells=(scene.group or "",) * len(data.split.test_where),
            ),
            scene.legend or "",
            data,
        )
        for number, scene in enumerate(data.scenes)
    ]  # fmt: skip


def _check_where(split: SplitSpec, columns: Sequence[str], subject: str, what: str) -> None:
    """Refuse columns by which the test side is chosen that images do not have."""
    for column in split.test_where:
        if column not in columns:
            raise LabelError(f"the column {column} is to say what is for the test, but {subject} {what}")


def _with_legend(own: ListedRaster, name: str, data: DataSpec) -> ListedRaster:
    """The same, read by one of data.legends, if it has the name of one; else by its own legend, or as `data` says."""
    if name:
        own = replace(own, legend=data.legends[name], values_in=legend_values(name))
    return own if own.legend.label_values else replace(own, values_in=LABEL_VALUES)


def _rows(path: Path, data: DataSpec) -> list[ListedRaster]:
    split = data.split
    if "://" in (url := whole_url(path)):
        raise LabelError(f"cannot read the list of tiles {url}: lists are files, save it (its tiles may be URLs)")
    try:
        named = split.column, *_group_of(split), *split.test_where
        table, wanted = Table(path), (*COLUMNS, *named, *_tags_of(data), *_legends_of(data))
        _check_columns(list(table.columns(wanted).values()), path, data)
        rows = _with_all_tags([_row(cells, path, number, data) for number, cells in table.rows(wanted)])
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise LabelError(
            f"cannot read the list of tiles {path}: {reason}: correct data.tiles, or give the path with --tiles"
        ) from None
    if not rows:
        raise LabelError(f"{path} lists no tile: write a line with {', '.join(COLUMNS)} for each")
    return rows


def _check_columns(found: Sequence[str], path: Path, data: DataSpec) -> None:
    split = data.split
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        raise LabelError(
            f"{path} has no column {', '.join(missing)}: its first line must name the columns {', '.join(COLUMNS)} "
            "and, unless data.split.by says how to split, split"
        )
    if _is_given(split) and split.column != SplitSpec().column and split.column not in found:
        raise LabelError(f"{path} has no column {split.column}, which data.split.column names: correct one of both")
    if split.group_column is not None and split.group_column not in found:
        raise LabelError(
            f"{path} has no column {split.group_column}, which data.split.group_column names: correct one of both"
        )
    missing = [column for column in split.test_where if column not in found]
    if missing:
        raise LabelError(f"{path} has no column {missing[0]}, which is to say what is for the test: correct its name")
    if data.legends and data.legend_column not in found:
        raise LabelError(
            f"{path} has no column {data.legend_column}, which says by which of data.legends a row is read: add it, or "
            "name it in data.legend_column"
        )
    if data.tags_column is not None and data.tags_column not in found:
        raise LabelError(f"{path} has no column {data.tags_column}, which data.tags_column names: correct one of both")


def _row(cells: dict[str, str], path: Path, number: int, data: DataSpec) -> ListedRaster:
    split = data.split
    given = (split.column,) if split.column in cells and _is_given(split) else ()
    tags = split_tags(cells.get(data.tags_column or "", "")) if not cells["label"] else ()
    needed = ("image", *(() if tags else ("label",)), *given, *_group_of(split), *split.test_where)
    if data.tags_column is not None and not (cells["label"] or tags):
        raise LabelError(
            f"{path}, line {number}: the row has neither a label nor tags: give one of both (data.tags_column)"
        )
    if not all(cells[name] for name in needed):
        raise LabelError(f"{path}, line {number}: a cell is empty: give {', '.join(needed)} of every tile")
    image, label = _beside(path, cells["image"]), path if tags else _beside(path, cells["label"])
    name = "".join(cells.get(column, "") for column in _legends_of(data))
    if name and name not in data.legends:
        remedy = f"give one of {', '.join(data.legends)}, or leave the cell empty"
        if not data.legends:
            remedy = f"there are none: give data.legends, or drop the column {data.legend_column}"
        raise LabelError(f"{path}, line {number}: legend {name!r} is none of data.legends: {remedy}")
    group = cells.get(split.group_column or "")
    where = tuple(cells[column] for column in split.test_where)
    listed = ListedRaster(image, label, cells.get(split.column) or None, group, cells=where)
    listed = _with_legend(listed, name, data)
    return _tagged(listed, tags, f"{path}, line {number}", data) if tags else listed


def _tagged(listed: ListedRaster, tags: Sequence[str], place: str, data: DataSpec) -> ListedRaster:
    """An image with tags alone, which is for training.

    Raises:
        LabelError: if it is given for validation or the test, or no split is given.
    """
    if data.split.by != "none" and listed.split is None:
        raise LabelError(
            f"{place}: tags are for training alone, and no split is given: add the column {data.split.column}, with "
            "train for tags and val for some labels"
        )
    if listed.split == TEST or (listed.split == "val" and data.split.by != "none"):
        raise LabelError(
            f"{place}: split {listed.split} needs a label, tags cannot be scored: give one, or write train"
        )
    outside = data.outside if listed.legend.outside is None else listed.legend.outside
    beside = outside if isinstance(outside, tuple) else () if outside is None else (outside,)
    return replace(listed, tags=Tags((*tags, *map(str, beside)), place))


def _with_all_tags(listed: Sequence[ListedRaster]) -> list[ListedRaster]:
    """The same, each image with tags alone knowing those of all others that are not left out."""
    known = tuple(dict.fromkeys(one.tags.names for one in listed if one.tags is not None and not one.is_left_out))
    return [one if one.tags is None else replace(one, tags=replace(one.tags, all=known)) for one in listed]


def _tags_of(data: DataSpec) -> tuple[str, ...]:
    """The column of tags, if there is one."""
    return () if data.tags_column is None else (data.tags_column,)


def _legends_of(data: DataSpec) -> tuple[str, ...]:
    """The column of legends; without legends in the settings only one that is for nothing else."""
    others = (*COLUMNS, data.split.column, *_group_of(data.split), *_tags_of(data))
    return (data.legend_column,) if data.legends or data.legend_column not in others else ()


def _beside(path: Path, cell: str) -> Path:
    """A path of a list, relative to the list's folder, perhaps with the backslashes of Windows."""
    beside = joined(path.parent, cell)
    return joined(path.parent, cell.replace("\\", "/")) if "\\" in cell and not beside.exists() else beside


def _group_of(split: SplitSpec) -> tuple[str, ...]:
    """The column of groups, if there is one."""
    return () if split.group_column is None else (split.group_column,)


def _is_given(split: SplitSpec) -> bool:
    """Whether the split may be given by the column."""
    return split.by in ("auto", "column")
