"""Networks run by ONNX Runtime: the same classes as PyTorch's; graphs are kept in a cache that nobody else writes."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from support.context_networks import TINY, awake, network, some_views
from support.models import make_spec
from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.onnx_engine import body as engine_body
from geoseg.models.onnx_engine import cache, edges, graphs
from geoseg.models.onnx_engine.body import OnnxEngine
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.spec import ModelSpec, NetworkSpec

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SIZE = 160, 96
NETWORKS: dict[str, dict[str, Any]] = {
    "unet": TINY,
    "asymmetric": {
        "architecture": "unet",
        "encoder": "tu-tf_mobilenetv3_small_minimal_100",
        "arguments": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    },
    "of strides": {"architecture": "ddrnet23_slim"},
}
"""One of plain convolutions, one whose padding differs from side to side, one with strides and pooling."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")


def spec_of(values: dict[str, Any]) -> ModelSpec:
    return make_spec(3, bands=("red", "green", "blue"), network=NetworkSpec(**values))


def built(name: str) -> SegmentationNetwork:
    torch.manual_seed(0)
    made = build_network(spec_of(NETWORKS[name])).eval()
    for module in made.modules():  # as trained: a fresh one has the same logits nearly everywhere
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    return made


def image(seed: int = 0, bands: int = 3, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.randn(1, bands, *size, generator=torch.Generator().manual_seed(seed))


def engine(**changes: Any) -> OnnxEngine:
    return OnnxEngine(**{"identity": "", "sizes": frozenset({SIZE}), "bands": 3} | changes)


def differing(one: Tensor, other: Tensor) -> float:
    """Share of pixels of another class."""
    return float((one.argmax(dim=1) != other.argmax(dim=1)).float().mean())


def cached() -> list[Path]:
    return sorted(cache.cache_folder().glob("*.graph"))


@pytest.mark.parametrize("name", NETWORKS)
def test_classes_are_those_of_pytorch(name: str) -> None:
    plain, seen = built(name), image()
    run = engine().network(plain)
    with torch.inference_mode():
        wanted, found = plain(seen), run(seen)
    assert not torch.equal(found, wanted)  # another library has computed it
    assert differing(found, wanted) <= 1e-4
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["unet", "asymmetric"])
def test_edges_are_padded_at_the_edges_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The faster graph is right by itself: none is replaced by one with operators that pad."""
    monkeypatch.setattr(graphs, "_with_pads", None)
    for per_weight in (0, 2**40):  # strips of all inputs, of none
        monkeypatch.setattr(edges, "PADDED_PER_WEIGHT", per_weight)
        content = graphs.make_graph(built(name).body, (3, *SIZE), decoded=False)
        kinds = {node.op_type for node in onnx.load_model_from_string(content).graph.node}
        assert ("ScatterElements" in kinds) == (per_weight == 0)


def test_a_graph_that_is_not_in_blocks_is_right_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on processors whose runtime has no blocks: without the optimisation that brings them."""
    options = graphs._options

    def unblocked() -> Any:
        made = options()
        made.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        return made

    monkeypatch.setattr(graphs, "_options", unblocked)
    monkeypatch.setattr(graphs, "_with_pads", None)
    monkeypatch.setattr(edges, "PADDED_PER_WEIGHT", 0)
    content = graphs.make_graph(built("unet").body, (3, *SIZE), decoded=False)
    nodes = onnx.load_model_from_string(content).graph.node
    assert edges.BLOCKED not in {node.domain for node in nodes}
    assert "ScatterElements" in {node.op_type for node in nodes}


def test_edges_that_come_out_wrong_are_padded_by_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "with_replication", lambda content, probe: content)  # zeros stay
    content = graphs.make_graph(built("unet").body, (3, *SIZE), decoded=False)
    assert "Pad" in {node.op_type for node in onnx.load_model_from_string(content).graph.node}


def test_a_network_that_differs_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    made = graphs.run_graph
    monkeypatch.setattr(graphs, "run_graph", lambda *given: [2 * one + one.mean() for one in made(*given)])
    with pytest.raises(ModelError, match=r"cannot be run by ONNX Runtime: its probabilities differ .*: take --engine"):
        engine().network(built("unet"))


def test_a_network_that_cannot_be_exported_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = built("unet")
    decode = type(plain.body).decode
    monkeypatch.setattr(type(plain.body), "decode", lambda *given: torch.special.i0e(decode(*given)))
    with pytest.raises(ModelError, match="cannot be run by ONNX Runtime"):
        engine().network(plain)
    with pytest.raises(ModelError, match="none of geoseg's"):
        engine().network(nn.Identity())


def test_a_network_with_surroundings_runs_its_local_part() -> None:
    plain = awake(network()).eval()
    run = engine(bands=2, decoded=True, sizes=frozenset({(64, 64)})).network(plain)
    seen, views = image(bands=2, size=(64, 64)).expand(2, -1, -1, -1), some_views()
    with torch.inference_mode():
        context = plain.see(views)
        assert all(torch.equal(a, b) for a, b in zip(run.see(views).maps, context.maps, strict=True))
        wanted, found, alone = plain(seen, context), run(seen, context), plain(seen)
    assert differing(found, wanted) <= 1e-4
    assert differing(found, alone) > 1e-3
    assert len(cached()) == 1


def test_images_of_other_sizes_and_in_training_go_through_pytorch() -> None:
    plain, other = built("unet"), image(size=(64, 128))
    run = engine().network(plain)
    with torch.inference_mode():
        assert torch.equal(run(other), plain(other))
        assert torch.equal(run.train()(image()), plain.train()(image()))


def test_the_network_itself_is_unchanged_and_both_can_be_copied() -> None:
    plain = built("unet")
    body, names = plain.body, list(plain.state_dict())
    run = engine().network(plain)
    assert plain.body is body
    assert list(plain.state_dict()) == names
    for copied in (copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        with torch.inference_mode():
            assert torch.equal(copied(image()), run(image()))


def test_a_runner_averages_over_several_images_at_once() -> None:
    plain, seen = built("unet"), torch.cat([image(0), image(1)]).numpy()
    options = {"bands": 3, "multiple": 8}
    wanted = Runner(plain, "cpu", "fp32", RunnerOptions(**options))(seen)
    found = Runner(plain, "cpu", "fp32", RunnerOptions(**options, onnx=engine()))(seen)
    assert not torch.equal(found, wanted)
    assert differing(found, wanted) <= 1e-4


# ------------------------------------------------------------------------------------------------------------ the cache


@pytest.fixture
def makings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes for which a graph was made."""
    made: list[tuple[int, ...]] = []

    def make(body: Any, shape: tuple[int, int, int], *, decoded: bool) -> bytes:
        made.append(shape)
        return graphs.make_graph(body, shape, decoded=decoded)

    monkeypatch.setattr(engine_body, "make_graph", make)
    return made


def test_a_graph_is_made_once_for_the_same_weights(makings: list[tuple[int, ...]]) -> None:
    plain = built("unet")
    first, second = engine().network(plain), engine().network(copy.deepcopy(plain))
    assert len(makings) == 1
    with torch.inference_mode():
        assert torch.equal(first(image()), second(image()))
        next(plain.parameters()).mul_(1.5)
    engine().network(plain)
    engine(identity="another").network(plain)
    assert len(makings) == 3
    assert len(cached()) == 3


@pytest.mark.parametrize(
    "harm", ["cut", "changed", "emptied", "another's", "a link", "an open folder", "another graph"]
)
def test_a_graph_that_others_could_have_changed_is_made_again(harm: str, makings: list[tuple[int, ...]]) -> None:
    plain = built("unet")
    with torch.inference_mode():
        wanted = engine().network(plain)(image())
    (path,) = cached()
    content = path.read_bytes()
    if harm == "cut":
        path.write_bytes(content[:-1])
    elif harm == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "emptied":
        path.write_bytes(b"")
    elif harm == "another's":
        path.chmod(0o666)
    elif harm == "a link":
        path.rename(path.with_suffix(".elsewhere"))
        path.symlink_to(path.with_suffix(".elsewhere"))
    elif harm == "an open folder":
        path.parent.chmod(0o777)
    else:
        cache.write_cached(path.name, b"no graph at all")
    with torch.inference_mode():
        assert torch.equal(engine().network(plain)(image()), wanted)
    assert len(makings) == 2


def test_a_cache_that_cannot_be_written_is_no_error(makings: list[tuple[int, ...]], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the place of the folder")
    plain = built("unet")
    for _ in range(2):
        engine().network(plain)
    assert len(makings) == 2
    assert not cache.write_cached("name", b"content")


def test_files_that_are_no_longer_used_are_removed() -> None:
    assert cache.write_cached("old", b"1")
    os.utime(cache.cache_folder() / "old", (0, 0))
    assert cache.write_cached("new", b"2")
    assert cache.read_cached("old") is None
    assert cache.read_cached("new") == b"2"
