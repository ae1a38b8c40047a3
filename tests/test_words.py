"""Names and docstrings use the words of the field, and none that mean something else in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "geoseg"
INSTEAD = {
    "swath": "tile row",
    "tell": "notify, give, predict, say",
    "told": "notified, given, predicted, said",
    "census": "class statistics",
    "catalog": "listing",
    "survey": "labelled raster",
    "shelf": "file pool",
    "lesson": "training inputs",
    "refinery": "coarse-to-fine",
    "doubt": "uncertainty",
    "ground": "labelled raster, surroundings, or a term of geodesy",
}
GEODESY = re.compile(r"ground (?:resolution|sample distance|control points?)|on the ground|survey foot", re.IGNORECASE)
"""Terms of geodesy that hold one of these words."""


def words(text: str) -> set[str]:
    """Words of a text or of a name, in lower case; plurals and third persons as their stems, too."""
    split = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return {*split, *(word.removesuffix("s") for word in split)}


def names_and_docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Lines and texts of all names that a module defines, and of all texts that stand alone."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Expr(value=ast.Constant(value=str() as text)):
                yield node.lineno, GEODESY.sub("", " ".join(text.split()))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_uses_the_words_of_the_field(path):
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {word} in {text!r}: say {INSTEAD[word]}"
        for line, text in [(1, path.stem), *names_and_docstrings(path.read_text(encoding="utf-8"))]
        for word in sorted(words(text) & INSTEAD.keys())
    ]
    assert not found, "\n".join(found)


def test_words_are_found_in_any_form():
    source = 'class GroundTruth:\n    """What it tells."""\nSWATH_PX = 1\ndef told(census_of): ...\n'
    found = {word for _, text in names_and_docstrings(source) for word in words(text) & INSTEAD.keys()}
    assert found == {"ground", "tell", "swath", "told", "census"}


def test_the_ground_of_geodesy_is_a_word_of_the_field():
    texts = [text for _, text in names_and_docstrings('"""Ground control points, and metres on\nthe ground."""')]
    assert len(texts) == 1
    assert not words(texts[0]) & INSTEAD.keys()
