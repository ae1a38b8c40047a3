"""`--engine auto`: measured once where that can pay, remembered, given with the result; PyTorch everywhere else."""

from __future__ import annotations

import builtins
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.branches import SMALL, class_values, colours, small_model
from support.executors import Apart
from support.models import make_spec
from support.reporters import Heard
from support.stopped import stopped_after

from geoseg.commands.plan import plan_prediction
from geoseg.commands.predict import PredictResult, predict
from geoseg.core.errors import ModelError
from geoseg.inference import faster_engine, shards
from geoseg.inference.work_folder import WorkFolder
from geoseg.models.build import build_network
from geoseg.models.model import Model
from geoseg.models.onnx_engine import body as engine_body
from geoseg.models.onnx_engine import cache, speed
from geoseg.models.onnx_engine.body import OnnxBody
from geoseg.models.onnx_engine.speed import Speed

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FP32: dict[str, Any] = {"polygons": False, "preview": False, "device": "cpu", "stac": False, "precision": "fp32"}
NOTICE = "measuring whether ONNX Runtime is faster"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("cache") / "engines"
    monkeypatch.setattr(cache, "cache_folder", lambda: folder)


@pytest.fixture
def _worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs cost nothing, so that they pay for scenes of any size."""
    monkeypatch.setattr(faster_engine, "GRAPH_BATCHES", 0)
    monkeypatch.setattr(faster_engine, "GRAPH_S", 0.0)


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return Path(colours(tmp_path / "s.tif"))


def takes(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a clock go so that ONNX Runtime takes a share of PyTorch's time."""
    now = 0.0

    def clock() -> float:
        return now

    def passes(seconds: float, kind: type[Any], name: str) -> None:
        real = getattr(kind, name)

        def run(self: Any, *given: Any) -> Any:
            nonlocal now
            found = real(self, *given)
            now += seconds
            return found

        monkeypatch.setattr(kind, name, run)

    passes(share, OnnxBody, "forward")
    passes(1.0, type(build_network(make_spec(network=SMALL)).body), "forward")  # type: ignore[arg-type]
    monkeypatch.setattr(speed, "clock", clock)


def forbid_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **more: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(faster_engine, "_measured", fail)


def speeds() -> list[Path]:
    return sorted(cache.cache_folder().glob("*.speed"))


def engine_of(result: PredictResult) -> tuple[str, float | None]:
    return result.settings["engine"], result.engine_share


@pytest.mark.usefixtures("_worth_it")
@pytest.mark.parametrize(("share", "engine"), [(0.5, "onnx"), (0.97, "torch"), (1.5, "torch")])
def test_the_faster_one_is_taken_remembered_and_said(
    share: float, engine: str, tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = predict(scene, tmp_path / "torch", model=model, engine="torch", **FP32)
    takes(share, monkeypatch)
    heard = Heard()
    found = predict(scene, tmp_path / "one", model=model, reporter=heard, **FP32)
    assert engine_of(found) == (engine, pytest.approx(share))
    assert any(line.startswith(NOTICE) for line in heard.lines)
    assert any(f"takes {share:.2f} of PyTorch's time here" in line for line in heard.lines)
    assert not any("PyTorch" in line for line in found.notices)  # nothing of this machine in the files
    assert (class_values(found) != class_values(wanted)).mean() <= 1e-4
    forbid_measuring(monkeypatch)
    again = predict(scene, tmp_path / "two", model=model, **FP32)
    assert engine_of(again) == engine_of(found)
    np.testing.assert_array_equal(class_values(again), class_values(found))


@pytest.mark.usefixtures("_worth_it")
def test_a_plan_measures_nothing_and_knows_what_is_remembered(
    tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes(0.5, monkeypatch)
    assert plan_prediction(scene, tmp_path / "out", model=model, **FP32).settings["engine"] == "torch"
    assert not cache.cache_folder().exists()
    predict(scene, tmp_path / "one", model=model, **FP32)
    assert plan_prediction(scene, tmp_path / "out", model=model, **FP32).settings["engine"] == "onnx"


def test_a_small_scene_is_not_measured_and_makes_no_graph(
    tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    found = predict(scene, tmp_path / "one", model=model, reporter=heard, **FP32)
    assert engine_of(found) == ("torch", None)
    assert not any(NOTICE in line for line in heard.lines)
    assert not cache.cache_folder().exists()
    with monkeypatch.context() as patched:
        patched.setattr(faster_engine, "GRAPH_BATCHES", 0)
        patched.setattr(faster_engine, "GRAPH_S", 0.0)
        takes(0.5, patched)
        predict(scene, tmp_path / "two", model=model, **FP32)
    cached = predict(scene, tmp_path / "three", model=model, **FP32)
    assert engine_of(cached) == ("onnx", pytest.approx(0.5))  # its graphs are there, and cost nothing
    for graph in cache.cache_folder().glob("*.graph"):
        graph.unlink()
    again = predict(scene, tmp_path / "four", model=model, **FP32)
    assert engine_of(again) == ("torch", pytest.approx(0.5))
    assert not list(cache.cache_folder().glob("*.graph"))


def test_a_scene_that_pytorch_predicts_fast_is_not_measured(
    tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faster_engine, "GRAPH_BATCHES", 0)
    monkeypatch.setattr(speed, "measure", None)
    heard = Heard()
    assert engine_of(predict(scene, tmp_path / "one", model=model, reporter=heard, **FP32)) == ("torch", None)
    assert not any(NOTICE in line for line in heard.lines)


@pytest.mark.usefixtures("_worth_it")
@pytest.mark.parametrize(
    "settings",
    [{"engine": "torch"}, {"precision": "bf16"}, {"adapt": "bn", "force": True}, {"scheduler": Apart()}],
    ids=lambda settings: next(iter(settings)),
)
def test_what_leaves_no_choice_is_not_measured(
    settings: dict[str, Any], tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_measuring(monkeypatch)
    found = predict(scene, tmp_path / "one", model=model, **FP32 | settings)
    assert engine_of(found) == ("torch", None)


@pytest.mark.usefixtures("_worth_it")
@pytest.mark.parametrize("lacking", ["onnx", "onnxruntime"])
def test_without_a_library_it_is_pytorch_and_nothing_is_said(
    lacking: str, tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def fail(name: str, *rest: Any) -> Any:
        if name == lacking:
            raise ImportError(name)
        return imported(name, *rest)

    wanted = Heard()
    predict(scene, tmp_path / "torch", model=model, reporter=wanted, **FP32 | {"engine": "torch"})
    monkeypatch.setattr(builtins, "__import__", fail)
    heard = Heard()
    found = predict(scene, tmp_path / "one", model=model, reporter=heard, **FP32)
    assert engine_of(found) == ("torch", None)
    assert heard.lines == wanted.lines


@pytest.mark.usefixtures("_worth_it")
def test_a_network_that_cannot_be_exported_stays_in_pytorch(
    tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **more: object) -> bytes:
        raise ModelError("this network cannot be run by ONNX Runtime")

    monkeypatch.setattr(engine_body, "make_graph", fail)
    heard = Heard()
    found = predict(scene, tmp_path / "one", model=model, reporter=heard, **FP32)
    assert engine_of(found) == ("torch", None)
    assert "ONNX Runtime cannot run this network: PyTorch does" in heard.lines
    forbid_measuring(monkeypatch)
    assert engine_of(predict(scene, tmp_path / "two", model=model, **FP32)) == ("torch", None)


@pytest.mark.usefixtures("_worth_it")
@pytest.mark.parametrize(
    "content", [b"", b"no json", b"[]", b'{"torch": 1}', b'{"torch": -1, "onnx": 1}', b'{"torch": NaN, "onnx": 1}']
)
def test_what_is_remembered_wrongly_is_measured_again(
    content: bytes, tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes(0.5, monkeypatch)
    predict(scene, tmp_path / "one", model=model, **FP32)
    (path,) = speeds()
    assert cache.write_cached(path.name, content)
    heard = Heard()
    found = predict(scene, tmp_path / "two", model=model, reporter=heard, **FP32)
    assert engine_of(found) == ("onnx", pytest.approx(0.5))
    assert any(NOTICE in line for line in heard.lines)


@pytest.mark.usefixtures("_worth_it")
def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes(0.5, monkeypatch)
    cache.cache_folder().write_text("a file in the place of the folder")
    for name in ("one", "two"):
        assert engine_of(predict(scene, tmp_path / name, model=model, **FP32)) == ("onnx", pytest.approx(0.5))


@pytest.mark.usefixtures("_worth_it")
@pytest.mark.parametrize(("first", "later"), [(0.5, 2.0), (2.0, 0.5)])
def test_work_that_is_resumed_keeps_its_engine(
    first: float, later: float, tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        takes(first, patched)
        whole = predict(scene, tmp_path / "whole", model=model, **FP32)
        with stopped_after(1, patched):
            predict(scene, tmp_path / "out", model=model, **FP32)
    (folder,) = tmp_path.glob("out/.*.geoseg")
    begun = WorkFolder(folder).read_manifest()
    assert begun is not None
    assert (begun.engine, begun.engine_share) == engine_of(whole)
    (path,) = speeds()
    assert cache.write_cached(path.name, json.dumps({"torch": 1.0, "onnx": later}).encode())
    found = predict(scene, tmp_path / "out", model=model, resume=True, **FP32)
    assert engine_of(found) == engine_of(whole)
    assert found.paths["landcover"].read_bytes() == whole.paths["landcover"].read_bytes()
    for path in cache.cache_folder().iterdir():
        path.unlink()
    forbid_measuring(monkeypatch)
    done = predict(scene, tmp_path / "out", model=model, resume=True, **FP32)
    assert (done.forwarded_px, done.settings["engine"]) == (0, whole.settings["engine"])


@pytest.mark.usefixtures("_worth_it")
def test_processes_are_given_what_one_has_decided(
    tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes(0.5, monkeypatch)
    alone = predict(scene, tmp_path / "one", model=model, **FP32)
    given: list[str] = []
    make = shards.make_shards

    def noted(*arguments: Any) -> Any:
        made = make(*arguments)
        given.extend(shard.spec.classify.engine for shard in made)
        return made

    monkeypatch.setattr(shards, "make_shards", noted)
    monkeypatch.setattr(shards, "open_executor", lambda place: nullcontext(Apart()))
    shared = predict(scene, tmp_path / "two", model=model, devices="2", **FP32)
    assert set(given) == {"onnx"}
    assert engine_of(shared) == engine_of(alone)
    np.testing.assert_array_equal(class_values(shared), class_values(alone))


def test_a_speed_says_what_it_favours() -> None:
    assert Speed(torch=1.0, onnx=0.9).favours_onnx
    assert not Speed(torch=1.0, onnx=0.96).favours_onnx
    assert not Speed(torch=1.0, onnx=None).favours_onnx
