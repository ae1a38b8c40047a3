"""Windows go on beyond their edges as they end there: what is uniform stays uniform, whatever network sees it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import segmentation_models_pytorch as smp
import torch
from support.models import make_spec
from support.rasters import write_raster
from support.reporters import Heard
from timm.layers import AvgPool2dSame, Conv2dSame, StdConv2d
from torch import Tensor, nn
from torch.nn import functional

import geoseg
from geoseg.geo.grid import Grid
from geoseg.inference.windows import BORDER
from geoseg.models import padding
from geoseg.models.batch_norm_folding import folded
from geoseg.models.build import build_network
from geoseg.models.padding import EdgeConv2d, replicate_edges
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.models.uniformity_check import keeps_uniform
from geoseg.spec import NetworkSpec, Precision

CONVOLUTIONS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 7, "padding": 3, "stride": 2},
    {"kernel_size": 7, "padding": 3, "stride": 4},
    {"kernel_size": 5, "padding": 2, "groups": 4},
    {"kernel_size": (1, 7), "padding": (0, 3)},
    {"kernel_size": 3, "padding": 6, "dilation": 6},
    {"kernel_size": 3, "padding": 24, "dilation": 24},
    {"kernel_size": 4, "padding": "same"},
    {"kernel_size": 1, "padding": 1},
    {"kernel_size": 3, "padding": (2, 0), "bias": False},
]
SIZES = [(24, 24), (23, 40), (9, 8), (1, 5)]

NETWORKS = [
    ("unetplusplus", "resnet18", {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}),
    pytest.param("unet", "efficientnet-b0", {}, marks=pytest.mark.slow),
    ("unet", "tu-tf_efficientnet_lite0", {}),
    ("unet", "tu-convnext_atto", {}),
    pytest.param("unet", "tu-nf_resnet26", {}, marks=pytest.mark.slow),
    pytest.param("unet", "tu-resnetv2_50x1_bit", {}, marks=pytest.mark.slow),
    pytest.param("unet", "xception", {}, marks=pytest.mark.slow),
    ("deeplabv3plus", "resnet18", {}),
    ("fpn", "mobilenet_v2", {}),
    pytest.param("pspnet", "resnet18", {}, marks=pytest.mark.slow),
    pytest.param("pan", "resnet18", {}, marks=pytest.mark.slow),
    ("upernet", "tu-test_resnet", {}),
    ("segformer", "mit_b0", {}),
]


def network(architecture: str, encoder: str, arguments: dict[str, Any]) -> nn.Module:
    """A network as after some training."""
    torch.manual_seed(0)
    spec = NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments)
    built = build_network(make_spec(5, bands=("red", "green", "blue"), network=spec))
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.normal_(module.bias, std=0.2)
    return built.eval()


def unevenness(net: nn.Module, value: Sequence[float] = (0.7, -1.2, 0.4), side: int = 128) -> float:
    """By how much the logits of a uniform window differ, as a share of the largest."""
    with torch.inference_mode():
        logits = net(torch.tensor(value).view(1, -1, 1, 1).expand(1, -1, side, side).contiguous())
    return float((logits - logits[:, :, side // 2, side // 2, None, None]).abs().max() / logits.abs().max())


@pytest.mark.parametrize("arguments", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("copied", [0, 10**9])
def test_a_convolution_answers_as_one_whose_padding_replicates(
    arguments: dict[str, Any], size: tuple[int, int], copied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(padding, "PADDED_MOST", copied)
    convolution = nn.Conv2d(4, 8, **arguments)
    wanted = nn.Conv2d(4, 8, **arguments, padding_mode="replicate")
    wanted.load_state_dict(convolution.state_dict())
    image = torch.randn(2, 4, *size)
    if any(side + 2 * pad < reach + 1 for side, pad, reach in spans(convolution, size)):
        pytest.skip("smaller than the kernel")
    with torch.inference_mode():
        for layout in (torch.contiguous_format, torch.channels_last):
            found = replicate_edges(convolution).eval()(image.contiguous(memory_format=layout))
            torch.testing.assert_close(found, wanted(image), atol=1e-5, rtol=1e-5)


def spans(layer: nn.Conv2d, size: Sequence[int]) -> list[tuple[int, int, int]]:
    pads = (10, 10) if isinstance(layer.padding, str) else layer.padding
    return [(size[i], pads[i], layer.dilation[i] * (layer.kernel_size[i] - 1)) for i in (0, 1)]


def test_only_the_outermost_outputs_of_a_large_input_are_computed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(padding, "PADDED_MOST", 0)
    sizes = []
    inner = functional.conv2d

    def watched(values: Tensor, *arguments: Any) -> Tensor:
        sizes.append(tuple(values.shape[-2:]))
        return inner(values, *arguments)

    monkeypatch.setattr(functional, "conv2d", watched)
    layer = replicate_edges(nn.Conv2d(2, 3, 3, stride=2, padding=1)).eval()
    layer(torch.zeros(1, 2, 64, 96))
    assert sizes == [
        (64, 96),
        (3, 97),
        (3, 63),
    ]  # an even side and stride 2: nothing reaches beyond its end; the column is a row


@pytest.mark.parametrize(
    "arguments", [{"stride": 2, "padding": 1}, {"stride": 4}, {"stride": (1, 2), "dilation": 2}], ids=str
)
@pytest.mark.parametrize(("size", "groups"), [((255, 3), 1), ((130, 4), 1), ((65, 5), 4), ((256, 224), 1)], ids=str)
def test_a_single_column_of_outputs_is_computed_on_every_processor(
    arguments: dict[str, Any], size: tuple[int, int], groups: int
) -> None:
    """On those with AMX, memory that was in use before shone through."""
    layer = nn.Conv2d(4, 16, 3, groups=groups, **arguments)
    wanted = nn.Conv2d(4, 16, 3, groups=groups, **arguments, padding_mode="replicate")
    wanted.load_state_dict(layer.state_dict())
    image = torch.randn(2, 4, *size).contiguous(memory_format=torch.channels_last)
    if size[1] <= 2 * layer.dilation[1] and not any(layer.padding):
        pytest.skip("smaller than the kernel")
    with torch.inference_mode():
        for count in (2**8, 2**12, 2**16, image.numel()):
            torch.full((8, count), torch.nan, dtype=torch.bfloat16)  # freed at once
        with torch.autocast("cpu", torch.bfloat16):
            found = replicate_edges(layer).eval()(image)
        torch.testing.assert_close(found.float(), wanted(image), atol=0.05, rtol=0.05)


def test_a_dilation_set_later_counts() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1)
    layer.dilation = layer.padding = (2, 2)  # as smp does where strides become dilation
    wanted = nn.Conv2d(3, 4, 3, padding=2, dilation=2, padding_mode="replicate")
    wanted.load_state_dict(layer.state_dict())
    image = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(replicate_edges(layer).eval()(image), wanted(image))


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (Conv2dSame(3, 3, 3, stride=2), 16),
        (StdConv2d(3, 3, 3, stride=2, padding=1), 16),
        (nn.AvgPool2d(3, 2, padding=1), 16),
        (AvgPool2dSame(3, 1, count_include_pad=True), 32),
        (AvgPool2dSame(2, 1, ceil_mode=True, count_include_pad=False), 32),
        (nn.ConvTranspose2d(3, 3, 3, stride=1, padding=1), 32),
        (nn.Sequential(nn.ConstantPad2d(1, 0.0), nn.MaxPool2d(3, 2)), 16),
        (nn.Sequential(nn.ZeroPad2d((-1, 2, 1, 0)), nn.AvgPool2d(2, 1)), 32),
    ],
    ids=str,
)
def test_other_layers_that_pad_by_zeros_keep_what_is_uniform(layer: nn.Module, size: int) -> None:
    replicate_edges(replicate_edges(layer)).eval()  # once more changes nothing
    with torch.inference_mode():
        answer = layer(torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32))
    assert answer.shape[-2:] == (size, size)
    torch.testing.assert_close(answer, answer[:, :, 8:9, 8:9].expand_as(answer))


def test_an_upsampling_by_four_keeps_its_size_and_its_middle() -> None:
    layer = nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1)
    image = torch.randn(1, 3, 12, 14)
    with torch.inference_mode():
        before = layer(image)
        after = replicate_edges(layer).eval()(image)
    assert after.shape == before.shape == (1, 2, 24, 28)
    torch.testing.assert_close(after[:, :, 2:-2, 2:-2], before[:, :, 2:-2, 2:-2])


def test_a_transposed_convolution_is_given_the_pixels_that_its_kernel_reaches_and_no_more() -> None:
    layer = replicate_edges(nn.ConvTranspose2d(1, 1, 64, stride=32, padding=16)).eval()
    given = []
    layer.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].shape[-2:]))
    assert layer(torch.zeros(1, 1, 4, 5)).shape[-2:] == (128, 160)
    assert given == [(8, 9)]


def test_training_pads_by_zeros_as_the_architecture_says() -> None:
    torch.manual_seed(0)
    plain = smp.create_model("unet", "tu-test_resnet", encoder_weights=None, in_channels=3, classes=2)
    same = replicate_edges(smp.create_model("unet", "tu-test_resnet", encoder_weights=None, in_channels=3, classes=2))
    same.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(same.train()(image), plain.train()(image))
    assert (same.eval()(image) - plain.eval()(image)).abs().max() > 1e-3


@pytest.mark.parametrize(("architecture", "encoder", "arguments"), NETWORKS)
def test_a_uniform_window_gets_uniform_logits(architecture: str, encoder: str, arguments: dict[str, Any]) -> None:
    assert unevenness(network(architecture, encoder, arguments)) < 1e-4


def test_folded_batch_normalisations_leave_the_padding_as_it_is() -> None:
    net = network("unet", "tu-test_resnet", {})
    twin = folded(net, 3)
    assert twin is not net
    assert any(isinstance(module, EdgeConv2d) for module in twin.modules())
    assert unevenness(twin) < 1e-4


@pytest.fixture(scope="module")
def default_model() -> geoseg.Model:
    return geoseg.load_model()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("value", [(0,) * 3, (17,) * 3, (128,) * 3, (200,) * 3, (255,) * 3, (30, 90, 200)], ids=str)
def test_a_uniform_window_has_one_class(
    value: tuple[int, ...], precision: Precision, default_model: geoseg.Model
) -> None:
    runner = Runner(default_model.module, "cpu", precision, RunnerOptions(bands=3))
    image = np.full((1, 3, 192, 160), np.reshape(value, (3, 1, 1)), np.uint8)
    assert len(runner(image).argmax(dim=1).unique()) == 1


@pytest.mark.parametrize(("value", "precision"), [((255,) * 3, "fp32"), ((30, 90, 200), "bf16")])
def test_a_constant_scene_has_one_class(
    value: tuple[int, ...], precision: Precision, tmp_path: Path, default_model: geoseg.Model
) -> None:
    path = write_raster(
        tmp_path / "scene.tif", np.full((3, 333, 431), np.reshape(value, (3, 1, 1)), np.uint8), photometric="RGB"
    )
    result = geoseg.predict(path, tmp_path, model=default_model, tile=256, precision=precision, **RASTER_ONLY)
    assert len(np.unique(read(result.paths["landcover"]))) == 1


RASTER_ONLY: dict[str, Any] = {"polygons": False, "preview": False, "stac": False}


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def changes(classes: np.ndarray, grid: Grid) -> tuple[float, float]:
    """Share of pairs of neighbouring pixels whose classes differ: in the seams between windows, and elsewhere."""
    in_seam, elsewhere = [], []
    for axis, side in ((0, grid.rows), (1, grid.cols)):
        differ = np.diff(classes.astype(int), axis=axis) != 0
        near = np.zeros(differ.shape[axis], bool)
        for seam in side.seams:
            near[max(0, seam - grid.border) : seam + side.ramp - grid.border] = True
        in_seam.append(differ.compress(near, axis=axis).ravel())
        elsewhere.append(differ.compress(~near, axis=axis).ravel())
    return float(np.concatenate(in_seam).mean()), float(np.concatenate(elsewhere).mean())


def test_classes_change_no_more_often_in_seams_than_elsewhere(tmp_path: Path) -> None:
    """Where a scene is all but uniform (fill, snow), beside something else."""
    rng = np.random.default_rng(0)
    scene = 255.0 - (rng.random((3, 600, 700)) < 0.02)
    scene[:, :, 560:] = rng.uniform(30, 200, (3, 600, 140))
    path = write_raster(tmp_path / "scene.tif", scene.astype(np.uint8), photometric="RGB")
    result = geoseg.predict(path, tmp_path, tile=256, **RASTER_ONLY)
    in_seams, elsewhere = changes(read(result.paths["landcover"])[:, :500], Grid(600, 700, 256, 64, 32, BORDER))
    assert in_seams <= 1.2 * elsewhere + 1e-4


@pytest.mark.parametrize(
    ("architecture", "encoder", "arguments", "told"),
    [
        ("unet", "tu-test_resnet", {}, False),
        ("linknet", "tu-test_resnet", {}, True),
        pytest.param("dpt", "tu-vit_tiny_patch16_224", {"dynamic_img_size": True}, True, marks=pytest.mark.slow),
    ],
)
def test_a_network_that_answers_by_position_says_so(
    architecture: str, encoder: str, arguments: dict[str, Any], told: bool
) -> None:
    heard = Heard()
    options = RunnerOptions(multiple=32, bands=3)
    Runner(network(architecture, encoder, arguments), "cpu", "fp32", options, reporter=heard)
    assert [("by position in a window" in line) for line in heard.lines] == [True] * told


def test_a_network_that_cannot_be_shown_a_window_is_not_judged() -> None:
    class Shrinking(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values[:, :, ::2, ::2]

    for body in (Shrinking(), nn.Conv2d(5, 2, 1)):
        assert keeps_uniform(SegmentationNetwork(Normalize(make_spec(bands=("red",)).normalization), body), 32)
