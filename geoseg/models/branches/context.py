"""A network that also sees the surroundings of its windows, in wider and coarser views.

In: band values (B, C, H, W) and a view (B, C + 1, n, n) per level. Out: logits (B, K, H, W). Views and boxes come from
`raster/pyramid.py`.

Each level has a small network of its own. Its features are computed once per view (`encode`) and shared by all windows
in that view; for each window, they are resampled to the window's box, turned into logits through a gate, and added to
those of the local network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.box_sampling import sample_boxes
from geoseg.models.families.body import Body
from geoseg.models.families.building import build_body
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.models.surroundings import NO_CONTEXT, Context, Views
from geoseg.models.training_batch import Criterion, LabelledWindows
from geoseg.spec import ContextSpec, ModelSpec

FUSION_STRIDE = 4
"""Stride of the gated fusion, in pixels of the window."""


class ContextNet(nn.Module):
    """The network of one level."""

    def __init__(self, normalize: Normalize, net: Body, channels: int):
        super().__init__()
        self._normalize = (normalize,)  # the whole network's; in a tuple it is no further child
        self.net = net
        # No normalisation over the view: one corner would change another, and overlapping views would differ.
        self.project = nn.Sequential(
            nn.Conv2d(net.channels, channels, kernel_size=1, bias=False), nn.BatchNorm2d(channels), nn.GELU()
        )

    def decode(self, view: Tensor) -> Tensor:
        """Features (B, L, n', n') of a view (B, C + 1, n, n), the input of the level's own head."""
        share = view[:, -1:]
        values = self._normalize[0](view[:, :-1]) * (share > 0)  # nodata becomes the mean
        return self.net.decode(self.net.encode(torch.cat([values, share], dim=1)))

    def forward(self, view: Tensor) -> Tensor:
        """Projected features (B, F, h, w) of a view (B, C + 1, n, n)."""
        passed: Tensor = self.project(self.decode(view))
        return passed


class GatedFusion(nn.Module):
    """Turns the features of all levels into logits, weighted by a gate.

    W0 (g c) with g = sigmoid(W2 GELU(W1 [l; c])), where c are the features of all levels, resampled to the window, and
    l those that the local network passes to its segmentation head. W0 starts at zero: an untrained branch adds nothing.

    Computed at a stride of `FUSION_STRIDE` pixels, l being averaged: c is coarser than that, and on every pixel a dozen
    passes over memory would cost half of a U-Net. Heads are linear, so that adding logits is as expressive as adding
    features before the head.
    """

    def __init__(self, local: int, context: int, classes: int):
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(local + context, context, kernel_size=3, padding=1, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(context, context, kernel_size=1),
        )
        self.out = nn.Conv2d(context, classes, kernel_size=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, local: Tensor, context: Context, size: Sequence[int]) -> Tensor:
        """Logits (B, K, *size) to be added to those of the local network, given its features (B, L, h', w')."""
        few = -(-size[0] // FUSION_STRIDE), -(-size[1] // FUSION_STRIDE)
        local = functional.adaptive_avg_pool2d(local, few)
        seen = [sample_boxes(*level, few) for level in zip(context.maps, context.boxes, strict=True)]
        together = torch.cat(seen, dim=1)
        gate = self.gate(torch.cat([local, together], dim=1)).sigmoid()
        evidence: Tensor = self.out(gate * together)
        return functional.interpolate(evidence.float(), size=tuple(size), mode="bilinear", align_corners=False)


class ContextBranch(nn.Module):
    """The networks of all levels, and their fusion."""

    def __init__(self, spec: ContextSpec, nets: Sequence[ContextNet], local: int, classes: int):
        super().__init__()
        self.spec = spec
        self.nets = nn.ModuleList(nets)
        self.fusion = GatedFusion(local, spec.channels * len(nets), classes)


class ContextSegmenter(SegmentationNetwork):
    """A segmentation network with a context branch; with an empty context it is the local network."""

    def __init__(self, normalize: Normalize, body: Body, branch: ContextBranch):
        super().__init__(normalize, body)
        self.context = branch

    def encode(self, level: int, view: Tensor) -> Tensor:
        """Features (B, F, h, w) of a view (B, C + 1, n, n) of a level, shared by all windows in it."""
        features: Tensor = self.context.nets[level](view)
        return features

    def see(self, views: Views) -> Context:
        """Features of the views of all levels, one view per window."""
        return Context(tuple(self.encode(i, view) for i, view in enumerate(views.images)), views.boxes)

    def see_and_classify(self, views: Views) -> tuple[Context, tuple[Tensor, ...]]:
        """Features of the views, and per level auxiliary logits (B, K, n', n') of the views themselves."""
        maps, logits = [], []
        for net, view in zip(self.context.nets, views.images, strict=True):
            assert isinstance(net, ContextNet)
            decoded = net.decode(view)
            maps.append(net.project(decoded))
            logits.append(net.net.head(decoded))
        return Context(tuple(maps), views.boxes), tuple(logits)

    def forward(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Classify band values (B, C, H, W) as logits (B, K, H, W), with the context of the levels or an empty one."""
        if not context.maps:
            return super().forward(image)
        local = self.body.decode(self.body.encode(self.normalize(image)))
        logits: Tensor = self.body.head(local)
        added = self.context.fusion(local, context, logits.shape[-2:])
        kept = self._kept(len(image), local.device)
        return logits.float().add_(added if kept is None else added * kept)

    @property
    def frozen_parts(self) -> tuple[nn.Module, ...]:
        """The local network, if only the branch is trained."""
        return (self.normalize, self.body) if self.context.spec.freeze_local else ()

    def training_loss(
        self, windows: LabelledWindows, criterion: Criterion, averaged: SegmentationNetwork, generator: torch.Generator
    ) -> Tensor:
        """Loss of the windows' logits, plus the auxiliary loss of each level's own logits; a scalar."""
        context, answers = self.see_and_classify(windows.views)
        pairs = zip(answers, windows.view_labels, strict=True)
        losses = [criterion(_resized(logits, labels), labels.long()) for logits, labels in pairs]
        logits = self(windows.image.contiguous(memory_format=torch.channels_last), context)
        return criterion.of_windows(logits, windows.labels) + self.context.spec.auxiliary * torch.stack(losses).mean()

    def _kept(self, count: int, device: torch.device) -> Tensor | None:
        """Context dropout in training: 0 for windows without context, 1 for the others (B, 1, 1, 1)."""
        if not self.training or not self.context.spec.dropout:
            return None
        return (torch.rand(count, 1, 1, 1, device=device) >= self.context.spec.dropout).float()


def _resized(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (B, K, h, w) resized to labels (B, n, n)."""
    return functional.interpolate(logits, size=tuple(labels.shape[-2:]), mode="bilinear")


class Contexts:
    """Builds networks with a context branch."""

    parts: Mapping[str, str] = {"context": "the context branch"}

    def build(self, spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> ContextSegmenter:
        """Join a small network for each level to a body.

        Raises:
            ModelError: if a level's network cannot be built.
        """
        context = _context_of(spec)
        bands, classes = len(spec.bands) + 1, len(spec.classes)
        levels = [build_body(context.network, bands, classes, fresh=fresh) for _ in context.levels]
        nets = [ContextNet(normalize, net, context.channels) for net in levels]
        return ContextSegmenter(normalize, body, ContextBranch(context, nets, body.channels, classes))

    def meaning(self, spec: ModelSpec) -> object:
        """Ratios, network, channels, bands and classes, but not the size and margin of views."""
        context = _context_of(spec)
        network = context.network.model_dump(mode="json")
        ratios = [level.ratio for level in context.levels]
        return ratios, network, context.channels, spec.bands, [c.name for c in spec.classes]


def _context_of(spec: ModelSpec) -> ContextSpec:
    assert isinstance(spec.branch, ContextSpec)  # which is what makes this the branch of the spec
    return spec.branch


BRANCH = Contexts()
