"""A class raster against labels: the same scores as whole arrays give, whatever the windows and the files."""

import json
import re
from importlib.metadata import EntryPoint

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import shapes
from shapely.geometry import shape
from support.models import class_specs, echo_model
from support.rasters import TRANSFORM, UTM, write_raster
from support.reporters import Heard

from geoseg.cli import main
from geoseg.cli.evaluate import Floor, parse_floor, shortfall
from geoseg.cli.scores_text import scores_line, scores_table
from geoseg.commands import evaluate as pipeline
from geoseg.commands.evaluate import evaluate
from geoseg.commands.predict import predict
from geoseg.commands.vectorize import vectorize
from geoseg.core.errors import LabelError, SceneError, SpecError
from geoseg.data.labels import LABEL_FORMATS
from geoseg.data.labels.polygons import POLYGONS
from geoseg.metrics.counter import ScoreCounter
from geoseg.metrics.scores import Scores, scores_of
from geoseg.raster.legend import class_tags
from geoseg.vector.formats import FORMATS


def whole(predicted: np.ndarray, true: np.ndarray, classes: int = 4, boundary_px: int = 3) -> Scores:
    """Scores of whole arrays, counted at once; 255 in either is left out."""
    counter = ScoreCounter(classes, boundary_px)
    true = np.where(predicted == 255, 255, true)
    counter.update(torch.from_numpy(predicted)[None], torch.from_numpy(true)[None])
    return counter.scores([f"class {i}" for i in range(classes)])


def tag(path, classes=None):
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**class_tags(classes or class_specs(4)))
    return path


def polygons(path, ids, *, crs=UTM, column="class", names=None, **extra):
    """Write the regions of class ids (h, w) as polygons; 255 is left out."""
    found = [(shape(s), int(k)) for s, k in shapes(ids, mask=ids != 255, transform=TRANSFORM)]
    values = {column: [names[k] if names else k for _, k in found]} | {k: [v] * len(found) for k, v in extra.items()}
    geopandas.GeoDataFrame(values, geometry=[s for s, _ in found], crs=UTM).to_crs(crs).to_file(path)
    return path


@pytest.fixture
def arrays(class_values):
    """Predicted and true class ids (60, 70), each with gaps."""
    predicted, true = class_values(60, 70, seed=1), class_values(60, 70, seed=2, blob=7)
    predicted[30:] = np.where(np.random.default_rng(0).random((30, 70)) < 0.8, true[30:], predicted[30:])
    predicted[5:9, :20], true[20:31, 40:] = 255, 255
    return predicted, true


@pytest.fixture
def files(tmp_path, arrays):
    predicted, true = arrays
    return tag(write_raster(tmp_path / "p.tif", predicted, nodata=255)), write_raster(
        tmp_path / "l.tif", true, nodata=255
    )


def run(*arguments):
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)], catch_exceptions=False)


# ----------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("tagged", [True, False])
def test_a_raster_agrees_with_itself(tmp_path, class_values, tagged):
    path = write_raster(tmp_path / "p.tif", class_values(40, 50))
    scores = evaluate(tag(path) if tagged else path, path).scores
    assert (scores.miou, scores.pixel_accuracy, scores.kappa, scores.boundary_miou) == (1, 1, 1, 1)
    assert scores.pixels == 2000


@pytest.mark.parametrize("boundary_px", [0, 1, 3, 100])
def test_scores_are_those_of_whole_arrays(files, arrays, boundary_px):
    result = evaluate(*files, boundary_px=boundary_px)
    expected = whole(*arrays, boundary_px=boundary_px)
    if boundary_px == 0:
        assert (result.scores.boundary_miou, result.scores.boundary_px) == (None, None)
        assert result.scores.iou == expected.iou
    else:
        assert result.scores == expected


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 50), width=st.integers(1, 50), side=st.integers(7, 60), px=st.integers(0, 5))
def test_windows_of_any_side_give_the_same(tmp_path_factory, height, width, side, px):
    folder, random = tmp_path_factory.mktemp("any"), np.random.default_rng(height * 51 + width)
    small = random.choice([0, 1, 2, 3, 255], (2, height // 4 + 1, width // 4 + 1), p=[0.3, 0.2, 0.2, 0.2, 0.1])
    predicted, true = np.kron(small, np.ones((4, 4))).astype(np.uint8)[:, :height, :width]
    predicted[0, 0] = true[0, 0] = 1
    paths = tag(write_raster(folder / "p.tif", predicted)), write_raster(folder / "l.tif", true)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "SIDE", side)
        result = evaluate(*paths, boundary_px=px)
    both = (predicted == 255) & (true != 255)
    assert result.scores == evaluate(*paths, boundary_px=px).scores
    assert result.unpredicted == pytest.approx(both.sum() / (true != 255).sum())
    assert result.scores.confusion == whole(predicted, true).confusion


def test_pixels_without_prediction_are_not_scored_but_counted(tmp_path):
    prediction = write_raster(tmp_path / "p.tif", np.array([[0, 1, 9, 9]], np.uint8), nodata=9)
    labels = write_raster(tmp_path / "l.tif", np.array([[0, 1, 1, 0]], np.uint8))
    result = evaluate(prediction, labels)
    assert (result.scores.miou, result.scores.pixels, result.unpredicted) == (1, 2, 0.5)


def test_nodata_of_the_labels_is_not_scored(tmp_path):
    prediction = write_raster(tmp_path / "p.tif", np.array([[1, 1, 2, 2]], np.uint8))
    labels = write_raster(tmp_path / "l.tif", np.array([[1, 0, 255, 2]], np.uint8), nodata=0)
    scores = evaluate(prediction, labels).scores
    assert (scores.miou, scores.pixels, list(scores.iou)) == (1, 2, ["class 1", "class 2"])


MASK = np.kron(np.uint8([[0, 255, 255, 0]]), np.ones((5, 5), np.uint8))


def test_255_is_a_class_of_a_mask_that_does_not_say_otherwise(tmp_path):
    mask = write_raster(tmp_path / "m.tif", MASK)
    result = evaluate(mask, mask)
    assert (result.scores.pixels, list(result.scores.iou)) == (100, ["class 0", "class 255"])
    assert [line for line in result.notices if "50 px" in line and "a class" in line]
    holes = write_raster(tmp_path / "h.tif", MASK, nodata=255)
    assert evaluate(mask, holes).scores.pixels == 50
    assert evaluate(holes, mask).scores.pixels == 50


def test_what_is_left_out_for_its_value_is_in_a_notice(tmp_path):
    labels = write_raster(tmp_path / "l.tif", MASK)
    prediction = write_raster(tmp_path / "p.tif", np.where(MASK == 255, 1, 0).astype(np.uint8), nodata=9)
    result = evaluate(prediction, labels)
    assert result.scores.pixels == 50
    assert [line for line in result.notices if "l.tif: 50 px of the value 255 count as not labelled" in line]
    named = tag(write_raster(tmp_path / "n.tif", MASK))
    notices = evaluate(named, prediction).as_dict()["notices"]
    assert [line for line in notices if "50 px of that value count as without prediction" in line]


def test_classes_without_tags_are_those_that_occur_in_either(tmp_path):
    prediction = write_raster(tmp_path / "p.tif", np.array([[0, 3, 3, 200]], np.uint8))
    labels = write_raster(tmp_path / "l.tif", np.array([[0, 3, 7, 7]], np.int16))
    scores = evaluate(prediction, labels).scores
    assert scores.iou == {"class 0": 1, "class 3": 0.5, "class 7": 0, "class 200": None}
    assert scores.confusion == ((1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 1), (0, 0, 0, 0))


def test_classes_have_the_names_of_the_tags(files):
    scores = evaluate(*files).scores
    assert list(scores.iou) == ["class 0", "class 1", "class 2", "class 3"]


def test_what_geoseg_predicted_and_its_own_polygons_agree(tmp_path, class_values):
    scene = write_raster(tmp_path / "scene.tif", class_values(40, 50))
    paths = predict(scene, tmp_path / "out", model=echo_model(), preview=False).paths
    assert evaluate(paths["landcover"], scene).scores.miou == 1
    result = evaluate(paths["landcover"], paths["polygons"], column="class")
    assert (result.scores.miou, result.scores.pixels, result.unpredicted) == (1, 2000, 0)


def test_two_classes_of_one_name_are_kept_apart(tmp_path):
    twins = [c.model_copy(update={"name": name}) for c, name in zip(class_specs(3), ("a", "b", "a"), strict=True)]
    path = tag(write_raster(tmp_path / "p.tif", np.array([[0, 1, 2]], np.uint8)), twins)
    assert list(evaluate(path, path).scores.iou) == ["a 0", "b", "a 2"]


def test_tags_that_cannot_be_read_are_in_a_notice(tmp_path):
    path = write_raster(tmp_path / "p.tif", np.array([[0, 1, 2]], np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(GEOSEG_CLASSES="[")
    result = evaluate(path, path)
    assert "classes go by their numbers" in result.notices[0]
    assert list(result.scores.iou) == ["class 0", "class 1", "class 2"]


def test_progress_ends_at_all_pixels(files, monkeypatch):
    monkeypatch.setattr(pipeline, "SIDE", 32)
    heard = Heard()
    evaluate(*files, reporter=heard)
    assert heard.progressed[-1] == ("scoring", 4200, 4200)
    assert [done for _, done, _ in heard.progressed] == sorted(done for _, done, _ in heard.progressed)


# --------------------------------------------------------------------------------------------------------- polygons


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
@pytest.mark.parametrize("side", [1024, 17])
def test_polygons_in_any_crs_give_the_scores_of_the_raster(tmp_path, files, arrays, monkeypatch, crs, side):
    monkeypatch.setattr(pipeline, "SIDE", side)
    labels = polygons(tmp_path / "l.gpkg", arrays[1], crs=crs)
    assert evaluate(files[0], labels).scores == evaluate(*files).scores


def test_polygons_may_name_their_classes(tmp_path, files, arrays):
    names = [c.name for c in class_specs(4)]
    labels = polygons(tmp_path / "l.gpkg", arrays[1], names=names, column="land", remark="x")
    assert evaluate(files[0], labels, column="land").scores == evaluate(*files).scores
    with pytest.raises(LabelError, match="land, remark"):
        evaluate(files[0], labels)


def test_polygons_in_a_format_of_another_package_have_columns_too(tmp_path, files, arrays, monkeypatch):
    labels = polygons(tmp_path / "l.geojson", arrays[1], column="land", remark="x").rename(tmp_path / "l.fields")

    class Fields:
        is_vector = True

        def matches(self, source):
            return source.path.suffix == ".fields"

        def open(self, source):
            return POLYGONS.open(source)

    monkeypatch.setitem(LABEL_FORMATS._others, "fields", EntryPoint("fields", "elsewhere:FIELDS", LABEL_FORMATS.group))
    monkeypatch.setitem(LABEL_FORMATS._loaded, "fields", Fields())
    assert evaluate(files[0], labels, column="land").scores == evaluate(*files).scores


def test_polygons_may_have_ids_where_the_prediction_has_no_tags(tmp_path, arrays):
    prediction = write_raster(tmp_path / "p.tif", arrays[0], nodata=255)
    labels = polygons(tmp_path / "l.gpkg", arrays[1])
    assert evaluate(prediction, labels).scores == whole(*arrays)


def test_a_layer_can_be_chosen(tmp_path, files, arrays):
    for layer in ("one", "two"):
        polygons(tmp_path / f"{layer}.gpkg", arrays[1])
        geopandas.read_file(tmp_path / f"{layer}.gpkg").to_file(tmp_path / "both.gpkg", layer=layer)
    assert evaluate(files[0], tmp_path / "both.gpkg", layer="two").scores == evaluate(*files).scores


# ----------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("tagged", [True, False])
def test_another_grid_is_refused_and_both_are_named(tmp_path, class_values, tagged):
    prediction = write_raster(tmp_path / "p.tif", class_values(40, 50))
    moved = write_raster(tmp_path / "l.tif", class_values(40, 50), transform=TRANSFORM @ Affine.translation(0.5, 0))
    with pytest.raises(LabelError, match=r"from 300000\.3, 4300000.* against .* from 300000, 4300000"):
        evaluate(tag(prediction) if tagged else prediction, moved)


def test_bad_input_is_refused(tmp_path, class_values):
    values = class_values(40, 50)
    prediction = tag(write_raster(tmp_path / "p.tif", values))
    other = write_raster(tmp_path / "o.tif", values + 5)
    empty = write_raster(tmp_path / "e.tif", np.full((40, 50), 255, np.uint8), nodata=255)
    far = polygons(tmp_path / "far.gpkg", values)
    geopandas.read_file(far).translate(90_000).to_frame("geometry").assign(k=1).to_file(tmp_path / "far.gpkg")
    picture = write_raster(tmp_path / "rgb.tif", np.zeros((3, 40, 50), np.uint8))
    for error, match, arguments in (
        (SceneError, "missing.tif", (tmp_path / "missing.tif", prediction)),
        (LabelError, "missing.tif", (prediction, tmp_path / "missing.tif")),
        (SceneError, "3 bands", (picture, prediction)),
        (LabelError, "3 bands", (prediction, picture)),
        (LabelError, "class id 5, 6, 7, 8 is unknown", (prediction, other)),
        (SceneError, "class id 6, which its tags don't name", (tag(other), prediction)),
        (SceneError, "only nodata", (empty, empty)),
        (LabelError, "predicts nothing where", (prediction, empty)),
        (LabelError, "no polygon, point or line of", (prediction, far)),
    ):
        with pytest.raises(error, match=match):
            evaluate(*arguments)


@pytest.mark.parametrize(
    ("setting", "says"), [({"boundary_px": -1}, "boundary_px = -1"), ({"boundary_px": 9999}, "0 to 512"),
                          ({"column": "x"}, "is a raster"), ({"layer": "x"}, "is a raster")]
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(files, setting, says):
    with pytest.raises(SpecError, match=says):
        evaluate(*files, **setting)


# ------------------------------------------------------------------------------------------------------ command line


def test_the_command_prints_all_scores(files):
    result = run(files[0], "--labels", files[1])
    assert (result.exit_code, result.stderr) == (0, "")
    for said in ("mIoU 0.", "kappa", "boundary mIoU (3 px)", "precision", "class 3", "% of the labelled", "3,790"):
        assert said in result.stdout
    assert "boundary" not in run(files[0], "--labels", files[1], "--boundary-px", 0).stdout


def test_every_score_has_an_interval_over_blocks(files):
    result = evaluate(*files, block_px=16, draws=200)
    found = result.scores.intervals
    assert (found.unit, found.units, found.draws, found.level) == ("a block of 16 px", 25, 200, 0.95)
    for figure in result.scores.headline:
        assert figure.value is None or found.find(figure.name).low <= figure.value <= found.find(figure.name).high
    for column in result.scores.columns:
        for name, value in column.value.items():
            interval = found.find(column.name, name)
            assert value is None or interval is None or interval.low <= value <= interval.high
            assert (interval is None) == (value is None or found.class_units[name] < 5)
    assert evaluate(*files, block_px=16, draws=200).scores.intervals == found
    assert evaluate(*files, block_px=16, draws=200, seed=1).scores.intervals != found
    assert result.as_dict()["scores"]["intervals"]["figures"]["miou"]["low"] == found.find("miou").low


def test_the_terminal_shows_intervals_or_says_why_there_are_none(files):
    with_them = run(files[0], "--labels", files[1], "--block-px", 16, "--draws", 200).stdout
    assert re.search(r"mIoU 0\.\d+ \(0\.\d\d to 0\.\d\d\), pixel accuracy", with_them)
    assert "95% intervals by 200 resamples of 25 units with labels, each a block of 16 px" in with_them
    without = run(files[0], "--labels", files[1]).stdout
    assert "no intervals: 1 unit with labels, each a block of 512 px, are too few" in without


def test_blocks_grow_where_their_counts_would_not_fit_into_memory(files, monkeypatch):
    monkeypatch.setattr("geoseg.training.scoring.units.MOST_COUNTS", 12 * 16)
    result = evaluate(*files, block_px=16)
    assert (result.scores.intervals.unit, result.scores.intervals.units) == ("a block of 32 px", 9)
    assert result.scores == evaluate(*files).scores


def test_json_is_all_that_is_printed(files):
    result = run(files[0], "--labels", files[1], "--json")
    report = json.loads(result.stdout)
    assert result.stderr == ""
    expected = evaluate(*files).as_dict()
    assert {**report, "seconds": 0} == {**expected, "seconds": 0}
    assert set(report) == {"prediction", "labels", "scores", "unpredicted", "seconds", "notices"}


def test_quiet_says_nothing_but_what_is_below(files):
    assert run(files[0], "--labels", files[1], "-q").output == ""
    result = run(files[0], "--labels", files[1], "-q", "--fail-under", "miou=1")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_fail_under_prints_the_scores_and_what_is_below(files):
    scores = evaluate(*files).scores
    kept = run(files[0], "--labels", files[1], "--fail-under", "miou=0.1", "--fail-under", "iou.class 2=0.1")
    assert (kept.exit_code, kept.stderr) == (0, "")
    missed = run(files[0], "--labels", files[1], "--json", "--fail-under", "miou=0.99", "--fail-under", "iou.class 2=1")
    assert missed.exit_code == 1
    assert json.loads(missed.stdout)["scores"]["miou"] == scores.miou
    assert missed.stderr.splitlines() == [
        f"miou {scores.miou:.4f} is below 0.99", f"iou.class 2 {scores.iou['class 2']:.4f} is below 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("floor", "says"),
    [
        ("miou", "write SCORE=VALUE"),
        ("miou=", "nothing is no number"),
        ("miou=60", "no number from -1 to 1, e.g. miou=0.6"),
        ("miou=nan", "nan is no number"),
        ("f2=0.5", "one of miou, pixel_accuracy"),
        ("iou.=0.5", "write SCORE=VALUE"),
        ("iou=0.5", "iou is a score by class, write SCORE=VALUE with iou.CLASS"),
        ("miou.lake=0.5", "miou is a score over all classes, write SCORE=VALUE with miou"),
        ("iou.lake=0.5", "no such class; there are class 0, class 1"),
    ],
)
def test_a_floor_that_cannot_be_read_gets_one_line(files, floor, says):
    result = run(files[0], "--labels", files[1], "--fail-under", floor)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert says in result.stderr
    assert ("mIoU" in result.stdout) == (floor == "iou.lake=0.5")


@pytest.mark.parametrize("arguments", [[], ["p.tif"], ["--labels", "l.tif"], ["p.tif", "--boundary-px", "x"]])
def test_wrong_usage_is_exit_code_2(arguments):
    assert run(*arguments).exit_code == 2


def test_floors_by_hand():
    scores = scores_of(torch.tensor([[59999, 40001, 0], [0, 0, 0], [0, 0, 0]]), ["a", "b=c", "d"])
    assert parse_floor("iou.b=c=0.25") == Floor("iou.b=c", 0.25)
    assert parse_floor("f1.d=0.5") == Floor("f1.d", 0.5)
    assert parse_floor(" kappa = -0.5 ") == Floor("kappa", -0.5)
    assert parse_floor("accuracy.d=0.5") == Floor("recall.d", 0.5), "the name in geoseg 0.1"
    assert shortfall(Floor("pixel_accuracy", 0.6), scores) == "pixel_accuracy 0.59999 is below 0.6"
    assert shortfall(Floor("pixel_accuracy", 0.59999), scores) is None
    assert shortfall(Floor("iou.b=c", 0), scores) == "iou.b=c has no value, 0 is asked for", "no pixel is labelled so"
    assert shortfall(Floor("iou.d", 0), scores) == "iou.d has no value, 0 is asked for"
    assert shortfall(Floor("precision.a", 1), scores) is None
    assert shortfall(Floor("boundary_miou", 0.1), scores) == "boundary_miou has no value, 0.1 is asked for"


def test_scores_as_text():
    scores = scores_of(torch.tensor([[6, 2, 0], [1, 3, 0], [0, 0, 0]]), ["grass", "water", "road"])
    assert scores_line(scores).startswith("mIoU 0.5833, pixel accuracy 0.7500, ")
    assert scores_table(scores).splitlines() == [
        "  class     IoU      F1  precision  recall",
        "  grass  0.6667  0.8000     0.8571  0.7500",
        "  water  0.5000  0.6667     0.6000  0.7500",
        "  road        –       –          –       –",
        "  (precision: user’s accuracy, recall: producer’s accuracy)",
    ]


@pytest.mark.parametrize("suffix", [name for name in FORMATS.names if FORMATS.get(name).traits.coordinates != "tiles"])
def test_polygons_that_geoseg_wrote_are_labels_as_they_are(tmp_path, arrays, suffix):
    map_path = tag(write_raster(tmp_path / "map.tif", arrays[0][None], nodata=255))
    written = vectorize(map_path, tmp_path / f"regions{suffix}").output
    assert evaluate(map_path, labels=written).scores.miou == 1
