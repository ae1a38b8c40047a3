"""A prediction in pieces: resumed after a kill, shared among processes, always the pixels of one undisturbed run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
import torch
from click.testing import CliRunner
from support.executors import Apart
from support.forks import exit_code_of, kill_itself, needs_fork
from support.models import CountingEcho, Echo, echo_model, make_spec, save_bundle
from support.rasters import TRANSFORM, UTM, write_raster
from support.reporters import Heard

from geoseg.cli import main
from geoseg.commands.predict import predict
from geoseg.commands.predict_many import predict_many
from geoseg.core.errors import GeosegError, OutputError, SpecError
from geoseg.core.events import SILENT
from geoseg.core.queues import WriteBehind
from geoseg.core.wording import number_of
from geoseg.geo.grid import Window
from geoseg.inference.decide import Wanted, decide
from geoseg.inference.job import Job
from geoseg.inference.resume import begin
from geoseg.inference.shards import find_devices, split_evenly
from geoseg.inference.uncertainties.written import written_uncertainty
from geoseg.inference.work_folder import Manifest, Record, SeamFile, WorkFolder, work_path
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.model import Model
from geoseg.models.runner import Runner
from geoseg.models.tta import Augmented, find_augmentations
from geoseg.spec import NetworkSpec, NormalizationSpec, OutputSpec, RunSpec

QUICK = {"polygons": False, "preview": False, "stac": False}
SMALL = {"tile": 64, "overlap": 16, "precision": "fp32"}


def pixels(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A network whose pixels depend on their surroundings; of geoseg's own parts, as other processes import them."""
    torch.manual_seed(0)
    arguments = {"encoder_depth": 2, "decoder_channels": [16, 8]}
    spec = make_spec(
        network=NetworkSpec(architecture="unet", encoder="tu-tf_efficientnet_lite0", arguments=arguments, multiple=8),
        bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(120,) * 3, std=(60,) * 3),
    )
    return save_model(build_network(spec).eval(), spec, tmp_path_factory.mktemp("model") / "m.safetensors")


@pytest.fixture
def scene(tmp_path):
    values = np.random.default_rng(0).integers(1, 255, (3, 420, 160), dtype=np.uint8)
    values[:, 100:210, 80:] = 0
    return write_raster(tmp_path / "s.tif", values, nodata=0)


def run(scene, folder, bundle, **settings):
    folder.mkdir(exist_ok=True)
    wanted = {kind: folder / f"{kind}.tif" for kind in ("scores", "confidence", "uncertainty")}
    result = predict(scene, folder, model=bundle, **QUICK | SMALL | wanted | settings)
    return {kind: pixels(result.paths[kind]) for kind in ("landcover", *wanted)}, result


def assert_same(found, expected):
    for kind, values in expected.items():
        np.testing.assert_array_equal(found[kind], values)


def assert_same_classes(found, expected):
    """Equal but for the last digit of float32, which depends on the number of a CPU's threads."""
    np.testing.assert_array_equal(found["landcover"], expected["landcover"])
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-5)
    for kind in ("confidence", "uncertainty"):
        assert (np.abs(found[kind].astype(int) - expected[kind]) <= 1).all()


class Stopped(Exception):
    pass


@pytest.mark.parametrize("finished", [1, 2, 5])
def test_a_run_that_was_stopped_goes_on_to_the_same_pixels(tmp_path, scene, bundle, monkeypatch, finished):
    undisturbed, whole = run(scene, tmp_path / "whole", bundle)
    stop_after_records(monkeypatch, finished)
    with pytest.raises(Stopped):
        run(scene, tmp_path / "resumed", bundle)
    monkeypatch.undo()
    heard = Heard()
    resumed, result = run(scene, tmp_path / "resumed", bundle, resume=True, reporter=heard)
    assert_same(resumed, undisturbed)
    assert result.forwarded_px == whole.forwarded_px
    assert f"going on with an unfinished run: {number_of(finished, 'tile row')} finished" in heard.lines
    assert [path.name for path in (tmp_path / "resumed").glob(".*")] == []


def stop_after_records(monkeypatch, finished):
    """Let the record of so many tile rows be written, then stop."""
    save, saved = Record.save, []

    def stop(self, path):
        if len(saved) == finished:
            raise Stopped
        saved.append(path)
        save(self, path)

    monkeypatch.setattr(Record, "save", stop)


def test_what_is_finished_is_not_forwarded_again(tmp_path, class_values, monkeypatch):
    scene = write_raster(tmp_path / "s.tif", class_values(400, 64))
    echo = CountingEcho(4)
    stop_after_records(monkeypatch, 3)
    with pytest.raises(Stopped):
        predict(scene, tmp_path, model=Model(make_spec(), echo), **QUICK | SMALL)
    monkeypatch.undo()
    echo.seen = 0
    result = predict(scene, tmp_path, model=Model(make_spec(), echo), resume=True, **QUICK | SMALL)
    assert 0 < echo.seen < result.forwarded_px
    np.testing.assert_array_equal(pixels(result.paths["landcover"])[0], class_values(400, 64))
    assert sum(c.pixels for c in result.classes) == 400 * 64


def test_work_of_other_settings_is_refused_and_kept(tmp_path, scene, bundle, monkeypatch):
    stop_after_records(monkeypatch, 2)
    with pytest.raises(Stopped):
        run(scene, tmp_path / "out", bundle)
    monkeypatch.undo()
    with pytest.raises(OutputError, match="another scene, model or settings"):
        run(scene, tmp_path / "out", bundle, overlap=8, resume=True)
    assert len(list(work_path(tmp_path / "out" / "s_landcover.tif").glob("*.seal"))) == 2
    heard = Heard()
    run(scene, tmp_path / "out", bundle, overlap=8, reporter=heard)
    assert "an unfinished run is replaced; --resume would have gone on with it" in heard.lines
    assert not list((tmp_path / "out").glob(".*"))


def test_a_part_that_is_lost_is_made_again_and_told_of(tmp_path, scene, bundle, monkeypatch):
    undisturbed, _ = run(scene, tmp_path / "whole", bundle)
    for number, name in enumerate(["000002.below", "000001.landcover.tif", "000000.npz", "000001.seal"]):
        folder = tmp_path / f"out {number}"
        stop_after_records(monkeypatch, 3)
        with pytest.raises(Stopped):
            run(scene, folder, bundle)
        monkeypatch.undo()
        part = work_path(folder / "s_landcover.tif") / name
        part.write_bytes(bytes(part.stat().st_size))
        heard = Heard()
        resumed, _ = run(scene, folder, bundle, resume=True, reporter=heard)
        assert_same(resumed, undisturbed)
        assert any("are damaged, perhaps by a power cut" in line for line in heard.lines) == (
            not name.endswith("below")
        )


def test_work_of_another_model_that_cannot_be_removed_is_an_error(tmp_path, scene, bundle, monkeypatch):
    stop_after_records(monkeypatch, 2)
    with pytest.raises(Stopped):
        run(scene, tmp_path / "out", bundle)
    monkeypatch.undo()
    monkeypatch.setattr("geoseg.inference.work_folder.shutil.rmtree", lambda path, ignore_errors: None)
    with pytest.raises(OutputError, match="cannot be emptied: remove it, or choose another --output"):
        run(scene, tmp_path / "out", bundle, overlap=8)


def test_work_of_another_model_is_never_taken_whatever_lies_there(tmp_path):
    old = WorkFolder(tmp_path / "w")
    old.begin(Manifest("old", tile=64, batch_size=1))
    record = Record(0, np.zeros((1, 2), np.int32), ())
    old.finish("000000", record)
    assert old.is_finished(0)
    assert len(list(old.records())) == 1
    for manifest in (Manifest("new", tile=64, batch_size=1), Manifest("old", tile=128, batch_size=1)):
        new = WorkFolder(tmp_path / "w", manifest)
        assert not new.is_finished(0)
        assert not list(new.records())


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_link_in_the_place_of_the_work_folder_is_refused(tmp_path, class_values, overwrite):
    scene = write_raster(tmp_path / "s.tif", class_values(60, 60))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "work.json").write_text("kept")
    place = work_path(tmp_path / "s_landcover.tif")
    place.symlink_to(elsewhere)
    with pytest.raises(OutputError, match="is a link"):
        predict(scene, tmp_path, model=echo_model(), overwrite=overwrite, resume=not overwrite, **QUICK)
    assert [path.read_text() for path in elsewhere.iterdir()] == ["kept"]
    place.unlink()
    place.write_text("kept")
    with pytest.raises(OutputError, match="is no folder"):
        predict(scene, tmp_path, model=echo_model(), overwrite=overwrite, resume=not overwrite, **QUICK)
    assert place.read_text() == "kept"


def test_a_link_inside_the_work_folder_is_not_followed(tmp_path, scene, bundle, monkeypatch):
    undisturbed, _ = run(scene, tmp_path / "whole", bundle)
    stop_after_records(monkeypatch, 2)
    with pytest.raises(Stopped):
        run(scene, tmp_path / "out", bundle)
    monkeypatch.undo()
    mine = tmp_path / "mine"
    for name in ("000001.landcover.tif", "000003.landcover.tif", "000003.below"):
        part = work_path(tmp_path / "out" / "s_landcover.tif") / name
        part.unlink(missing_ok=True)
        part.symlink_to(mine)
    mine.write_text("mine")
    resumed, _ = run(scene, tmp_path / "out", bundle, resume=True)
    assert_same(resumed, undisturbed)
    assert mine.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_the_work_folder_of_another_user_is_refused(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(60, 60))
    place = work_path(tmp_path / "s_landcover.tif")
    place.mkdir()
    os.chown(place, 12345, 12345)
    with pytest.raises(OutputError, match="is another user's"):
        predict(scene, tmp_path, model=echo_model(), overwrite=True, **QUICK)


@pytest.mark.parametrize("stage", ["predicting", "writing", "preview", "polygons"])
def test_an_output_folder_that_is_removed_in_the_middle_is_an_error_in_one_line(tmp_path, class_values, stage):
    scene = write_raster(tmp_path / "s.tif", class_values(300, 300))

    def remove(at, _done, _total):
        if at == stage:
            shutil.rmtree(tmp_path / "out", ignore_errors=True)

    with pytest.raises(GeosegError) as raised:
        predict(scene, tmp_path / "out", model=echo_model(), reporter=Heard(remove), **SMALL)
    assert len(str(raised.value).splitlines()) == 1


def test_results_that_lost_their_content_are_not_taken_for_done(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(60, 60))
    first = predict(scene, tmp_path, model=echo_model())
    style, polygons = (first.paths[kind] for kind in ("style", "polygons"))
    text = style.read_bytes()
    style.write_bytes(b"")
    predict(scene, tmp_path, model=echo_model(), resume=True)
    assert style.read_bytes() == text
    polygons.write_bytes(bytes(polygons.stat().st_size))
    with pytest.raises(OutputError, match=r"\.gpkg is damaged: .*: pass --overwrite"):
        predict(scene, tmp_path, model=echo_model(), resume=True)


def test_what_is_done_is_skipped_and_told_of(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(100, 90), nodata=3)
    first = predict(scene, tmp_path, model=echo_model())
    echo = CountingEcho(4)
    model = Model(make_spec(), Echo(4))
    first = predict(scene, tmp_path, model=model, overwrite=True)
    model.module.forward = echo.forward
    again = predict(scene, tmp_path, model=model, resume=True)
    assert echo.seen == again.forwarded_px == 0
    assert [(c.id, c.pixels, c.share) for c in again.classes] == [(c.id, c.pixels, c.share) for c in first.classes]
    np.testing.assert_allclose([c.area_m2 for c in again.classes], [c.area_m2 for c in first.classes], rtol=1e-5)
    assert (again.polygons, again.paths) == (first.polygons, first.paths)
    with pytest.raises(OutputError, match="made from another scene or model"):
        predict(scene, tmp_path, model=model, resume=True, overlap=8)


def test_a_scene_that_changed_is_done_again(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(60, 60))
    predict(scene, tmp_path, model=echo_model(), **QUICK)
    write_raster(tmp_path / "s.tif", class_values(60, 60, seed=1))
    with pytest.raises(OutputError, match="made from another scene"):
        predict(scene, tmp_path, model=echo_model(), resume=True, **QUICK)
    result = predict(scene, tmp_path, model=echo_model(), resume=True, overwrite=True, **QUICK)
    np.testing.assert_array_equal(pixels(result.paths["landcover"])[0], class_values(60, 60, seed=1))


def test_one_result_is_made_by_one_process(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(60, 60))

    def begin_another(stage, _done, _total):
        if stage == "predicting":
            predict(scene, tmp_path, model=echo_model(), **QUICK)

    with pytest.raises(OutputError, match="being made by another process"):
        predict(scene, tmp_path, model=echo_model(), reporter=Heard(begin_another), **QUICK)


def test_many_scenes_go_on_where_they_were(tmp_path, class_values):
    (tmp_path / "in").mkdir()
    for seed in range(3):
        write_raster(tmp_path / "in" / f"{seed}.tif", class_values(50, 60, seed=seed))
    model = Model(make_spec(), CountingEcho(4))
    predict(tmp_path / "in" / "1.tif", tmp_path / "out", model=model, **QUICK)
    seen = model.module.seen
    many = predict_many(tmp_path / "in", tmp_path / "out", model=model, resume=True, **QUICK)
    assert not many.failures
    assert [r.forwarded_px > 0 for r in many.results] == [True, False, True]
    assert model.module.seen == 3 * seen


@needs_fork
def test_a_killed_run_is_resumed_byte_for_byte(tmp_path):
    kill_and_compare(tmp_path, kills=1, seed=0, width=500)


@pytest.mark.slow
@needs_fork
def test_twenty_kills(tmp_path):
    kill_and_compare(tmp_path, kills=20, seed=1, width=1500)


def kill_and_compare(tmp_path, kills, seed, width):
    """Kill a run at random moments and resume it until it gets through, at last with other settings that change no
    pixel; its files are those of a run left alone."""
    bundle = save_bundle(tmp_path / "m.safetensors")
    generator = np.random.default_rng(seed)
    cells = generator.integers(0, 9, (450, width // 20), dtype=np.uint8)
    scene = write_raster(tmp_path / "s.tif", cells.repeat(20, axis=0).repeat(20, axis=1))
    command = ["predict", str(scene), "-m", str(bundle), "--tile", "256", "--no-polygons", "-q"]
    confidence = str(tmp_path / "confidence.tif")
    killed = [*command, "--simplify", "1px", "--batch-size", "2", "--confidence", confidence]
    killed += ["-o", str(tmp_path / "out"), "--resume"]
    command = [*command, "--simplify", "2px", "--batch-size", "1", "--no-stac"]
    assert CliRunner().invoke(main, [*command, "-o", str(tmp_path / "whole")]).exit_code == 0
    folder = work_path(tmp_path / "out" / "s_landcover.tif")

    def finished():
        return len(list(folder.glob("*.seal")))

    def predict_and_die(before, after_s):
        kill_itself(lambda: finished() > before, after_s=after_s)
        main(killed, prog_name="geoseg")

    for _ in range(kills):
        die = partial(predict_and_die, finished(), generator.random() * min(0.2, 1.5 / kills))
        assert exit_code_of(die) == -signal.SIGKILL
    assert not (tmp_path / "out" / "s_landcover.tif").exists()  # else the run below would have nothing left to do
    assert CliRunner().invoke(main, [*command, "-o", str(tmp_path / "out"), "--resume"]).exit_code == 0
    for name in ("s_landcover.tif", "s_landcover.tif.aux.xml"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "out").glob(".*"))


# ------------------------------------------------------------------------------------------------ shared by processes


def test_two_processes_give_the_pixels_of_one(tmp_path, scene, bundle):
    alone, single = run(scene, tmp_path / "one", bundle)
    shared, result = run(scene, tmp_path / "two", bundle, devices="2")
    assert_same_classes(shared, alone)
    assert result.classes == single.classes
    assert result.forwarded_px == single.forwarded_px


@dataclass(frozen=True)
class Least(Wanted):
    """A setting that decides classes, as a new one might: the least likely class is chosen."""


def test_a_setting_that_decides_classes_holds_at_the_seams_between_shards_too(tmp_path, scene, bundle, monkeypatch):
    usual, _ = run(scene, tmp_path / "usual", bundle)
    entropy = written_uncertainty(OutputSpec(uncertainty=tmp_path / "uncertainty.tif"))
    monkeypatch.setattr(Job, "wanted", Least(confidence=True, scores="float32", uncertainty=entropy))
    turned = lambda logits, wanted: decide(-logits if isinstance(wanted, Least) else logits, wanted)  # noqa: E731
    monkeypatch.setattr("geoseg.inference.tile_rows.decide", turned)
    alone, _ = run(scene, tmp_path / "one", bundle)
    shared, _ = run(scene, tmp_path / "two", bundle, scheduler=Apart())
    assert_same(shared, alone)
    assert (alone["landcover"] != usual["landcover"]).any()


def test_a_failing_process_ends_the_run_with_its_reason(tmp_path):
    bundle = save_bundle(tmp_path / "m.safetensors", bands=("red", "green", "blue"))
    scene = write_raster(tmp_path / "s.tif", np.ones((3, 300, 300), np.uint8))
    size = os.path.getsize(scene)
    with open(scene, "r+b") as file:
        file.truncate(size // 2)
    with pytest.raises(Exception, match="damaged or incomplete"):
        run(scene, tmp_path / "out", bundle, devices="2")


def test_workers_of_a_cluster_give_the_pixels_of_one_process_though_one_is_killed(tmp_path, scene, bundle):
    distributed = pytest.importorskip("distributed")
    alone, _ = run(scene, tmp_path / "one", bundle)
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        victim = next(iter(client.run(os.getpid).values()))
        killed = []

        def kill(stage, done, total):
            if stage == "predicting" and 0 < done < total and not killed:
                killed.append(victim)
                os.kill(victim, signal.SIGKILL)

        shared, _ = run(scene, tmp_path / "two", bundle, scheduler=client, reporter=Heard(kill))
        assert_same_classes(shared, alone)
        given = [scene, tmp_path / "missing.tif"]
        many = predict_many(given, tmp_path / "many", model=bundle, scheduler=client, **QUICK | SMALL)
    assert [failure.scene for failure in many.failures] == [str(tmp_path / "missing.tif")]
    np.testing.assert_array_equal(pixels(many.results[0].paths["landcover"]), alone["landcover"])


@pytest.mark.slow
@pytest.mark.parametrize("more", [0, 1])
def test_a_scheduler_that_is_killed_ends_a_run_with_one_line(tmp_path, scene, bundle, more):
    """A server of Dask's own, on this machine, and one worker."""
    pytest.importorskip("distributed")
    listing = tmp_path / "scheduler.json"
    options = ["--scheduler-file", listing, "--no-dashboard", "--host", "127.0.0.1"]
    dask = [sys.executable, "-m", "distributed.cli.dask_"]
    scenes = [scene, *(shutil.copy(scene, tmp_path / f"{i}.tif") for i in range(more))]
    settings = ["-m", bundle, "-o", tmp_path / "out", "--tile", "64", "--overlap", "16", "-q"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*dask[:2], f"{dask[2]}scheduler", "--port", "0", *options], **quiet) as scheduler:
        while not listing.exists():
            time.sleep(0.1)
        address = json.loads(listing.read_text())["address"]
        with subprocess.Popen([*dask[:2], f"{dask[2]}worker", "--nthreads", "1", *options], **quiet) as worker:
            time.sleep(10)
            command = [sys.executable, "-m", "geoseg", "predict", *scenes, *settings, "--scheduler", address]
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            while not list(tmp_path.glob("out/.*/*.seal")) and process.poll() is None:
                time.sleep(0.05)
            scheduler.kill()
            _, said = process.communicate(timeout=60)
            worker.kill()
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "the Dask scheduler was lost" in said
    assert more or len(said.splitlines()) == 1


def test_shards_are_even_and_complete():
    for count in range(1, 12):
        parts = list(split_evenly(range(3, 10), count))
        assert [i for part in parts for i in part] == list(range(3, 10))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("devices", "expected"), [(None, ["cpu"]), ("3", ["cpu"] * 3)])
def test_devices(devices, expected):
    assert find_devices(RunSpec(devices=devices), torch.device("cpu")) == expected


@pytest.mark.parametrize(("devices", "problem"), [("0,1", "numbers name GPUs"), ("0", "give a count")])
def test_devices_that_are_not_there(devices, problem):
    with pytest.raises(SpecError, match=problem):
        find_devices(RunSpec(devices=devices), torch.device("cpu"))


def test_seams_on_disk_come_back_and_what_was_never_written_is_zero(tmp_path):
    seams = SeamFile(tmp_path / "s", classes=3, ramp=4)
    assert seams.read(Window(0, 0, 4, 5)) is None
    values = np.random.default_rng(0).random((3, 4, 7), dtype=np.float32)
    seams.write(Window(0, 9, 4, 7), values)
    np.testing.assert_array_equal(seams.read(Window(0, 9, 4, 7)), values)
    assert (seams.read(Window(0, 0, 4, 9)) == 0).all()
    assert (seams.read(Window(0, 16, 4, 9)) == 0).all()


def test_errors_of_the_thread_that_writes_come_up():
    def fail(item):
        raise Stopped(item)

    with pytest.raises(Stopped), WriteBehind(fail) as behind:
        behind.put(1)
    taken = []
    with WriteBehind(taken.append, depth=2) as behind:
        for item in range(50):
            behind.put(item)
    assert taken == list(range(50))


# -------------------------------------------------------------------------------------------- views, and small devices


@pytest.mark.parametrize("symmetries", ["flips", "d4"])
def test_the_mean_over_symmetries_turns_with_the_image(bundle, symmetries):
    network = load_model(bundle).module
    augmented = Augmented(network, find_augmentations(symmetries))
    image = torch.rand(2, 3, 64, 64) * 255
    with torch.inference_mode():
        plain = augmented(image)
        for view in find_augmentations(symmetries):
            torch.testing.assert_close(view.undo(augmented(view.apply(image))), plain, atol=2e-4, rtol=1e-4)
        assert (network(image).softmax(1) - plain.exp()).abs().max() > 1e-3
    torch.testing.assert_close(plain.exp().sum(1), torch.ones(2, 64, 64))


@pytest.mark.parametrize("settings", [{"tta": "d4"}, {"tta": "flips"}, {"tta": "flips", "tta_scales": (1.0, 2.0)}])
def test_an_echo_comes_back_from_all_views(tmp_path, settings):
    values = np.kron(np.random.default_rng(0).integers(0, 4, (9, 7)), np.ones((20, 20))).astype(np.uint8)
    scene = write_raster(tmp_path / "s.tif", values)
    result = predict(scene, tmp_path, model=echo_model(), **QUICK | SMALL | settings)
    assert (pixels(result.paths["landcover"])[0] == values).mean() > (0.99 if "tta_scales" in settings else 0.9999)


def test_scaled_views_keep_to_the_networks_stride(bundle):
    network = load_model(bundle).module
    with torch.inference_mode():
        assert Augmented(network, find_augmentations("none", (0.7, 1.3)), 8)(torch.rand(1, 3, 40, 56)).shape == (
            1,
            4,
            40,
            56,
        )


class Tight(Echo):
    """An echo on a device that holds three windows."""

    def forward(self, image, context=None):
        if len(image) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(image)


def test_a_batch_too_large_for_the_device_is_halved(tmp_path, class_values):
    heard = Heard()
    runner = Runner(Tight(4), "cpu", "fp32", reporter=heard)
    values = class_values(16, 16 * 11).reshape(16, 11, 16).transpose(1, 0, 2)[:, None]
    np.testing.assert_array_equal(runner(values).argmax(1), values[:, 0])
    assert heard.lines == [
        "cpu ran out of memory with 11 windows at once: going on with 5",
        "cpu ran out of memory with 5 windows at once: going on with 2",
    ]
    assert len(runner(values)) == 11
    assert len(heard.lines) == 2


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_classes(tmp_path, scene, bundle):
    plain, _ = run(scene, tmp_path / "plain", bundle)
    fused, _ = run(scene, tmp_path / "fused", bundle, compile=True)
    assert (fused["landcover"] == plain["landcover"]).mean() > 0.9999
    np.testing.assert_allclose(fused["scores"], plain["scores"], atol=1e-3)


def test_an_area_of_interest_by_a_relative_path_is_shared(tmp_path, scene, monkeypatch):
    bundle = save_bundle(tmp_path / "m.safetensors", bands=("red", "green", "blue"))
    left, top = TRANSFORM @ (20, 30)
    right, bottom = TRANSFORM @ (130, 400)
    geopandas.GeoSeries([shapely.box(left, bottom, right, top)], crs=UTM).to_file(tmp_path / "aoi.gpkg")
    monkeypatch.chdir(tmp_path)
    alone, _ = run(scene, tmp_path / "one", bundle, aoi="aoi.gpkg")
    shared, _ = run(scene, tmp_path / "two", bundle, aoi="aoi.gpkg", scheduler=Apart())
    assert_same_classes(shared, alone)


def test_a_run_whose_folder_was_taken_over_writes_nothing_more(tmp_path):
    manifest = Manifest("same", tile=64, batch_size=1)
    first = WorkFolder(tmp_path / "w")
    first.begin(manifest)
    first.check_owner()
    worker = WorkFolder(tmp_path / "w", first.manifest)
    worker.check_owner()
    second = WorkFolder(tmp_path / "w")
    begin(second, manifest, resume=True, reporter=SILENT)
    second.check_owner()
    for old in (first, worker):
        with pytest.raises(OutputError, match="taken over"):
            old.check_owner()


def test_a_scene_of_several_files_is_another_one_when_any_of_them_changes(tmp_path, class_values):
    source = write_raster(tmp_path / "part.tif", class_values(40, 40))
    rasterio.shutil.copy(source, tmp_path / "s.vrt", driver="VRT")
    predict(tmp_path / "s.vrt", tmp_path, model=echo_model(), **QUICK)
    os.utime(source, (0, 0))
    with pytest.raises(OutputError, match="made from another scene"):
        predict(tmp_path / "s.vrt", tmp_path, model=echo_model(), resume=True, **QUICK)
