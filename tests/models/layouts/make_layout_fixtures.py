"""Writes small models by the libraries themselves, for test_layout_fixtures.py.

    python -m venv VENV && VENV/bin/pip install torchgeo==0.8.1 terratorch==1.2.11 geoai-py==0.40.1
    VENV/bin/python tests/models/layouts/make_layout_fixtures.py FOLDER
    GEOSEG_LAYOUT_FIXTURES=FOLDER pytest tests/models/layouts

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


def note(folder, source, model, *packages, sigmoid=False):
    """Write image, logits and versions."""
    image = torch.rand(1, BANDS, SIDE, SIDE)
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


if __name__ == "__main__":
    torch.manual_seed(0)
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[2:]
    for make in (smp_pretrained, torchgeo_task, terratorch_task, geoai_training):
        if wanted and make.__name__ not in wanted:
            continue
        try:
            make(target / make.__name__)
        except ModuleNotFoundError as error:
            print(f"{make.__name__}: left out, {error}")
