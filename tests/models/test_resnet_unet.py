import pytest
import segmentation_models_pytorch as smp
import torch

from geoseg.models.families.resnet_unet import ResNetUNet, is_known
from geoseg.models.padding import replicate_edges
from geoseg.spec import NetworkSpec


def spec(encoder="tu-resnet18", architecture="unet", **arguments):
    return NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments)


@pytest.mark.parametrize("encoder", ["tu-resnet18", "tu-resnet34"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("size", [(64, 96), (50, 70)])
def test_it_answers_bit_for_bit_as_the_network_of_the_same_name_in_smp(encoder, depth, size):
    channels = [24, 16, 12, 8, 8][:depth]
    own = ResNetUNet.of(spec(encoder, encoder_depth=depth, decoder_channels=channels), bands=4, classes=5)
    torch.manual_seed(depth)
    other = smp.create_model(
        "unet", encoder, None, in_channels=4, classes=5, encoder_depth=depth, decoder_channels=channels
    )
    for tensor in other.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.3 + 0.01)
    assert list(own.state_dict()) == list(other.state_dict())
    own.load_state_dict(other.state_dict())
    image = torch.randn(2, 4, *size)
    for network in (replicate_edges(own), replicate_edges(other)):
        network.eval().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.equal(own(image), other(image))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(own(image), other(image))


@pytest.mark.parametrize(
    "asked",
    [
        spec("resnet18", encoder_depth=2, decoder_channels=[8, 8]),
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
