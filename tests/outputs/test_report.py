"""The report is read as a browser reads it: parsed, its numbers looked up, its pictures decoded."""

from __future__ import annotations

import base64
import html
import io
import math
import os
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pages import check_page

from geoseg.core.errors import OutputError
from geoseg.metrics.counter import ScoreCounter
from geoseg.outputs.report.axis import ChartAxis
from geoseg.outputs.report.charts import column
from geoseg.outputs.report.colours import PAPER, contrast, legible, rgb
from geoseg.outputs.report.contents import Example, Report, SuspectPicture
from geoseg.outputs.report.curves import spread
from geoseg.outputs.report.page import render, write_report
from geoseg.outputs.report.pictures import look
from geoseg.outputs.report.tables import percent
from geoseg.outputs.suspects import Suspect
from geoseg.spec import ClassSpec, ModelCard

VOID = {"meta", "br", "img", "hr", "col"}
NAMES = ["Wald & <Moor>", "Gewässer", 'a "quoted" class', "x" * 90]
CARD = ModelCard(description="Maps <things>.", credits="See https://example.org/labels", licence="Apache-2.0")


@dataclass
class Node:
    """An element of the page."""

    tag: str
    attributes: dict[str, str]
    parts: list[Node | str] = field(default_factory=list)

    def all(self, tag: str, css: str = "") -> list[Node]:
        """Elements below this one of a tag, and with a CSS class."""
        below = [n for part in self.parts if isinstance(part, Node) for n in (part, *part.all(tag, css))]
        fits = [n for n in below if n.tag == tag and (not css or css in n.attributes.get("class", "").split())]
        return list({id(n): n for n in fits}.values())

    @property
    def text(self) -> str:
        """What a reader sees."""
        return " ".join("".join(p if isinstance(p, str) else f" {p.text} " for p in self.parts).split())


class StrictParser(HTMLParser):
    """Builds a tree, and accepts no element that is closed by another."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("", {})]

    def handle_starttag(self, tag, attrs):
        node = Node(tag, {name: value or "" for name, value in attrs})
        assert len(node.attributes) == len(attrs), f"{tag} has an attribute twice"
        self.open[-1].parts.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag, attrs):
        assert tag in {"path"}, f"<{tag}/> is no void element"
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].parts.append(data)


def parse(page: str) -> Node:
    parser = StrictParser()
    parser.feed(page)
    parser.close()
    assert len(parser.open) == 1
    return parser.open[0]


def make_classes(names):
    return [ClassSpec(id=i, name=name, color=f"#{(i * 4_000_037) % 0xFFFFFF:06x}") for i, name in enumerate(names)]


def make_scores(predicted, label, names, boundary_px=1):
    counter = ScoreCounter(len(names), boundary_px)
    counter.update(torch.from_numpy(predicted)[None].long(), torch.from_numpy(label)[None].long())
    return counter.scores(names)


def make_history(names, epochs):
    return [
        {"epoch": n, "loss": 2 / n, "miou": 0.5 + n / 100, "learning_rate": 1e-3 / n, "seconds": 9.0 * n}
        | {f"iou {name}": (i + 1) / (len(names) + n) for i, name in enumerate(names)}
        for n in range(1, epochs + 1)
    ]


def make_example(names, height=12, width=20):
    label = np.zeros((height, width), np.uint8)
    label[:, width // 2 :] = 1
    label[:3, :4] = 255
    predicted = np.where(label == 255, 1, label).astype(np.uint8)
    predicted[-1] = 1  # half a row is wrong
    image = np.arange(height * width * 3).reshape(height, width, 3).astype(np.uint8)
    return Example("tile_ä <1>.tif, rows 0–11", image, label, predicted, 0.75)


def make_report(names=tuple(NAMES), epochs=5, examples=1, **fields):
    example = make_example(names)
    values = {
        "title": "landcover & <co>",
        "classes": make_classes(names),
        "scores": make_scores(example.predicted, example.label, names),
        "history": make_history(names, epochs),
        "best_epoch": epochs or None,
        "facts": {"Network": "unet, 3.6 M parameters", "a < b": "ü"},
        "settings": "name: x  # <b>\n",
        "card": CARD,
        "worst": [example] * examples,
        "best": [example] * examples,
    }
    return Report(**values | fields)


def rules_of(node: Node, page: Node) -> str:
    """Declarations of the rules of this element alone."""
    sheet = dict(re.findall(r"^\.(s\d+) { (.*) }$", page.all("style")[0].parts[0], re.MULTILINE))
    return ";".join(sheet[css] for css in node.attributes["class"].split() if css in sheet)


def table_rows(page, css):
    return [[cell.text for cell in row.parts if isinstance(cell, Node)] for row in page.all("table", css)[0].all("tr")]


@pytest.mark.parametrize("epochs", [0, 1, 30])
@pytest.mark.parametrize("count", [2, 9, 60])
@pytest.mark.parametrize("boundary_px", [None, 2])
def test_page_is_whole_and_needs_nothing_else(count, epochs, boundary_px):
    names = [f"{NAMES[i % 4]} {i}" for i in range(count)]
    example = make_example(names)
    scores = make_scores(example.predicted, example.label, names, boundary_px)
    source = render(make_report(names, epochs, examples=min(epochs, 1), scores=scores))
    page = parse(source)
    check_page(source)
    assert not [node for tag in ("script", "link", "iframe", "object", "a") for node in page.all(tag)]
    assert all(node.attributes["src"].startswith("data:image/png;base64,") for node in page.all("img"))
    assert "href" not in source
    assert not re.search(r"url\(|@import|https?://(?!example\.org)", source)
    for name in names:
        assert name not in source or not {'"', "&", "<"} & set(name)
        assert html.escape(name).replace("&quot;", "&#34;") in source
    assert len(page.all("svg", "leaders")) == (1 if epochs else 0)
    assert ("Boundary mIoU" in page.text) == (boundary_px is not None)
    assert len(table_rows(page, "matrix")) == count + 2


def test_suspects_are_shown_with_what_is_seen_in_them_and_how_sure_it_is():
    shown = make_example(NAMES)
    place = Suspect(
        label=0, predicted=1, confidence=0.91, self_confidence=0.02, score=70.0, pixels=1234, area_m2=None,
        image="t.tif", shape=None, crs=None,
    )  # fmt: skip
    marked = np.zeros(shown.label.shape, bool)
    marked[2:6, 5:9] = True
    picture = SuspectPicture(place, "t <1>.tif, row 0", shown.image, shown.label, shown.predicted, marked)
    source = render(make_report(examples=0, suspects=[picture, picture]))
    page = parse(source)
    check_page(source)
    assert "Labels to look at" in page.text
    assert "1. Wald & <Moor> may be Gewässer, t <1>.tif, row 0" in page.text
    assert "1,234 px, probability 0.910 against 0.020" in page.text
    pixels = np.array(decode(page.all("img")[3]).convert("RGB"))
    red = (pixels == (206, 17, 38)).all(axis=2)
    np.testing.assert_array_equal(red, marked)
    assert "Labels to look at" not in render(make_report())


def test_title_facts_card_and_settings_are_shown_as_text():
    page = parse(render(make_report()))
    assert page.all("title")[0].text == page.all("h1")[0].text == "landcover & <co>"
    assert "a < b ü" in page.text
    assert "Maps <things>." in page.text
    assert "See https://example.org/labels" in page.text
    assert page.all("pre")[0].text == "name: x # <b>"
    assert "Known limits" not in page.text  # the card says none


def test_empty_parts_leave_no_heading():
    bare = make_report(epochs=0, examples=0, facts={}, settings="", card=ModelCard(), best_epoch=None)
    check_page(render(bare))
    headings = [h.text for h in parse(render(bare)).all("h2")]
    assert headings == ["Classes", "What was taken for what"]
    assert parse(render(replace(bare, card=None))).all("h2")
    assert "best" not in parse(render(bare)).all("body")[0].text


def test_headline_figures_are_those_of_the_scores():
    report = make_report()
    figures = {
        entry.all("dt")[0].text: entry.all("b")[0].text
        for entry in parse(render(report)).all("dl", "figures")[0].parts
        if isinstance(entry, Node)
    }
    known = {
        "mIoU": f"{report.scores.miou:.3f}",
        "Pixel accuracy": f"{report.scores.pixel_accuracy:.3f}",
        "Mean class accuracy": f"{report.scores.mean_class_accuracy:.3f}",
        "Weighted IoU": f"{report.scores.frequency_weighted_iou:.3f}",
        "Cohen’s kappa": f"{report.scores.kappa:.3f}",
        "Boundary mIoU": f"{report.scores.boundary_miou:.3f}",
    }
    assert known.items() <= figures.items()
    assert len(figures) == len(report.scores.headline)


PRECISION, RECALL = "Precision user’s accuracy", "Recall producer’s accuracy"


def test_class_table_and_matrix_by_hand():
    """Of 12 labelled pixels 8 are a, of which 6 were found; 4 are b, all found; c occurs nowhere."""
    label = np.array([[0] * 8 + [1] * 4], np.uint8)
    predicted = np.array([[0] * 6 + [1] * 6], np.uint8)
    names = ["a", "b", "c"]
    page = parse(render(make_report(names, scores=make_scores(predicted, label, names, None), examples=0)))
    header, *rows = table_rows(page, "classes")
    known = [header.index(name) for name in ("Class", "IoU", "F1", PRECISION, RECALL, "Share, %")]
    assert known == sorted(known)
    assert [[row[column] for column in known] for row in rows] == [
        ["a", "0.750", "0.857", "1.000", "0.750", "66.7"],
        ["b", "0.667", "0.800", "0.667", "1.000", "33.3"],
        ["c", "–", "–", "–", "–", "0"],
    ]
    assert table_rows(page, "matrix")[1:] == [
        ["True class", "a", "b", "c"],
        ["a", "75.0", "25.0", ""],
        ["b", "", "100.0", ""],
        ["c", "", "", ""],
    ]
    assert table_rows(page, "pixels")[1:] == [["a", "6", "2", "0"], ["b", "0", "4", "0"], ["c", "0", "0", "0"]]
    assert page.all("td", "miss")[0].attributes["title"] == "a taken for b: 2 pixels"
    assert [item.text for item in page.all("ul")[0].all("li")] == ["a taken for b: 25.0 % of a, 2 pixels"]


def test_nothing_labelled_at_all():
    blank = np.full((4, 4), 255, np.uint8)
    page = parse(render(make_report(scores=make_scores(np.zeros_like(blank), blank, NAMES))))
    assert "What was taken for what" not in page.text
    assert "Nothing was scored: all labels were for training" in page.text


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [(0.0, 1, ""), (None, 1, ""), (1.0, 1, "100.0"), (0.00001, 1, "<0.1"), (0.0006, 1, "0.1"), (0.004, 0, "<1")],
)
def test_percent(share, digits, text):
    assert percent(share, digits) == text


numbers = st.floats(allow_nan=True, allow_infinity=True)
scores01 = st.one_of(st.floats(0, 1), st.just(math.nan))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(st.tuples(numbers, scores01, numbers, scores01, scores01), max_size=12),
    first=st.integers(1, 10_000),
    best=st.one_of(st.none(), st.integers(1, 12)),
)
def test_curves_stay_in_their_plot_and_skip_gaps(rows, first, best):
    keys = ("loss", "miou", "learning_rate", "iou a", "iou b")
    history = [{"epoch": first + n} | dict(zip(keys, row, strict=True)) for n, row in enumerate(rows)]
    page = parse(render(make_report(["a", "b"], history=history, best_epoch=best, examples=0)))
    for svg in page.all("svg"):
        assert svg.attributes["viewbox"] == "0 0 100 100"
        for path in svg.all("path"):
            points = re.findall(r"[ML](\S+) ([^ML]+)", path.attributes["d"])
            assert len(points) == len(re.findall("[ML]", path.attributes["d"])) >= 2
            assert all(0 <= float(number) <= 100 for point in points for number in point)
    for span in page.all("span", "x") + page.all("span", "y") + page.all("span", "name"):
        assert all(0 <= float(at) <= 100 for at in re.findall(r"(?:left|top):([^;%]*)%", rules_of(span, page)))
    for index, key in ((0, "c0"), (1, "c1")):
        drawn = sum(not math.isnan(row[3 + index]) for row in rows)
        curves = [path for group in page.all("g", key) for path in group.all("path")]
        lines = "".join(p.attributes["d"] for p in curves if p.attributes["class"] == "line")
        dots = "".join(p.attributes["d"] for p in curves if p.attributes["class"] == "dot")
        assert len(re.findall("[ML]", lines)) + len(re.findall("M", dots)) == drawn


def test_gap_parts_a_curve_and_a_lonely_epoch_is_a_dot():
    values = [0.1, 0.2, math.nan, 0.4, math.nan, 0.5, 0.6]
    history = [{"epoch": n, "iou a": value} for n, value in enumerate(values, 1)]
    page = parse(render(make_report(["a", "b"], history=history, best_epoch=None, examples=0)))
    line, dot = page.all("g", "c0")[0].all("path")
    assert line.attributes["d"] == "M0.00 90.00L16.67 80.00M83.33 50.00L100.00 40.00"
    assert dot.attributes["d"] == "M50.00 60.00L50.00 60.00"
    assert [name.text for name in page.all("span", "name")] == ["a"]  # b has no curve, so no name either
    assert len(page.all("figure", "chart")) == 1


def test_best_epoch_is_marked_on_the_miou():
    page = parse(render(make_report(epochs=5, best_epoch=3)))
    (point,) = page.all("span", "point")
    assert point.text == "0.530"
    assert "left:50.0%" in rules_of(point, page)
    assert "epoch 3 of 5 was the best" in page.text
    assert {path.attributes["d"] for path in page.all("path", "best")} == {"M50.0 0L50.0 100"}


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.5056, 0.6421], ["0.50", "0.55", "0.60", "0.65"]),
        ([0.0, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0.7, 0.7], ["0.4", "0.6", "0.8", "1.0"]),
        ([0.0], ["0.0", "0.2"]),
        ([-0.5], ["-0.6", "-0.5", "-0.4"]),
        ([1e-5, 5e-5], ["1e-5", "2e-5", "3e-5", "4e-5", "5e-5"]),
        ([-3.0, 12.0], ["-5", "0", "5", "10", "15"]),
        ([0.0, 1e9], ["0", "2e+8", "4e+8", "6e+8", "8e+8", "1e+9"]),
    ],
)
def test_ticks_are_round(values, ticks):
    places, texts = zip(*ChartAxis.spanning(values).ticks(), strict=True)
    assert list(texts) == ticks
    assert places == pytest.approx(np.linspace(0, 100, len(ticks)))


@given(st.lists(st.floats(-1e30, 1e30, exclude_min=True, exclude_max=True), min_size=1, max_size=5))
def test_axis_holds_its_values_and_has_a_few_ticks(values):
    axis = ChartAxis.spanning(values)
    slack = axis.step * 1e-5
    assert axis.low - slack <= min(values) <= max(values) <= axis.high + slack
    assert 2 <= len(axis.ticks()) <= 15


@given(st.integers(1, 10**6), st.integers(0, 10**5))
def test_ticks_of_epochs_are_whole(first, more):
    ticks = ChartAxis.of_epochs([first, first + more]).ticks()
    assert len(ticks) <= 8
    assert len(ticks) >= (1 if more < 2 else 2)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20), st.floats(0.1, 12))
def test_names_are_spread_apart(wanted, gap):
    places = spread(wanted, gap)
    ordered = sorted(places)
    assert all(b - a >= gap - 1e-6 for a, b in pairwise(ordered))
    assert [places[i] for i in sorted(range(len(wanted)), key=wanted.__getitem__)] == ordered
    if gap * (len(wanted) - 1) <= 100:
        assert -1e-6 <= ordered[0] <= ordered[-1] <= 100 + 1e-6
    if all(b - a >= gap for a, b in pairwise(sorted(wanted))):
        assert places == pytest.approx(wanted)


@given(st.integers(0, 0xFFFFFF), st.sampled_from(sorted(PAPER.values())))
def test_curves_stand_out_from_the_paper(color, paper):
    curve = legible(f"#{color:06x}", paper)
    assert contrast(rgb(curve), rgb(paper)) >= 3
    if contrast(rgb(f"#{color:06x}"), rgb(paper)) >= 3:
        assert curve == f"#{color:06x}"


def test_text_can_be_read_in_both_schemes():
    style = parse(render(make_report())).all("style")[0].text
    for scheme in re.findall(r"color-scheme: (?:light|dark);[^}]*", style):
        value = dict(re.findall(r"--([a-z-]+): ([^;]+);", scheme))
        paper = rgb(value["paper"])
        for ink in ("ink", "muted", "blue"):
            assert contrast(rgb(value[ink]), paper) >= 4.5
        assert contrast(rgb(value["ink"]), rgb(value["faint"])) >= 4.5
        alpha = int(value["edge"][7:], 16) / 255
        edge = [alpha * e + (1 - alpha) * p for e, p in zip(rgb(value["edge"][:7]), paper, strict=True)]
        assert contrast(edge, paper) >= 3
        for tint in ("blue-rgb", "red-rgb"):
            shade = float(value["shade"])
            mixed = [shade * int(t) + (1 - shade) * p for t, p in zip(value[tint].split(), paper, strict=True)]
            assert contrast(rgb(value["ink"]), mixed) >= 4.5


def decode(node: Node) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(node.attributes["src"].removeprefix("data:image/png;base64,"))))
    image.load()
    assert image.size == (int(node.attributes["width"]), int(node.attributes["height"]))
    return image


def test_pictures_show_the_example():
    report = make_report(examples=1)
    (example,) = report.worst
    page = parse(render(report))
    image, label, predicted, errors = (np.array(decode(n).convert("RGBA")) for n in page.all("img")[:4])
    assert (image[..., :3] == example.image).all()
    labelled = example.label != 255
    assert (label[..., 3] == np.where(labelled, 255, 0)).all()
    for i, one in enumerate(report.classes[:2]):
        assert (label[example.label == i][:, :3] == rgb(one.color)).all()
        assert (predicted[example.predicted == i] == (*rgb(one.color), 255)).all()
    wrong = labelled & (example.label != example.predicted)
    red = errors[..., 0].astype(int) - errors[..., 1] > 100
    assert (red == wrong).all()
    grey = errors[~red][:, :3]
    assert (grey == grey[:, :1]).all()
    assert "tile_ä <1>.tif, rows 0–11 mIoU 0.750" in page.text
    legend = [item.text for item in page.all("ul", "legend")[0].all("li")]
    assert legend == [*NAMES[:2], "not labelled", "wrong, in errors"]


def test_large_windows_are_shown_smaller():
    page = parse(render(make_report(worst=[make_example(NAMES, 700, 1030)], best=[])))
    assert {decode(node).size for node in page.all("img")} == {(344, 234)}
    assert "Best windows" not in page.text


def test_index_without_class_is_grey():
    example = make_example(NAMES)
    odd = replace(example, predicted=np.full_like(example.predicted, 7))
    page = parse(render(make_report(worst=[odd])))
    assert decode(page.all("img")[2]).convert("RGB").getpixel((0, 0)) == (90, 90, 90)


def test_report_is_written_whole(tmp_path):
    path = tmp_path / "new" / "report.html"
    write_report(make_report(title="bytes \udce4 of a file name"), path)
    parse(path.read_text("utf-8"))
    assert os.listdir(path.parent) == ["report.html"]


def test_failing_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geoseg.core.files.os.replace", refuse)
    with pytest.raises(OutputError, match="No space left") as caught:
        write_report(make_report(), path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_folder_in_the_way(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html"):
        write_report(make_report(), tmp_path / "report.html")
    assert os.listdir(tmp_path) == ["report.html"]


def test_look_finds_red_green_and_blue_by_name():
    image = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)
    picture = look(image, ["nir", "Blue", "green", "RED"])
    assert (picture == image[[3, 2, 1]].transpose(1, 2, 0)).all()
    assert picture.dtype == np.uint8


@pytest.mark.parametrize(("bands", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (5, [0, 1, 2])])
def test_look_without_names_takes_the_first_bands(bands, shown):
    image = np.arange(bands * 6, dtype=np.uint8).reshape(bands, 2, 3)
    picture = look(image, [f"b{i}" for i in range(bands)])
    assert (picture == image[shown].transpose(1, 2, 0)).all()
    assert picture.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_look_stretches_other_values(dtype):
    ramp = np.linspace(300, 3000, 10_000).reshape(1, 100, 100).astype(dtype)
    picture = look(ramp, ["height"]).astype(int)
    assert picture.shape == (100, 100, 3)
    assert (picture[..., 0] == picture[..., 2]).all()
    low, high = np.percentile(ramp, (2, 98))
    assert (picture[ramp[0] <= low] == 0).all()
    assert (picture[ramp[0] >= high] == 255).all()
    assert picture[50, 0, 0] == pytest.approx(127, abs=2)


def test_look_survives_missing_and_flat_values():
    image = np.full((3, 4, 4), 7.0, np.float32)
    image[:, 0] = np.nan
    picture = look(image, ["red", "green", "blue"])
    assert len(np.unique(picture[1:])) == 1
    assert (picture[0] != picture[1]).all()


def test_an_epoch_without_a_score_of_a_class_is_a_gap() -> None:
    history = [{"epoch": e, "loss": 1.0, "miou": 0.5, "iou field": None if e == 2 else 0.5} for e in (1, 2, 3)]
    values = column(history, "iou field")
    assert [math.isnan(value) for value in values] == [False, True, False]
    assert all(math.isnan(value) for value in column(history, "iou water"))
