"""geoseg predict SCENE..."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import (
    Numbers,
    ResolutionType,
    config_option,
    given,
    json_option,
    overwrite_option,
    quiet_option,
    vector_options,
)
from geoseg.cli.terminal import area, notice, progress_bar, silent, size, table
from geoseg.errors import GeosegError, OutputError

if TYPE_CHECKING:
    from geoseg.models import Model
    from geoseg.pipelines.plan import PredictPlan
    from geoseg.pipelines.predict import PredictResult


@click.command()
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@click.option(
    "-m", "--model", type=click.Path(), help="Model bundle (.safetensors); default: the model that comes with geoseg."
)
@click.option(
    "-o", "--output", type=click.Path(), help="Folder for the results, or the class raster's path (.tif) for one scene."
)
@click.option("--tile", type=int, help="Largest side of a window in pixels; default: the model's.")
@click.option("--overlap", type=int, help="Pixels shared by neighbouring windows; default: the model's.")
@click.option("--batch-size", type=int, help="Windows forwarded at once; default: fitted to the device.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps; default: auto.")
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), help="Arithmetic of the network; default: auto."
)
@click.option(
    "--bands",
    type=Numbers(int),
    help="The scene's bands in the model's order, e.g. 1,2,3; default: found by name or colour.",
)
@click.option("--nodata", type=float, help="Value that marks pixels without data, over what the file says.")
@click.option(
    "--rescale",
    type=Numbers(float, 2),
    metavar="LOW,HIGH",
    help="Scene values stretched onto the model's range, e.g. 0,3000.",
)
@click.option(
    "--resolution",
    type=ResolutionType(),
    help="Pixel size the network sees: native, model, or metres; default: native.",
)
@click.option(
    "--scores",
    type=click.Path(),
    help="Also write per-class probabilities to this GeoTIFF (a folder for several scenes).",
)
@click.option(
    "--scores-type",
    type=click.Choice(["float32", "uint8"]),
    help="Type of these probabilities: 0 to 1 (default), or in percent.",
)
@click.option(
    "--confidence", type=click.Path(), help="Also write the class's probability in percent (uint8) to this GeoTIFF."
)
@click.option("--polygons/--no-polygons", default=None, help="Write polygons (GeoPackage); default: yes.")
@click.option("--preview/--no-preview", default=None, help="Write a preview picture (PNG); default: yes.")
@click.option(
    "--stac/--no-stac", default=None, help="Write a STAC Item (JSON) that describes the result; default: yes."
)
@vector_options
@config_option
@click.option("--dry-run", is_flag=True, help="Say what would be done: windows, forwarded pixels, memory, sizes.")
@overwrite_option
@json_option
@quiet_option
def predict(
    scenes: tuple[str, ...],
    model: str | None,
    output: str | None,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Classify scenes into land cover: a class raster, polygons, and a preview of each.

    A SCENE is anything GDAL opens: a path, a VRT, /vsi..., a URL.
    """
    from geoseg.models import load_model
    from geoseg.pipelines.outputs import check_all_outputs

    settings = given(options)
    _check_several(scenes, output, settings)
    run = _plan_one if dry_run else _predict_one
    check_all_outputs(scenes, output, settings, overwrite=overwrite)
    loaded = load_model(model)
    failed = []
    reports: list[dict[str, Any]] = []
    for scene in scenes:
        if len(scenes) > 1 and not (quiet or as_json):
            notice(f"== {scene}")
        try:
            reports.append(run(scene, output, loaded, settings, overwrite=overwrite, quiet=quiet or as_json))
        except GeosegError as error:
            if len(scenes) == 1:
                raise
            failed.append(scene)
            reports.append({"scene": scene, "error": str(error)})
            notice(f"error: {error}")
    if as_json:
        click.echo(json.dumps(reports if len(scenes) > 1 else reports[0], indent=2))
    if failed:
        raise GeosegError(f"{len(failed)} of {len(scenes)} scenes failed: {', '.join(failed)}")


def _check_several(scenes: tuple[str, ...], output: str | None, settings: dict[str, Any]) -> None:
    """Refuse one file name for the results of several scenes."""
    if len(scenes) == 1:
        return
    from geoseg.scene import scene_name

    for flag, path in (("--output", output), *((f"--{name}", settings.get(name)) for name in ("scores", "confidence"))):
        if path and Path(path).suffix.lower() in (".tif", ".tiff"):
            raise OutputError(f"{flag} {path} is one file for {len(scenes)} scenes: give a folder")
    names = [scene_name(scene) for scene in scenes]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OutputError(
            f"two scenes are called {twice}: their results would overwrite each other, predict them one by one"
        )


def _predict_one(
    scene: str, output: str | None, model: Model, settings: dict[str, Any], *, overwrite: bool, quiet: bool
) -> dict[str, Any]:
    from geoseg.pipelines.predict import predict as run

    with progress_bar(quiet) as progress:
        result = run(
            scene,
            output,
            model=model,
            overwrite=overwrite,
            progress=progress,
            notice=silent if quiet else notice,
            **settings,
        )
    if not quiet:
        click.echo(_summary(result))
    return _as_json(result)


def _plan_one(
    scene: str, output: str | None, model: Model, settings: dict[str, Any], *, overwrite: bool, quiet: bool
) -> dict[str, Any]:
    from geoseg.pipelines.plan import plan_prediction

    plan = plan_prediction(scene, output, model=model, overwrite=overwrite, **settings)
    if not quiet:
        click.echo(_outlook(scene, plan))
    return _as_json(plan)


def _summary(result: PredictResult) -> str:
    rows = [
        (c.name, f"{c.share:.1%}", area(c.area_m2) if c.area_m2 is not None else f"{c.pixels:,} px")
        for c in result.classes
    ]
    seconds = result.seconds["total"]
    ratio = result.forwarded_px / result.scene_px
    work = (
        f"{result.scene_px / 1e6:,.1f} Mpx in {seconds:,.1f} s with {result.model} on {result.device} in "
        f"{result.precision}; forwarded {ratio:.2f} x the scene's pixels"
    )
    files = "\n".join(f"  {path}  ({size(path.stat().st_size)})" for path in result.paths.values())
    polygons = "" if result.polygons is None else f", {result.polygons:,} polygon{'s' if result.polygons != 1 else ''}"
    nodata = 1 - result.valid_px / result.scene_px
    return f"{result.scene}\n{table(rows)}\n{work}{polygons}; {nodata:.1%} without data\n{files}"


def _outlook(scene: str, plan: PredictPlan) -> str:
    lines = [
        f"{scene}: {plan.scene_px / 1e6:,.1f} Mpx",
        f"  {plan.windows:,} window{'s' if plan.windows != 1 else ''} of {plan.window[0]} x {plan.window[1]} px, "
        f"{plan.forwarded_px / 1e6:,.1f} Mpx through the network "
        f"({plan.forwarded_px / plan.scene_px:.2f} x the scene's), less where the scene has no data",
        f"  about {size(plan.memory_bytes)} of memory, up to {size(plan.scratch_bytes)} of disk while at work",
        f"  {plan.settings['device']} in {plan.settings['precision']}, batches of {plan.settings['batch_size']}",
    ]
    lines += [f"  {path}: {size(count)} before compression" for path, count in plan.output_bytes.items()]
    return "\n".join(lines + [f"  {line}" for line in plan.notices])


def _as_json(report: PredictResult | PredictPlan) -> dict[str, Any]:
    from dataclasses import asdict

    values: dict[str, Any] = json.loads(json.dumps(asdict(report), default=str))
    return values
