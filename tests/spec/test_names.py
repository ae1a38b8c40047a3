"""Specs by name: each loads with its own module, and no other."""

import importlib
import subprocess
import sys

import pytest

import geoseg.spec


def test_names_live_where_the_table_says():
    for home, names in geoseg.spec._HOMES.items():
        module = importlib.import_module(f"geoseg.spec.{home}")
        assert all(getattr(module, name) is getattr(geoseg.spec, name) for name in names)
    listed = [name for names in geoseg.spec._HOMES.values() for name in names]
    assert sorted(listed) == sorted(geoseg.spec.__all__) == dir(geoseg.spec)


def test_other_names_are_attribute_errors():
    assert not hasattr(geoseg.spec, "VectorizeSpecs")


@pytest.mark.parametrize("name", ["VectorizeSpec", "ClassSpec", "NODATA_ID"])
def test_settings_of_other_parts_are_not_built(name):
    code = f"from geoseg.spec import {name}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "geoseg.spec.base" in loaded
    assert not {"geoseg.spec.train", "geoseg.spec.network", "geoseg.spec.predict"} & set(loaded)
