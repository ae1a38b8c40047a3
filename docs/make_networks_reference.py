"""Writes docs/networks.md: every network that geoseg builds; and, with --count, their numbers of weights.

python docs/make_networks_reference.py --count     builds each of them, without memory for its weights

Scores and speeds are those in networks.json beside the page, which `python benchmarks/networks.py page` writes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
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
NOTES = (
    "**No leaderboard.** Every network learnt from the same {seen:.1f} million pixels, from random weights and with "
    "settings that were chosen for none of them: far too little for the accuracy of its paper, and least of all for "
    "transformers, which are meant to start from pretrained weights. Those at 0.097 still answer one class everywhere. "
    "The table says what a network costs. Which one is best for your images, your own validation says, with "
    "`encoder_weights: imagenet` and more windows.",
    "Made by `python benchmarks/networks.py` with `configs/landcover-naip-rgb.yaml` on NAIP Ohio: {windows} windows of "
    "{window} × {window} pixels in {steps} steps of {batch_size}, AdamW with a learning rate of {learning_rate:g} that "
    "falls along a cosine, {precision}; windows, augmentation and schedule are the same for all. mIoU is that after "
    "the last step, on the 32 validation tiles, of which four have corrected masks; of several seeds, it is their "
    "mean, least and most. Training is processor time of one core, without scoring. Speed is that of the fastest "
    "forward pass of a window of {speed_side} × {speed_side} pixels on {speed_threads} cores. Memory is the most that "
    "a process takes which builds the network and classifies that window in fp32, with the libraries that it loads. "
    "Machine: {processor}, torch {torch}. Encoders are small ones of their kind, so that weights differ from those "
    "above; rates of dilation are scaled from the papers' windows of 513 pixels to these. `segformer` and `fpn` have "
    "become faster since ([how much](../benchmarks/README.md#layers-that-compute-the-same-in-less-time)).",
)
PICTURE = "![Accuracy against speed; bars reach from the least to the most of several seeds](pictures/networks.svg)"
COLUMNS = "name", "encoder", "weights", "seeds", "mIoU", "training, s", "fp32, Mpx/s", "bf16, Mpx/s", "memory, MiB"
FIGURES = Path(__file__).with_name("networks.json")
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
    if FIGURES.exists():
        yield from _measured(json.loads(FIGURES.read_text(encoding="utf-8")))
    for one in networks:
        yield ""
        yield f"## {one['title']}"
        yield ""
        context = "" if one["takes_context"] else " It cannot carry a context."
        limits = f" {one['limits']}" if one["limits"] else ""
        yield f"`{one['name']}`: {one['paper']}. Encoders: {one['encoders']}.{limits}{context}"


def _measured(figures: dict[str, Any]) -> Iterator[str]:
    """What was measured of each network, the most accurate one not first: in the order of the table before."""
    about, networks = figures["about"], figures["networks"]
    windows = about["epochs"] * about["windows_per_epoch"]
    steps, seen = windows // about["batch_size"], windows * about["window"] ** 2 / 1e6
    yield "\n## Measured at a small budget"
    for note in NOTES:
        yield "\n" + fill(note.format(windows=windows, steps=steps, seen=seen, **about), 120)
    yield f"\n{PICTURE}\n\n| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"
    for name in filter(networks.__contains__, FAMILIES.own):
        yield _measured_row(name, networks[name])
    for name, reason in about["left_out"].items():
        yield f"\n`{name}` was not measured: {reason}."


def _measured_row(name: str, one: dict[str, Any]) -> str:
    encoder = f"`{one['encoder']}`" if one["encoder"] else "its own"
    spread = f" ({one['miou_least']:.3f} to {one['miou_most']:.3f})" if one["seeds"] > 1 else ""
    return (
        f"| `{name}` | {encoder} | {one['parameters']:,} | {one['seeds']} | {one['miou']:.3f}{spread} "
        f"| {one['training_s']:.0f} | {one['fp32_mpx_s']:.2f} | {one['bf16_mpx_s']:.2f} | {one['memory_mib']:,} |"
    )


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
