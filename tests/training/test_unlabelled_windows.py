"""Methods that learn from windows without labels: what a run needs for them, what it shows, and when they begin."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.methods import a_batch, make, small_data, small_method, small_model
from torch.optim.swa_utils import AveragedModel

from geoseg.commands.train import train
from geoseg.core.errors import SpecError
from geoseg.core.events import NoticeLog
from geoseg.models.bundle import load_model
from geoseg.spec import NetworkSpec, TrainSpec, parse_spec
from geoseg.training.methods.method import METHODS, UNLABELLED, check_method
from geoseg.training.optimization import ema_update
from geoseg.training.styles.style import Style, Styled

DEEP = {"architecture": "unet", "encoder": "tu-mobilenetv3_small_050"}

every_method = pytest.mark.parametrize(
    "name", [name for name in METHODS.names if UNLABELLED in METHODS.get(name).needs]
)


def write_data(folder: Path) -> dict[str, Any]:
    """Labelled tiles and an image without labels; settings of the data."""
    write_tiles(folder, splits="train val more")
    rows = (folder / "tiles.csv").read_text().splitlines()
    (folder / "tiles.csv").write_text("\n".join(rows[:-1]))
    return SMALL["data"] | {"unlabelled": "more.tif"}


@every_method
def test_a_run_without_such_images_is_refused_before_any_image_is_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"method {name} learns from images without labels as well: give"):
        train(write_config(tmp_path, method=name), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_way_to_mix_is_answered_with_the_nearest(tmp_path: Path) -> None:
    config = write_config(tmp_path, method={"name": "mean_teacher", "mix": "cutmx"}, data=write_data(tmp_path))
    with pytest.raises(SpecError, match="no way to mix windows is called 'cutmx': did you mean 'cutmix'"):
        train(config, tmp_path / "run")


def test_cached_windows_are_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path, method="mean_teacher", data=write_data(tmp_path), cache={"windows": 8})
    with pytest.raises(SpecError, match="method mean_teacher does not go with cache"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("batch_size", "share", "said"),
    [
        (1, 0.5, "1 window at once: raise batch_size$"),
        (4, 0.2, "1 window at once: raise data.unlabelled_share, or batch_size$"),
    ],
)
def test_the_batch_that_is_too_small_to_be_normalised_is_named_with_what_makes_it_larger(
    batch_size: int, share: float, said: str, tmp_path: Path
) -> None:
    data = write_data(tmp_path) | {"unlabelled_share": share}
    # 32 px become one feature, of which a batch of one window holds one
    config = write_config(
        tmp_path, method="mean_teacher", data=data, network=DEEP, window=32, tile=32, overlap=8, batch_size=batch_size
    )
    with pytest.raises(SpecError, match=said):
        train(config, tmp_path / "run")


def test_metrics_show_the_parts_of_the_loss_the_sure_share_and_the_network_before_averaging(tmp_path: Path) -> None:
    result = train(write_config(tmp_path, method="mean_teacher", data=write_data(tmp_path)), tmp_path / "run")
    lines = list(csv.DictReader(result.metrics.open()))
    for line in lines:
        assert float(line["labelled"]) > 0
        assert 0 <= float(line["confident"]) <= 1
        assert 0 < float(line["student_miou"]) <= 1
    page = result.report.read_text("utf-8")
    assert "Sure pixels" in page
    assert "before averaging" in page


def test_a_method_that_was_never_sure_says_so_in_the_result(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    for threshold, reported in ((1.0, 1), (0.0, 0)):
        method = {"name": "mean_teacher", "threshold": threshold}
        result = train(write_config(tmp_path, method=method, data=data, epochs=1), tmp_path / f"run{threshold}")
        assert sum("sure of hardly a pixel without labels" in line for line in result.notices) == reported


@pytest.mark.parametrize(
    ("method", "smoothing", "said"),
    [
        ("mean_teacher", 0.1, "train longer, or lower method.threshold, or set loss.label_smoothing to 0"),
        ("fixmatch", 0.0, "train longer, or lower method.threshold"),
        ("self_training", 0.0, "train longer"),
    ],
)
def test_only_settings_that_a_run_has_are_said_to_help(
    method: str, smoothing: float, said: str, tmp_path: Path
) -> None:
    made, setup = make(method, tmp_path)
    loss = setup.spec.loss.model_copy(update={"label_smoothing": smoothing})
    made.setup = replace(setup, spec=setup.spec.model_copy(update={"loss": loss}))
    (line,) = made.notices_after([{"confident": 0.0}])
    assert line.endswith(f"learnt next to nothing from them: {said}")


def test_smoothed_labels_are_reported_where_a_threshold_is_above_them(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    for smoothing, reported in ((0.1, 1), (0.0, 0)):
        log = NoticeLog()
        loss = {"label_smoothing": smoothing}
        config = write_config(tmp_path, method="mean_teacher", data=data, loss=loss, epochs=1)
        train(config, tmp_path / f"run{smoothing}", reporter=log)
        assert sum("few will; set loss.label_smoothing" in line for line in log.lines) == reported


def test_the_teachers_buffers_are_running_means_as_its_weights_are() -> None:
    network = torch.nn.BatchNorm2d(2)
    teacher = AveragedModel(network, multi_avg_fn=ema_update(0.9), use_buffers=True)
    expected: dict[str, torch.Tensor] = {}
    for step in range(5):
        network(torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(step)) + step)
        teacher.update_parameters(network)
        decay = min(0.9, (1 + step) / (10 + step)) if step else 0.0  # the first update copies
        for name in ("running_mean", "running_var"):
            value = network.get_buffer(name)
            expected[name] = decay * expected.get(name, value) + (1 - decay) * value
    for name, value in expected.items():
        torch.testing.assert_close(teacher.module.get_buffer(name), value)
        assert not torch.equal(value, network.get_buffer(name))
    assert int(teacher.module.num_batches_tracked) == 5


NORMALISED = {
    "architecture": "unet",
    "encoder": "resnet18",
    "arguments": {"encoder_depth": 3, "decoder_channels": [8] * 3},
}
"""A network with batch normalisation."""


def statistics_after_a_step(name: str, folder: Path, **parameters: Any) -> list[torch.Tensor]:
    """Running statistics of a network after a step with a method."""
    model = small_model().model_copy(update={"network": NetworkSpec(**NORMALISED)})
    method, setup = make(name, folder, model, **parameters)
    before = [one.clone() for key, one in setup.network.named_buffers() if "running" in key]
    method.loss(a_batch(), torch.Generator().manual_seed(1))
    after = [one for key, one in setup.network.named_buffers() if "running" in key]
    assert not equal(before, after)
    return after


def equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(some, others, strict=True))


@every_method
def test_running_statistics_are_those_of_the_windows_that_the_settings_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Style, "__call__", lambda style, labelled, *others: Styled(labelled.image))
    supervised = statistics_after_a_step("supervised", tmp_path)
    found = {of: statistics_after_a_step(name, tmp_path, statistics=of) for of in ("labelled", "unlabelled", "both")}
    assert equal(found["labelled"], supervised)
    assert not equal(found["unlabelled"], supervised)
    assert not equal(found["both"], supervised)
    assert not equal(found["both"], found["unlabelled"])
    usual = "unlabelled" if METHODS.get(name).needs_target else "labelled"
    assert equal(statistics_after_a_step(name, tmp_path), found[usual])


def test_a_model_for_a_target_is_saved_with_the_statistics_of_the_target(tmp_path: Path) -> None:
    """The target is four times as bright as what is labelled."""
    write_data(tmp_path)
    with rasterio.open(tmp_path / "more.tif", "r+") as file:
        file.write(np.full((3, 40, 48), 240, np.uint8))
    means = {}
    for setting in ("unlabelled", "target"):
        data = SMALL["data"] | {setting: "more.tif"}
        config = write_config(tmp_path, method="mean_teacher", data=data, network=NORMALISED, epochs=1)
        result = train(config, tmp_path / setting)
        state = load_model(result.bundle).module.state_dict()
        means[setting] = state["body.encoder.bn1.running_mean"].abs().mean()
    assert means["target"] > 3 * means["unlabelled"]


@every_method
def test_every_method_takes_a_target(name: str, tmp_path: Path) -> None:
    for setting, refused in (("target", False), ("unlabelled", METHODS.get(name).needs_target)):
        data = {key: value for key, value in small_data(name).items() if key not in ("unlabelled", "target")}
        run = SMALL | {"method": small_method(name, tmp_path), "data": data | {setting: "more.tif"}}
        spec = parse_spec(TrainSpec, run, source="test")
        if refused:
            with pytest.raises(SpecError, match=f"method {name} adapts a model to another region: .* data.target"):
                check_method(spec)
        else:
            check_method(spec)
