"""Ways to see the surroundings of a window are found by their name, also those of other packages."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from support.branches import FIELDS
from support.models import make_spec

from geoseg.core.errors import SpecError
from geoseg.spec import ContextSpec, ModelSpec, Spec
from geoseg.spec.base import parse_spec
from geoseg.spec.branch import BRANCH_FIELDS, OWN_FIELDS, branch_in
from geoseg.spec.surroundings import BRANCH_SPECS


class Far(ContextSpec):
    """A context under another name."""

    kind: ClassVar[str] = "far"
    title: ClassVar[str] = "Far"


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BRANCH_SPECS._own, "far", f"{__name__}:Far")


@pytest.mark.parametrize("kind", list(BRANCH_SPECS))
def test_a_way_to_see_the_surroundings_keeps_its_contract(kind: str) -> None:
    assert BRANCH_SPECS.get(kind).kind == kind
    model = make_spec(tile=64, overlap=16, **FIELDS[kind])
    branch = model.branch
    assert isinstance(branch, Spec)
    assert branch.kind == kind
    assert branch.title
    assert branch.describe()
    branch.check_tile(64, "tile")
    assert len(branch.training_views(64)) == len(branch.levels)
    assert branch.shown_px(64) >= 0
    assert ModelSpec.model_validate_json(model.model_dump_json()).branch == branch
    assert model.without_branch().branch.kind == "plain"


def test_geosegs_own_have_fields_of_their_name():
    assert set(BRANCH_SPECS.own) == set(OWN_FIELDS) < set(BRANCH_FIELDS)


@pytest.mark.usefixtures("far")
def test_another_way_is_asked_for_by_its_name_and_settings():
    levels = [{"ratio": 8, "size": 128}]
    plain = make_spec().model_dump(mode="json") | {"tile": 64, "overlap": 16}
    model = parse_spec(ModelSpec, plain | {"surroundings": {"name": "far", "levels": levels}}, source="m")
    assert isinstance(model.branch, Far)
    assert model.branch.levels[0].ratio == 8
    assert branch_in(make_spec(tile=64, overlap=16, surroundings=model.branch)) == model.branch


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("far", "give the name of a way to see them, and its settings: {name: ..., setting: ...}"),
        ({"levels": []}, "give the name of a way to see them, and its settings"),
        ({"name": "fra"}, "no way to see the surroundings is called 'fra': did you mean 'far'?"),
        ({"name": "elsewhere"}, "(one of another package needs that package: install it)"),
        ({"name": "far", "chanels": 3}, "far: unknown setting 'chanels', did you mean channels?"),
        ({"name": "context"}, "context has a setting of its own: give context: {...} instead of surroundings"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_a_line(given: Any, problem: str) -> None:
    plain = make_spec().model_dump(mode="json")
    with pytest.raises(SpecError) as caught:
        parse_spec(ModelSpec, plain | {"surroundings": given}, source="m")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("far")
def test_only_one_way_is_taken():
    both = {"context": {}, "surroundings": {"name": "far"}}
    plain = make_spec().model_dump(mode="json") | {"tile": 64, "overlap": 16}
    with pytest.raises(SpecError, match="context and surroundings are 2 ways to see the surroundings of a window"):
        parse_spec(ModelSpec, plain | both, source="m")
