import sys
from importlib.metadata import EntryPoint

import pytest

from geoseg.core import registry as module
from geoseg.core.errors import ModelError, SpecError
from geoseg.core.registry import Registry

OWN = {"ordered": "collections:OrderedDict", "counter": "collections:Counter"}


def a_registry(monkeypatch, *points: EntryPoint, **settings) -> Registry:
    monkeypatch.setattr(module, "entry_points", lambda group: [p for p in points if p.group == group])
    return Registry("table", "geoseg.tables", OWN, **settings)


def test_a_thing_is_loaded_when_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "colorsys", None)  # cannot be imported
    tables = Registry("table", "geoseg.tables", {**OWN, "broken": "colorsys:hsv_to_rgb"})
    assert "broken" in tables
    assert tables.names == ("ordered", "counter", "broken")
    assert tables.get("counter")("aab")["a"] == 2


def test_other_packages_add_by_entry_points(monkeypatch):
    tables = a_registry(monkeypatch, EntryPoint("chain", "collections:ChainMap", "geoseg.tables"))
    assert list(tables) == ["ordered", "counter", "chain"]
    assert tables.get("chain")({"a": 1})["a"] == 1


def test_ones_own_go_before_those_of_others(monkeypatch):
    tables = a_registry(monkeypatch, EntryPoint("counter", "collections:ChainMap", "geoseg.tables"))
    assert tables.names == ("ordered", "counter")
    assert tables.get("counter").__name__ == "Counter"


def test_a_set_without_a_group_holds_ones_own_alone(monkeypatch):
    monkeypatch.setattr(module, "entry_points", lambda **_: pytest.fail("looked for other packages"))
    tables = Registry("table", None, OWN)
    assert tables.names == tables.own == ("ordered", "counter")
    assert "chain" not in tables


def test_an_unknown_name_is_answered_with_the_nearest(monkeypatch):
    tables = a_registry(monkeypatch, error=ModelError)
    with pytest.raises(ModelError, match="no table is called 'countr': did you mean 'counter'"):
        tables.get("countr")
    with pytest.raises(ModelError, match="no table is called 'x': there are ordered, counter"):
        tables.check("x")


def test_a_broken_package_is_named(monkeypatch):
    tables = a_registry(monkeypatch, EntryPoint("lost", "no_such_package:Thing", "geoseg.tables"))
    with pytest.raises(SpecError, match="table 'lost': no_such_package:Thing cannot be loaded"):
        tables.get("lost")
