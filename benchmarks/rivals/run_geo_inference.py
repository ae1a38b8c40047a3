"""geo-inference: half-overlapping patches through TorchScript, as a graph of dask."""

from pathlib import Path

import torch
from case import Case, Counted, Divided, load
from geo_inference.geo_inference import GeoInference

PACKAGE = "geo-inference"


def prepare(case: Case) -> None:
    """Trace the network."""
    example = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    torch.jit.save(torch.jit.trace(Divided(load(case)), example), case.model_file("torchscript.pt"))


def predict(case: Case) -> Path:
    """Classify, without vectors."""
    inference = GeoInference(
        model=str(case.model_file("torchscript.pt")), work_dir=case.output, mask_to_vec=False, device="cpu",
        num_classes=case.classes,
    )  # fmt: skip
    inference.model = Counted(inference.model)
    name = inference(case.scene, bands_requested=["1", "2", "3"], patch_size=case.tile, workers=1)
    return next(Path(case.output).rglob(f"{name}*"))
