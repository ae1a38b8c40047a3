"""Programs of torch.export: normalisation inside, MLM's description beside. Of one size, for any number of images.

PyTorch's tracer needs minutes for the arithmetic of free sides, and gives up at many networks.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from geoseg.core.errors import ModelError, shown
from geoseg.core.files import one_line
from geoseg.models.model import Model
from geoseg.models.other_runtime import count_weights
from geoseg.models.padding import natively_padded
from geoseg.models.segmentation import Normalize
from geoseg.outputs.exports import Exported, ExportOptions
from geoseg.outputs.exports.local import body_of, branch_notice
from geoseg.outputs.exports.stac import MLM, rights, sized
from geoseg.outputs.stac.model import model_fields

EXTRA = "mlm-metadata"
"""Name of the file with the description, as MLM has it."""
_MOST_REASON = 300


class LocalGraph(nn.Module):
    """Band values (B, C, H, W) -> logits (B, K, H, W)."""

    def __init__(self, normalize: Normalize, body: nn.Module):
        super().__init__()
        self.normalize, self.body = normalize, body

    def forward(self, image: Tensor) -> Tensor:
        """Classify band values (B, C, H, W)."""
        logits: Tensor = self.body(self.normalize(image))
        return logits


class Pt2:
    """Writes .pt2."""

    title = "program of torch.export"
    options = frozenset({"size"})

    def make(self, model: Model, path: Path, options: ExportOptions) -> Exported:
        """The program, of a fixed size: that of the options, else the model's windows.

        Raises:
            ModelError: if PyTorch cannot trace the network.
        """
        spec, side = model.spec.without_branch(), options.size or model.spec.tile
        graph = LocalGraph(Normalize(spec.normalization), natively_padded(body_of(model))).eval()
        image = torch.zeros(2, len(spec.bands), side, side)
        out, said = io.BytesIO(), yaml.safe_dump(_description(model, side), sort_keys=False, allow_unicode=True)
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                batch = {"image": {0: torch.export.Dim("batch")}}
                program = torch.export.export(graph, (image,), dynamic_shapes=batch, strict=False)
                torch.export.save(program, out, extra_files={EXTRA: said})
        except Exception as error:  # the tracer raises whatever an operator leads to
            reason = shown(one_line(error), _MOST_REASON, quoted=False)
            raise ModelError(f"torch.export cannot trace this network: {reason}: export to .onnx instead") from None
        notice = f"the program takes images of {side} x {side} pixels, in any number"
        return Exported({path.name: out.getvalue()}, (*branch_notice(model), notice))


def _description(model: Model, side: int) -> dict[str, Any]:
    """The fields of MLM without their prefix."""
    spec = model.spec.without_branch()
    fields = {name.removeprefix("mlm:"): value for name, value in sized(model_fields(spec), side).items()}
    counted = {"artifact_type": "torch.export.save", "total_parameters": count_weights(body_of(model))}
    return {"$schema": MLM, "properties": fields | counted | rights(spec)}


EXPORT = Pt2()
