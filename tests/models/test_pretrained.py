"""Weights that networks start from: files made on the spot, bundles with other bands and classes, a second head."""

import copy
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from support.models import class_specs, make_spec

from geoseg.core.errors import ModelError
from geoseg.models import auxiliary_head
from geoseg.models.auxiliary_head import AuxiliaryHead
from geoseg.models.build import build_network
from geoseg.models.bundle import save_model
from geoseg.models.families import timm_sources
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.models.weights.files import fit_bands
from geoseg.models.weights.start import start_from
from geoseg.spec import ModelSpec, NetworkSpec, NormalizationSpec

RGB, RGBN = ("red", "green", "blue"), ("red", "green", "blue", "nir")
POINTWISE = NetworkSpec(architecture="pointwise", multiple=8)
SMALL = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}


def unet(encoder: str = "resnet18", bands: tuple[str, ...] = RGB, **fields) -> ModelSpec:
    return make_spec(bands=bands, network=NetworkSpec(architecture="unet", encoder=encoder, arguments=SMALL), **fields)


def small_unet(bands: tuple[str, ...] = RGB, **fields) -> ModelSpec:
    return unet("tu-resnet10t", bands, **fields)


def named(spec: ModelSpec, *names: str) -> ModelSpec:
    """The same model with classes of these names."""
    specs = [c.model_copy(update={"name": name}) for c, name in zip(class_specs(len(names)), names, strict=True)]
    return spec.model_copy(update={"classes": tuple(specs)})


def write(weights: dict[str, torch.Tensor], path: Path) -> Path:
    """Write a state dict in the format of its suffix."""
    weights = {name: tensor.clone().contiguous() for name, tensor in weights.items()}
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    return path


def flattened(name: str) -> str:
    """A name as timm's feature extractors and its files have it in common."""
    return name.removeprefix("model.").replace(".", "_")


@pytest.mark.parametrize(("encoder", "suffix"), [("resnet10t", ".pth"), ("convnext_atto", ".safetensors")])
def test_timms_own_names_are_understood(tmp_path: Path, encoder: str, suffix: str) -> None:
    given = timm.create_model(encoder).state_dict()  # with its classifier, which is surplus
    spec = unet(f"tu-{encoder}", RGBN)
    network = build_network(spec)
    load_encoder_weights(network, spec, str(write(given, tmp_path / f"encoder{suffix}")))
    by_name = {flattened(name): tensor for name, tensor in given.items()}
    adapted = []
    for name, found in network.body.encoder.state_dict().items():
        if found.shape != by_name[flattened(name)].shape:
            adapted.append(name)
            torch.testing.assert_close(found, fit_bands(by_name[flattened(name)], RGBN))
        else:
            assert torch.equal(found, by_name[flattened(name)]), name
    assert len(adapted) == 1


@pytest.mark.parametrize(
    ("encoder", "prefix"),
    [("resnet18", ""), ("tu-resnet10t", ""), ("tu-resnet10t", "encoder."), ("tu-resnet10t", "body.encoder.")],
)
def test_smps_own_names_are_understood(tmp_path: Path, encoder: str, prefix: str) -> None:
    given = build_network(unet(encoder)).body.encoder.state_dict(prefix=prefix)
    spec = unet(encoder)
    network = build_network(spec)
    load_encoder_weights(network, spec, str(write(given | {"fc.bias": torch.zeros(9)}, tmp_path / "encoder.pth")))
    for name, found in network.body.encoder.state_dict(prefix=prefix).items():
        assert torch.equal(found, given[name]), name


def test_a_checkpoint_around_the_weights_is_taken_off(tmp_path: Path) -> None:
    spec = small_unet()
    given = build_network(spec).body.encoder.state_dict()
    torch.save({"epoch": 3, "state_dict": given}, tmp_path / "checkpoint.pt")
    network = build_network(spec)
    load_encoder_weights(network, spec, str(tmp_path / "checkpoint.pt"))
    assert torch.equal(network.body.encoder.model.conv1[0].weight, given["model.conv1.0.weight"])


def test_kernels_of_photographs_go_to_the_bands_of_their_names_and_others_start_at_zero() -> None:
    kernels = torch.randn(6, 3, 3, 3)
    red, green, blue = kernels.unbind(dim=1)
    nothing = torch.zeros_like(red)
    for bands, expected in {
        RGB: [red, green, blue],
        RGBN: [red, green, blue, nothing],
        ("nir", "Blue", "green", "red", "height"): [nothing, blue, green, red, nothing],
        ("nir", "red", "green"): [nothing, red + blue / 2, green + blue / 2],
        ("red", "nir"): [red + green + blue, nothing],
        ("grey",): [red + green + blue],
        ("x", "y"): [kernels.sum(dim=1) / 2] * 2,
        ("red", "red"): [kernels.sum(dim=1) / 2] * 2,
    }.items():
        torch.testing.assert_close(fit_bands(kernels, bands), torch.stack(expected, dim=1))
    torch.testing.assert_close(fit_bands(kernels[:, :1], RGB), kernels[:, :1].expand(-1, 3, -1, -1) / 3)


def test_equal_bands_give_the_response_that_they_gave_before(tmp_path: Path) -> None:
    given = build_network(small_unet()).body.encoder
    path = str(write(given.state_dict(), tmp_path / "encoder.pth"))
    grey = torch.randn(1, 1, 32, 32)
    for bands in (("grey",), ("nir", "red", "green"), (*RGB, "nir", "swir", "height")):
        spec = small_unet(bands)
        network = build_network(spec)
        load_encoder_weights(network, spec, path)
        with torch.inference_mode():
            found = network.body.encoder.eval()(grey.expand(-1, len(bands), -1, -1))[-1]
            torch.testing.assert_close(found, given.eval()(grey.expand(-1, 3, -1, -1))[-1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bands", [("blue", "green", "red"), ("nir", "red", "green"), ("blue", "nir", "green", "red")])
@pytest.mark.parametrize("own_names", [True, False])
def test_bands_in_another_order_are_matched_by_name(tmp_path: Path, bands: tuple[str, ...], own_names: bool) -> None:
    donor = build_network(unet("tu-resnet10t")).body.encoder if own_names else timm.create_model("resnet10t")
    given = donor.state_dict()
    spec = unet("tu-resnet10t", bands)
    network = build_network(spec)
    load_encoder_weights(network, spec, str(write(given, tmp_path / "encoder.pth")))
    first = next(name for name in given if name.endswith("conv1.0.weight"))
    found = network.body.encoder.state_dict()
    torch.testing.assert_close(found["model.conv1.0.weight"], fit_bands(given[first], bands))
    inner = next(name for name in given if name.endswith("layer2.0.conv2.weight"))
    assert torch.equal(found["model.layer2.0.conv2.weight"], given[inner])


def test_a_file_with_a_kernel_for_each_band_keeps_them(tmp_path: Path) -> None:
    spec = unet("tu-resnet10t", RGBN)
    given = build_network(spec).body.encoder.state_dict()
    network = build_network(spec)
    load_encoder_weights(network, spec, str(write(given, tmp_path / "encoder.pth")))
    assert torch.equal(network.body.encoder.state_dict()["model.conv1.0.weight"], given["model.conv1.0.weight"])


@pytest.mark.parametrize(
    ("encoder", "lost"), [("resnet18", "layer2.0.conv1.weight"), ("tu-resnet10t", "layer2.0.bn1.running_var")]
)
def test_a_file_that_lacks_a_weight_is_refused_by_name(tmp_path: Path, encoder: str, lost: str) -> None:
    spec = unet(encoder)
    network = build_network(spec)
    given = timm.create_model(encoder.removeprefix("tu-")).state_dict()
    del given[lost]
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ModelError, match=rf"lacks weights of {encoder}, (model\.)?{lost} and 0 more"):
        load_encoder_weights(network, spec, str(write(given, tmp_path / "encoder.pth")))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_another_encoders_file_is_refused(tmp_path: Path) -> None:
    spec = unet("resnet18")
    other = timm.create_model("resnet14t").state_dict()
    with pytest.raises(ModelError, match="give that encoder's weights"):
        load_encoder_weights(build_network(spec), spec, str(write(other, tmp_path / "resnet14t.pth")))
    wide = build_network(spec).body.encoder.state_dict() | {"layer1.0.conv1.weight": torch.zeros(32, 64, 3, 3)}
    with pytest.raises(ModelError, match=r"layer1.0.conv1.weight is \(32, 64, 3, 3\), but resnet18 needs \(64"):
        load_encoder_weights(build_network(spec), spec, str(write(wide, tmp_path / "wide.pth")))
    spec = unet("tu-resnet10t")
    with pytest.raises(ModelError, match="holds other weights than tu-resnet10t has"):
        load_encoder_weights(build_network(spec), spec, str(tmp_path / "resnet14t.pth"))


def test_files_that_are_no_weights_are_refused_and_run_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    torch.save(Trap(), tmp_path / "trap.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.safetensors").write_text("weights")
    spec = unet()
    network = build_network(spec)
    for name, message in {
        "trap.pth": "cannot be read as weights",
        "text.safetensors": "cannot be read as weights",
        "list.pth": "holds no weights by name",
        "none.pt": "no encoder weights at",
    }.items():
        with pytest.raises(ModelError, match=message):
            load_encoder_weights(network, spec, str(tmp_path / name))
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    ("encoder", "known"), [("resnet18", "imagenet, ssl, swsl"), ("tu-resnet18", "imagenet, a1_in1k, a2_in1k")]
)
def test_an_unknown_tag_is_answered_with_the_known_ones(encoder: str, known: str) -> None:
    spec = unet(encoder)
    with pytest.raises(ModelError, match=f"{encoder} has no weights 'imagnet': choose one of {known}"):
        load_encoder_weights(build_network(spec), spec, "imagnet")


def test_an_encoder_without_pretrained_weights_says_so() -> None:
    spec = unet("tu-resnetblur18")
    with pytest.raises(ModelError, match="no pretrained weights of tu-resnetblur18"):
        load_encoder_weights(build_network(spec), spec, "imagenet")


@pytest.mark.parametrize(
    ("encoder", "tag", "repo"),
    [
        ("resnet18", "ssl", "smp-hub/resnet18.ssl"),
        ("tu-resnet10t", "imagenet", "timm/resnet10t.c3_in1k"),
        ("tu-resnet18", "tv_in1k", "timm/resnet18.tv_in1k"),
        ("tu-resnet18.a3_in1k", "imagenet", "timm/resnet18.a3_in1k"),
    ],
)
def test_without_a_connection_the_message_says_what_to_download(monkeypatch, encoder, tag, repo) -> None:
    def no_connection(url: str, timeout: float) -> None:
        assert repo in url
        assert timeout < 10
        raise ConnectionError("[Errno -2] Name or service not known")

    monkeypatch.setattr(timm_sources, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(timm_sources, "get_hf_file_metadata", no_connection)
    spec = unet(encoder)
    with pytest.raises(ModelError) as caught:
        load_encoder_weights(build_network(spec), spec, tag)
    message = str(caught.value)
    assert f"cannot download the weights {tag} of tu-" in message or "of resnet18" in message
    assert "Name or service not known" in message
    assert f"download model.safetensors from https://huggingface.co/{repo}," in message
    assert "\n" not in message


def test_smps_pretrained_weights_are_taken_over(monkeypatch, tmp_path: Path) -> None:
    given = smp.encoders.get_encoder("resnet18").state_dict()
    path = write(given, tmp_path / "model.safetensors")
    monkeypatch.setattr(timm_sources, "try_to_load_from_cache", lambda *_, **__: str(path))
    monkeypatch.setattr(smp.encoders, "hf_hub_download", lambda *_, **__: str(path))
    spec = unet("resnet18", RGBN)
    network = build_network(spec)
    load_encoder_weights(network, spec, "ssl")
    torch.testing.assert_close(network.body.encoder.conv1.weight.data, fit_bands(given["conv1.weight"], RGBN))
    assert torch.equal(network.body.encoder.layer4[1].conv2.weight, given["layer4.1.conv2.weight"])


@pytest.mark.parametrize("architecture", ["unet", "deeplabv3"])
def test_timms_pretrained_weights_are_taken_over(monkeypatch, tmp_path: Path, recwarn, architecture: str) -> None:
    given = timm.create_model("resnet10t").state_dict()
    path = write(given, tmp_path / "model.safetensors")
    asked = []

    def download(repo_id: str, **_) -> str:
        asked.append(repo_id)
        return str(path)

    monkeypatch.setattr(timm_sources, "try_to_load_from_cache", lambda *_, **__: str(path))
    monkeypatch.setattr(timm.models._hub, "hf_hub_download", download)
    spec = make_spec(bands=RGBN, network=NetworkSpec(architecture=architecture, encoder="tu-resnet10t"))
    network = build_network(spec)
    load_encoder_weights(network, spec, "c3_in1k")
    encoder = network.body.encoder.state_dict()
    assert set(asked) == {"timm/resnet10t.c3_in1k"}
    torch.testing.assert_close(encoder["model.conv1.0.weight"], fit_bands(given["conv1.0.weight"], RGBN))
    assert torch.equal(encoder["model.layer4.0.conv2.weight"], given["layer4.0.conv2.weight"])
    assert not recwarn.list


def test_a_vision_transformer_takes_all_but_the_classifier(tmp_path: Path) -> None:
    arguments = {"dynamic_img_size": True, "embed_dim": 48, "num_heads": 3}
    given = timm.create_model("vit_tiny_patch16_224", num_classes=7, **arguments).state_dict()
    spec = make_spec(
        bands=RGBN, network=NetworkSpec(architecture="dpt", encoder="tu-vit_tiny_patch16_224", arguments=arguments)
    )
    network = build_network(spec)
    load_encoder_weights(network, spec, str(write(given, tmp_path / "vit.safetensors")))
    found = network.body.encoder.state_dict()
    assert torch.equal(found["model.blocks.3.mlp.fc1.weight"], given["blocks.3.mlp.fc1.weight"])
    torch.testing.assert_close(
        found["model.patch_embed.proj.weight"], fit_bands(given["patch_embed.proj.weight"], RGBN)
    )


def test_pointwise_has_no_encoder() -> None:
    spec = make_spec()
    with pytest.raises(ModelError, match="has no encoder"):
        load_encoder_weights(build_network(spec), spec, "imagenet")
    with pytest.raises(ModelError, match="has no encoder"):
        AuxiliaryHead(build_network(spec), classes=4)


def bundled(spec: ModelSpec, path: Path) -> tuple[dict[str, torch.Tensor], Path]:
    """State dict and file of a bundle with random weights."""
    network = build_network(spec)
    with torch.no_grad():
        network.body.apply(lambda m: m.running_mean.normal_() if isinstance(m, torch.nn.BatchNorm2d) else None)
    return network.state_dict(), save_model(network, spec, path)


def test_start_from_a_bundle_of_the_same_kind(tmp_path: Path) -> None:
    given, path = bundled(small_unet(), tmp_path / "m.safetensors")
    spec = small_unet(normalization=NormalizationSpec(mean=(9.0,) * 3, std=(2.0,) * 3))
    network = build_network(spec)
    assert start_from(network, spec, path) == "all weights of test"
    for name, found in network.state_dict().items():
        if name.startswith("normalize."):
            assert found.flatten()[0] in (9, 2)
        else:
            assert torch.equal(found, given[name]), name


def test_start_from_matches_classes_and_bands_by_name(tmp_path: Path) -> None:
    given, path = bundled(named(small_unet(), "water", "forest", "road"), tmp_path / "m.safetensors")
    spec = named(small_unet(("nir", "blue", "red", "green"), name="other"), "road", "snow", "water")
    network = build_network(spec)
    fresh = copy.deepcopy(network.state_dict())
    assert start_from(network, spec, path) == "weights of test; new: class snow, band nir; left out: class forest"
    found = network.state_dict()
    first, head = "body.encoder.model.conv1.0.weight", "body.segmentation_head.0."
    assert torch.equal(found[first][:, 1:], given[first][:, [2, 0, 1]])
    assert not found[first][:, 0].any(), "a new band starts at zero"
    for name in (f"{head}weight", f"{head}bias"):
        assert torch.equal(found[name][[0, 2]], given[name][[2, 0]])
        assert torch.equal(found[name][1], fresh[name][1])
    assert all(torch.equal(found[n], given[n]) for n in found if n[5:12] == "encoder" and n != first)


def test_new_bands_start_at_zero_and_share_alike_where_none_is_known(tmp_path: Path) -> None:
    given, path = bundled(make_spec(3, bands=("a", "b", "c")), tmp_path / "m.safetensors")
    columns = given["body.weight"]
    for bands, expected in {
        ("c", "x", "a"): [columns[:, 2], torch.zeros(3, 1, 1), columns[:, 0]],
        ("x", "y"): [columns.sum(dim=1) / 2] * 2,
        ("x",): [columns.sum(dim=1)],
        ("b",): [columns[:, 1]],
    }.items():
        spec = make_spec(3, bands=bands)
        network = build_network(spec)
        start_from(network, spec, path)
        torch.testing.assert_close(network.body.weight.data, torch.stack(expected, dim=1))


def test_one_convolution_may_be_first_and_last(tmp_path: Path) -> None:
    given, path = bundled(named(make_spec(bands=("a", "b")), "x", "y"), tmp_path / "m.safetensors")
    spec = named(make_spec(bands=("b", "a")), "z", "y", "x")
    network = build_network(spec)
    fresh = copy.deepcopy(network.state_dict())
    assert start_from(network, spec, path) == "all weights of test; new: class z"
    assert torch.equal(network.body.weight[1:], given["body.weight"][[1, 0]][:, [1, 0]])
    assert torch.equal(network.body.bias[1:], given["body.bias"][[1, 0]])
    assert torch.equal(network.body.weight[0], fresh["body.weight"][0])


def test_inner_layers_as_narrow_as_the_bands_are_left_alone(tmp_path: Path) -> None:
    """The squeezed layers of EfficientNet have four channels, which are no bands."""
    given, path = bundled(named(unet("tu-efficientnet_b0", RGBN), *"abcdefgh"), tmp_path / "m.safetensors")
    spec = named(unet("tu-efficientnet_b0", RGBN[::-1]), *"hgfedcba")
    network = build_network(spec)
    start_from(network, spec, path)
    found = network.state_dict()
    changed = [name for name in found if not torch.equal(found[name], given[name])]
    assert changed == ["body.encoder.model.conv_stem.weight", "body.segmentation_head.0.weight"]


@pytest.mark.parametrize(
    "network",
    [
        POINTWISE,
        NetworkSpec(architecture="fpn", encoder="resnet18"),
        NetworkSpec(architecture="unet", encoder="resnet18", arguments=SMALL),
        NetworkSpec(architecture="unet", encoder="tu-resnet10t", arguments=SMALL | {"decoder_channels": [8, 8, 8]}),
    ],
)
def test_start_from_another_network_is_refused(tmp_path: Path, network: NetworkSpec) -> None:
    _, path = bundled(small_unet(), tmp_path / "m.safetensors")
    spec = make_spec(bands=RGB, network=network)
    with pytest.raises(ModelError, match=r"holds the network unet tu-resnet10t .*, but .* is to be trained: give both"):
        start_from(build_network(spec), spec, path)


def test_a_tuple_or_another_order_among_the_arguments_is_no_other_network(tmp_path: Path) -> None:
    _, path = bundled(small_unet(), tmp_path / "m.safetensors")
    network = NetworkSpec(
        architecture="unet", encoder="tu-resnet10t", arguments={"decoder_channels": (16, 8, 8), "encoder_depth": 3}
    )
    spec = make_spec(bands=RGB, network=network)
    assert start_from(build_network(spec), spec, path) == "all weights of test"


def test_a_first_layer_that_mixes_bands_and_places_takes_the_same_bands_alone(tmp_path: Path) -> None:
    given, path = bundled(unet("tu-tresnet_m"), tmp_path / "m.safetensors")
    spec = unet("tu-tresnet_m")
    network = build_network(spec)
    start_from(network, spec, path)
    assert all(torch.equal(tensor, given[name]) for name, tensor in network.state_dict().items())
    other = spec.model_copy(update={"bands": spec.bands[::-1]})
    with pytest.raises(ModelError, match=r"unet tu-tresnet_m .* mixes its bands.*give the bands of its model"):
        start_from(build_network(other), other, path)


AUXILIARY = [("unet", "resnet18"), ("unet", "tu-convnext_atto"), ("segformer", "mit_b0"), ("pspnet", "tu-resnet10t")]


@pytest.mark.parametrize(("architecture", "encoder"), AUXILIARY)
def test_the_second_head_teaches_the_encoder_and_leaves_the_network_as_it_is(architecture, encoder) -> None:
    network = build_network(make_spec(bands=RGB, network=NetworkSpec(architecture=architecture, encoder=encoder)))
    names = list(network.state_dict())
    head = AuxiliaryHead(network, classes=5)
    network(torch.rand(2, 3, 64, 64))
    logits = head.logits((64, 48))
    assert logits.shape == (2, 5, 64, 48)
    logits.square().mean().backward()
    first = next(network.body.encoder.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.body.segmentation_head.parameters())
    assert list(network.state_dict()) == names
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize(
    ("channels", "stage"),
    [
        ([3, 64, 64, 128, 256, 512], 4),
        ([3, 0, 40, 80, 160, 320], 4),
        ([3, 0, 40, 80], 2),
        ([3, 0, 40], 2),
        ([3, 64], 1),
        ([192, 192, 192, 192], 2),
    ],
)
def test_the_second_head_takes_the_last_stage_but_one_that_is_there(channels: list[int], stage: int) -> None:
    assert auxiliary_head._stage(channels) == stage


def test_the_second_head_keeps_no_feature_longer_than_needed() -> None:
    network = build_network(small_unet())
    head = AuxiliaryHead(network, classes=4)
    image = torch.rand(2, 3, 32, 32)
    network(image)
    head.logits((32, 32))
    with pytest.raises(RuntimeError, match="run the network with gradients"):
        head.logits((32, 32))
    network(image)
    with torch.no_grad():
        network(image)
    with pytest.raises(RuntimeError, match="run the network with gradients"):
        head.logits((32, 32))


def test_a_copy_of_the_network_does_not_speak_to_the_second_head() -> None:
    network = build_network(small_unet())
    head = AuxiliaryHead(network, classes=4).eval()
    twin = copy.deepcopy(network).eval()
    network.eval()
    first, second = torch.rand(2, 1, 3, 32, 32)
    network(first)
    expected = head.logits((32, 32))
    network(first)
    twin(second)
    assert torch.equal(head.logits((32, 32)), expected)
