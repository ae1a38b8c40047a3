"""A user's training with TorchGeo's own trainer, and its own prediction of a scene: run by torchgeo_model.py.

In: the folder of sample data (`tiles.csv`, `scene.tif`), and a folder to write to. Out, in that folder: `last.ckpt`, as
Lightning writes it; `logits.npy` (K, H, W), float32, of one forward pass over the whole scene; `versions.json`. Runs in
an environment with TorchGeo, and knows nothing of geoseg.

    python torchgeo_training.py sample_data FOLDER --model unet --backbone resnet18 --steps 60
"""

import argparse
import csv
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import rasterio
import torch
from lightning.pytorch import Trainer, seed_everything
from torchgeo.datamodules import NonGeoDataModule
from torchgeo.datasets import NonGeoDataset
from torchgeo.trainers import SemanticSegmentationTask

BANDS, CLASSES = 4, 6
PACKAGES = "torch", "torchgeo", "lightning", "segmentation-models-pytorch"


class Tiles(NonGeoDataset):
    """The labelled tiles of a split: images (C, H, W) with their values of 8 bits, and class indices (H, W)."""

    def __init__(self, split, root):
        rows = csv.DictReader((root / "tiles.csv").open())
        self.paths = [(root / row["image"], root / row["label"]) for row in rows if row["split"] == split]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        image, label = self.paths[index]
        return {"image": read(image), "mask": read(label)[0].long()}


def read(path):
    """All bands of a raster, float32."""
    with rasterio.open(path) as raster:
        return torch.from_numpy(raster.read().astype(np.float32))


def train(arguments):
    """Train and save as TorchGeo's documentation has it; its data modules divide by 255 where nothing else is said."""
    seed_everything(0)
    task = SemanticSegmentationTask(
        model=arguments.model, backbone=arguments.backbone, in_channels=BANDS, num_classes=CLASSES, loss="ce", lr=1e-3
    )
    tiles = NonGeoDataModule(Tiles, batch_size=4, root=arguments.data)
    trainer = Trainer(
        accelerator="cpu", max_steps=arguments.steps, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=arguments.folder,
    )  # fmt: skip
    trainer.fit(task, tiles)
    trainer.save_checkpoint(arguments.folder / "last.ckpt")
    return tiles.aug


def predict(arguments, normalise):
    """Load the checkpoint as TorchGeo does, and forward the whole scene at once."""
    task = SemanticSegmentationTask.load_from_checkpoint(arguments.folder / "last.ckpt", map_location="cpu").eval()
    image = read(arguments.data / "scene.tif").unsqueeze(0)
    with torch.inference_mode():
        logits = task(normalise({"image": image})["image"])
    np.save(arguments.folder / "logits.npy", logits[0].numpy())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="unet")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    predict(given, train(given))
    (given.folder / "versions.json").write_text(json.dumps({name: version(name) for name in PACKAGES}))
