"""A network that sees the surroundings of its windows.

In: band values (B, C, H, W) and, per level, what a wider and coarser view shows. Out: logits (B, K, H, W). Knows
tensors, never files: views and boxes come from `raster/pyramid.py`.

Each level has a small network of its own. What it sees is computed once per view (`encode`) and shared by all windows
that the view serves; per window, it is sampled where the window lies and added, through a gate, to what the local
network is about to classify.
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
from geoseg.models.surroundings import NOTHING, Context, Views
from geoseg.models.training_batch import Criterion, LabelledWindows
from geoseg.spec import ContextSpec, ModelSpec

FUSION_STRIDE = 4
"""What the levels have seen is weighed once for so many pixels along each side of a window."""


class ContextNet(nn.Module):
    """Sees one level."""

    def __init__(self, normalize: Normalize, net: Body, channels: int):
        super().__init__()
        self._normalize = (normalize,)  # the whole network's; in a tuple it is no further child
        self.net = net
        # Not normalised over the view: what one corner shows would change another, and views would differ at borders.
        self.project = nn.Sequential(
            nn.Conv2d(net.channels, channels, kernel_size=1, bias=False), nn.BatchNorm2d(channels), nn.GELU()
        )

    def decode(self, view: Tensor) -> Tensor:
        """Features of a view (B, C + 1, n, n), before it is classified."""
        share = view[:, -1:]
        values = self._normalize[0](view[:, :-1]) * (share > 0)  # what holds no data is as the mean
        return self.net.decode(self.net.encode(torch.cat([values, share], dim=1)))

    def forward(self, view: Tensor) -> Tensor:
        """Features of a view (B, C + 1, n, n) that are passed on (B, F, h, w)."""
        passed: Tensor = self.project(self.decode(view))
        return passed


class GatedFusion(nn.Module):
    """Turns what the levels have seen into evidence for the classes, as far as a gate lets it through.

    W0 (g c) with g = sigmoid(W2 GELU(W1 [l; c])), where c are the features of all levels where the window lies, and l
    what the local network gives to its segmentation head. W0 starts at zero: an untrained branch changes nothing.

    On every `FUSION_STRIDE`th pixel, l being averaged: c is coarser than that, and on every pixel a dozen passes over
    memory would cost half of a U-Net. Heads are linear, so that evidence added to what they answer is no less than
    features added to what they see.
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
        """What is added to logits of size[0] × size[1] pixels (B, K, h, w), given local features (B, L, h', w')."""
        few = -(-size[0] // FUSION_STRIDE), -(-size[1] // FUSION_STRIDE)
        local = functional.adaptive_avg_pool2d(local, few)
        seen = [sample_boxes(*level, few) for level in zip(context.maps, context.boxes, strict=True)]
        together = torch.cat(seen, dim=1)
        gate = self.gate(torch.cat([local, together], dim=1)).sigmoid()
        evidence: Tensor = self.out(gate * together)
        return functional.interpolate(evidence.float(), size=tuple(size), mode="bilinear", align_corners=False)


class ContextBranch(nn.Module):
    """All levels: what sees them, and what adds them."""

    def __init__(self, spec: ContextSpec, nets: Sequence[ContextNet], local: int, classes: int):
        super().__init__()
        self.spec = spec
        self.nets = nn.ModuleList(nets)
        self.fusion = GatedFusion(local, spec.channels * len(nets), classes)


class ContextSegmenter(SegmentationNetwork):
    """A segmentation network with a context branch; without context it is exactly that network."""

    def __init__(self, normalize: Normalize, body: Body, branch: ContextBranch):
        super().__init__(normalize, body)
        self.context = branch

    def encode(self, level: int, view: Tensor) -> Tensor:
        """See a view (B, C + 1, n, n) of a level once: the features (B, F, h, w) that serve all windows in it."""
        features: Tensor = self.context.nets[level](view)
        return features

    def see(self, views: Views) -> Context:
        """See the views of all levels, one per window."""
        return Context(tuple(self.encode(i, view) for i, view in enumerate(views.images)), views.boxes)

    def study(self, views: Views) -> tuple[Context, tuple[Tensor, ...]]:
        """See the views, and classify them, too, per level (B, K, n', n'), by which training teaches them."""
        maps, logits = [], []
        for net, view in zip(self.context.nets, views.images, strict=True):
            assert isinstance(net, ContextNet)
            decoded = net.decode(view)
            maps.append(net.project(decoded))
            logits.append(net.net.head(decoded))
        return Context(tuple(maps), views.boxes), tuple(logits)

    def forward(self, image: Tensor, context: Context = NOTHING) -> Tensor:
        """Classify band values (B, C, H, W) as logits (B, K, H, W), knowing what the levels have seen, or nothing."""
        if not context.maps:
            return super().forward(image)
        local = self.body.decode(self.body.encode(self.normalize(image)))
        logits: Tensor = self.body.head(local)
        added = self.context.fusion(local, context, logits.shape[-2:])
        kept = self._kept(len(image), local.device)
        return logits.float().add_(added if kept is None else added * kept)

    @property
    def frozen_parts(self) -> tuple[nn.Module, ...]:
        """The local network, if the branch alone is to learn."""
        return (self.normalize, self.body) if self.context.spec.freeze_local else ()

    def training_loss(
        self, windows: LabelledWindows, criterion: Criterion, averaged: SegmentationNetwork, generator: torch.Generator
    ) -> Tensor:
        """Loss of windows that know what the levels have seen, and of the classes that each level gives on its own."""
        context, answers = self.study(windows.views)
        pairs = zip(answers, windows.view_labels, strict=True)
        losses = [criterion(_resized(logits, labels), labels.long()) for logits, labels in pairs]
        logits = self(windows.image.contiguous(memory_format=torch.channels_last), context)
        return criterion.of_windows(logits, windows.labels) + self.context.spec.auxiliary * torch.stack(losses).mean()

    def _kept(self, count: int, device: torch.device) -> Tensor | None:
        """While training, 0 for windows that must do without context and 1 for the others (B, 1, 1, 1)."""
        if not self.training or not self.context.spec.dropout:
            return None
        return (torch.rand(count, 1, 1, 1, device=device) >= self.context.spec.dropout).float()


def _resized(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (B, K, h, w) in the size of labels (B, n, n)."""
    return functional.interpolate(logits, size=tuple(labels.shape[-2:]), mode="bilinear")


class Contexts:
    """Builds networks that know the surroundings of their windows."""

    parts: Mapping[str, str] = {"context": "the context branch"}

    def build(self, spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> ContextSegmenter:
        """Join a small network per level to a body.

        Raises:
            ModelError: if a level's network cannot be built.
        """
        context = _context_of(spec)
        bands, classes = len(spec.bands) + 1, len(spec.classes)
        levels = [build_body(context.network, bands, classes, fresh=fresh) for _ in context.levels]
        nets = [ContextNet(normalize, net, context.channels) for net in levels]
        return ContextSegmenter(normalize, body, ContextBranch(context, nets, body.channels, classes))

    def meaning(self, spec: ModelSpec) -> object:
        """Ratios, network, channels, bands and classes; views may differ in size and margin."""
        context = _context_of(spec)
        network = context.network.model_dump(mode="json")
        ratios = [level.ratio for level in context.levels]
        return ratios, network, context.channels, spec.bands, [c.name for c in spec.classes]


def _context_of(spec: ModelSpec) -> ContextSpec:
    assert spec.context is not None  # which is what makes this the branch of the spec
    return spec.context


BRANCH = Contexts()
