"""Integers of 8 bits: what they do to the accuracy of several networks, against bf16 on the same pixels.

    python benchmarks/integers.py FOLDER --ohio .../naip_ohio_6class/split.csv --dubai .../dubai_mbrsc_6class/split.csv

Each network is trained in a few minutes (from random weights, or the default model's where it is of its kind), and
learns its ranges as every training does; then it is compared with itself in bf16 and fp32 on the validation side:
paired differences with intervals, by block or image. FOLDER keeps the models: what is trained is not trained again.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

import geoseg
from geoseg.spec import TrainSpec, load_train_spec, parse_spec

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
REGIONS = {"ohio": "landcover-naip-rgb.yaml", "dubai": "dubai-rgb.yaml"}
SETTINGS = {
    "encoder_weights": None, "window": 192, "epochs": 1, "windows_per_epoch": 900, "batch_size": 8, "ema": 0.98,
    "optimizer": {"learning_rate": 0.002, "encoder_rate": 1.0, "weight_decay": 0.05}, "swa_epochs": 0, "device": "cpu",
    "schedule": {"name": "cosine", "warmup": 0.1}, "precision": "bf16", "tile": 1024, "overlap": 64,
}  # fmt: skip
"""One small budget for all."""
NETWORKS = {
    "U-Net, EfficientNet-Lite2": {"init_from": "default"},
    "U-Net, ResNet-34": {"network": {"architecture": "unet", "encoder": "resnet34", "multiple": 32}},
    "FPN, ResNet-18": {"network": {"architecture": "fpn", "encoder": "resnet18", "multiple": 32}},
}
"""Settings in which they differ. The first one of Ohio is the default model itself."""


def trained(region: str, name: str, tiles: Path, folder: Path) -> str:
    """The bundle of a network on a region, trained if it is not there."""
    if region == "ohio" and name == "U-Net, EfficientNet-Lite2":
        return "default"
    run = folder / f"{region}-{name}".replace(", ", "-").lower()
    found = list(run.glob("*.safetensors"))
    if found:
        return str(found[0])
    config = load_train_spec(CONFIGS / REGIONS[region]).model_dump(mode="json", exclude_unset=True)
    config["data"].pop("corrections", None)  # a file that is not part of the tiles
    own = {**NETWORKS[name]}
    if start := own.pop("init_from", None):
        config["network"] = geoseg.load_model(None).spec.network.model_dump(mode="json")
    click.echo(f"training {name} on {region}")
    spec = parse_spec(TrainSpec, {**config, **SETTINGS, **own}, source=region)
    return str(geoseg.train(spec, run, data=tiles, init_from=start).bundle)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--ohio", required=True, type=click.Path(path_type=Path), help="CSV of the tiles of NAIP Ohio.")
@click.option("--dubai", required=True, type=click.Path(path_type=Path), help="CSV of the tiles of Dubai.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
def main(folder: Path, ohio: Path, dubai: Path, threads: int) -> None:
    """Train what is not trained, and compare."""
    torch.set_num_threads(threads)
    for region, tiles in {"ohio": ohio, "dubai": dubai}.items():
        for name in NETWORKS:
            bundle = trained(region, name, tiles.resolve(), folder)
            known = geoseg.load_model(None if bundle == "default" else bundle).spec.int8
            ways = [f"{bundle}@precision={precision}" for precision in ("bf16", "fp32", "int8")]
            found = geoseg.compare(ways, CONFIGS / REGIONS[region], data=tiles, boundary_px=None, baseline="first")
            said = "no ranges" if known is None else f"{known.miou_float:.4f} -> {known.miou:.4f} when it was trained"
            click.echo(f"{region}, {name} ({said}; {found.units} {found.unit}):")
            for one in found.models:
                change = one.compared.miou_difference
                click.echo(f"  {one.name}: mIoU {one.compared.miou.value:.4f}, {change.value} {change.interval}")


if __name__ == "__main__":
    main()
