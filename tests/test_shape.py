"""What keeps the house easy to read: no long module, no function with a long list of parameters."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "geoseg"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES, MOST_PARAMETERS = 400, 7


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = function.args
    listed = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return [one.arg for one in listed if one.arg not in ("self", "cls")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_short_and_functions_take_few_parameters(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {f.name: parameters(f) for f in functions if len(parameters(f)) > MOST_PARAMETERS} == {}


def test_no_two_test_modules_have_one_name():
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)  # pytest would take one for the other
