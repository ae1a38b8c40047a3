"""Writes docs/networks.md: every network that geoseg builds; and, with --count, their numbers of weights.

python docs/make_networks_reference.py --count     builds each of them, without memory for its weights
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geoseg.commands.models import list_networks
from geoseg.models.families import FAMILIES
from geoseg.models.families import parameter_counts as counted
from geoseg.models.families.building import build_body
from geoseg.models.meta_network import meta_device

HEAD = """# Networks

Made by `python docs/make_networks_reference.py` from the code. `geoseg models` lists the same, with the networks of
other packages that are installed; `geoseg models NAME` shows one with its settings, and `geoseg models NAME --check`
says whether the pretrained weights of its encoder can be had.

A config names a network and, for most of them, an encoder:

```yaml title="Not run by the tests: part of a config"
network:
  architecture: upernet
  encoder: tu-convnext_tiny
encoder_weights: imagenet
```

All take any number of bands, and windows of any height and width: for a network that needs multiples of its stride,
windows are padded by what lies at their edges, and its logits are cropped. An encoder is named as
segmentation-models-pytorch does (`resnet34`, `vgg16_bn`, `efficientnet-b3`, `mit_b2`), or as timm does with `tu-`
before it (`tu-convnext_tiny`, `tu-swin_tiny_patch4_window7_224`, `tu-pvt_v2_b2`, `tu-hrnet_w18`). One that does not go
with a network is refused when the config is read, with the reason and the nearest that does. Swin and vision
transformers take windows of any size by themselves; `feature_location: ""` among `network.arguments` takes the branches
of an HRNet as they are.

`network.multiple`, 32 by default, is the stride at which windows are laid over a scene when a model predicts: best that
of the network, which `geoseg models NAME` shows.

"""
COUNTS = Path(__file__).parents[1] / "geoseg" / "models" / "families" / "parameter_counts.py"


def reference() -> str:
    """The whole page."""
    return HEAD + "\n".join(_page([one for one in list_networks() if one["name"] in FAMILIES.own])) + "\n"


def _page(networks: list[dict[str, Any]]) -> Iterator[str]:
    yield f"Weights are those with the encoder that is named, {counted.BANDS} bands and {counted.CLASSES} classes."
    yield ""
    yield "| name | network | weights | with encoder | code | licence |"
    yield "|---|---|---|---|---|---|"
    for one in networks:
        weights = "" if one["parameters"] is None else f"{one['parameters']:,}"
        encoder = f"`{one['usual_encoder']}`" if one["usual_encoder"] else "its own"
        yield (
            f"| `{one['name']}` | {one['title']} ({one['year']}) | {weights} | {encoder} | {one['source']} "
            f"| {one['licence']} |"
        )
    for one in networks:
        yield ""
        yield f"## {one['title']}"
        yield ""
        context = "" if one["takes_context"] else " It cannot carry a context."
        limits = f" {one['limits']}" if one["limits"] else ""
        yield f"`{one['name']}`: {one['paper']}. Encoders: {one['encoders']}.{limits}{context}"


def count() -> dict[str, int]:
    """Weights of each of geoseg's own networks at its usual size, with its encoder's."""
    found = {}
    for name in FAMILIES.own:
        with meta_device():
            body = build_body(FAMILIES.get(name).usual(name), counted.BANDS, counted.CLASSES)
        found[name] = sum(weights.numel() for weights in body.parameters())
    return found


def _write_counts(counts: dict[str, int]) -> None:
    head, _, rest = COUNTS.read_text(encoding="utf-8").partition("PARAMETERS: Mapping[str, int] = {\n")
    lines = "".join(f'    "{name}": {number:_},\n' for name, number in counts.items())
    COUNTS.write_text(f"{head}PARAMETERS: Mapping[str, int] = {{\n{lines}{rest[rest.index('}') :]}", encoding="utf-8")
    counted.PARAMETERS = counts


if __name__ == "__main__":
    if "--count" in sys.argv:
        _write_counts(count())
    Path(__file__).with_name("networks.md").write_text(reference(), encoding="utf-8")
