"""What the borders of windows leave in a class raster, with the padding that predict uses and with the zeros that
networks were trained with.

    python benchmarks/seams.py constant               classes of scenes of one colour, of several sizes
    python benchmarks/seams.py agreement SCENE...      pixels that agree with one forward pass over the whole scene, and
                                                      changes of class in seams and elsewhere; --part ROW COL HEIGHT
                                                      WIDTH takes a part of each scene, --pasted VALUE pastes a square
                                                      of that value in its middle
    python benchmarks/seams.py cost                   forward passes with either padding, in turn
    python benchmarks/seams.py networks [NAME...]     how uniform the logits of a uniform window are, by network

All in fp32 unless `--precision` says otherwise; `--pictures DIR` keeps class rasters as PNG.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin
from rasterio.windows import Window as RasterioWindow
from torch import nn

import geoseg
from geoseg.inference.sparing_grids import slowing
from geoseg.inference.windows import BORDER, wanted_grids
from geoseg.models.build import build_network
from geoseg.models.padding import EdgeConv2d
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.spec import ClassifySpec

SIZES = (700, 700), (1500, 2600), (2600, 2600), (333, 1555), (1037, 1201)
COLOURS = (0,) * 3, (17,) * 3, (128,) * 3, (200,) * 3, (254,) * 3, (255,) * 3, (30, 90, 200), (255, 0, 128)
PADDINGS = "zeros", "replicated"
NETWORKS = (
    "unet resnet18", "unetplusplus resnet18", "manet resnet18", "linknet resnet18", "fpn resnet18", "pspnet resnet18",
    "deeplabv3 resnet18", "deeplabv3plus resnet18", "pan resnet18", "upernet resnet18", "segformer mit_b0",
    "dpt tu-vit_tiny_patch16_224", "unet efficientnet-b0", "unet timm-efficientnet-b0", "unet mobilenet_v2",
    "unet densenet121", "unet vgg11_bn", "unet se_resnet50", "unet dpn68", "unet xception", "unet inceptionv4",
    "unet resnext50_32x4d", "unet tu-regnetx_002", "unet tu-resnest14d", "unet mobileone_s0", "unet mit_b0",
    "unet tu-convnext_atto", "unet tu-tf_efficientnetv2_b0", "unet tu-mobilenetv4_conv_small", "unet tu-nf_resnet26",
    "unet tu-resnetv2_50x1_bit", "unet tu-hrnet_w18_small", "unet tu-fastvit_t8", "unet tu-pvt_v2_b0",
    "unet tu-poolformer_s12", "unet tu-swin_tiny_patch4_window7_224", "unet tu-maxvit_pico_rw_256",
    "unet tu-mobilevit_xxs", "unet tu-davit_tiny", "unet tu-hiera_tiny_224", "unet tu-tiny_vit_5m_224",
)  # fmt: skip


def padded(model: geoseg.Model, how: str) -> geoseg.Model:
    """The model with one of the paddings; zeros only in plain convolutions, of which the default model consists."""
    module = copy.deepcopy(model.module)
    for layer in module.modules():
        if how == "zeros" and isinstance(layer, EdgeConv2d):
            layer.__class__ = nn.Conv2d
    return replace(model, module=module)


def write_scene(path: Path, image: np.ndarray) -> Path:
    """Write (3, H, W) bytes as a GeoTIFF."""
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=image.shape[1], width=image.shape[2], dtype="uint8",
        photometric="RGB", crs="EPSG:32617", transform=from_origin(3e5, 4.3e6, 0.6, 0.6), tiled=True,
    ) as dataset:  # fmt: skip
        dataset.write(image)
    return path


def classify(model: geoseg.Model, image: np.ndarray, options: argparse.Namespace, folder: Path) -> np.ndarray:
    """The classes (H, W) that predict gives an image (3, H, W)."""
    scene = write_scene(folder / "scene.tif", image)
    result = geoseg.predict(
        scene, folder, model=model, overwrite=True, precision=options.precision, tile=options.tile,
        polygons=False, preview=False, stac=False,
    )  # fmt: skip
    with rasterio.open(result.paths["landcover"]) as dataset:
        return dataset.read(1)


def whole_pass(model: geoseg.Model, image: np.ndarray, precision: str) -> np.ndarray:
    """The classes (H, W) that one forward pass over the mirrored image gives."""
    height, width = image.shape[1:]
    multiple = model.spec.network.multiple
    rows, cols = (-(-(n + 2 * BORDER) // multiple) * multiple - n - BORDER for n in (height, width))
    mirrored = np.pad(image, ((0, 0), (BORDER, rows), (BORDER, cols)), mode="reflect")
    logits = Runner(model.module, "cpu", precision)(mirrored[None])
    indexes = logits[0, :, BORDER : BORDER + height, BORDER : BORDER + width].argmax(dim=0).numpy()
    return np.array([c.id for c in model.spec.classes], np.uint8)[indexes]


def changes(classes: np.ndarray, model: geoseg.Model, tile: int | None) -> tuple[float, float]:
    """Share of neighbours of different classes, in the seams between windows and elsewhere."""
    spec = ClassifySpec(tile=tile)
    grid = wanted_grids((classes.shape[0], classes.shape[1]), model.spec, spec, slower=slowing("cpu"))[0]
    in_seams, elsewhere = [], []
    for axis, side in ((0, grid.rows), (1, grid.cols)):
        differ = np.diff(classes.astype(int), axis=axis) != 0
        near = np.zeros(differ.shape[axis], bool)
        for seam in side.seams:
            near[max(0, seam - grid.border) : seam + side.ramp - grid.border] = True
        in_seams.append(differ.compress(near, axis=axis).ravel())
        elsewhere.append(differ.compress(~near, axis=axis).ravel())
    return float(np.concatenate(in_seams).mean()), float(np.concatenate(elsewhere).mean())


def keep_picture(classes: np.ndarray, model: geoseg.Model, name: str, options: argparse.Namespace) -> None:
    """Write a class raster as a PNG in the classes' colours."""
    if options.pictures is None:
        return
    options.pictures.mkdir(parents=True, exist_ok=True)
    colours = np.zeros((256, 3), np.uint8)
    for one in model.spec.classes:
        colours[one.id] = list(bytes.fromhex(one.color.lstrip("#")))
    Image.fromarray(colours[classes]).save(options.pictures / f"{name}.png")


def run_constant(options: argparse.Namespace, folder: Path) -> None:
    """Scenes of one colour: all colours at the first size, white at all others."""
    model = geoseg.load_model(options.model)
    for how in PADDINGS:
        one = padded(model, how)
        for size, colour in [(SIZES[0], colour) for colour in COLOURS] + [(size, (255,) * 3) for size in SIZES[1:]]:
            image = np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, *size))
            classes = classify(one, image, options, folder)
            keep_picture(classes, one, f"{how}-{size[0]}x{size[1]}-{colour[0]}-{colour[1]}-{colour[2]}", options)
            ids, counts = np.unique(classes, return_counts=True)
            told = ", ".join(f"{i}: {n / classes.size:.3%}" for i, n in zip(ids, counts, strict=True))
            print(f"{how:10s} {size[0]} x {size[1]} of {colour}: {told}", flush=True)


def run_agreement(options: argparse.Namespace, folder: Path) -> None:
    """Real scenes in windows and in one pass."""
    model = geoseg.load_model(options.model)
    for path in options.names:
        with rasterio.open(path) as dataset:
            row, col, height, width = options.part or (0, 0, *dataset.shape)
            image = dataset.read([1, 2, 3], window=RasterioWindow(col, row, width, height))
        if options.pasted is not None:
            height, width = image.shape[1:]
            image[:, height // 4 : -height // 4, width // 4 : -width // 4] = options.pasted
        for how in PADDINGS:
            one = padded(model, how)
            found, wanted = (
                classify(one, image, options, folder),
                whole_pass(one, image, options.precision),
            )
            keep_picture(found, one, f"{Path(path).stem}-{how}", options)
            keep_picture(wanted, one, f"{Path(path).stem}-{how}-whole", options)
            in_seams, elsewhere = changes(found, model, options.tile)
            seams_whole, elsewhere_whole = changes(wanted, model, options.tile)
            print(
                f"{Path(path).name} {image.shape[1]} x {image.shape[2]} {how}: {(found != wanted).mean():.4%} differ "
                f"from one pass; classes change at {in_seams:.3%} in seams and {elsewhere:.3%} elsewhere, in one pass "
                f"at {seams_whole:.3%} and {elsewhere_whole:.3%}",
                flush=True,
            )


def run_cost(options: argparse.Namespace, folder: Path) -> None:
    """Forward passes with both paddings, in turn; processor time of one thread, which other programs disturb least."""
    model = geoseg.load_model(options.model)
    for precision in ("fp32", "bf16"):
        runners = {how: Runner(padded(model, how).module, "cpu", precision, RunnerOptions(bands=3)) for how in PADDINGS}
        for side in options.sides:
            image = np.random.default_rng(0).integers(0, 256, (1, 3, side, side), dtype=np.uint8)
            spent: dict[str, list[float]] = {how: [] for how in PADDINGS}
            for turn in range(options.turns + 1):
                for how, runner in runners.items():
                    started = time.process_time()
                    runner(image)
                    spent[how] += [time.process_time() - started] if turn else []
            zeros, ours = (statistics.median(spent[how]) for how in PADDINGS)
            least = min(spent["replicated"]) / min(spent["zeros"])
            print(f"{precision} {side}²: {zeros:.3f} s with zeros, {ours / zeros:.3f} x replicated ({least:.3f} by the "
                  "fastest of each)", flush=True)  # fmt: skip


def run_networks(options: argparse.Namespace, folder: Path) -> None:
    """Networks with random weights and a window of one colour."""
    del folder
    warnings.filterwarnings("ignore")
    base = geoseg.load_model(None).spec
    for name in options.names or NETWORKS:
        architecture, encoder = name.split()
        arguments = {"dynamic_img_size": True} if architecture == "dpt" else {}
        network = geoseg.NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments)
        torch.manual_seed(0)
        try:
            spec = base.model_copy(update={"network": network})
            model = geoseg.Model(spec, build_network(spec).eval())
            print(f"{name}: {_unevenness(padded(model, 'replicated')):.1e} of the largest logit", flush=True)
        except (geoseg.GeosegError, RuntimeError) as error:
            print(f"{name}: {str(error).splitlines()[0]}", flush=True)


def _unevenness(model: geoseg.Model) -> float:
    """By how much logits differ from those a whole number of the coarsest pixels further, in the middle."""
    for side in (256, 224):
        try:
            with torch.inference_mode():
                logits = model.module(torch.tensor([40.0, 90.0, 200.0]).view(1, 3, 1, 1).expand(1, 3, side, side))
            break
        except (RuntimeError, AssertionError):
            if side == 224:
                raise
    middle = side // 64 * 32
    block = logits[:, :, middle : middle + 32, middle : middle + 32]
    block = block.repeat(1, 1, side // 32, side // 32)
    return float((logits - block).abs().max() / logits.abs().max())


RUNS = {"constant": run_constant, "agreement": run_agreement, "cost": run_cost, "networks": run_networks}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(RUNS))
    parser.add_argument("names", nargs="*", help="scenes for `agreement`, networks for `networks`")
    parser.add_argument("--model", help="bundle; default: the default model")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--tile", type=int, help="side of the windows; default: the model's")
    parser.add_argument("--part", type=int, nargs=4, metavar=("ROW", "COL", "HEIGHT", "WIDTH"))
    parser.add_argument("--pasted", type=int, help="value of a square pasted into the middle of each scene")
    parser.add_argument("--turns", type=int, default=7, help="forward passes with each padding, for `cost`")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024], help="sides of windows, for `cost`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pictures", type=Path, help="folder that gets class rasters as PNG")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        RUNS[options.what](options, Path(folder))


if __name__ == "__main__":
    main()
