"""A network that corrects the classes of coarser views of a scene where these are unsure.

In: band values (B, C, H, W) and the coarser view's probabilities around them. Out: logarithms of probabilities
(B, K, H, W). Knows tensors, never files.

MagNet (Huynh et al., "Progressive Semantic Segmentation", CVPR 2021), section 3: one segmentation network for all
resolutions, and a small refinement module that settles, pixel by pixel, between its fine and its coarse answer.
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
from geoseg.models.surroundings import NOTHING, Context, Views
from geoseg.models.training_batch import Criterion, LabelledWindows
from geoseg.spec import IGNORE, ModelSpec, RefineSpec

REACH_PX = 4
"""How far the refinement module sees on each side of a pixel."""
BLOCK_PX = 128
"""Side of the blocks in which it looks at a window: those where nothing is unsure are passed over."""
BLOCKS_AT_ONCE = {"cpu": 4, "cuda": 64, "mps": 16}
"""Blocks in memory at once, by device: each takes some 30 MB in fp32."""
STORED_STEPS = 255
"""Coarse probabilities are kept in whole shares of one by so many."""
LEAST_PROBABILITY = 1e-4
"""What a stored probability of 0 stands for."""
THRESHOLD_MOMENTUM = 0.05
"""How fast the threshold follows the scores of the training windows."""
TRAINED_PX = 96
"""Side of the part of a window from which the module learns: it sees 9 pixels, and costs more than the network."""
QUANTILE_PX = 2**16
"""Most pixels of a batch of which scores are ranked."""


class _Bottleneck(nn.Module):
    """1 × 1, 3 × 3, 1 × 1 convolutions around which the input passes (He et al. 2016); one pixel narrower per side."""

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

    It sees no image and 9 × 9 pixels: an arbiter between two maps. Convolutions are not padded, the maps are, by their
    edge: so a window seen in blocks is the window seen at once.
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
        return self.inside(surround(fine, coarse))

    def inside(self, both: Tensor) -> Tensor:
        """Logits (B, K, h, w) of what lies at least `REACH_PX` inside of both maps (B, 2 K, h + 8, w + 8)."""
        logits: Tensor = self.layers(both)
        return logits


def surround(fine: Tensor, coarse: Tensor) -> Tensor:
    """Fine and coarse probabilities (B, K, h, w) as one map (B, 2 K, h + 8, w + 8), padded by its edge."""
    return functional.pad(torch.cat([fine, coarse], dim=1), (REACH_PX,) * 4, mode="replicate")


class RefineBranch(nn.Module):
    """What refinement adds to a network."""

    threshold: Tensor
    """Score from which on a pixel is refined."""

    def __init__(self, spec: RefineSpec, classes: int):
        super().__init__()
        self.spec = spec
        self.module = RefinementModule(classes, spec.channels)
        self.register_buffer("threshold", torch.zeros(()))

    @torch.no_grad()
    def follow(self, scores: Tensor) -> None:
        """Move the threshold so that the spec's share of labelled pixels (N) lies above it."""
        if not scores.numel():
            return
        some = scores.flatten()[:: max(1, scores.numel() // QUANTILE_PX)].float()
        wanted = torch.quantile(some, 1 - self.spec.points)
        self.threshold.lerp_(wanted, THRESHOLD_MOMENTUM)


class RefiningSegmenter(SegmentationNetwork):
    """A network that corrects a coarser view's classes; without these it is exactly that network.

    Its context (see `Context`) is the probabilities (B, K, h, w) of the next coarser view, and where windows lie in it.
    """

    UNFUSED = ("settle",)  # the blocks it works on differ from window to window

    def __init__(self, normalize: Normalize, body: Body, branch: RefineBranch):
        super().__init__(normalize, body)
        self.refine = branch

    def forward(self, image: Tensor, context: Context = NOTHING) -> Tensor:
        """Classify band values (B, C, H, W): as logits, or, given those of a coarser view, as log probabilities."""
        logits = super().forward(image)
        if not context.maps:
            return logits
        coarse = self.coarse(context, (image.shape[-2], image.shape[-1]))
        settled: Tensor = self.settle(logits.float().softmax(dim=1), coarse)
        return settled.log()

    def see(self, views: Views) -> Context:
        """Take a coarser view's probabilities (B, K, h, w), and where windows lie in it, as they are."""
        return Context(*views)

    def coarse(self, context: Context, size: tuple[int, int]) -> Tensor:
        """The coarser view's probabilities (B, K, *size) where windows lie."""
        return _without_zeros(sample_boxes(context.maps[0], context.boxes[0], size))

    def settle(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Probabilities (B, K, h, w): the refined ones where the coarse ones are unsure and these are sure.

        MagNet takes the pixels with the largest median-filtered scores; here those above a threshold, which needs no
        other pixel of the scene. A median exceeds a threshold where most of the values do.
        """
        unsure, threshold = uncertainty(coarse), float(self.refine.threshold)
        halo = self.refine.spec.median_px // 2
        refined = self._refined(fine, coarse, _unsure_blocks(unsure > threshold, halo))
        scores = unsure * (1 - uncertainty(refined))
        return torch.where(_most(scores > threshold, halo), refined, coarse)

    @property
    def frozen_parts(self) -> tuple[nn.Module, ...]:
        """The network for all resolutions, if the refinement module alone is to learn."""
        return (self.normalize, self.body) if self.refine.spec.freeze_local else ()

    def training_loss(
        self, windows: LabelledWindows, criterion: Criterion, averaged: SegmentationNetwork, generator: torch.Generator
    ) -> Tensor:
        """Loss of windows and views, which the network classifies alike, and of what the refinement module settles.

        Both parts learn in the same steps: the refinement module from what the running mean of the network answers, as
        MagNet trains it on a network that stands still. Views are as large as windows.
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
        """The refined probabilities of some blocks, and the coarse ones of all others."""
        refined, both = coarse.clone(), surround(fine, coarse)
        height, width = (min(BLOCK_PX, side) for side in coarse.shape[-2:])
        at_once = BLOCKS_AT_ONCE[coarse.device.type]
        for first in range(0, len(blocks), at_once):
            some = blocks[first : first + at_once]
            cut = [both[b, :, y : y + height + 2 * REACH_PX, x : x + width + 2 * REACH_PX] for b, y, x in some]
            logits = self.refine.module.inside(torch.stack(cut).contiguous(memory_format=torch.channels_last))
            for (b, y, x), part in zip(some, logits.float().softmax(dim=1), strict=True):
                refined[b, :, y : y + height, x : x + width] = part
        return refined


def _without_zeros(sampled: Tensor) -> Tensor:
    """Probabilities (B, K, h, w) of stored ones between which was interpolated; where nothing is known, all alike."""
    sampled = sampled.clamp(min=LEAST_PROBABILITY)
    return sampled.div_(sampled.sum(dim=1, keepdim=True))


_Block = tuple[int, int, int]
"""Number of the window, first row and first column; the last ones of a window are pulled back into it."""


def _unsure_blocks(unsure: Tensor, halo: int) -> list[_Block]:
    """Blocks in which, or around which, any pixel (B, 1, h, w) is unsure."""
    height, width = unsure.shape[-2:]
    below, right = -height % BLOCK_PX, -width % BLOCK_PX
    padded = functional.pad(unsure.float(), (halo, halo + right, halo, halo + below))
    found = functional.max_pool2d(padded, BLOCK_PX + 2 * halo, stride=BLOCK_PX)[:, 0].nonzero().tolist()
    last = max(0, height - BLOCK_PX), max(0, width - BLOCK_PX)
    return [(b, min(i * BLOCK_PX, last[0]), min(j * BLOCK_PX, last[1])) for b, i, j in found]


def _most(marked: Tensor, halo: int) -> Tensor:
    """Where most pixels of the square of 2 halo + 1 pixels around are marked (B, 1, h, w)."""
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
    """Band values of a view (B, C + 1, n, n); what holds no data gets each band's mean (C, 1, 1)."""
    return torch.where(view[:, -1:] > 0, view[:, :-1], mean)


@dataclass(frozen=True)
class Predicted:
    """Probabilities of windows and of the coarser views around them, finest first, and what is right."""

    probabilities: tuple[Tensor, ...]
    """Of the windows, then of each view (B, K, n, n)."""
    labels: tuple[Tensor, ...]
    """Their class indexes (B, n, n)."""
    boxes: tuple[Tensor, ...]
    """Where the windows lie in each view (B, 4)."""


class Step(NamedTuple):
    """One step of refinement over a part of a view, to learn from."""

    logits: Tensor
    """Of the refinement module (B, K, h, w)."""
    labels: Tensor
    """What is right (B, h, w)."""


def refine_steps(branch: RefineBranch, predicted: Predicted, generator: torch.Generator) -> list[Step]:
    """Refine parts of windows and views step by step, from the coarsest view to the windows.

    Half of the windows go on from what has been refined, as all do when a scene is predicted, the others from what the
    network itself predicted of the coarser view.
    """
    parts = _Parts.draw(predicted, generator)
    last = len(predicted.probabilities) - 1
    coarse, steps = parts.cut(last, predicted.probabilities[last]), []
    for level in range(last - 1, -1, -1):
        stored = coarse.mul(STORED_STEPS).round().div(STORED_STEPS)  # as when a scene is predicted
        around = _without_zeros(sample_boxes(stored, parts.boxes[level], (parts.sides[level],) * 2))
        fine = parts.cut(level, predicted.probabilities[level])
        logits = branch.module(fine, around)
        labels = parts.cut(level, predicted.labels[level][:, None])[:, 0]
        steps.append(Step(logits, labels))
        with torch.no_grad():
            refined = logits.float().softmax(dim=1)
            scores = uncertainty(around) * (1 - uncertainty(refined))
            branch.follow(scores[:, 0][labels != IGNORE])
            settled = torch.where(scores > branch.threshold, refined, around)
            goes_on = torch.rand(len(fine), 1, 1, 1, generator=generator, device=fine.device) < 0.5
            coarse = torch.where(goes_on, settled, fine)
    return steps


@dataclass(frozen=True)
class _Parts:
    """A part of each window, and of each view what lies around it."""

    sides: tuple[int, ...]
    """Side of the parts, level by level, in the level's pixels."""
    corners: tuple[Tensor, ...]
    """First row and column of each (B, 2)."""
    boxes: tuple[Tensor, ...]
    """Where each part lies in the part of the next coarser level (B, 4)."""

    @classmethod
    def draw(cls, predicted: Predicted, generator: torch.Generator) -> _Parts:
        """Draw parts of the windows, and find those of the views that surround them."""
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
    """Where a finer view lies in a coarser one, given where the windows lie in both (B, 4); None for the windows."""
    if inner is None:
        return outer
    sides, wider = inner[:, 2:] - inner[:, :2], outer[:, 2:] - outer[:, :2]
    start = outer[:, :2] - inner[:, :2] / sides * wider
    return torch.cat([start, start + wider / sides], dim=1)


class Refinements:
    """Builds networks that refine coarser views."""

    parts: Mapping[str, str] = {"refine": "the refinement module"}

    def build(self, spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> RefiningSegmenter:
        """Add a refinement module to a body."""
        return RefiningSegmenter(normalize, body, RefineBranch(_refine_of(spec), len(spec.classes)))

    def meaning(self, spec: ModelSpec) -> object:
        """Channels and classes."""
        return _refine_of(spec).channels, [c.name for c in spec.classes]


def _refine_of(spec: ModelSpec) -> RefineSpec:
    assert spec.refine is not None  # which is what makes this the branch of the spec
    return spec.refine


BRANCH = Refinements()
