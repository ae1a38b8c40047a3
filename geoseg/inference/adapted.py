"""`--adapt`: a network adapted to a scene before it predicts it, one and the same for all of its windows.

In: a model, and the rasters that it is to predict. Out: entries of the network's state dict, found in one pass over
some of their windows, and notices.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from geoseg.core.errors import ModelError, SpecError
from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.geo.grid import Grid
from geoseg.inference.adaptations import ADAPTATIONS
from geoseg.inference.adaptations.adaptation import SceneWindow
from geoseg.inference.batches import read_padded
from geoseg.inference.windows import branch_of, make_grid
from geoseg.models.model import Model
from geoseg.models.window_check import check_window
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.readable import Readable
from geoseg.raster.validity import Mask, Values
from geoseg.spec import ClassifySpec, ModelSpec

SIDE_PX = 512
"""Largest side of the windows: gradients through larger ones take gigabytes."""
FEW_PX = 2**18
"""Pixels with data, below which a notice says that there is little to adapt to: those of a window."""
_LINES = "lines"
"""Name of the notices in a file."""


@dataclass(frozen=True)
class Adapted:
    """What becomes of a network."""

    entries: Mapping[str, Tensor]
    """Entries of its state dict, on the CPU."""
    lines: tuple[str, ...] = ()
    """What is uncertain about them, for the user."""

    def of(self, network: nn.Module) -> nn.Module:
        """A copy of the network with these entries."""
        copied = deepcopy(network)
        copied.load_state_dict({**copied.state_dict(), **self.entries})
        return copied

    def save(self, path: Path) -> None:
        """Write a file.

        Raises:
            OSError: if it cannot be written.
        """
        path.write_bytes(save(dict(self.entries), {_LINES: json.dumps(self.lines)}))

    @classmethod
    def load(cls, path: Path) -> Adapted:
        """Read a file."""
        with safe_open(path, "pt") as file:
            lines = json.loads((file.metadata() or {})[_LINES])
        return cls(load_file(path), tuple(lines))


def adaptation_notice(model: Model, spec: ClassifySpec) -> str:
    """What is done to a model that is to be adapted, for the user.

    Raises:
        GeosegError: if there is no such way, or the model cannot be adapted in it.
    """
    assert spec.adapt is not None
    way = ADAPTATIONS.get(spec.adapt)
    if isinstance(model.module, torch.jit.ScriptModule) or not any(True for _ in model.module.parameters()):
        raise ModelError(
            f"--adapt {spec.adapt}: the layers of model {model.spec.name} cannot be reached in a file of its kind: "
            "take a bundle (.safetensors), or leave --adapt out"
        )
    if branch_of(model.spec, spec).levels:
        raise SpecError(
            f"--adapt {spec.adapt} does not adapt what a model sees of the surroundings of its windows: pass "
            "--no-context, or leave --adapt out"
        )
    way.check(model.module)
    return (
        f"the network is adapted to the pixels of the scene that hold data (--adapt {spec.adapt}): "
        f"{way.describe(share_of(spec))}; found in at most {number_of(spec.adapt_windows, 'window')}, without labels"
    )


def share_of(spec: ClassifySpec) -> float:
    """How far the network goes from the trained to the scene's."""
    assert spec.adapt is not None
    return ADAPTATIONS.get(spec.adapt).share if spec.adapt_share is None else spec.adapt_share


def adapt(
    model: Model, rasters: Sequence[Readable], spec: ClassifySpec, device: torch.device, reporter: Reporter = SILENT
) -> Adapted:
    """Adapt a model to rasters, all together; progress of the stage `adapting` counts windows.

    Args:
        model: the model, which stays as it is.
        rasters: as its network sees them.
        spec: the settings, with `adapt`.
        device: where it is done.
        reporter: gets the progress.

    Raises:
        ModelError: if the network does not take windows of `SIDE_PX`, or gives no numbers.
        SceneError: if a raster is damaged where it is read.
    """
    assert spec.adapt is not None
    network = deepcopy(model.module).to(device).eval()
    sample = WindowSample.over(rasters, model.spec, spec)
    check_window(network, len(model.spec.bands), sample.side)
    held = 0

    def shown() -> Iterator[SceneWindow]:
        nonlocal held
        stage = Stage(reporter, "adapting", sample.count)
        for image, valid, pixels in sample.read():
            held += pixels
            window = SceneWindow(torch.from_numpy(image)[None].float(), torch.from_numpy(valid)[None])
            yield SceneWindow(*(part.to(device) for part in window))
            stage.advance(1)

    with gdal_settings(), _repeatable(device), torch.inference_mode(mode=False):
        entries = ADAPTATIONS.get(spec.adapt).adapt(network, shown(), share_of(spec))
    if not all(bool(values.isfinite().all()) for values in entries.values()):
        raise ModelError(f"--adapt {spec.adapt}: the adapted network is no longer made of numbers: leave --adapt out")
    return Adapted(
        {name: values.detach().cpu().contiguous() for name, values in entries.items()}, _few_lines(spec.adapt, held)
    )


def _few_lines(way: str, held: int) -> tuple[str, ...]:
    """The notice on a scene with few pixels."""
    if not held:
        return (f"--adapt {way}: the scene has no pixel with data: the network stays as it is",)
    return (f"--adapt {way}: {pixels_in_words(held)} with data are little to adapt to",) if held < FEW_PX else ()


@dataclass(frozen=True)
class WindowSample:
    """Windows of some rasters in a fixed order without a pattern, side by side."""

    rasters: Sequence[Readable]
    """The rasters."""
    grids: Sequence[Grid]
    """The windows of each."""
    fill: Sequence[float]
    """Value per band that replaces pixels without data."""
    most: int
    """Number of windows with data after which no more are read."""

    @classmethod
    def over(cls, rasters: Sequence[Readable], model: ModelSpec, spec: ClassifySpec) -> WindowSample:
        """The windows of a model over rasters, no larger than `SIDE_PX` if its network allows it."""
        side = min(SIDE_PX, spec.tile or model.tile)
        smaller = spec.model_copy(update={"tile": side, "overlap": 0})
        grids = [make_grid(raster.height, raster.width, model, smaller) for raster in rasters]
        return cls(rasters, grids, model.normalization.mean, spec.adapt_windows)

    @property
    def side(self) -> int:
        """Side of the largest windows."""
        return max(max(grid.rows.size, grid.cols.size) for grid in self.grids)

    @property
    def count(self) -> int:
        """Number of windows that are read, if all hold data."""
        return min(self.most, sum(map(len, self.grids)))

    def read(self) -> Iterator[tuple[Values, Mask, int]]:
        """Read windows that hold data one by one.

        Gives values (C, h, w); which pixels hold data (h, w), those beyond the raster's edge by reflection; and how
        many pixels of the raster hold data in it.
        """
        return islice((one for one in self._each() if one[2]), self.most)

    def _each(self) -> Iterator[tuple[Values, Mask, int]]:
        ends = np.cumsum([len(grid) for grid in self.grids])
        for number in np.random.default_rng(0).permutation(ends[-1]):
            which = int(np.searchsorted(ends, number, side="right"))
            grid = self.grids[which]
            i, j = divmod(int(number - ends[which]) + len(grid), grid.cols.count)
            window = grid.place(i, j).window
            inside = window.clip(grid.height, grid.width)
            if inside.pixels:  # else all of it is padding
                image, valid = read_padded(self.rasters[which], window, self.fill)
                top, left = inside.row - window.row, inside.col - window.col
                held = valid[top : top + inside.height, left : left + inside.width]
                yield image, valid, int(held.sum())


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Sums in one order on GPUs, where there is a kernel for it; on CPUs they always are."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*determinis.*")
        torch.use_deterministic_algorithms(mode=device.type == "cuda" or before[0], warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
