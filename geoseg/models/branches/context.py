"""A network that also sees the surroundings of its windows, in wider and coarser views.

In: band values (B, C, H, W) and a view (B, C + 1, n, n) per level. Out: logits (B, K, H, W). Views and boxes come from
`raster/pyramid.py`.

Views are seen by a small network for each level, or by one copy of the local network for all of them. Features are
computed once per view (`encode`) and shared by all windows in that view; for each window, a fusion (`models/fusions/`)
turns them into logits, which are added to those of the local network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body
from geoseg.models.families.building import build_body
from geoseg.models.fusions.fusion import Fusion, Widths
from geoseg.models.gradient_balance import balanced
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.models.surroundings import NO_CONTEXT, Context, Views
from geoseg.models.training_batch import Criterion, LabelledWindows
from geoseg.models.window_padding import Sides
from geoseg.spec import ContextSpec, ModelSpec
from geoseg.spec.fusion import FUSIONS

FUSION_STRIDE = 4
"""Stride of the fusion, in pixels of the window."""


class LevelNet(nn.Module):
    """The network of one level; subclasses define its head and what it makes of a view."""

    def __init__(self, normalize: Normalize, decoded: int, channels: int):
        super().__init__()
        self._normalize = (normalize,)  # the whole network's; in a tuple it is no further child
        # No normalisation over the view: one corner would change another, and overlapping views would differ.
        self.project = nn.Sequential(
            nn.Conv2d(decoded, channels, kernel_size=1, bias=False), nn.BatchNorm2d(channels), nn.GELU()
        )

    @property
    def head(self) -> nn.Module:
        """Turns the output of `decode` (B, L, n', n') into auxiliary logits (B, K, n', n')."""
        raise NotImplementedError

    def decode(self, view: Tensor) -> Tensor:
        """Features (B, L, n', n') of a view (B, C + 1, n, n), the input of the level's head."""
        raise NotImplementedError

    def features(self, decoded: Tensor, view: Tensor) -> Tensor:
        """Projected features (B, F, n', n') of the decoded ones (B, L, n', n') of a view (B, C + 1, n, n)."""
        passed: Tensor = self.project(decoded)
        return passed

    def forward(self, view: Tensor) -> Tensor:
        """Projected features (B, F, n', n') of a view (B, C + 1, n, n)."""
        return self.features(self.decode(view), view)

    def _normalized(self, view: Tensor) -> Tensor:
        """Normalised values (B, C, n, n); nodata becomes the mean."""
        values: Tensor = self._normalize[0](view[:, :-1])
        return values * (view[:, -1:] > 0)


class ContextNet(LevelNet):
    """A network of a level's own, which also sees the share of each pixel that holds data."""

    def __init__(self, normalize: Normalize, net: Body, channels: int):
        super().__init__(normalize, net.channels, channels)
        self.net = net

    @property
    def head(self) -> nn.Module:
        """The head of the network."""
        return self.net.head

    def decode(self, view: Tensor) -> Tensor:
        """Features (B, L, n', n') of a view (B, C + 1, n, n)."""
        return self.net.decode(self.net.encode(torch.cat([self._normalized(view), view[:, -1:]], dim=1)))


class SharedNet(LevelNet):
    """The network that all levels share, seen through the scale embedding of one level.

    The embedding is a scale and a shift for each channel of each stage of the encoder, by which SFR-Net (arXiv
    2605.25737) distinguishes the windows of its shared encoder. At first it is the identity, so that the level's logits
    are those of the shared network. Places without data have features of 0.
    """

    def __init__(self, normalize: Normalize, body: Body, channels: int):
        super().__init__(normalize, body.channels, channels)
        self._body = (body,)  # the branch's; in a tuple it is no further child
        # One vector for all stages: those that the decoder does not use have gradients of 0, and none is left out.
        self.scale = nn.Parameter(torch.ones(sum(body.stages)))
        self.shift = nn.Parameter(torch.zeros(sum(body.stages)))

    @property
    def head(self) -> nn.Module:
        """The head of the shared network."""
        return self._body[0].head

    def decode(self, view: Tensor) -> Tensor:
        """Features (B, L, n', n') of a view (B, C + 1, n, n)."""
        body = self._body[0]
        features = body.encode(self._normalized(view))
        scales, shifts = (torch.split(part.view(-1, 1, 1), list(body.stages)) for part in (self.scale, self.shift))
        embedded = zip(features.maps, scales, shifts, strict=True)
        maps = [(one * scale + shift).to(one.dtype) for one, scale, shift in embedded]
        return body.decode(features._replace(maps=maps))

    def features(self, decoded: Tensor, view: Tensor) -> Tensor:
        """Projected features (B, F, n', n'), weighted by the share of data."""
        height, width = decoded.shape[-2:]
        return super().features(decoded, view) * functional.adaptive_avg_pool2d(view[:, -1:], (height, width))


class ContextBranch(nn.Module):
    """The networks of all levels, and their fusion."""

    def __init__(self, spec: ContextSpec, nets: Sequence[LevelNet], fusion: Fusion):
        super().__init__()
        self.spec = spec
        self.nets = nn.ModuleList(nets)
        self.fusion = fusion

    def start_from(self, local: Body) -> None:
        """Take over what the branch starts with from the weights of the local network: nothing."""

    def decode(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Per level: features (B, L, n', n') of its views (B, C + 1, n, n)."""
        return [_level(net).decode(view) for net, view in zip(self.nets, views, strict=True)]


class SharedBranch(ContextBranch):
    """One network, a copy of the local one, for all levels; and their fusion."""

    def __init__(self, spec: ContextSpec, nets: Sequence[LevelNet], fusion: Fusion, body: Body):
        super().__init__(spec, nets, fusion)
        self.body = body

    def start_from(self, local: Body) -> None:
        """Copy the weights of the local network."""
        self.body.load_state_dict(local.state_dict())

    def decode(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Per level: features (B, L, n', n') of its views (B, C + 1, n, n); in training with balanced gradients."""
        decoded = super().decode(views)
        return balanced(decoded) if self.training else decoded

    def train(self, mode: bool = True) -> Self:
        """Set the mode, except that batch normalisations keep the statistics of the local network.

        Each level has its own statistics. A running mean of all of them would fit none when the model predicts.
        """
        super().train(mode)
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


class ContextSegmenter(SegmentationNetwork):
    """A segmentation network with a context branch; with an empty context it is the local network."""

    def __init__(self, normalize: Normalize, body: Body, branch: ContextBranch):
        super().__init__(normalize, body)
        self.context = branch

    def start_branch(self, given: str) -> str:
        """Copy the weights of the local network into the branch, if its settings say so."""
        self.context.start_from(self.body)
        return ""

    def encode(self, level: int, view: Tensor) -> Tensor:
        """What all windows in a view (B, C + 1, n, n) of a level share of it: maps (B, F, h, w)."""
        return self.context.fusion.of_view(level, self.context.nets[level](view))

    def see(self, views: Views) -> Context:
        """Features of the views of all levels, one view per window."""
        return Context(tuple(self.encode(i, view) for i, view in enumerate(views.images)), views.boxes)

    def see_and_classify(self, views: Views) -> tuple[Context, tuple[Tensor, ...]]:
        """Features of the views, and per level auxiliary logits (B, K, n', n') of the views themselves."""
        nets = [_level(net) for net in self.context.nets]
        decoded = self.context.decode(views.images)
        seen = [net.features(one, view) for net, one, view in zip(nets, decoded, views.images, strict=True)]
        maps = [self.context.fusion.of_view(level, features) for level, features in enumerate(seen)]
        logits = [net.head(one) for net, one in zip(nets, decoded, strict=True)]
        return Context(tuple(maps), views.boxes), tuple(logits)

    def forward(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Classify band values (B, C, H, W) as logits (B, K, H, W), with the context of the levels or an empty one."""
        return self.fuse(*self._local(image), context) if context.maps else super().forward(image)

    @property
    def frozen_parts(self) -> tuple[nn.Module, ...]:
        """The local network, if only the branch is trained."""
        return (self.normalize, self.body) if self.context.spec.freeze_local else ()

    @torch.no_grad()
    def frozen_outputs(self, windows: LabelledWindows) -> tuple[Tensor, ...]:
        """Features (B, L, h, w) of a frozen local network at the stride of the fusion, and its logits (B, K, S, S)."""
        return self._local(windows.image) if self.frozen_parts else ()

    def training_loss(
        self, windows: LabelledWindows, criterion: Criterion, averaged: SegmentationNetwork, generator: torch.Generator
    ) -> Tensor:
        """Loss of the windows' logits, plus the auxiliary loss of each level's own logits; a scalar."""
        context, answers = self.see_and_classify(windows.views)
        pairs = zip(answers, windows.view_labels, strict=True)
        losses = [criterion(_resized(logits, labels), labels.long()) for logits, labels in pairs]
        features, local = windows.frozen or self._local(windows.image)
        logits = self.fuse(features, local, context)
        return criterion.of_windows(logits, windows.labels) + self.context.spec.auxiliary * torch.stack(losses).mean()

    def _local(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, L, h, w) of the local network at the stride of the fusion, and its logits (B, K, H, W)."""
        decoded, logits = self.body.classify(self.normalize(image))
        height, width = logits.shape[-2:]
        few = -(-height // FUSION_STRIDE), -(-width // FUSION_STRIDE)
        return functional.adaptive_avg_pool2d(decoded, few), logits

    def fuse(self, features: Tensor, local: Tensor, context: Context) -> Tensor:
        """Logits (B, K, H, W) of windows with context, given the local network's features and logits."""
        added: Tensor = self.context.fusion(features, context, local.shape[-2:])
        kept = self._kept(len(local), local.device)
        return (added if kept is None else added * kept).add_(local)

    def _kept(self, count: int, device: torch.device) -> Tensor | None:
        """Context dropout in training: 0 for windows without context, 1 for the others (B, 1, 1, 1)."""
        if not self.training or not self.context.spec.dropout:
            return None
        return (torch.rand(count, 1, 1, 1, device=device) >= self.context.spec.dropout).float()


def _resized(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (B, K, h, w) resized to labels (B, n, n)."""
    return functional.interpolate(logits, size=tuple(labels.shape[-2:]), mode="bilinear")


def _own_networks(spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> ContextBranch:
    """A small network for each level."""
    context = _context_of(spec)
    bands, classes = len(spec.bands) + 1, len(spec.classes)
    levels = [build_body(context.network, bands, classes, fresh=fresh) for _ in context.levels]
    if fresh:
        _check_views(context, levels[0].sides, "context.network")
    nets = [ContextNet(normalize, net, context.channels) for net in levels]
    return ContextBranch(context, nets, _fusion(spec, body, bias=True))


def _shared_network(spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> ContextBranch:
    """A copy of the local network for all levels."""
    context, shared = _context_of(spec), copy.deepcopy(body)
    if fresh:
        _check_views(context, shared.sides, "the model's network")
    nets = [SharedNet(normalize, shared, context.channels) for _ in context.levels]
    return SharedBranch(context, nets, _fusion(spec, body, bias=False), shared)


def _fusion(spec: ModelSpec, body: Body, *, bias: bool) -> Fusion:
    """The fusion of the settings for a local network."""
    context = _context_of(spec)
    kind: type[Fusion] = FUSIONS.get(context.fusion)
    return kind(Widths(body.channels, context.channels, len(context.levels), len(spec.classes)), bias=bias)


def _check_views(context: ContextSpec, sides: Sides, who: str) -> None:
    """Refuse views that a network would have to pad, whatever `network.multiple` says: boxes are shares of a view.

    Raises:
        ModelError: saying which size to take.
    """
    try:
        context.check_sizes(sides.multiple, who)
    except ValueError as error:
        raise ModelError(f"context: {error}") from None
    least = sides.fitting((sides.least, sides.least))[0]
    if few := next((level.size for level in context.levels if level.size < sides.least), None):
        raise ModelError(f"context: size {few} is too small for {who}: take {least} or more")


BUILDERS: Mapping[str, Callable[..., ContextBranch]] = {"random": _own_networks, "local": _shared_network}
"""Builders of branches by `ContextSpec.init`."""


class Contexts:
    """Builds networks with a context branch."""

    parts: Mapping[str, str] = {"context": "the context branch"}

    def build(self, spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> ContextSegmenter:
        """Join to a body a small network for each level, or a copy of it for all of them.

        Raises:
            ModelError: if a level's network cannot be built, or does not take its view.
        """
        branch = BUILDERS[_context_of(spec).init](spec, normalize, body, fresh=fresh)
        return ContextSegmenter(normalize, body, branch)

    def meaning(self, spec: ModelSpec) -> object:
        """Ratios, kind of network, channels, fusion, bands and classes, but not the size and margin of views."""
        context = _context_of(spec)
        network = context.network.model_dump(mode="json") if context.init == "random" else context.init
        ratios = [level.ratio for level in context.levels]
        return ratios, network, context.channels, context.fusion, spec.bands, [c.name for c in spec.classes]


def _level(net: nn.Module) -> LevelNet:
    assert isinstance(net, LevelNet)  # which all modules of the list are
    return net


def _context_of(spec: ModelSpec) -> ContextSpec:
    assert isinstance(spec.branch, ContextSpec)  # which is what makes this the branch of the spec
    return spec.branch


BRANCH = Contexts()
