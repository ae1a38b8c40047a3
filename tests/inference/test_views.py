"""The contract of views, held by every kind that is registered."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from support.branches import FIELDS, SETTINGS, SMALL, colours
from support.models import make_spec

from geoseg.core.events import SILENT
from geoseg.inference.batches import Batch, tile_row_batches
from geoseg.inference.job import Job, prepare
from geoseg.inference.resume import begin
from geoseg.inference.views import VIEWS
from geoseg.inference.views.view import ViewInputs
from geoseg.inference.work_folder import WorkFolder, locked
from geoseg.models.build import build_network
from geoseg.models.bundle import Model
from geoseg.raster.scene import Scene
from geoseg.spec import NormalizationSpec, PredictSpec, parse_spec

NAMES = list(VIEWS)


def a_model(kind: str) -> Model:
    torch.manual_seed(0)
    spec = make_spec(
        network=SMALL,
        bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(120,) * 3, std=(60,) * 3),
        tile=64,
        overlap=16,
        **FIELDS[kind],
    )
    assert spec.branch.kind == kind
    return Model(spec, build_network(spec).eval())


@pytest.fixture
def opened(tmp_path: Path):
    """What makes a job of a scene, and a work folder; all of it is closed at the end."""
    with ExitStack() as stack:
        scene = stack.enter_context(Scene.open(colours(tmp_path / "s.tif")))
        work = stack.enter_context(locked(tmp_path / "s_landcover.tif"))

        def make(kind: str, **settings) -> tuple[Job, WorkFolder]:
            spec = parse_spec(PredictSpec, SETTINGS | settings, source="test")
            job = prepare(scene, a_model(kind), spec, SILENT)
            begin(work, job.manifest, resume=False, reporter=SILENT)
            return job, work

        yield make


def first_batch(job: Job, size: int = 3) -> Batch:
    return next(tile_row_batches(job.source, job.grid, 1, job.model.spec.normalization.mean, size))


@pytest.mark.parametrize("kind", NAMES)
def test_windows_are_classified_pixel_by_pixel(kind: str, opened) -> None:
    job, work = opened(kind)
    batch, surroundings = first_batch(job), job.view.surroundings(work)
    logits = surroundings.classify(batch)
    assert logits.shape == (len(batch.samples), len(job.model.spec.classes), *batch.image.shape[2:])
    assert logits.isfinite().all()
    for sample in batch.samples:
        assert 0 <= surroundings.forwarded_px(sample) <= sample.part.pixels


@pytest.mark.parametrize("kind", NAMES)
def test_what_one_process_has_made_serves_the_next(kind: str, opened) -> None:
    job, work = opened(kind)
    found = job.view.surroundings(work).classify(first_batch(job))
    made = {path.name: path.stat().st_mtime_ns for path in work.path.iterdir()}
    parts = job.bands, job.source, job.grid, job.model.spec, job.runner, job.spec.classify, job.batch_size
    another = VIEWS.get(kind)(ViewInputs(*parts))
    assert torch.equal(another.surroundings(work).classify(first_batch(job)), found)
    assert {path.name: path.stat().st_mtime_ns for path in work.path.iterdir()} == made


@pytest.mark.parametrize("kind", NAMES)
def test_classes_depend_on_the_windows_alone(kind: str, opened) -> None:
    job, work = opened(kind)
    together = job.view.surroundings(work).classify(first_batch(job, 3))
    surroundings = job.view.surroundings(work)
    one_by_one = [
        surroundings.classify(batch)
        for batch in tile_row_batches(job.source, job.grid, 1, job.model.spec.normalization.mean, 1)
    ]
    torch.testing.assert_close(torch.cat(one_by_one[: len(together)]), together, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", NAMES)
def test_a_plan_knows_what_it_takes(kind: str, opened) -> None:
    job, work = opened(kind, refine_fraction=0.5)
    assert 0 < job.view.forwarded_share <= 1
    assert job.view.maps_held >= 1
    before = work.size()
    job.view.surroundings(work)
    assert job.view.scratch_bytes * job.source.height * job.source.width >= 0.9 * (work.size() - before) - 10_000


@pytest.mark.parametrize("kind", NAMES)
def test_what_is_around_can_be_left_out(kind: str, opened) -> None:
    job, work = opened(kind, context=False)
    assert torch.equal(job.view.surroundings(work).classify(first_batch(job)), job.runner(first_batch(job).image))
    assert job.view.scratch_bytes == 0
