"""ONNX files of other tools: what they say, what is asked for, how they are run, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from geoseg.core.errors import ModelError, SpecError
from geoseg.models.bundle import load_model
from geoseg.models.header import read_spec
from geoseg.models.runner import Runner
from geoseg.spec import ScalingSpec

BANDS = "bands: [red, green, blue]\n"
WEIGHT = [[2.0, 1.0, -1.0], [-1.0, 0.5, 2.0]]
Shape = list[str | int]
FREE: Shape = ["batch", 3, "height", "width"]


def write_model(
    path: Path,
    *,
    after: tuple[str, ...] = (),
    shape: Shape = FREE,
    weight: list[list[float]] = WEIGHT,
    metadata: dict[str, Any] | None = None,
    side: str = "",
) -> Path:
    """A convolution of 1 × 1 and operators after it, such as Softmax over the classes."""
    names = ["scores", *(f"after{i}" for i in range(len(after)))]
    ends = [
        helper.make_node(kind, [names[i]], [names[i + 1]], **({"axis": 1} if kind == "Softmax" else {}))
        for i, kind in enumerate(after)
    ]
    flat = [value for row in weight for value in row]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], ["scores"]), *ends],
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [shape[0], len(weight), *shape[2:]])],
        [helper.make_tensor("weight", TensorProto.FLOAT, [len(weight), 3, 1, 1], flat)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {name: json.dumps(value) for name, value in (metadata or {}).items()})
    onnx.save_model(model, path)
    if side:
        path.with_name(f"{path.name}.yaml").write_text(side)
    return path


def expected(image: torch.Tensor, mean: float = 0.0, std: float = 255.0) -> torch.Tensor:
    weight = torch.tensor(WEIGHT).view(2, 3, 1, 1)
    return torch.nn.functional.conv2d((image - mean) / std, weight)


def values(*shape: int) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 255).round()


def forwarded(path: Path, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = load_model(path).module(image)
    return logits


DEEPNESS = {
    "model_type": "Segmentor",
    "class_names": {"1": "water", "0": "land"},
    "resolution": 30,
    "tile_size": 256,
    "tiles_overlap": 25,
    "standardization_mean": [0.5, 0.5, 0.5],
    "standardization_std": [0.2, 0.2, 0.2],
}


def test_the_metadata_of_deepness_give_classes_size_resolution_and_standardisation_after_division_by_255(
    tmp_path: Path,
) -> None:
    path = write_model(tmp_path / "m.onnx", metadata=DEEPNESS, side=BANDS)
    spec = read_spec(path)
    assert [c.name for c in spec.classes] == ["land", "water"]
    assert (spec.resolution_m, spec.tile, spec.overlap, spec.dtype) == (0.3, 256, 64, "uint8")
    image = values(2, 3, 32, 40)
    assert torch.allclose(forwarded(path, image), expected(image, 127.5, 51.0), atol=1e-4)


@pytest.mark.parametrize("std", [[0, 0, 0], [1, -1, 1], [float("nan")] * 3])
def test_a_std_that_nothing_can_be_divided_by_is_said_to_be_in_the_metadata(std: list[float], tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata=DEEPNESS | {"standardization_std": std}, side=BANDS)
    with pytest.raises(ModelError, match=r"m\.onnx: its mean and std of standardisation .*: mend its metadata$"):
        read_spec(path)


def test_an_error_names_both_the_model_and_the_file_beside_it_which_may_each_have_said_it(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata=DEEPNESS | {"resolution": -30}, side=BANDS)
    with pytest.raises(ModelError, match=r"m\.onnx with m\.onnx\.yaml: resolution_m = -0\.3: .* equal to 1e-07$"):
        read_spec(path)


@pytest.mark.parametrize("names", [["land", "water"], [{"0": "land", "1": "water"}], {0: "land", 1: "water"}])
def test_class_names_of_deepness_may_be_a_list_or_have_the_old_key(names: Any, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata={"names": names, "tiles_size": 128}, side=BANDS)
    assert [c.name for c in read_spec(path).classes] == ["land", "water"]
    assert read_spec(path).tile == 128


@pytest.mark.parametrize(("output", "classes"), [("scores", ["land", "water"]), ("after0", ["dry", "wet"])])
def test_each_of_several_outputs_has_class_names_of_its_own(output: str, classes: list[str], tmp_path: Path) -> None:
    names = [{"0": "land", "1": "water"}, {"0": "dry", "1": "wet"}]
    side = BANDS + f"output: {output}\n"
    path = write_model(tmp_path / "m.onnx", after=("Softmax",), metadata=DEEPNESS | {"class_names": names}, side=side)
    model = onnx.load_model(path)
    model.graph.output.insert(0, helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2, None, None]))
    onnx.save_model(model, path)
    assert [one.name for one in read_spec(path).classes] == classes


def test_a_side_file_of_geoai_names_the_classes_and_values_are_divided_by_255(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", side=BANDS)
    said = {"task": "semantic-segmentation", "input_channels": 3, "id2label": {"0": "land", "1": "water"}}
    path.with_name("m.onnx.json").write_text(json.dumps(said))
    image = values(1, 3, 32, 32)
    assert [c.name for c in load_model(path).spec.classes] == ["land", "water"]
    assert torch.allclose(forwarded(path, image), expected(image), atol=1e-5)


def test_a_side_file_of_ukis_csmask_gives_bands_statistics_of_reflectances_and_classes(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model_3b.onnx", weight=[*WEIGHT, [0.0, 0.0, 1.0]])
    statistics = {"img": [[0.2, 0.3, 0.3], [0.1, 0.1, 0.2]], "band_names": ["blue", "green", "nir"]}
    said = {"data": {"classes": 3, "dataset_statistics": statistics}}
    path.with_suffix(".json").write_text(json.dumps(said))
    spec = read_spec(path)
    assert spec.bands == ("blue", "green", "nir")
    assert [c.name for c in spec.classes] == ["background", "clouds", "cloud shadows"]
    assert (spec.dtype, spec.normalization.mean) == ("float32", (0.2, 0.3, 0.3))
    assert spec.scaling == ScalingSpec(scale=(1, 1, 1), offset=(0, 0, 0))


def test_what_is_not_said_is_asked_for_all_at_once_and_taken_from_a_file_beside_the_model(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx")
    with pytest.raises(
        ModelError, match=r"does not say its bands, dtype, normalization, classes: .* m.onnx.yaml"
    ) as caught:
        read_spec(path)
    assert "\n" not in str(caught.value)
    written = BANDS + "dtype: uint16\nnormalization: {mean: [9, 9, 9], std: [3, 3, 3]}\nclasses: [land, water]\n"
    path.with_name("m.onnx.yaml").write_text(written)
    image = values(1, 3, 32, 32)
    assert read_spec(path).dtype == "uint16"
    assert torch.allclose(forwarded(path, image), expected(image, 9.0, 3.0), atol=1e-3)


def test_a_misspelt_setting_beside_the_model_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata=DEEPNESS, side=BANDS + "overlapp: 3\n")
    with pytest.raises(ModelError, match=r"m.onnx.yaml: unknown setting.*did you mean.*overlap"):
        read_spec(path)


@pytest.mark.parametrize("after", [("Softmax",), ("Softmax", "Identity"), ()])
def test_probabilities_and_logits_give_the_same_probabilities(after: tuple[str, ...], tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", after=after, metadata={"names": ["a", "b"]}, side=BANDS)
    image = values(1, 3, 32, 32)
    assert torch.allclose(forwarded(path, image).softmax(1), expected(image).softmax(1), atol=1e-6)


@pytest.mark.parametrize("after", [("Sigmoid",), ()])
def test_a_model_of_one_channel_gives_the_background_and_its_class(after: tuple[str, ...], tmp_path: Path) -> None:
    path = write_model(
        tmp_path / "m.onnx", after=after, weight=WEIGHT[:1], metadata={"class_names": ["roof"]}, side=BANDS
    )
    image = values(1, 3, 32, 32)
    found = forwarded(path, image).softmax(1)
    assert [c.name for c in read_spec(path).classes] == ["background", "roof"]
    assert torch.allclose(found[:, 1], expected(image)[:, 0].sigmoid(), atol=1e-5)


def test_of_one_channel_the_threshold_of_its_metadata_decides(tmp_path: Path) -> None:
    said = {"class_names": ["roof"], "seg_thresh": 0.9}
    path = write_model(tmp_path / "m.onnx", after=("Sigmoid",), weight=WEIGHT[:1], metadata=said, side=BANDS)
    image = values(1, 3, 32, 32)
    is_roof = forwarded(path, image).argmax(1) == 1
    assert torch.equal(is_roof, expected(image)[:, 0].sigmoid() > 0.9)
    assert 0 < is_roof.float().mean() < 0.5


def test_images_of_a_fixed_size_and_number_take_smaller_windows_in_any_number(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", shape=[2, 3, 96, 96], metadata=DEEPNESS, side=BANDS)
    assert read_spec(path).tile == 96
    image = values(3, 3, 64, 96)
    assert torch.allclose(forwarded(path, image), expected(image, 127.5, 51.0), atol=1e-4)
    with pytest.raises(ModelError, match="takes images of 96 x 96 pixels, not of 128 x 96: leave --tile out"):
        forwarded(path, values(1, 3, 128, 96))


def test_a_graph_that_says_any_number_of_images_and_takes_one_gets_one_by_one(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata={"names": ["a", "b"]}, side=BANDS)
    model = onnx.load_model(path)
    model.graph.node.append(helper.make_node("Reshape", ["scores", "shape"], ["flat"]))
    model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [4], [1, 2, 32, 32]))
    model.graph.output[0].name = "flat"
    onnx.save_model(model, path)
    image = values(3, 3, 32, 32)
    assert torch.allclose(forwarded(path, image), expected(image), atol=1e-5)
    with pytest.raises(ModelError, match="does not take windows of 64 x 64 pixels"):
        forwarded(path, values(2, 3, 64, 64))


@pytest.mark.parametrize("side", [64, "free"])
def test_bands_may_come_last(side: int | str, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "weight"], ["scores"]),
        helper.make_node("Transpose", ["scores"], ["last"], perm=[0, 2, 3, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", side, side, 3])],
        [helper.make_tensor_value_info("last", TensorProto.FLOAT, ["b", side, side, 2])],
        [helper.make_tensor("weight", TensorProto.FLOAT, [2, 3, 1, 1], [v for row in WEIGHT for v in row])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": json.dumps(["a", "b"])})
    onnx.save_model(model, tmp_path / "m.onnx")
    (tmp_path / "m.onnx.yaml").write_text(BANDS)
    image = values(2, 3, 64, 64)
    assert torch.allclose(forwarded(tmp_path / "m.onnx", image), expected(image), atol=1e-5)


def test_arithmetic_is_that_of_the_file_and_another_is_refused(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "m.onnx", metadata=DEEPNESS, side=BANDS))
    assert Runner(model.module, "cpu", "auto").precision == "fp32"
    with pytest.raises(SpecError, match="precision bf16: this model computes in fp32"):
        Runner(model.module, "cpu", "bf16")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata=DEEPNESS, side=BANDS)
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 200):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError) as caught:
            load_model(path)
        assert "\n" not in str(caught.value)


def test_an_unknown_operator_is_refused_by_its_name(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", after=("Teleport",), metadata=DEEPNESS, side=BANDS)
    with pytest.raises(ModelError, match=r"cannot run it: .*Teleport.*: take another copy") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_graph_that_takes_other_windows_than_it_says_is_refused_in_a_line(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["image", "shape"], ["out"])],
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, FREE)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, FREE)],
        [helper.make_tensor("shape", TensorProto.INT64, [4], [1, 3, 64, 64])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"class_names": '["a", "b", "c"]'})
    onnx.save_model(model, tmp_path / "m.onnx")
    (tmp_path / "m.onnx.yaml").write_text(BANDS)
    with pytest.raises(ModelError, match=r"m\.onnx does not take windows of 32 x 32 pixels: .*fixed size") as caught:
        forwarded(tmp_path / "m.onnx", values(1, 3, 32, 32))
    assert "\n" not in str(caught.value)


def with_external_data(path: Path, location: str) -> None:
    model = onnx.load_model(path)
    (tensor,) = model.graph.initializer
    content = np.array(tensor.float_data, np.float32).tobytes()
    del tensor.float_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(len(content))}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())


def test_weights_in_a_file_beside_the_model_are_read_and_count_among_its_state(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata=DEEPNESS, side=BANDS)
    with_external_data(path, "m.weights")
    weights = np.array(WEIGHT, np.float32)
    weights.tofile(tmp_path / "m.weights")
    image = values(1, 3, 32, 32)
    assert torch.allclose(forwarded(path, image), expected(image, 127.5, 51.0), atol=1e-4)
    before = load_model(path).module.state_dict()["digest"]
    (weights + 1).tofile(tmp_path / "m.weights")
    assert not torch.equal(load_model(path).module.state_dict()["digest"], before)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "link", ""])
def test_weights_in_a_file_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(24))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    path = write_model(folder / "m.onnx", metadata=DEEPNESS, side=BANDS)
    with_external_data(path, location)
    with pytest.raises(ModelError, match="outside its folder"):
        load_model(path)


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata=DEEPNESS, side=BANDS)
    with_external_data(path, "m.weights")
    with pytest.raises(ModelError, match=r"lacks 'm.weights'"):
        load_model(path)


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_named_with_the_way_to_install_it(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model(tmp_path / "m.onnx", metadata=DEEPNESS, side=BANDS)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModelError, match=r"missing: install it with: pip install 'geoseg\[onnx\]'"):
        load_model(path)


@pytest.mark.parametrize("name", ["m.pt2", "m.torchscript", "m.pt"])
def test_programs_of_pytorch_are_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(ModelError, match=r"run code|is code"):
        read_spec(tmp_path / name)


def test_another_number_of_classes_than_channels_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata={"names": ["a", "b", "c"]}, side=BANDS)
    with pytest.raises(ModelError, match="gives 2 channels, and 3 classes are named"):
        read_spec(path)


def test_a_model_that_is_none_of_segmentation_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", metadata={"model_type": "Detector"}, side=BANDS)
    with pytest.raises(ModelError, match="type 'Detector': geoseg runs Segmentors"):
        read_spec(path)


def test_probabilities_that_are_taken_for_logits_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", after=("Softmax",), metadata=DEEPNESS, side=BANDS + "activation: logits\n")
    with pytest.raises(ModelError, match="gives probabilities"):
        forwarded(path, values(1, 3, 32, 32))
