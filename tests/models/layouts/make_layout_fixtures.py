"""Writes small models by the libraries themselves, for test_layout_fixtures.py.

    python -m venv VENV && VENV/bin/pip install torchgeo==0.8.1 terratorch==1.2.11 geoai-py==0.40.1
    VENV/bin/python tests/models/layouts/make_layout_fixtures.py FOLDER
    GEOSEG_LAYOUT_FIXTURES=FOLDER pytest tests/models/layouts

FLAIR-HUB is in no package index, and needs an environment of its own: segmentation-models-pytorch==0.4.0 with
timm==0.9.7, and the folder src of github.com/IGNF/FLAIR-HUB (commit 3d5693b) in PYTHONPATH. A name of a function below
after FOLDER writes its models alone.

Each goes into a folder of its name: what `geoseg import` takes (`source`, in expected.json), an image and the logits
that the library gives of it (expected.safetensors), and the versions. A library that is not installed is left out.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

SIDE, BANDS, CLASSES = 64, 3, 4


def with_some_statistics(model):
    """Running statistics that differ from those of a fresh network."""
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn_like(buffer) / 4)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return model.eval()


def note(folder, source, model, *packages, sigmoid=False, side=SIDE):
    """Write image, logits and versions."""
    torch.set_float32_matmul_precision("highest")  # TerraTorch lowers it for all of a process
    image = torch.rand(1, BANDS, side, side)
    with torch.inference_mode():
        logits = model(image)
    logits = getattr(logits, "output", logits)
    save_file({"image": image, "logits": logits.contiguous()}, folder / "expected.safetensors")
    versions = {name: version(name) for name in ("torch", *packages)}
    (folder / "expected.json").write_text(json.dumps({"source": source, "versions": versions, "sigmoid": sigmoid}))


def smp_pretrained(folder):
    import segmentation_models_pytorch as smp

    for name, model in {
        "unet": smp.Unet("resnet18", encoder_weights=None, classes=CLASSES, decoder_channels=(32, 16, 8, 8, 8)),
        "segformer": smp.Segformer("mit_b0", encoder_weights=None, classes=CLASSES),
        "sigmoid": smp.FPN("tu-test_resnet", encoder_weights=None, classes=1),
    }.items():
        place = folder.with_name(f"{folder.name}_{name}")
        place.mkdir()
        with_some_statistics(model).save_pretrained(place / "saved")
        note(place, "saved", model, "segmentation-models-pytorch", sigmoid=name == "sigmoid")


def torchgeo_task(folder):
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader
    from torchgeo.trainers import SemanticSegmentationTask

    samples = [{"image": torch.rand(BANDS, SIDE, SIDE), "mask": torch.randint(CLASSES, (SIDE, SIDE))}] * 4
    for name, settings in {
        "unet": {"model": "unet", "backbone": "resnet18", "loss": "ce", "class_weights": torch.ones(CLASSES)},
        "deeplab": {"model": "deeplabv3+", "backbone": "resnet18", "loss": "focal"},
        "fcn": {"model": "fcn", "num_filters": 8, "loss": "ce"},
    }.items():
        place = folder.with_name(f"{folder.name}_{name}")
        place.mkdir()
        task = SemanticSegmentationTask(in_channels=BANDS, task="multiclass", num_classes=CLASSES, **settings)
        trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False,
                          default_root_dir=place, num_sanity_val_steps=0)  # fmt: skip
        loader = DataLoader(samples, batch_size=2)
        trainer.fit(task, loader, loader)
        trainer.save_checkpoint(place / "last.ckpt")
        note(place, "last.ckpt", task.eval(), "torchgeo", "segmentation-models-pytorch", "lightning")


def terratorch_task(folder):
    from lightning.pytorch import Trainer
    from terratorch.tasks import SemanticSegmentationTask
    from torch.utils.data import DataLoader

    folder.mkdir()
    arguments = {"backbone": "resnet18", "model": "Unet", "bands": ["RED", "GREEN", "BLUE"], "num_classes": CLASSES,
                 "pretrained": False, "smp_decoder_channels": [32, 16, 8, 8, 8]}  # fmt: skip
    task = SemanticSegmentationTask(model_args=arguments, model_factory="SMPModelFactory", loss="ce", ignore_index=-1,
                                    class_names=["sea", "wood", "field", "town"])  # fmt: skip
    samples = [{"image": torch.rand(BANDS, SIDE, SIDE), "mask": torch.randint(CLASSES, (SIDE, SIDE))}] * 4
    trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False,
                      default_root_dir=folder, num_sanity_val_steps=0)  # fmt: skip
    loader = DataLoader(samples, batch_size=2)
    trainer.fit(task, loader, loader)
    trainer.save_checkpoint(folder / "last.ckpt")
    note(folder, "last.ckpt", task.model.eval(), "terratorch", "segmentation-models-pytorch", "lightning")


def geoai_training(folder):
    import rasterio
    import segmentation_models_pytorch as smp
    from geoai.train import train_segmentation_model

    folder.mkdir()
    generator = np.random.default_rng(0)
    for kind, count, top in (("images", BANDS, 256), ("labels", 1, CLASSES)):
        (folder / kind).mkdir()
        for i in range(10):
            values = generator.integers(0, top, (count, SIDE, SIDE), dtype=np.uint8)
            profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": count, "dtype": "uint8"}
            with rasterio.open(folder / kind / f"{i}.tif", "w", **profile) as raster:
                raster.write(values)
    train_segmentation_model(
        str(folder / "images"), str(folder / "labels"), str(folder / "run"), architecture="unet",
        encoder_name="resnet18", encoder_weights=None, num_channels=BANDS, num_classes=CLASSES, batch_size=2,
        num_epochs=10, save_best_only=False, num_workers=0, device=torch.device("cpu"),
    )  # fmt: skip
    source = "run/checkpoint_epoch_10.pth"
    model = smp.create_model("unet", "resnet18", encoder_weights=None, in_channels=BANDS, classes=CLASSES)
    model.load_state_dict(torch.load(folder / source, weights_only=True)["model_state_dict"])
    note(folder, source, model.eval(), "geoai-py", "segmentation-models-pytorch")


def torchvision_in_a_bundle(folder):
    """Raster Vision's network; the archive is written here, in its layout."""
    import io
    import zipfile

    from torchvision.models.segmentation import deeplabv3_resnet50

    folder.mkdir()
    model = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=False)
    with_some_statistics(model)
    state, inner = io.BytesIO(), io.BytesIO()
    torch.save(model.state_dict(), state)
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("model.pth", state.getvalue())
        archive.writestr("learner-config.json", "{}")
    with zipfile.ZipFile(folder / "model-bundle.zip", "w") as archive:
        archive.writestr("model-bundle.zip", inner.getvalue())
        archive.writestr("pipeline-config.json", json.dumps({"plugin_versions": {}}))
    note(folder, "model-bundle.zip", lambda image: model(image)["out"], "torchvision")


FLAIR_HUB = {
    "unet": ("convnext_atto", "unet", 64),
    "upernet": ("convnext_atto", "upernet", 64),
    "swin": ("swin_tiny_patch4_window7_224", "upernet", 512),
    "deeplab": ("resnet18", "deeplabv3", 64),
}
"""Encoder, decoder, and side of the images, by fixture."""


def flair_hub_model(folder):
    """FLAIR-HUB's own network, its checkpoint as Lightning names the weights."""
    from functools import partial

    import segmentation_models_pytorch as smp
    from flair_hub.models.flair_model import FLAIR_HUB_Model

    smp.create_model = partial(smp.create_model, encoder_weights=None)  # it would download those of ImageNet
    mono, multi = "AERIAL_RGBI", ("SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS")
    others = dict.fromkeys(("AERIAL-RLT_PAN", "DEM_ELEV", "SPOT_RGBI", *multi), False)
    for name, (encoder, decoder, side) in FLAIR_HUB.items():
        place = folder.with_name(f"{folder.name}_{name}")
        (place / "model").mkdir(parents=True)
        series = {"encoder_widths": [64, 64, 64, 128], "decoder_widths": [32, 32, 64, 128], "out_conv": [32, 19]}
        config = {
            "models": {"monotemp_model": {"arch": f"{encoder}-{decoder}"}, "multitemp_model": series},
            "modalities": {"inputs": {mono: True, **others}, "inputs_channels": {mono: [4, 1, 2]}, "aux_loss": {}},
            "labels": ["TASK"],
            "labels_configs": {"TASK": {"value_name": ["sea", "wood", "field", "town"]}},
        }
        model = with_some_statistics(FLAIR_HUB_Model(config, {mono: side}))
        weights = {f"model.{key}": tensor for key, tensor in model.state_dict().items()}
        save_file(weights, place / "model" / "model.safetensors")
        (place / "model" / "README.md").write_text(f"- **Encoder:** {encoder}\n- **Decoder:** {decoder}\n")

        def classify(image, model=model):
            return model({mono: image, "TASK": image[:, 0]})[0]["TASK"]

        note(place, "model", classify, "segmentation-models-pytorch", "timm", side=side)


if __name__ == "__main__":
    torch.manual_seed(0)
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[2:]
    for make in (
        smp_pretrained,
        torchgeo_task,
        terratorch_task,
        geoai_training,
        torchvision_in_a_bundle,
        flair_hub_model,
    ):
        if wanted and make.__name__ not in wanted:
            continue
        try:
            make(target / make.__name__)
        except ModuleNotFoundError as error:
            print(f"{make.__name__}: left out, {error}")
