"""geoseg predict SCENE..."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.early_checks import check_many_scenes, check_one_scene
from geoseg.cli.options import (
    Command,
    asset_option,
    config_option,
    given,
    json_option,
    overwrite_option,
    quiet_option,
    scene_model_option,
)
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import Notices, area, notice, show, show_json, size, table, terminal_reporter
from geoseg.cli.value_types import FilePath, KnownText
from geoseg.core.errors import GeosegError
from geoseg.core.events import SILENT
from geoseg.core.wording import number_of
from geoseg.spec import PredictSpec

if TYPE_CHECKING:
    from geoseg.commands.plan import PredictPlan
    from geoseg.commands.predict import PredictResult
    from geoseg.commands.scene_tasks import SceneFailure
    from geoseg.scenes import SceneRef


_SCHEDULER = "Work on a Dask cluster, by its address; local:N starts N processes here."
_RESUME = "Skip scenes that are done, and go on where a run with the same settings was stopped."


def _schedulers() -> list[str]:
    """How the values of --scheduler begin."""
    from geoseg.core.executors.registry import EXECUTORS

    return ["local:", *(f"{name}:" for name in EXECUTORS)]


@click.command(cls=Command)
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...", type=FilePath())
@scene_model_option
@click.option(
    "-o", "--output", type=FilePath(), help="Folder for the results, or the class raster's path (.tif) for one scene."
)
@spec_options(PredictSpec)
@click.option("--scheduler", type=KnownText(_schedulers), metavar="ADDRESS|local:N", help=_SCHEDULER)
@config_option
@asset_option
@click.option("--dry-run", is_flag=True, help="Say what would be done: windows, forwarded pixels, memory, sizes.")
@click.option("--resume", is_flag=True, help=_RESUME)
@overwrite_option
@json_option
@quiet_option
def predict(
    scenes: tuple[str, ...],
    output: str | None,
    asset: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Classify scenes into land cover: a class raster, polygons, and a preview of each.

    A SCENE is anything GDAL opens: a path, a VRT, /vsi..., a URL; or a file for each band, RED.tif+GREEN.tif+BLUE.tif;
    or a product of Sentinel-2 or Landsat. It also stands for many: a folder, a quoted pattern
    like 'in/**/*.tif', a .txt file with a path or URL on each line, or STAC Items (.json, .geojson, the URL of a
    search). Scenes that fail are listed at the end and do not stop the rest.
    """
    from geoseg.scenes import find_scenes

    hush = quiet or as_json
    found = find_scenes(scenes, asset=asset, reporter=SILENT if hush else Notices())
    is_one = len(scenes) == len(found) == 1 and found[0].path == scenes[0]
    run = _predict_one if is_one else _predict_many
    run(found, output, dry_run=dry_run, as_json=as_json, hush=hush, **given(options))


def _predict_one(
    found: Sequence[SceneRef], output: str | None, *, dry_run: bool, as_json: bool, hush: bool, **settings: Any
) -> None:
    check_one_scene(found[0], output, settings)
    from geoseg.commands.plan import plan_prediction
    from geoseg.commands.predict import predict as run

    report: PredictResult | PredictPlan
    if dry_run:
        settings.pop("scheduler", None)
        report = plan_prediction(found[0], output, **settings)
    else:
        with terminal_reporter(hush) as reporter:
            report = run(found[0], output, reporter=reporter, **settings)
    if as_json:
        show_json(_as_json(report))
    elif not hush:
        _print(report)


def _predict_many(
    found: Sequence[SceneRef], output: str | None, *, dry_run: bool, as_json: bool, hush: bool, **settings: Any
) -> None:
    check_many_scenes(found, output, settings)
    from geoseg.commands.predict_many import batch_of, plan_each, predict_each
    from geoseg.commands.scene_tasks import SceneFailure

    each = plan_each if dry_run else predict_each
    total, failures, reports = _Total(), [], []
    with terminal_reporter(hush) as reporter:
        for outcome in each(batch_of(found, output, **settings), reporter):
            if isinstance(outcome, SceneFailure):
                failures.append(outcome)
            else:
                total.add(outcome)
            if as_json:
                reports.append(_as_json(outcome))
            elif not hush:
                _print(outcome)
    if as_json:
        show_json(reports)
    elif not hush and total.scenes:
        show(total.line(dry_run))
    _refuse_failures(failures, len(found))


def _refuse_failures(failures: Sequence[SceneFailure], scenes: int) -> None:
    """List what failed, and exit with 1."""
    for failure in failures:
        notice(f"  {_reason(failure)}")
    if failures:
        raise GeosegError(f"{len(failures):,} of {scenes:,} scenes failed, as listed above")


def _print(report: PredictResult | PredictPlan | SceneFailure) -> None:
    from geoseg.commands.plan import PredictPlan
    from geoseg.commands.scene_tasks import SceneFailure

    if isinstance(report, SceneFailure):
        notice(f"error: {_reason(report)}")
    else:
        show(_outlook(report) if isinstance(report, PredictPlan) else _summary(report))


def _reason(failure: SceneFailure) -> str:
    return failure.error if failure.scene in failure.error else f"{failure.scene}: {failure.error}"


@dataclass
class _Total:
    """Sums and maxima over many scenes."""

    scenes: int = 0
    scene_px: int = 0
    forwarded_px: int = 0
    memory_bytes: int = 0
    scratch_bytes: int = 0
    output_bytes: int = 0

    def add(self, report: PredictResult | PredictPlan) -> None:
        """Add a scene."""
        self.scenes += 1
        self.scene_px += report.scene_px
        self.forwarded_px += report.forwarded_px
        self.memory_bytes = max(self.memory_bytes, getattr(report, "memory_bytes", 0))
        self.scratch_bytes = max(self.scratch_bytes, getattr(report, "scratch_bytes", 0))
        self.output_bytes += sum(getattr(report, "output_bytes", {}).values())

    def line(self, is_plan: bool) -> str:
        """The sums as text, on a line or two."""
        text = (
            f"{number_of(self.scenes, 'scene')}: {self.scene_px / 1e6:,.1f} Mpx, "
            f"{self.forwarded_px / 1e6:,.1f} Mpx through the network"
        )
        if not is_plan:
            return text
        return (
            f"{text}\n  one after the other in about {size(self.memory_bytes)} of memory, up to "
            f"{size(self.scratch_bytes)} of disk while at work; results of {size(self.output_bytes)} before compression"
        )


def _summary(result: PredictResult) -> str:
    rows = [
        (c.name, f"{c.share:.1%}", area(c.area_m2) if c.area_m2 is not None else f"{c.pixels:,} px")
        for c in result.classes
    ]
    seconds = result.seconds["total"]
    ratio = result.forwarded_px / result.scene_px
    engine = " by ONNX Runtime" if result.settings["engine"] == "onnx" else ""
    if result.engine_share is not None:
        engine += f" (ONNX Runtime takes {result.engine_share:.2f} of PyTorch's time here, as measured)"
    work = (
        f"{result.scene_px / 1e6:,.1f} Mpx in {seconds:,.1f} s with {result.model} on {result.device} in "
        f"{result.precision}{engine}; forwarded {ratio:.2f} x the scene's pixels"
    )
    files = "\n".join(f"  {path}  ({size(path.stat().st_size)})" for path in result.paths.values())
    polygons = "" if result.polygons is None else f", {number_of(result.polygons, 'polygon')}"
    if result.instances is not None:
        polygons += f", {number_of(result.instances, 'instance')}"
    nodata = 1 - result.valid_px / result.scene_px
    sure = "" if result.confidence is None else f"; mean confidence {result.confidence:.0%}"
    return f"{result.scene}\n{table(rows)}\n{work}{polygons}; {nodata:.1%} without data{sure}\n{files}"


def _outlook(plan: PredictPlan) -> str:
    lines = [
        f"{plan.scene}: {plan.scene_px / 1e6:,.1f} Mpx",
        f"  {number_of(plan.windows, 'window')} of {plan.window[0]} x {plan.window[1]} px, "
        f"{plan.forwarded_px / 1e6:,.1f} Mpx through the network "
        f"({plan.forwarded_px / plan.scene_px:.2f} x the scene's), less where the scene has no data",
        f"  about {size(plan.memory_bytes)} of memory, up to {size(plan.scratch_bytes)} of disk while at work",
        f"  {plan.settings['device']} in {plan.settings['precision']}, batches of {plan.settings['batch_size']}",
    ]
    lines += [f"  {path}: {size(count)} before compression" for path, count in plan.output_bytes.items()]
    return "\n".join(lines + [f"  {line}" for line in plan.notices])


def _as_json(report: PredictResult | PredictPlan | SceneFailure) -> dict[str, Any]:
    from dataclasses import asdict

    values: dict[str, Any] = json.loads(json.dumps(asdict(report), default=str))
    return values
