"""A network that refines the class probabilities of coarser views of a scene where these are uncertain.

In: band values (B, C, H, W) and the probabilities of a coarser view that contains them. Out: logarithms of
probabilities (B, K, H, W).

MagNet (Huynh et al., "Progressive Semantic Segmentation", CVPR 2021), section 3: one segmentation network for all
resolutions, and a small refinement module that decides, pixel by pixel, between fine and coarse probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.box_sampling import sample_boxes
from geoseg.models.families.body import Body
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.models.surroundings import NO_CONTEXT, Context, Views
from geoseg.models.training_batch import Criterion, LabelledWindows
from geoseg.spec import IGNORE, ModelSpec, RefineSpec

REACH_PX = 4
"""Radius of the refinement module's receptive field, in pixels."""
BLOCK_PX = 128
"""Side of the blocks in which it processes a window, in pixels; blocks without an uncertain pixel are skipped."""
BLOCKS_AT_ONCE = {"cpu": 4, "cuda": 64, "mps": 16}
"""Blocks in memory at once, by device: each takes some 30 MB in fp32."""
STORED_STEPS = 255
"""Steps from 0 to 1 to which stored coarse probabilities are rounded."""
LEAST_PROBABILITY = 1e-4
"""Value of a stored probability of 0."""
THRESHOLD_MOMENTUM = 0.05
"""Share by which each batch moves the threshold towards the quantile of its scores."""
TRAINED_PX = 96
"""Side of the part of a window on which the module is trained, in pixels: per pixel it costs more than the network."""
QUANTILE_PX = 2**16
"""Most pixels of a batch from which the quantile of scores is estimated."""


class _Bottleneck(nn.Module):
    """Residual block of 1 × 1, 3 × 3 and 1 × 1 convolutions (He et al. 2016), unpadded: it crops a pixel per side."""

    def __init__(self, channels: int, inner: int, out: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            *_convolution(channels, inner, 1), nn.ReLU(inplace=True),
            *_convolution(inner, inner, 3), nn.ReLU(inplace=True),
            *_convolution(inner, out, 1),
        )  # fmt: skip
        self.shortcut = nn.Sequential(*_convolution(channels, out, 1)) if channels != out else nn.Identity()

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, out, h - 2, w - 2)."""
        return functional.relu_(self.convolutions(values).add_(self.shortcut(values[:, :, 1:-1, 1:-1])))


def _convolution(channels: int, out: int, side: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, out, side, bias=False), nn.BatchNorm2d(out)


class RefinementModule(nn.Module):
    """The refinement module g of MagNet: fine and coarse probabilities in, logits out; 88,092 weights for 7 classes.

    It sees no image, and 9 × 9 pixels of both maps. Convolutions are unpadded and the maps are padded by replication,
    so that a window processed in blocks is the same as the window processed at once.
    """

    def __init__(self, classes: int, channels: int = 64):
        super().__init__()
        inner, wide = channels // 2, 2 * channels
        self.layers = nn.Sequential(
            nn.BatchNorm2d(2 * classes),
            *_convolution(2 * classes, channels, 3), nn.ReLU(inplace=True),
            *_convolution(channels, channels, 3), nn.ReLU(inplace=True),
            _Bottleneck(channels, inner, wide),
            _Bottleneck(wide, inner, wide),
            nn.Conv2d(wide, classes, 1, bias=False),
        )  # fmt: skip

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Logits (B, K, h, w) from probabilities (B, K, h, w) of the finer and of the coarser view."""
        return self.of_padded(joined_and_padded(fine, coarse))

    def of_padded(self, both: Tensor) -> Tensor:
        """Logits (B, K, h, w) of padded maps (B, 2 K, h + 8, w + 8)."""
        logits: Tensor = self.layers(both)
        return logits


def joined_and_padded(fine: Tensor, coarse: Tensor) -> Tensor:
    """Fine and coarse probabilities (B, K, h, w) as one map (B, 2 K, h + 8, w + 8), padded by replication."""
    return functional.pad(torch.cat([fine, coarse], dim=1), (REACH_PX,) * 4, mode="replicate")


class RefineBranch(nn.Module):
    """The refinement module and its threshold."""

    threshold: Tensor
    """Score above which a pixel is refined."""

    def __init__(self, spec: RefineSpec, classes: int):
        super().__init__()
        self.spec = spec
        self.module = RefinementModule(classes, spec.channels)
        self.register_buffer("threshold", torch.zeros(()))

    @torch.no_grad()
    def follow(self, scores: Tensor) -> None:
        """Move the threshold towards the score that the spec's share of labelled pixels (N) exceeds."""
        if not scores.numel():
            return
        some = scores.flatten()[:: max(1, scores.numel() // QUANTILE_PX)].float()
        wanted = torch.quantile(some, 1 - self.spec.points)
        self.threshold.lerp_(wanted, THRESHOLD_MOMENTUM)


class RefiningSegmenter(SegmentationNetwork):
    """A network that refines the probabilities of a coarser view; with an empty context it is the network alone.

    Its context (see `Context`) is the probabilities (B, K, h, w) of the next coarser view, and the boxes of windows.
    """

    UNFUSED = ("settle",)  # the blocks it works on differ from window to window

    def __init__(self, normalize: Normalize, body: Body, branch: RefineBranch):
        super().__init__(normalize, body)
        self.refine = branch

    def forward(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Classify band values (B, C, H, W): as logits, or, given those of a coarser view, as log probabilities."""
        logits = super().forward(image)
        if not context.maps:
            return logits
        coarse = self.coarse(context, (image.shape[-2], image.shape[-1]))
        settled: Tensor = self.settle(logits.float().softmax(dim=1), coarse)
        return settled.log()

    def see(self, views: Views) -> Context:
        """The context is the views themselves: probabilities (B, K, h, w) of a coarser view, and boxes."""
        return Context(*views)

    def coarse(self, context: Context, size: tuple[int, int]) -> Tensor:
        """The coarser view's probabilities (B, K, *size), resampled to the windows."""
        return _without_zeros(sample_boxes(context.maps[0], context.boxes[0], size))

    def settle(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Probabilities (B, K, h, w): the refined ones where the coarse ones are uncertain and the refined certain.

        MagNet takes the pixels with the largest median-filtered scores of a scene; here it is those above a threshold,
        which depends on no other pixel. A median exceeds a threshold where most of the values do.
        """
        uncertain, threshold = uncertainty(coarse), float(self.refine.threshold)
        halo = self.refine.spec.median_px // 2
        refined = self._refined(fine, coarse, _uncertain_blocks(uncertain > threshold, halo))
        scores = uncertain * (1 - uncertainty(refined))
        return torch.where(_most(scores > threshold, halo), refined, coarse)

    @property
    def frozen_parts(self) -> tuple[nn.Module, ...]:
        """The segmentation network, if only the refinement module is trained."""
        return (self.normalize, self.body) if self.refine.spec.freeze_local else ()

    def training_loss(
        self, windows: LabelledWindows, criterion: Criterion, averaged: SegmentationNetwork, generator: torch.Generator
    ) -> Tensor:
        """Loss of the network on windows and views alike, plus that of the refinement module; a scalar.

        Both parts are trained in the same steps: the refinement module on the probabilities of the averaged network, as
        MagNet trains it on a fixed network. Views are as large as windows.
        """
        labels = [windows.labels, *(ids.long() for ids in windows.view_labels)]
        image = torch.cat([windows.image, *(fill_gaps(view, self.normalize.mean) for view in windows.views.images)])
        image = image.contiguous(memory_format=torch.channels_last)
        total = image.new_zeros(())
        if not self.refine.spec.freeze_local:
            logits = self(image).chunk(len(labels))
            total = total + torch.stack([criterion(*pair) for pair in zip(logits, labels, strict=True)]).mean()
        with torch.no_grad():
            probabilities = averaged(image).float().softmax(dim=1).chunk(len(labels))
        predicted = Predicted(tuple(probabilities), tuple(labels), windows.views.boxes)
        steps = refine_steps(self.refine, predicted, generator)
        return total + torch.stack([criterion.of_hard_pixels(step.logits, step.labels) for step in steps]).mean()

    def _refined(self, fine: Tensor, coarse: Tensor, blocks: Sequence[_Block]) -> Tensor:
        """The refined probabilities of some blocks, and the coarse ones elsewhere."""
        refined, both = coarse.clone(), joined_and_padded(fine, coarse)
        height, width = (min(BLOCK_PX, side) for side in coarse.shape[-2:])
        at_once = BLOCKS_AT_ONCE[coarse.device.type]
        for first in range(0, len(blocks), at_once):
            some = blocks[first : first + at_once]
            cut = [both[b, :, y : y + height + 2 * REACH_PX, x : x + width + 2 * REACH_PX] for b, y, x in some]
            logits = self.refine.module.of_padded(torch.stack(cut).contiguous(memory_format=torch.channels_last))
            for (b, y, x), part in zip(some, logits.float().softmax(dim=1), strict=True):
                refined[b, :, y : y + height, x : x + width] = part
        return refined


def _without_zeros(sampled: Tensor) -> Tensor:
    """Probabilities (B, K, h, w), positive and with sum 1, of interpolated stored ones; equal where all are 0."""
    sampled = sampled.clamp(min=LEAST_PROBABILITY)
    return sampled.div_(sampled.sum(dim=1, keepdim=True))


_Block = tuple[int, int, int]
"""Number of the window, first row and first column; blocks at the end of a window are shifted to lie inside."""


def _uncertain_blocks(marked: Tensor, halo: int) -> list[_Block]:
    """Blocks with a marked pixel (B, 1, h, w) in them, or at most `halo` pixels away."""
    height, width = marked.shape[-2:]
    below, right = -height % BLOCK_PX, -width % BLOCK_PX
    padded = functional.pad(marked.float(), (halo, halo + right, halo, halo + below))
    found = functional.max_pool2d(padded, BLOCK_PX + 2 * halo, stride=BLOCK_PX)[:, 0].nonzero().tolist()
    last = max(0, height - BLOCK_PX), max(0, width - BLOCK_PX)
    return [(b, min(i * BLOCK_PX, last[0]), min(j * BLOCK_PX, last[1])) for b, i, j in found]


def _most(marked: Tensor, halo: int) -> Tensor:
    """Pixels (B, 1, h, w) for which most of the square of 2 halo + 1 pixels about them is marked."""
    if not halo:
        return marked
    side, share = 2 * halo + 1, marked.float()
    share = functional.avg_pool2d(share, (side, 1), stride=1, padding=(halo, 0), count_include_pad=False)
    share = functional.avg_pool2d(share, (1, side), stride=1, padding=(0, halo), count_include_pad=False)
    return share > 0.5


def uncertainty(probabilities: Tensor) -> Tensor:
    """1 less the margin between the two most likely classes (B, 1, h, w)."""
    best = probabilities.topk(2, dim=1).values
    return 1 - (best[:, :1] - best[:, 1:])


# ------------------------------------------------------------------------------------------------------------- training


def fill_gaps(view: Tensor, mean: Tensor) -> Tensor:
    """Band values (B, C, n, n) of a view (B, C + 1, n, n), nodata replaced by each band's mean (C, 1, 1)."""
    return torch.where(view[:, -1:] > 0, view[:, :-1], mean)


@dataclass(frozen=True)
class Predicted:
    """Probabilities of windows and of the coarser views that contain them, finest first, and their labels."""

    probabilities: tuple[Tensor, ...]
    """Of the windows, then of each view (B, K, n, n)."""
    labels: tuple[Tensor, ...]
    """Their class indexes (B, n, n)."""
    boxes: tuple[Tensor, ...]
    """Boxes of the windows in each view (B, 4)."""


class Step(NamedTuple):
    """One training step of refinement on parts of a view."""

    logits: Tensor
    """Of the refinement module (B, K, h, w)."""
    labels: Tensor
    """Class indexes (B, h, w)."""


def refine_steps(branch: RefineBranch, predicted: Predicted, generator: torch.Generator) -> list[Step]:
    """Refine parts of windows and views step by step, from the coarsest view to the windows.

    Half of the windows continue from the refined probabilities, as all do when a scene is predicted, the others from
    the network's own probabilities of the coarser view.
    """
    parts = _Parts.draw(predicted, generator)
    last = len(predicted.probabilities) - 1
    coarse, steps = parts.cut(last, predicted.probabilities[last]), []
    for level in range(last - 1, -1, -1):
        stored = coarse.mul(STORED_STEPS).round().div(STORED_STEPS)  # as when a scene is predicted
        upsampled = _without_zeros(sample_boxes(stored, parts.boxes[level], (parts.sides[level],) * 2))
        fine = parts.cut(level, predicted.probabilities[level])
        logits = branch.module(fine, upsampled)
        labels = parts.cut(level, predicted.labels[level][:, None])[:, 0]
        steps.append(Step(logits, labels))
        with torch.no_grad():
            refined = logits.float().softmax(dim=1)
            scores = uncertainty(upsampled) * (1 - uncertainty(refined))
            branch.follow(scores[:, 0][labels != IGNORE])
            settled = torch.where(scores > branch.threshold, refined, upsampled)
            goes_on = torch.rand(len(fine), 1, 1, 1, generator=generator, device=fine.device) < 0.5
            coarse = torch.where(goes_on, settled, fine)
    return steps


@dataclass(frozen=True)
class _Parts:
    """A part of each window, and the part of each view that contains it."""

    sides: tuple[int, ...]
    """Side of the parts, level by level, in the level's pixels."""
    corners: tuple[Tensor, ...]
    """First row and column of each (B, 2)."""
    boxes: tuple[Tensor, ...]
    """Box of each part in the part of the next coarser level (B, 4)."""

    @classmethod
    def draw(cls, predicted: Predicted, generator: torch.Generator) -> _Parts:
        """Draw parts of the windows, and find the parts of the views that contain them."""
        count, side = len(predicted.boxes[0]), predicted.labels[0].shape[-1]
        sides, boxes = [min(side, TRAINED_PX)], []
        device = predicted.boxes[0].device
        first = torch.rand(count, 2, generator=generator, device=device) * (side - sides[0] + 1)
        corners = [first.long()]
        for inner, outer in zip((None, *predicted.boxes), predicted.boxes, strict=False):
            box = _box_between(inner, outer)
            scale = torch.stack([box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]], dim=1)
            start = box[:, :2] + corners[-1].flip(1) / side * scale  # of the part, in shares of the outer view
            stop = start + sides[-1] / side * scale
            needed = int(((stop - start) * side).max().ceil()) + 4
            sides.append(min(side, max(needed, TRAINED_PX // 2)))
            middle = (start + stop) / 2 * side
            corner = (middle - sides[-1] / 2).round().clamp(0, side - sides[-1])
            boxes.append(torch.cat([start * side - corner, stop * side - corner], dim=1) / sides[-1])
            corners.append(corner.flip(1).long())
        return cls(tuple(sides), tuple(corners), tuple(boxes))

    def cut(self, level: int, maps: Tensor) -> Tensor:
        """The parts of maps (B, C, n, n) of a level."""
        side = self.sides[level]
        corners = self.corners[level].tolist()
        return torch.stack([m[:, y : y + side, x : x + side] for m, (y, x) in zip(maps, corners, strict=True)])


def _box_between(inner: Tensor | None, outer: Tensor) -> Tensor:
    """Box of a finer view in a coarser one, given the boxes of the windows in both (B, 4); None for the windows."""
    if inner is None:
        return outer
    sides, wider = inner[:, 2:] - inner[:, :2], outer[:, 2:] - outer[:, :2]
    start = outer[:, :2] - inner[:, :2] / sides * wider
    return torch.cat([start, start + wider / sides], dim=1)


class Refinements:
    """Builds networks with a refinement module."""

    parts: Mapping[str, str] = {"refine": "the refinement module"}

    def build(self, spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> RefiningSegmenter:
        """Add a refinement module to a body."""
        return RefiningSegmenter(normalize, body, RefineBranch(_refine_of(spec), len(spec.classes)))

    def meaning(self, spec: ModelSpec) -> object:
        """Channels and classes."""
        return _refine_of(spec).channels, [c.name for c in spec.classes]


def _refine_of(spec: ModelSpec) -> RefineSpec:
    assert isinstance(spec.branch, RefineSpec)  # which is what makes this the branch of the spec
    return spec.branch


BRANCH = Refinements()
