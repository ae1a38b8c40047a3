"""A run that is killed at any time, and resumed, is the run it would have been; so is one of two processes."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from lightning import Trainer
from safetensors import safe_open
from support.forks import exit_code_of, needs_fork
from support.labelled_tiles import write_config, write_tiles
from support.reporters import Watching

import geoseg.commands.train_run as pipeline
from geoseg.cli import main
from geoseg.commands.train import TrainProgress, train
from geoseg.core.errors import OutputError, SpecError
from geoseg.models.header import read_spec
from geoseg.training.learner import Learner
from geoseg.training.run.recorder import RunRecorder

NETWORK = {
    "architecture": "unet",
    "encoder": "tu-test_resnet",
    "arguments": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    "multiple": 8,
}
REAL: dict[str, Any] = {
    "network": NETWORK,
    "epochs": 4,
    "optimizer": {"learning_rate": 0.003, "accumulate": 3},
    "loss": {"auxiliary": 0.4},
    "frozen_epochs": 1,
}
"""A network with normalisation layers, an auxiliary head, a frozen encoder: all that has a state of its own."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_tiles(tmp_path)
    return write_config(tmp_path, **REAL)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


State = dict[str, torch.Tensor]


def keep_ends(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """Weights, their means, and buffers, of each run from here on when it is done."""
    found: list[State] = []
    result = pipeline.make_result

    def keep(run: Any, *rest: Any) -> Any:
        found.append({name: tensor.clone() for name, tensor in run.learner.state_dict().items()})
        return result(run, *rest)

    monkeypatch.setattr(pipeline, "make_result", keep)
    return found


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    return keep_ends(monkeypatch)


@dataclass(frozen=True)
class Whole:
    """An undisturbed run: its folder, and the weights, their means, and buffers when it was done."""

    folder: Path
    end: State


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    write_tiles(folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        ends = keep_ends(monkeypatch)
        train(write_config(folder, **REAL), folder / "run")
    return Whole(folder / "run", ends[0])


def assert_same_end(whole: Whole, resumed: State) -> None:
    assert whole.end.keys() == resumed.keys()
    assert all(torch.equal(whole.end[name], resumed[name]) for name in resumed)


def weights(bundle: Path) -> dict[str, np.ndarray]:
    with safe_open(bundle, framework="np") as tensors:
        return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 (it is no mapping)


def assert_same_run(one: Path, other: Path) -> None:
    first, second = weights(one / "small.safetensors"), weights(other / "small.safetensors")
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    tables = [list(csv.DictReader((run / "metrics.csv").open())) for run in (one, other)]
    for table in tables:
        for line in table:
            del line["seconds"]
    assert tables[0] == tables[1]


@pytest.mark.parametrize(("epoch", "batch"), [(1, 2), (2, 1), (3, 3), (4, 2)])
def test_an_interrupted_run_is_resumed_exactly(
    config: Path, tmp_path: Path, whole: Whole, ends: list[State], epoch: int, batch: int
) -> None:
    def stop(state: TrainProgress) -> None:
        nonlocal batch
        if state.stage == "training" and state.epoch == epoch:
            batch -= 1
            if not batch:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "broken", reporter=Watching(stop))
    result = train(config, tmp_path / "broken", resume=True)
    assert result.epochs == 4
    assert_same_end(whole, ends[-1])
    assert_same_run(whole.folder, tmp_path / "broken")
    assert not (tmp_path / "broken" / "checkpoint.ckpt").exists()


@pytest.mark.parametrize(("begun", "here"), [("bf16", "fp32"), ("fp32", "bf16")])
def test_a_run_goes_on_in_the_arithmetic_in_which_it_was_begun(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: str, here: str
) -> None:
    def stop(state: TrainProgress) -> None:
        if state.stage == "training" and state.epoch == 2:
            raise KeyboardInterrupt

    settings: dict[str, Any] = {"epochs": 2, "precision": "auto", "device": "cpu"}
    monkeypatch.setattr("geoseg.models.runner._cpu_has_bf16", lambda: begun == "bf16")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", reporter=Watching(stop), **settings)
    monkeypatch.setattr("geoseg.models.runner._cpu_has_bf16", lambda: here == "bf16")
    result = train(config, tmp_path / "run", resume=True, **settings)
    assert result.precision == begun
    assert f"the run goes on in {begun}, in which it was begun; a new one would take {here} here" in result.notices
    assert read_spec(tmp_path / "run" / "small.safetensors").card.training["precision"] == begun


@needs_fork
def test_the_mean_of_the_last_epochs_is_kept_and_resumed_exactly(tmp_path: Path, ends: list[State]) -> None:
    write_tiles(tmp_path)
    config = write_config(tmp_path, **REAL | {"swa_epochs": 2, "ema": 0.5})
    states: list[State] = []

    def keep(self: Learner, *args: Any) -> None:
        if self.current_epoch >= 2:
            states.append({name: tensor.clone() for name, tensor in self.averaged.module.state_dict().items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "on_validation_epoch_end", keep)
        result = train(config, tmp_path / "whole")
    assert result.best_epoch == 4
    assert "mean of the weights" in result.epoch_rule
    kept = ends[-1]
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            mean = (tensor + states[1][name]) / 2
            assert torch.allclose(kept[f"epoch_means.0.module.{name}"], mean, atol=1e-6), name

    def die_at(state: TrainProgress) -> None:
        if state.stage == "training" and state.epoch == 4:
            die()

    assert exit_code_of(lambda: train(config, tmp_path / "broken", reporter=Watching(die_at))) == -signal.SIGKILL
    train(config, tmp_path / "broken", resume=True)
    assert all(torch.equal(kept[name], ends[-1][name]) for name in kept)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@needs_fork
@pytest.mark.parametrize("stage", ["reading", "training", "scoring", "checkpoint", "scored", "report"])
def test_a_killed_run_is_resumed_exactly(
    config: Path, tmp_path: Path, whole: Whole, ends: list[State], stage: str
) -> None:
    save = RunRecorder._save_checkpoint

    def die_or_save(recorder: RunRecorder, trainer: Trainer) -> None:
        if trainer.current_epoch == 2:
            die()
        save(recorder, trainer)

    def train_and_die() -> None:
        if stage == "report":
            pipeline.write_run_report = die  # type: ignore[assignment]
        if stage == "checkpoint":
            RunRecorder._save_checkpoint = die_or_save  # type: ignore[method-assign]
        train(config, tmp_path / "broken", reporter=Watching(die_at))

    def die_at(state: TrainProgress) -> None:
        if state.stage == stage and state.epoch in (0, 3):
            die()

    assert exit_code_of(train_and_die) == -signal.SIGKILL
    train(config, tmp_path / "broken", resume=True)
    assert_same_end(whole, ends[-1])
    assert_same_run(whole.folder, tmp_path / "broken")
    assert not [path for path in (tmp_path / "broken").iterdir() if path.name.startswith(".")]


@needs_fork
def test_an_epoch_that_was_reported_is_not_trained_again(config: Path, tmp_path: Path) -> None:
    def die_at(state: TrainProgress) -> None:
        if state.stage == "scored" and state.epoch == 1:
            die()

    assert exit_code_of(lambda: train(config, tmp_path / "run", reporter=Watching(die_at))) == -signal.SIGKILL
    epochs: list[int] = []
    train(config, tmp_path / "run", resume=True, reporter=Watching(lambda state: epochs.append(state.epoch)))
    assert 2 in epochs
    assert 1 not in epochs


def test_resume_without_a_run_starts_one(config: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    assert train(config, tmp_path / "new", resume=True, epochs=1, reporter=Watching(lines=lines)).config.exists()
    assert f"{tmp_path / 'new'} holds no finished epoch to resume from: starting from the beginning" in lines


def test_a_finished_run_is_not_resumed(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "run", epochs=1)
    with pytest.raises(OutputError, match="holds a finished run: there is nothing to resume"):
        train(config, tmp_path / "run", epochs=1, resume=True)


def test_a_run_with_other_settings_is_not_resumed(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "run", epochs=1)
    with pytest.raises(SpecError, match=r"holds a run with other settings \(epochs differ from .*config\.yaml\)"):
        train(config, tmp_path / "run", epochs=2, resume=True)


def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    still = {"warp": 0, "d4": False, "blur_px": 0, "noise": 0} | dict.fromkeys(
        ("gamma", "contrast", "brightness", "saturation", "band_gain", "band_shift", "band_mix"), 0
    )
    config = write_config(tmp_path, augment=still, loss={"dice": 0})  # cross-entropy is a mean of the processes' means
    command = ["train", str(config), "--json", "-o"]
    one_process = CliRunner().invoke(main, [*command, str(tmp_path / "1"), "--devices", "1"])
    two_processes = subprocess.run(
        [sys.executable, "-m", "geoseg", *command, tmp_path / "2", "--devices", "2"],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    for code, run in ((one_process.exit_code, one_process), (two_processes.returncode, two_processes)):
        assert code == 0, run.stderr
        assert run.stdout.count('"bundle"') == 1, "only the first process speaks"
        assert run.stderr.count("epoch 3/3") == 1
    one, two = (weights(tmp_path / name / "small.safetensors") for name in "12")
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-3)
    scores = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in "12"]
    assert [line["miou"] for line in scores[0]] == [line["miou"] for line in scores[1]]


@pytest.mark.slow
def test_a_killed_run_of_two_processes_is_resumed_exactly(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    config = write_config(tmp_path, **REAL)

    def start(folder: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "geoseg", "train", config, "-o", tmp_path / folder, "--devices", "2", *more]
        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def finish(run: subprocess.Popen[str]) -> None:
        _, told = run.communicate(timeout=300)
        assert run.returncode == 0, told

    finish(start("whole"))
    broken = start("broken")
    assert broken.stderr
    for line in broken.stderr:
        if line.startswith("epoch 2/4"):
            os.killpg(broken.pid, signal.SIGKILL)
    broken.wait(timeout=60)
    finish(start("broken", "--resume"))
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_run_on_other_data_is_not_resumed(config: Path, tmp_path: Path) -> None:
    def stop(state: TrainProgress) -> None:
        if state.stage == "training" and state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", reporter=Watching(stop))
    os.utime(tmp_path / "train.tif", (1, 1))
    with pytest.raises(SpecError, match="images or labels have changed since the run"):
        train(config, tmp_path / "run", resume=True)


def test_what_a_killed_run_left_unfinished_goes(config: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".geoseg-123-small.safetensors").write_bytes(b"half")
    train(config, tmp_path / "run", epochs=1)
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


def test_a_damaged_checkpoint_costs_an_epoch(
    config: Path, tmp_path: Path, whole: Whole, ends: list[State], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(state: TrainProgress) -> None:
        if state.stage == "training" and state.epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "broken", reporter=Watching(stop))
    checkpoint = tmp_path / "broken" / "checkpoint.ckpt"
    with checkpoint.open("r+b") as file:
        file.seek(checkpoint.stat().st_size // 2)
        file.write(bytes(4096))
    lines: list[str] = []
    epochs: set[int] = set()
    train(config, tmp_path / "broken", resume=True, reporter=Watching(lambda state: epochs.add(state.epoch), lines))
    assert f"{checkpoint} is missing or damaged: going on from the epoch before" in lines
    assert epochs == {0, 3, 4}
    assert_same_end(whole, ends[-1])
    assert_same_run(whole.folder, tmp_path / "broken")
    assert not list((tmp_path / "broken").glob("*.ckpt"))


@pytest.mark.parametrize("stage", ["training", "scored"])
def test_a_run_whose_folder_is_removed_ends_in_one_line(config: Path, tmp_path: Path, stage: str) -> None:
    def remove(state: TrainProgress) -> None:
        if state.stage == stage and state.epoch == 2:
            shutil.rmtree(tmp_path / "run", ignore_errors=True)

    with pytest.raises(OutputError) as raised:
        train(config, tmp_path / "run", reporter=Watching(remove))
    assert len(str(raised.value).splitlines()) == 1


def test_a_run_of_geoseg_0_1_is_resumed(config: Path, tmp_path: Path, whole: Whole) -> None:
    """Its config names no method, and its checkpoints have the second head's weights under another name."""

    def stop(state: TrainProgress) -> None:
        if state.stage == "training" and state.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "old", reporter=Watching(stop))
    settings = yaml.safe_load((tmp_path / "old" / "config.yaml").read_text())
    del settings["method"]
    (tmp_path / "old" / "config.yaml").write_text(yaml.safe_dump(settings))
    path = tmp_path / "old" / "checkpoint.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    found = checkpoint["state_dict"]
    heads = [name for name in found if name.startswith("method.criterion.heads.0.")]
    for name in heads:
        found["auxiliary." + name.removeprefix("method.criterion.heads.0.")] = found.pop(name)
    assert heads
    assert "Record" in checkpoint["callbacks"]
    torch.save(checkpoint, path)
    assert train(config, tmp_path / "old", resume=True).epochs == 4
    assert_same_run(whole.folder, tmp_path / "old")


def test_a_run_begun_without_validation_losses_goes_on_with_them(config: Path, tmp_path: Path) -> None:
    def stop(state: TrainProgress) -> None:
        if state.stage == "training" and state.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "old", reporter=Watching(stop))
    path = tmp_path / "old" / "checkpoint.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for line in checkpoint["callbacks"]["Record"]["history"]:
        del line["val_loss"]
    torch.save(checkpoint, path)
    result = train(config, tmp_path / "old", resume=True)
    losses = [line["val_loss"] for line in csv.DictReader(result.metrics.open())]
    assert losses[:2] == ["", ""]
    assert all(float(loss) > 0 for loss in losses[2:])
    assert "in validation" in result.report.read_text("utf-8")
