"""Patterns: which paths match, and which text each wildcard stands for."""

from pathlib import Path

import pytest

from geoseg.core.patterns import Pattern, is_pattern, resolved

FILES = (
    "a1.tif", "a2.tif", "a3.tif", "a12.tif", "b1.tif", "b1.png", "x[1].tif", "what?.tif", "{a,b}.tif", ".hidden.tif",
    "in/a1.tif", "in/deep/a1.tif", "in/deep/a1_mask.tif",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("a?.tif", "a1.tif a2.tif a3.tif"),
        ("a[13].tif", "a1.tif a3.tif"),
        ("a[!13].tif", "a2.tif"),
        ("a[1-2].tif", "a1.tif a2.tif"),
        ("a*.tif", "a1.tif a12.tif a2.tif a3.tif"),
        ("{a,b}1.tif", "a1.tif b1.tif"),
        ("b1.{tif,png}", "b1.png b1.tif"),
        ("{a{1,2},b1}.{tif,png}", "a1.tif a2.tif b1.png b1.tif"),
        ("{a?,b*}.tif", "a1.tif a2.tif a3.tif b1.tif"),
        ("**/a1.tif", "a1.tif in/a1.tif in/deep/a1.tif"),
        ("in/**/a1*.tif", "in/a1.tif in/deep/a1.tif in/deep/a1_mask.tif"),
        ("in/**", "in/ in/a1.tif in/deep in/deep/a1.tif in/deep/a1_mask.tif"),
        ("*/*.tif", "in/a1.tif"),
        ("x[1].tif", "x[1].tif"),
        ("what?.tif", "what?.tif"),
        ("{a,b}.tif", "{a,b}.tif"),
        ("z*.tif", ""),
        ("{a}1.tif", ""),
    ],
)
@pytest.mark.usefixtures("folder")
def test_which_paths_match(pattern: str, paths: str) -> None:
    literal = [pattern] if Path(pattern).exists() else None
    assert (literal or resolved(pattern).paths()) == paths.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a.tif", False), ("a*.tif", True), ("a?", True), ("a[1]", True), ("{a,b}", True), ("{a}", False), ("[]", False)],
)
def test_what_a_pattern_is(text: str, expected: bool) -> None:
    assert is_pattern(text) == expected


@pytest.mark.parametrize(
    ("images", "labels", "path", "found"),
    [
        ("im/*.tif", "la/*_mask.png", "im/one.tif", "la/one_mask.png"),
        ("im/*/*.tif", "la/*/*.png", "im/x/one.tif", "la/x/one.png"),
        ("im/**/*.tif", "la/**/*.png", "im/x/y/one.tif", "la/x/y/one.png"),
        ("im/**/*.tif", "la/**/*.png", "im/one.tif", "la/one.png"),
        ("t_[13].tif", "l_[13].tif", "t_3.tif", "l_3.tif"),
        ("t_?.tif", "l_*.tif", "t_3.tif", "l_3.tif"),
        ("{a,b}/*.tif", "{a,b}_labels/*.tif", "b/1.tif", "b_labels/1.tif"),
        ("im/*.{jpg,png}", "la/*.png", "im/one.jpg", "la/one.png"),
        ("im/*.tif", "all.gpkg", "im/one.tif", "all.gpkg"),
        ("{a?,b*}/*.tif", "{c,d}/*.tif", "a7/1.tif", "a7/1.tif"),
    ],
)
def test_wildcards_of_labels_stand_for_the_texts_of_the_images(images: str, labels: str, path: str, found: str) -> None:
    pattern, target = Pattern(images), Pattern(labels)
    fitting = pattern.fitting(target)
    assert fitting is not None
    texts = (text for text, is_used in zip(pattern.texts(path), fitting, strict=True) if is_used)
    assert target.filled(tuple(texts)) == found


def test_patterns_that_do_not_fit_are_known() -> None:
    assert Pattern("im/*.tif").fitting(Pattern("la/*/*.tif")) is None


def test_a_choice_of_choices_stays_bounded() -> None:
    assert len(Pattern("{a,b,c,d,e,f,g,h,i,j}" * 6).alternatives()) == 10_000
