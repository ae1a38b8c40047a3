"""CycleGAN: training begins with windows as they are, losses stay apart, a look is learnt in both directions."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.branches import check_resuming
from support.labelled_tiles import SMALL, write_config
from support.methods import make, write_data
from support.reporters import Watching

from geoseg.commands.train import train
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import OptimizerSpec
from geoseg.training.methods.discriminator import Judged
from geoseg.training.methods.unlabelled import FromUnlabelled
from geoseg.training.optimization import make_optimizer
from geoseg.training.styles.cyclegan import CycleGanStyle
from geoseg.training.styles.redrawing import CycleGan, Generator

TARGET = SMALL["data"] | {"target": "more.tif"}
TINY: dict[str, Any] = {"by": "cyclegan", "channels": 8, "blocks": 1}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_style(folder: Path, **parameters: Any) -> CycleGanStyle:
    method, _ = make("fixmatch", folder, style=TINY | parameters, data=TARGET)
    assert isinstance(method, FromUnlabelled)
    assert isinstance(method.style, CycleGanStyle)
    method.setup.network.normalize.mean.fill_(90)
    method.setup.network.normalize.std.fill_(50)
    return method.style


def windows(seed: int, brightness: float = 0.0, side: int = 16) -> LabelledWindows:
    image = brightness + 80 * torch.rand(4, 3, side, side, generator=generator(seed))
    return LabelledWindows(image, torch.zeros(4, side, side, dtype=torch.int64), plain=image.clone())


def judged(seed: int) -> Judged:
    known = torch.rand(2, 16, 16, generator=generator(seed)) > 0.3
    return Judged(torch.randn(2, 3, 16, 16, generator=generator(seed + 1)) * known.unsqueeze(1), known)


def test_at_first_windows_stay_as_they_are(tmp_path: Path) -> None:
    style, labelled, target = a_style(tmp_path), windows(0), windows(1, brightness=90)
    styled = style(labelled, target, generator())
    torch.testing.assert_close(styled.image, labelled.image, atol=1e-3, rtol=0)
    torch.testing.assert_close(style.back(target, labelled, generator()), target.image, atol=1e-3, rtol=0)
    assert styled.figures["cycle"] < 1e-4
    deceiving = styled.loss * 10 - styled.figures["looks"] * 2
    assert deceiving > 0


def test_generators_that_change_by_a_constant_are_charged_for_it() -> None:
    gan = CycleGan(3, 4, 0)
    for one, shift in ((gan.to_target, 0.5), (gan.to_source, -0.2)):
        torch.nn.init.constant_(one.last.bias, shift)
    losses, there = gan.losses(source := judged(0), judged(5))
    assert losses.cycle.item() == pytest.approx(2 * 0.3, rel=1e-4)
    assert losses.identity.item() == pytest.approx(0.5 + 0.2, rel=1e-4)
    known = source.known.unsqueeze(1)
    torch.testing.assert_close(there, (source.maps + 0.5) * known)


def test_windows_of_any_size_are_redrawn_and_each_pixel_by_itself() -> None:
    generator_ = Generator(3, 4, 1)
    torch.nn.init.normal_(generator_.last.weight)
    image = torch.randn(1, 3, 17, 22, generator=generator())
    change = generator_(image) - image
    assert change.shape == image.shape
    assert not torch.allclose(change[..., 0:16:2, 0:22:2], change[..., 1:17:2, 1:22:2])


def test_generators_and_discriminators_get_no_gradients_of_each_others_losses() -> None:
    for judging in (True, False):
        gan = CycleGan(3, 4, 1)
        for one in (gan.to_target, gan.to_source):
            torch.nn.init.normal_(one.last.weight)
        losses, _ = gan.losses(judged(0), judged(5))
        value = losses.judging if judging else losses.deceiving + losses.cycle + losses.identity
        value.backward()
        trained, others = (gan.of_target, gan.of_source), (gan.to_target, gan.to_source)
        trained, others = (trained, others) if judging else (others, trained)
        for module in trained:
            assert all(parameter.grad is not None for parameter in module.parameters())
        for module in others:
            assert all(parameter.grad is None for parameter in module.parameters())


def test_after_its_share_of_the_steps_it_redraws_without_learning(tmp_path: Path) -> None:
    style = a_style(tmp_path, learning=0.02)  # two of a hundred steps
    torch.nn.init.constant_(style.networks.to_target.last.bias, 0.3)
    labelled, target = windows(0), windows(1)
    losses = [style(labelled, target, generator()) for _ in range(3)]
    assert [bool(one.loss) for one in losses] == [True, True, False]
    assert not losses[2].loss.requires_grad
    assert [set(one.figures) for one in losses] == [{*style.figures}, {*style.figures}, set()]
    torch.testing.assert_close(losses[2].image, losses[0].image)
    assert not torch.equal(losses[2].image, labelled.image)


def test_the_look_of_a_brighter_region_is_learnt_in_both_directions(tmp_path: Path) -> None:
    style = a_style(tmp_path, learning=1)
    optimizer = make_optimizer(style, OptimizerSpec(), style.opponents)
    for step in range(100):
        loss = style(windows(step), windows(1000 + step, brightness=100), generator(step)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dark, bright = windows(5000), windows(6000, brightness=100)
    there = style(dark, bright, generator()).image
    back = style.back(bright, dark, generator())
    assert 40 < (there - dark.image).mean() < 130
    assert -130 < (back - bright.image).mean() < -40


def test_a_resumed_run_goes_on_with_the_same_generators(tmp_path: Path) -> None:
    write_data(tmp_path)
    check_resuming(write_config(tmp_path, method={"name": "fixmatch", "style": TINY}, data=TARGET), tmp_path)


def test_each_epoch_shows_how_windows_come_back_and_whether_looks_are_known(tmp_path: Path) -> None:
    write_data(tmp_path)
    shown: list[dict[str, float]] = []
    config = write_config(tmp_path, method={"name": "fixmatch", "style": TINY}, data=TARGET, epochs=2)
    metrics = train(config, tmp_path / "run", reporter=Watching(lambda one: shown.append(dict(one.figures)))).metrics
    learning, redrawing = (one for one in shown if one)
    assert learning["looks"] > 0
    assert learning["cycle"] > 0
    assert learning.keys() - redrawing.keys() == {"looks", "cycle"}, "it learns in the first half of the steps alone"
    with metrics.open(newline="") as file:
        assert [bool(line["looks"]) for line in csv.DictReader(file)] == [True, False]


def test_of_an_epoch_in_the_middle_of_which_it_ends_to_learn_the_steps_before_count(tmp_path: Path) -> None:
    write_data(tmp_path)
    looks = []
    for learning in (0.5, 1):
        config = write_config(
            tmp_path, method={"name": "fixmatch", "style": TINY | {"learning": learning}}, data=TARGET
        )
        shown: list[dict[str, float]] = []
        run = Watching(lambda one, shown=shown: shown.append(dict(one.figures)))
        train(config, tmp_path / f"{learning}", epochs=1, reporter=run)
        looks.append(next(one for one in shown if one)["looks"])
    assert looks[0] == pytest.approx(looks[1], rel=0.2), "0 in steps without a loss would halve their mean"


def test_windows_of_one_region_are_not_redrawn_where_the_other_shows_nothing(tmp_path: Path) -> None:
    style, labelled = a_style(tmp_path), windows(0)
    for one in (style.networks.to_target, style.networks.to_source):
        torch.nn.init.constant_(one.last.bias, 0.3)
    nothing = replace(windows(1), labels=torch.full((4, 16, 16), 255))
    assert torch.equal(style(labelled, nothing, generator()).image, labelled.image)
    assert torch.equal(style.back(labelled, nothing, generator()), labelled.image)
