"""What a report of a fault needs, and nothing that its writer would rather keep."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.commands import environment
from geoseg.commands.environment import describe_environment


def test_versions_drivers_and_the_machine_are_described():
    found = describe_environment()
    assert found["geoseg"] == version("geoseg")
    assert found["packages"]["numpy"] == version("numpy")
    assert found["libraries"]["gdal_of_rasterio"][0].isdigit()
    assert {"GTiff", "COG", "VRT"} <= set(found["raster_drivers"]["there"])
    assert {"GPKG", "GeoJSON"} <= set(found["vector_drivers"]["there"])
    listed = found["raster_drivers"]["there"] + found["raster_drivers"]["missing"]
    assert sorted(listed) == sorted(environment.RASTER_DRIVERS)
    assert found["devices"][0] == "cpu"
    assert "usable of" in found["cpus"]
    assert "failed" not in json.dumps(found)


def test_secrets_and_the_home_folder_are_left_out(monkeypatch):
    given = {
        "AWS_SECRET_ACCESS_KEY": "hidden1",
        "AWS_REGION": "eu-west-1",
        "GDAL_HTTP_HEADERS": "Authorization: hidden2",
        "GDAL_HTTP_USERPWD": "me:hidden3",
        "https_proxy": "http://me:hidden4@proxy",
        "GDAL_CACHEMAX": "512",
        "GDAL_HTTP_NETRC_FILE": "/home/jane/.netrc",
        "VRT_SHARED_SOURCE": "https://host/x?token=hidden5",
        "MY_PASSWORD": "hidden6",
        "HOME": "/home/jane",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = describe_environment()["variables"]
    assert not any(f"hidden{n}" in json.dumps(found) for n in range(1, 7))
    assert "jane" not in json.dumps(found)
    assert {name: found[name] for name in ("AWS_REGION", "GDAL_CACHEMAX", "GDAL_HTTP_NETRC_FILE")} == {
        "AWS_REGION": "eu-west-1",
        "GDAL_CACHEMAX": "512",
        "GDAL_HTTP_NETRC_FILE": "~/.netrc",
    }
    assert found["AWS_SECRET_ACCESS_KEY"] == "(set)"
    assert "MY_PASSWORD" not in found


def test_a_broken_library_is_described_instead_of_raised(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    found = describe_environment()
    assert found["vector_drivers"].startswith("failed: ModuleNotFoundError: ")
    assert found["libraries"]["gdal_of_pyogrio"].startswith("failed: ")
    assert found["raster_drivers"]["there"]


def test_an_accelerator_that_cannot_be_used_is_said_with_the_reason(monkeypatch, tmp_path):
    if sys.platform != "linux":
        pytest.skip("of drivers on Linux")
    monkeypatch.setattr(environment, "_ACCELERATORS", [str(tmp_path)])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("The driver on your system is too old\n(found version 1)")

    monkeypatch.setattr("torch.zeros", refuse)
    devices = describe_environment()["devices"]
    assert devices[:2] == ["cpu", "cuda: failed: RuntimeError: The driver on your system is too old (found version 1)"]


@pytest.mark.parametrize(("names", "ending"), [({"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 2}, " GB"), ({}, None)])
def test_memory_is_described_as_far_as_the_system_says_it(monkeypatch, tmp_path, names, ending):
    monkeypatch.setattr(environment, "_MEMORY", tmp_path / "nothing")
    monkeypatch.setattr("os.sysconf_names", names)
    monkeypatch.setattr("os.sysconf", lambda _: 2**20)
    memory = describe_environment()["memory"]
    assert memory is None if ending is None else memory.endswith(ending)


def test_the_limit_of_a_container_is_said(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("8000000000\n")
    monkeypatch.setattr(environment, "_CONTROL_GROUP", tmp_path / "memory.max")
    if environment._MEMORY.exists():
        assert describe_environment()["memory"].endswith("limited to 8.0 GB")


def test_it_is_printed_as_lines_or_as_json():
    lines = CliRunner().invoke(main, ["info", "--env"])
    assert lines.exit_code == 0
    assert f"geoseg: {version('geoseg')}\n" in lines.stdout
    assert "  missing: " in lines.stdout
    values = json.loads(CliRunner().invoke(main, ["info", "--env", "--json"]).stdout)
    assert values["python"].startswith("3.")


@pytest.mark.parametrize("arguments", [[], ["s.tif", "--env"], ["--env", "-m", "m.safetensors"]])
def test_a_subject_or_the_environment_is_asked_for(arguments):
    result = CliRunner().invoke(main, ["info", *arguments])
    assert result.exit_code == 2
    assert "give either a SCENE_OR_MODEL or --env" in result.stderr
