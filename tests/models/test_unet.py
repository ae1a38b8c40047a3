import copy

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from support.models import make_spec
from torch import nn

from geoseg.models.batch_norm_folding import folded
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.families.encoders import ENCODERS
from geoseg.models.families.unet import UNet, is_known
from geoseg.models.meta_network import build_meta_network
from geoseg.models.padding import replicate_edges
from geoseg.models.uniformity_check import keeps_uniform
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.models.weights.start import start_from
from geoseg.spec import NetworkSpec

BANDS = ("red", "green", "blue", "nir")
CHANNELS = [24, 16, 12, 8, 8]
LITE = "tu-tf_efficientnet_lite"


def spec(encoder="tu-resnet18", architecture="unet", **arguments):
    return NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments)


def pair(encoder, depth, bands=4):
    """The same network of geoseg and of smp, with the same weights, which are none of a fresh network's."""
    channels = CHANNELS[:depth]
    own = UNet.of(spec(encoder, encoder_depth=depth, decoder_channels=channels), bands=bands, classes=5)
    torch.manual_seed(depth)
    other = smp.create_model(
        "unet", encoder, None, in_channels=bands, classes=5, encoder_depth=depth, decoder_channels=channels
    )
    for name, tensor in other.state_dict().items():
        if tensor.ndim == 4:
            nn.init.kaiming_normal_(tensor)
        elif tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.3 + (1 if name.endswith("var") else 0.1))
    assert list(own.state_dict()) == list(other.state_dict())
    own.load_state_dict(other.state_dict())
    return own, other


@pytest.mark.parametrize("encoder", ENCODERS)
def test_its_weights_have_the_names_and_shapes_that_smp_and_timm_give_them(encoder):
    channels = CHANNELS[:4]
    with torch.device("meta"):
        own = UNet.of(spec(encoder, encoder_depth=4, decoder_channels=channels), bands=3, classes=5)
        other = smp.create_model(
            "unet", encoder, None, in_channels=3, classes=5, encoder_depth=4, decoder_channels=channels
        )
    wanted = {name: tensor.shape for name, tensor in other.state_dict().items()}
    assert {name: tensor.shape for name, tensor in own.state_dict().items()} == wanted
    assert list(own.stages) == list(other.encoder.out_channels)


@pytest.mark.parametrize(
    ("encoder", "depth", "bands"),
    [
        *(("tu-resnet18", depth, 4) for depth in (1, 2, 3, 4, 5)),
        ("tu-resnet34", 5, 3),
        *((f"{LITE}0", depth, bands) for depth, bands in ((1, 3), (2, 4), (3, 4), (4, 3), (5, 4))),
        (f"{LITE}2", 4, 3),
    ],
)
def test_it_answers_bit_for_bit_as_the_network_of_the_same_name_in_smp(encoder, depth, bands):
    own, other = pair(encoder, depth, bands)
    for network in (replicate_edges(own), replicate_edges(other)):
        network.eval().to(memory_format=torch.channels_last)
    for size in ((64, 96), (50, 71)):
        image = torch.randn(2, bands, *size)
        with torch.inference_mode():
            wanted = other(image)
            assert wanted.std() > 0.01
            assert torch.equal(own(image), wanted)
            with torch.autocast("cpu", torch.bfloat16):
                assert torch.equal(own(image), other(image))


@pytest.mark.parametrize("encoder", ["tu-resnet18", f"{LITE}0"])
def test_in_training_its_outputs_and_gradients_are_those_of_smp(encoder):
    own, other = pair(encoder, depth=3)
    image = torch.randn(2, 4, 64, 64)
    outputs = [network.train()(image) for network in (own, other)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().mean().backward()
    gradients = {name: one.grad for name, one in other.named_parameters() if one.grad is not None}
    for name, one in own.named_parameters():
        if one.grad is not None:
            assert torch.equal(one.grad, gradients[name]), name


@pytest.mark.parametrize("encoder", ["tu-resnet18", f"{LITE}0"])
def test_its_batch_norms_are_folded_as_those_of_smp(encoder):
    own, other = pair(encoder, depth=5)
    image = torch.randn(1, 4, 64, 96)
    copies = [folded(replicate_edges(copy.deepcopy(network)), bands=4) for network in (own, other)]
    norms = [sum(isinstance(part, nn.BatchNorm2d) for part in network.modules()) for network in (*copies, own)]
    assert norms[0] == norms[1] < norms[2]
    with torch.inference_mode():
        assert torch.equal(copies[0](image), copies[1](image))


@pytest.mark.parametrize("encoder", ["tu-resnet18", f"{LITE}0"])
def test_a_constant_window_gives_a_constant_answer(encoder):
    own, _ = pair(encoder, depth=4)
    replicate_edges(own).eval()
    with torch.inference_mode():
        answer = own(torch.ones(1, 4, 128, 128) * torch.tensor([0.3, -1.0, 2.0, 0.1]).reshape(1, 4, 1, 1))
    assert torch.allclose(answer, answer[:, :, 64:65, 64:65].expand_as(answer), rtol=1e-4, atol=1e-5)


def test_it_takes_weights_of_timm_and_of_bundles_as_a_network_of_smp_does(tmp_path):
    network = spec(f"{LITE}0", encoder_depth=4, decoder_channels=CHANNELS[:4])
    rgb, rgbn = (make_spec(bands=bands, network=network) for bands in (BANDS[:3], BANDS))
    donor = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    torch.save(donor.state_dict(), tmp_path / "lite0.pth")
    load_encoder_weights(fresh := build_network(rgbn), rgbn, str(tmp_path / "lite0.pth"))
    stem = fresh.body.encoder.state_dict()["model.conv_stem.weight"]
    torch.testing.assert_close(stem[:, :3], donor.conv_stem.weight)
    assert not stem[:, 3].any()

    bundle = save_model(fresh, rgbn, tmp_path / "rgbn.safetensors")
    loaded = load_model(bundle).module
    assert isinstance(loaded.body, UNet)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in fresh.state_dict().items())
    start_from(started := build_network(rgb), rgb, bundle)
    assert torch.equal(started.body.encoder.state_dict()["model.conv_stem.weight"], stem[:, :3])
    assert set(build_meta_network(rgbn).state_dict()) == set(fresh.state_dict())


@pytest.mark.parametrize("encoder", ["tu-resnet18", f"{LITE}0"])
def test_a_bundle_of_it_keeps_uniform_areas_uniform(encoder):
    model = make_spec(bands=BANDS, network=spec(encoder, encoder_depth=4, decoder_channels=CHANNELS[:4]))
    assert keeps_uniform(build_network(model, fresh=False), multiple=32)


def test_stages_beyond_the_last_map_are_not_computed():
    own, _ = pair(f"{LITE}0", depth=4)
    own.encoder.model.blocks[5:].apply(lambda part: part.register_forward_pre_hook(pytest.fail))
    own.eval()(torch.zeros(1, 4, 64, 64))


@pytest.mark.parametrize(
    "asked",
    [
        spec("resnet18", encoder_depth=2, decoder_channels=[8, 8]),
        spec(f"{LITE}2", encoder_depth=2, decoder_channels=[8, 8], decoder_attention_type="scse"),
        spec("tu-efficientnet_lite0", encoder_depth=2, decoder_channels=[8, 8]),
        spec("tu-resnet18", "fpn", encoder_depth=2),
        spec(encoder_depth=2, decoder_channels=[8, 8], decoder_interpolation="bilinear"),
        spec(encoder_depth=3, decoder_channels=[8, 8]),
        spec(encoder_depth=2, decoder_channels=8),
        spec(encoder_depth=6, decoder_channels=[8] * 6),
        spec(encoder_depth=5),
    ],
)
def test_whatever_else_a_spec_asks_for_is_left_to_smp(asked):
    assert not is_known(asked)
