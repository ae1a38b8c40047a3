"""Arguments of MaskFormer and Mask2Former. Importing this imports neither PyTorch nor transformers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from geoseg.spec.arguments import Channels, Few, Fraction
from geoseg.spec.base import Spec

Weight = Annotated[float, Field(ge=0, le=100)]
GroupedChannels = Annotated[int, Field(ge=32, le=2048, multiple_of=32)]


class MaskArguments(Spec):
    """What both networks take."""

    queries: Annotated[int, Field(ge=1, le=1000)] = 100
    """Number of masks that are predicted, each with a class; of at most so many classes in one window."""
    channels: GroupedChannels = 256
    """Channels of pixels, masks and queries, a multiple of 32."""
    attention_heads: Few = 8
    """Heads of each attention; they divide `channels`."""
    feedforward_channels: Channels = 2048
    """Channels inside of a block's perceptron."""
    no_object_weight: Weight = 0.1
    """Weight of queries that no mask is assigned to, in the loss of classes."""
    deep_supervision: bool = True
    """Whether the predictions of all layers of the decoder are trained, not those of the last alone."""
    pixel_loss: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Weight of the loss that the settings name under `loss`, of the probabilities of each pixel, beside the network's
    own loss of masks; at 0, as in the papers, `loss` has no effect on training."""


class MaskFormerArguments(MaskArguments):
    """Arguments of MaskFormer; by default those of the paper for semantic segmentation."""

    decoder_layers: Few = 6
    """Layers of the transformer decoder."""
    dropout: Fraction = 0.1
    """Dropout of the transformer decoder."""
    class_weight: Weight = 1.0
    """Weight of the loss of classes, and of classes when masks are assigned to queries."""
    mask_weight: Weight = 20.0
    """Weight of the focal loss of masks, in both."""
    dice_weight: Weight = 1.0
    """Weight of the Dice loss of masks, in both."""


class Mask2FormerArguments(MaskArguments):
    """Arguments of Mask2Former; by default those of the paper."""

    encoder_layers: Few = 6
    """Layers of deformable attention in the pixel decoder."""
    encoder_feedforward_channels: Channels = 1024
    """Channels inside of their perceptrons."""
    decoder_layers: Few = 9
    """Layers of the transformer decoder."""
    dropout: Fraction = 0.0
    """Dropout of the transformer decoder, and share of its layers that are left out at random in training."""
    class_weight: Weight = 2.0
    """Weight of the loss of classes, and of classes when masks are assigned to queries."""
    mask_weight: Weight = 5.0
    """Weight of the cross-entropy of masks, in both."""
    dice_weight: Weight = 5.0
    """Weight of the Dice loss of masks, in both."""
    points: Annotated[int, Field(ge=1, le=65536)] = 12544
    """Number of points at which masks are compared."""
