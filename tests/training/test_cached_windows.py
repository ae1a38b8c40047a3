"""Windows that are drawn, augmented and forwarded once are those drawn otherwise, and are seen in all epochs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from support.branches import check_resuming, weights
from support.labelled_tiles import SMALL, write_tiles
from support.reporters import Heard, Watching

from geoseg.commands.train import train
from geoseg.core.errors import OutputError, SpecError
from geoseg.models.branches.context import ContextSegmenter
from geoseg.models.bundle import load_model
from geoseg.models.header import read_spec
from geoseg.models.training_batch import LabelledWindows
from geoseg.training.windows import window_file
from geoseg.training.windows.cached_windows import CachedWindows
from geoseg.training.windows.window_file import read_windows, write_windows

CONTEXT = {
    "levels": [{"ratio": 4, "size": 32}],
    "network": {"architecture": "pointwise", "multiple": 8},
    "channels": 4,
}
ONE_BATCH = {"batch_size": 8, "windows_per_epoch": 8, "epochs": 1, "cache": {"windows": 8}}
"""An epoch of one batch of all windows that are kept, drawn with the seed of the run."""


def write_config(folder: Path, name: str = "small.yaml", **changes: Any) -> Path:
    if not (folder / "tiles.csv").exists():
        write_tiles(folder)
    path = folder / name
    path.write_text(yaml.safe_dump(SMALL | {"tile": 48, "overlap": 16} | changes))
    return path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[LabelledWindows]:
    """The batches that networks with context learn from."""
    found: list[LabelledWindows] = []
    loss = ContextSegmenter.training_loss

    def keep(self: ContextSegmenter, windows: LabelledWindows, *rest: Any) -> torch.Tensor:
        found.append(windows)
        return loss(self, windows, *rest)

    monkeypatch.setattr(ContextSegmenter, "training_loss", keep)
    return found


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks how the outputs of frozen parts are computed."""
    outputs = ContextSegmenter.frozen_outputs

    def checked(self: ContextSegmenter, windows: LabelledWindows) -> tuple[torch.Tensor, ...]:
        assert not any(module.training for module in self.frozen_parts)
        assert not torch.is_grad_enabled()
        return outputs(self, windows)

    monkeypatch.setattr(ContextSegmenter, "frozen_outputs", checked)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return train(write_config(tmp_path, epochs=1), tmp_path / "local").bundle


def tensors_of(windows: LabelledWindows) -> list[torch.Tensor]:
    views = windows.views
    return [windows.image, windows.labels, *views.images, *views.boxes, *windows.view_labels, windows.unlabelled]


def order_of(batch: torch.Tensor, among: torch.Tensor) -> list[int]:
    """Which of some windows those of a batch are."""
    return [next(k for k, other in enumerate(among) if torch.equal(one, other)) for one in batch]


@pytest.mark.parametrize("freezes", [False, True])
def test_a_step_is_that_of_windows_that_are_drawn(
    tmp_path: Path, local: Path, seen: list[LabelledWindows], freezes: bool
) -> None:
    settings = ONE_BATCH | {
        "context": CONTEXT | {"freeze_local": freezes, "dropout": 0.0},
        "init_from": str(local),
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
        "schedule": {"name": "constant", "warmup": 0.0},
        "ema": 0.0,
    }
    drawn = train(write_config(tmp_path, **settings | {"cache": None}), tmp_path / "drawn")
    kept = train(write_config(tmp_path, **settings), tmp_path / "kept")
    first, second = seen
    order = order_of(second.image, first.image)
    assert sorted(order) == list(range(8))
    for one, other in zip(tensors_of(first), tensors_of(second), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one[order], other)
    assert [bool(batch.frozen) for batch in seen] == [False, freezes]
    before, after = weights(drawn.bundle), weights(kept.bundle)
    assert before["context.fusion.out.weight"].abs().max() > 1e-3
    assert all(torch.allclose(before[name].float(), after[name].float(), atol=2e-4, rtol=2e-3) for name in before)
    assert not (tmp_path / "kept" / "cached_windows").exists()


def test_every_epoch_sees_the_same_windows_in_another_order(tmp_path: Path, seen: list[LabelledWindows]) -> None:
    changes = {"context": CONTEXT, "batch_size": 4, "windows_per_epoch": 12, "epochs": 2, "cache": {"windows": 12}}
    train(write_config(tmp_path, **changes), tmp_path / "run")
    epochs = [torch.cat([batch.image for batch in seen[start : start + 3]]) for start in (0, 3)]
    order = order_of(epochs[1], epochs[0])
    assert sorted(order) == list(range(12))
    assert order != list(range(12))


@pytest.mark.parametrize("per_epoch", [5, 23])
def test_no_window_comes_again_before_all_others_have(per_epoch: int) -> None:
    drawing: Any = type("Drawing", (), {"windows": range(10)})()
    windows = CachedWindows(Path("none"), drawing, per_epoch=per_epoch, seed=3)
    numbers = [windows[i] for i in range(len(windows))]
    counts = np.bincount(numbers, minlength=10)
    assert counts.max() - counts.min() <= 1
    windows.epoch = 1
    assert numbers != [windows[i] for i in range(per_epoch)]


@pytest.mark.usefixtures("frozen")
def test_frozen_outputs_are_those_of_the_windows(tmp_path: Path, local: Path, seen: list[LabelledWindows]) -> None:
    context = CONTEXT | {"freeze_local": True}
    settings = ONE_BATCH | {"context": context, "init_from": str(local), "cache": {"windows": 8, "folder": "kept"}}
    config = write_config(tmp_path, "frozen.yaml", **settings)
    reporter = Heard()
    first = train(config, tmp_path / "first", reporter=reporter)
    assert ("caching", 8, 8) in reporter.progressed
    file = next((tmp_path / "kept").glob("*.safetensors"))
    stored = load_file(file)
    again = Heard()
    train(config, tmp_path / "second", seed=1, reporter=again)
    train(config, tmp_path / "third", context=context | {"channels": 8}, reporter=again)
    assert not [stage for stage, *_ in again.progressed if stage == "caching"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [file.name]
    network = load_model(first.bundle).module
    assert isinstance(network, ContextSegmenter)
    for batch in seen:
        order = order_of(batch.image, stored["image"])
        assert len(batch.frozen) == 2
        with torch.no_grad():
            outputs = network.frozen_outputs(batch)
        for number, (kept, made) in enumerate(zip(batch.frozen, outputs, strict=True)):
            assert torch.equal(kept, stored[f"frozen.{number}"][order])
            assert torch.allclose(kept, made, atol=1e-2)
    assert "kept" not in str(read_spec(first.bundle).card.training)


@pytest.mark.usefixtures("frozen")
def test_other_settings_weights_or_data_have_other_windows(tmp_path: Path, local: Path) -> None:
    base = ONE_BATCH | {"cache": {"windows": 8, "folder": "kept"}}
    changes: list[dict[str, Any]] = [
        {},
        {"augment": SMALL["augment"] | {"gamma": 0.2}},
        {"cache": base["cache"] | {"seed": 1}},
        {"cache": base["cache"] | {"windows": 9}},
        {"precision": "bf16"},
        {"data": SMALL["data"] | {"class_balance": 0.9}},
        {"context": CONTEXT | {"freeze_local": True}, "init_from": str(local)},
        {"context": CONTEXT | {"freeze_local": False}, "init_from": str(local)},
    ]
    for number, change in enumerate(changes):
        train(write_config(tmp_path, **base | change), tmp_path / str(number))
        assert len(list((tmp_path / "kept").iterdir())) == number + 1, change


def test_runs_of_several_seeds_draw_once(tmp_path: Path) -> None:
    reporter = Heard()
    config = write_config(tmp_path, epochs=1, cache={"windows": 16}, seeds=2)
    train(config, tmp_path / "run", reporter=reporter)
    assert reporter.progressed.count(("caching", 16, 16)) == 1
    assert not list((tmp_path / "run").rglob("cached_windows"))


def test_a_drawing_that_is_interrupted_is_begun_again(tmp_path: Path) -> None:
    settings = {"epochs": 1, "cache": {"windows": 32, "folder": "kept"}}
    config = write_config(tmp_path, **settings)

    def stop(state: Any) -> None:
        if state.stage == "caching" and state.done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", reporter=Watching(stop))
    assert not list((tmp_path / "kept").iterdir())
    resumed = train(config, tmp_path / "run", resume=True)
    whole = train(config, tmp_path / "whole", cache={"windows": 32})
    one, other = weights(resumed.bundle), weights(whole.bundle)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    config = write_config(tmp_path, **ONE_BATCH | {"cache": {"windows": 8, "folder": "kept"}})
    train(config, tmp_path / "first")
    (file,) = (tmp_path / "kept").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    train(config, tmp_path / "second")
    assert file.read_bytes() == whole


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    check_resuming(write_config(tmp_path, context=CONTEXT, cache={"windows": 24}), tmp_path)


@pytest.mark.usefixtures("frozen")
def test_a_run_whose_frozen_weights_have_changed_is_not_resumed(tmp_path: Path, local: Path) -> None:
    context = CONTEXT | {"freeze_local": True}
    config = write_config(
        tmp_path, "frozen.yaml", context=context, init_from=str(local), epochs=2, cache={"windows": 16}
    )

    def stop(state: Any) -> None:
        if state.stage == "training" and state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", reporter=Watching(stop))
    other = train(write_config(tmp_path, epochs=2), tmp_path / "other").bundle
    local.write_bytes(other.read_bytes())
    with pytest.raises(SpecError, match="models that it learns from"):
        train(config, tmp_path / "run", resume=True)


def test_a_disk_that_is_too_small_is_said_before_all_is_drawn(tmp_path: Path) -> None:
    drawn: list[int] = []

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        for number in range(2):
            drawn.append(number)
            yield {"image": torch.zeros(8, 3, 1024, 1024)}

    with pytest.raises(
        OutputError, match=r"cached windows take 12,582,912\.0 GB, and .* GB free: lower cache\.windows"
    ):
        write_windows(tmp_path / "a.safetensors", 10**9, batches())
    assert drawn == [0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", list(window_file._TYPES))
def test_every_type_is_read_as_it_was_written(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.arange(7 * 3).reshape(7, 3).to(dtype)
    path = tmp_path / "a.safetensors"
    write_windows(path, 7, [{"x": values[:4], "y": values[:4, 0]}, {"x": values[4:], "y": values[4:, 0]}])
    found = read_windows(path)
    assert found is not None
    assert torch.equal(found["x"], values)
    assert torch.equal(found["y"], values[:, 0])
    assert found["x"].dtype == dtype
