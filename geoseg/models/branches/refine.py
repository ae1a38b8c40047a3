"""A network that corrects its logits by the class probabilities of a coarser view, where it is unsure.

In: band values (B, C, H, W) and the probabilities of a coarser view that contains them. Out: logits (B, K, H, W).

MagNet (Huynh et al., "Progressive Semantic Segmentation", CVPR 2021), section 3: one segmentation network for all
resolutions, and a small refinement module that decides between fine and coarse probabilities. As there, they are
trained in two stages: the network alone at all resolutions, then the module on the frozen network. Three things differ:

- The module's output is added to the fine logits and starts at zero, so that it learns from a network that is as good
  as it was; in the paper it replaces them.
- It works at a stride: a coarse map has no finer detail, and on every pixel it would take longer than a small network.
- Pixels are chosen where the *fine* view is unsure, by a threshold. In the paper, the pixels of a scene in which the
  coarse view is unsure and the refined one sure are ranked, and all others keep their coarse classes, although the fine
  ones are known in every window that was forwarded. A threshold needs no other pixel of the scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

REACH = 4
"""Radius of the refinement module's receptive field, in pixels of its stride."""
STORED_STEPS = 255
"""Steps from 0 to 1 to which stored coarse probabilities are rounded."""
LEAST_PROBABILITY = 1e-4
"""Value of a stored probability of 0."""
THRESHOLD_MOMENTUM = 0.05
"""Share by which each batch moves a threshold towards the quantile of its uncertainties."""
QUANTILE_PX = 2**16
"""Most pixels of a batch from which that quantile is estimated."""


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
    """The refinement module g of MagNet: fine and coarse probabilities in, what is added to the fine logits out.

    It has 88,092 weights for 7 classes. It sees no image, and 9 × 9 pixels of both maps, which are
    padded by replication. Its last layer starts at zero: untrained, it adds nothing.
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
        )  # fmt: skip
        self.out = nn.Conv2d(wide, classes, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Differences of logits (B, K, h, w) from probabilities (B, K, h, w) of the finer and of the coarser view."""
        both = functional.pad(torch.cat([fine, coarse], dim=1), (REACH,) * 4, mode="replicate")
        added: Tensor = self.out(self.layers(both.contiguous(memory_format=torch.channels_last)))
        return added


class RefineBranch(nn.Module):
    """The refinement module, and the thresholds above which its output is added."""

    thresholds: Tensor
    """Per view that is refined, finest first: the uncertainty (L) above which a pixel is corrected."""

    def __init__(self, spec: RefineSpec, classes: int):
        super().__init__()
        self.spec = spec
        self.residual = RefinementModule(classes, spec.channels)
        self.register_buffer("thresholds", torch.zeros(len(spec.ratios)))

    def forward(self, logits: Tensor, context: Context) -> Tensor:
        """Logits (B, K, H, W), float32, of fine ones (B, K, H, W) and a coarser view; changed where they are unsure."""
        logits = logits.to(torch.float32, memory_format=torch.contiguous_format)
        fine = logits.softmax(dim=1)
        is_unsure = uncertainty(fine) > self.thresholds[context.level]
        return torch.addcmul(logits, self.added(fine, context), is_unsure.float())

    def added(self, fine: Tensor, context: Context) -> Tensor:
        """What the module adds to the logits (B, K, H, W) with the probabilities `fine` (B, K, H, W).

        It sees both maps once per stride, the fine one averaged, counted from the window's first pixel.
        """
        stride, (height, width) = self.spec.stride, fine.shape[-2:]
        few = functional.avg_pool2d(fine, stride, ceil_mode=True, count_include_pad=False)
        rows, cols = few.shape[-2:]
        boxes = _stretched(context.boxes[0], cols * stride / width, rows * stride / height)
        coarse = without_zeros(sample_boxes(context.maps[0], boxes, (rows, cols)))
        added = self.residual(few, coarse).to(torch.float32, memory_format=torch.contiguous_format)
        added = functional.interpolate(added, scale_factor=float(stride), mode="bilinear", align_corners=False)
        return added[:, :, :height, :width]

    @torch.no_grad()
    def follow(self, level: int, uncertainties: Tensor) -> None:
        """Move a level's threshold towards the value that the spec's share of its labelled pixels (N) exceeds."""
        if not uncertainties.numel():
            return
        some = uncertainties.flatten()[:: max(1, uncertainties.numel() // QUANTILE_PX)].float()
        wanted = torch.quantile(some, 1 - self.spec.points)
        self.thresholds[level].lerp_(wanted, THRESHOLD_MOMENTUM)


class RefiningSegmenter(SegmentationNetwork):
    """A network that is corrected by a coarser view of itself; with an empty context it is the network alone.

    Its context (see `Context`) is the probabilities (B, K, h, w) of the next coarser view, and the boxes of windows.
    """

    def __init__(self, normalize: Normalize, body: Body, branch: RefineBranch):
        super().__init__(normalize, body)
        self.refine = branch

    def forward(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Classify band values (B, C, H, W) as logits (B, K, H, W), given a coarser view or an empty context."""
        logits = super().forward(image)
        if not context.maps:
            return logits
        corrected: Tensor = self.refine(logits, context)
        return corrected

    def see(self, views: Views) -> Context:
        """The context is the views themselves: probabilities (B, K, h, w) of a coarser view, and boxes."""
        return Context(*views)

    def coarse(self, context: Context, size: tuple[int, int]) -> Tensor:
        """The coarser view's probabilities (B, K, *size), resampled to the windows."""
        return without_zeros(sample_boxes(context.maps[0], context.boxes[0], size))

    def start_branch(self, given: str) -> str:
        """Leave the module as it is; a frozen network that was not trained with `refine` is doubtful."""
        if given == RefineSpec.kind or not self.refine.spec.freeze_local:
            return ""
        return (
            "it was not trained with refine, so that it may know nothing of coarser views: train it with refine and "
            "without freeze_local first"
        )

    @property
    def frozen_parts(self) -> tuple[nn.Module, ...]:
        """The part that is not trained: the refinement module, or the network that it is trained on."""
        return (self.normalize, self.body) if self.refine.spec.freeze_local else (self.refine,)

    @torch.no_grad()
    def frozen_outputs(self, windows: LabelledWindows) -> tuple[Tensor, ...]:
        """Logits of the windows and of their views, finest first, (B, K, n, n), float16; none if the network learns."""
        if not self.refine.spec.freeze_local:
            return ()
        images = windows.image, *(fill_gaps(view, self.normalize.mean) for view in windows.views.images)
        return tuple(self(image).half() for image in images)

    def training_loss(
        self, windows: LabelledWindows, criterion: Criterion, averaged: SegmentationNetwork, generator: torch.Generator
    ) -> Tensor:
        """Loss of the network at all resolutions, or of the refinement module on the frozen network; a scalar."""
        if not self.refine.spec.freeze_local:
            return self._loss_of_magnifications(windows, criterion, generator)
        logits = windows.frozen or self.frozen_outputs(windows)
        labels = windows.labels, *(ids.long() for ids in windows.view_labels)
        answers = refine_step_by_step(self.refine, Fine(logits, labels, windows.views.boxes), generator)
        pairs = zip(answers, labels[:-1], strict=True)
        return torch.stack([criterion.of_hard_pixels(answer, ids) for answer, ids in pairs]).mean()

    def _loss_of_magnifications(
        self, windows: LabelledWindows, criterion: Criterion, generator: torch.Generator
    ) -> Tensor:
        """Loss of the windows and of some of their views, which are as large and forwarded in the same batch."""
        native, count = self.refine.spec.native, len(windows.image)
        drawn = draw_views(count, len(windows.views.images), native, generator)
        views = [fill_gaps(windows.views.images[level][which], self.normalize.mean) for level, which in drawn]
        image = torch.cat([windows.image, *views])
        fine, *coarse = self(image).split([count, *(len(view) for view in views)])
        losses = [
            criterion(logits, windows.view_labels[level][which].long())
            for logits, (level, which) in zip(coarse, drawn, strict=True)
        ]
        return native * criterion.of_windows(fine, windows.labels) + (1 - native) * torch.stack(losses).mean()


def uncertainty(probabilities: Tensor) -> Tensor:
    """1 less the margin between the two most likely classes (B, 1, h, w); several times as fast as `topk`."""
    best = probabilities[:, :1]
    second = torch.zeros_like(best)
    for other in torch.split(probabilities[:, 1:], 1, dim=1):
        second = torch.maximum(second, torch.minimum(best, other))
        best = torch.maximum(best, other)
    return 1 - (best - second)


def without_zeros(sampled: Tensor) -> Tensor:
    """Probabilities (B, K, h, w), positive and with sum 1, of interpolated stored ones; equal where all are 0."""
    sampled = sampled.clamp(min=LEAST_PROBABILITY)
    return sampled.div_(sampled.sum(dim=1, keepdim=True))


def _stretched(boxes: Tensor, across: float, down: float) -> Tensor:
    """Boxes (B, 4) as many times wider and higher, with the same first corner."""
    left, top, right, bottom = boxes.unbind(dim=1)
    return torch.stack([left, top, left + (right - left) * across, top + (bottom - top) * down], dim=1)


# ------------------------------------------------------------------------------------------------------------- training


def fill_gaps(view: Tensor, mean: Tensor) -> Tensor:
    """Band values (B, C, n, n) of a view (B, C + 1, n, n), nodata replaced by each band's mean (C, 1, 1)."""
    return torch.where(view[:, -1:] > 0, view[:, :-1], mean)


def draw_views(count: int, levels: int, native: float, generator: torch.Generator) -> list[tuple[int, Tensor]]:
    """Draw the views that are forwarded beside `count` windows: levels, each with the indexes of some windows.

    So many are drawn that `native` of all that is forwarded are windows, but at least one and at most all views; every
    level has as many as another, give or take one, and no view is drawn twice.
    """
    wanted = min(max(1, round(count * (1 - native) / native)), count * levels)
    order = torch.randperm(count, generator=generator, device=generator.device)
    first = int(torch.randint(levels, (), generator=generator, device=generator.device))
    places = torch.arange(wanted, device=generator.device)
    level_of = (places % count + places // count + first) % levels
    found = ((level, order[places[level_of == level] % count]) for level in range(levels))
    return [(level, which) for level, which in found if len(which)]


class Fine(NamedTuple):
    """What a frozen network makes of windows and of the coarser views that contain them, finest first."""

    logits: Sequence[Tensor]
    """Of the windows, then of each view (B, K, n, n)."""
    labels: Sequence[Tensor]
    """Their class indexes (B, n, n)."""
    boxes: Sequence[Tensor]
    """Boxes of the windows in each view (B, 4)."""


def refine_step_by_step(branch: RefineBranch, fine: Fine, generator: torch.Generator) -> list[Tensor]:
    """Logits (B, K, n, n) of windows and of views, each corrected by the next coarser one, finest first.

    Half of the samples continue from corrected logits, as all do when a scene is predicted, the others from the
    network's own; MagNet's released code trains with the latter alone and predicts with the former.
    """
    coarse, answers = stored(fine.logits[-1]), []
    for level in range(len(fine.logits) - 2, -1, -1):
        own = fine.logits[level].float()
        box = _box_between(fine.boxes[level - 1] if level else None, fine.boxes[level])
        branch.follow(level, uncertainty(own.softmax(dim=1))[:, 0][fine.labels[level] != IGNORE])
        answer = branch(own, Context((coarse,), (box,), level))
        goes_on = torch.rand(len(own), 1, 1, 1, generator=generator, device=own.device) < 0.5
        coarse = stored(torch.where(goes_on, answer.detach(), own))
        answers.append(answer)
    return answers[::-1]


def stored(logits: Tensor) -> Tensor:
    """Probabilities (B, K, h, w) of logits, rounded as between two levels of a scene."""
    return logits.float().softmax(dim=1).mul_(STORED_STEPS).round_().div_(STORED_STEPS)


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
        """Ratios, stride, channels and classes."""
        refine = _refine_of(spec)
        return refine.ratios, refine.stride, refine.channels, [c.name for c in spec.classes]


def _refine_of(spec: ModelSpec) -> RefineSpec:
    assert isinstance(spec.branch, RefineSpec)  # which is what makes this the branch of the spec
    return spec.branch


BRANCH = Refinements()
