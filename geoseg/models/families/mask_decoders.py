"""The decoders and losses of MaskFormer and Mask2Former, made of the layers of Hugging Face's transformers.

In: maps of an encoder of strides 4, 8, 16 and 32. Out: for each query, logits of its class and of its mask. Importing
this imports transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import DetrConfig, Mask2FormerConfig, MaskFormerConfig
from transformers.models.mask2former import modeling_mask2former as mask2former
from transformers.models.maskformer import modeling_maskformer as maskformer

from geoseg.models.families.mask_arguments import Mask2FormerArguments, MaskFormerArguments


class Predictions(NamedTuple):
    """What the layers of a transformer decoder make of a batch, the last layer's at the end."""

    classes: Sequence[Tensor]
    """Logits of each query's class (B, Q, K + 1), the last one that of no object."""
    masks: Sequence[Tensor]
    """Logits of each query's mask (B, Q, H / 4, W / 4)."""


class MaskFormerDecoder(maskformer.MaskFormerPreTrainedModel):  # type: ignore[misc]  # of any type
    """Section 3.3 of the paper: a feature pyramid for pixels, and a DETR decoder for queries on the last map."""

    upsamples_masks = False
    """Whether masks are upsampled before scores of classes are made of them, as transformers does for each model."""

    def __init__(self, stages: Sequence[int], classes: int, given: MaskFormerArguments):
        """Make the layers for maps with so many channels.

        Queries and the decoder's layers start as in DETR, from which the paper takes its decoder: with the standard
        deviation of 0.02 that transformers gives them, all queries are almost equal and part too slowly.
        """
        queries = DetrConfig(
            d_model=given.channels,
            num_queries=given.queries,
            decoder_layers=given.decoder_layers,
            decoder_attention_heads=given.attention_heads,
            decoder_ffn_dim=given.feedforward_channels,
            dropout=given.dropout,
        )
        super().__init__(
            MaskFormerConfig(
                num_labels=classes,
                decoder_config=queries,
                fpn_feature_size=given.channels,
                mask_feature_size=given.channels,
                no_object_weight=given.no_object_weight,
                cross_entropy_weight=given.class_weight,
                mask_weight=given.mask_weight,
                dice_weight=given.dice_weight,
                use_auxiliary_loss=given.deep_supervision,
            )
        )
        self.pixel_decoder = maskformer.MaskFormerPixelDecoder(
            in_features=stages[-1],
            feature_size=given.channels,
            mask_feature_size=given.channels,
            lateral_widths=list(stages[:-1]),
        )
        self.transformer_module = maskformer.MaskFormerTransformerModule(in_features=stages[-1], config=self.config)
        self.class_predictor = nn.Linear(given.channels, classes + 1)
        self.mask_embedder = maskformer.MaskformerMLPPredictionHead(given.channels, given.channels, given.channels)
        self.post_init()
        nn.init.normal_(self.transformer_module.queries_embedder.weight)
        for weights in self.transformer_module.decoder.parameters():
            if weights.dim() > 1:
                nn.init.xavier_uniform_(weights)

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Predict classes and masks of the last layer; in training of all, if these are supervised."""
        pixels = self.pixel_decoder(list(maps)).last_hidden_state
        decoded = self.transformer_module(maps[-1], output_hidden_states=True, return_dict=True)
        is_deep = self.training and self.config.use_auxiliary_loss
        inner = decoded.hidden_states[1:-1] if is_deep else ()  # the first is the decoder's input, which is zero
        layers = [*map(self.transformer_module.decoder.layernorm, inner), decoded.last_hidden_state]
        masks = [(self.mask_embedder(layer) @ pixels.flatten(2)).unflatten(2, pixels.shape[2:]) for layer in layers]
        return Predictions([self.class_predictor(layer) for layer in layers], masks)

    def criterion(self) -> tuple[nn.Module, dict[str, float]]:
        """The loss of the model, and the weights of its parts."""
        config = self.config
        matcher = maskformer.MaskFormerHungarianMatcher(
            cost_class=config.cross_entropy_weight, cost_dice=config.dice_weight, cost_mask=config.mask_weight
        )
        weights = _weights(config.cross_entropy_weight, config.mask_weight, config.dice_weight)
        return maskformer.MaskFormerLoss(config.num_labels, matcher, weights, config.no_object_weight), weights


class Mask2FormerDecoder(mask2former.Mask2FormerPreTrainedModel):  # type: ignore[misc]  # of any type
    """Section 3 of the paper: deformable attention over three maps for pixels, masked attention to them for queries."""

    upsamples_masks = True
    """Whether masks are upsampled before scores of classes are made of them, as transformers does for each model."""

    def __init__(self, stages: Sequence[int], classes: int, given: Mask2FormerArguments):
        """Make the layers for maps with so many channels, with the initial weights of transformers."""
        super().__init__(
            Mask2FormerConfig(
                num_labels=classes,
                feature_size=given.channels,
                mask_feature_size=given.channels,
                hidden_dim=given.channels,
                num_queries=given.queries,
                encoder_layers=given.encoder_layers,
                encoder_feedforward_dim=given.encoder_feedforward_channels,
                decoder_layers=given.decoder_layers + 1,  # transformers counts the prediction before the first layer
                dim_feedforward=given.feedforward_channels,
                num_attention_heads=given.attention_heads,
                dropout=given.dropout,
                no_object_weight=given.no_object_weight,
                class_weight=given.class_weight,
                mask_weight=given.mask_weight,
                dice_weight=given.dice_weight,
                train_num_points=given.points,
                use_auxiliary_loss=given.deep_supervision,
            )
        )
        self.pixel_decoder = mask2former.Mask2FormerPixelDecoder(self.config, feature_channels=list(stages))
        self.transformer_module = mask2former.Mask2FormerTransformerModule(given.channels, self.config)
        self.class_predictor = nn.Linear(given.channels, classes + 1)
        self.post_init()

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Predict classes and masks of the last layer; in training of all, if these are supervised."""
        pixels = self.pixel_decoder(list(maps), output_hidden_states=False, return_dict=True)
        decoded = self.transformer_module(
            multi_scale_features=pixels.multi_scale_features,
            mask_features=pixels.mask_features,
            output_hidden_states=True,
        )
        first = 0 if self.training and self.config.use_auxiliary_loss else -1
        layers = decoded.intermediate_hidden_states[first:]
        classes = [self.class_predictor(layer.transpose(0, 1)) for layer in layers]
        return Predictions(classes, decoded.masks_queries_logits[first:])

    def criterion(self) -> tuple[nn.Module, dict[str, float]]:
        """The loss of the model, and the weights of its parts."""
        config = self.config
        weights = _weights(config.class_weight, config.mask_weight, config.dice_weight)
        return mask2former.Mask2FormerLoss(config=config, weight_dict=weights), weights


def hungarian_loss(
    decoder: MaskFormerDecoder | Mask2FormerDecoder, found: Predictions, masks: list[Tensor], classes: list[Tensor]
) -> Tensor:
    """The loss of transformers, summed over its parts and over layers; each has its weight.

    Args:
        decoder: has predicted.
        found: of a batch, float32.
        masks: of each window's objects (n, H, W), 0 or 1, float32.
        classes: of the same objects (n), int64.
    """
    criterion, weights = decoder.criterion()
    layers: list[Any] = [
        {"class_queries_logits": one, "masks_queries_logits": other}
        for one, other in zip(found.classes, found.masks, strict=True)
    ]
    parts = criterion.to(masks[0].device)(
        **layers[-1], mask_labels=masks, class_labels=classes, auxiliary_predictions=layers[:-1]
    )
    total: Tensor = sum(
        weight * value for name, weight in weights.items() for key, value in parts.items() if name in key
    )
    return total


def _weights(classes: float, masks: float, dice: float) -> dict[str, float]:
    """Weights of the parts of a loss, by the names of transformers."""
    return {"loss_cross_entropy": classes, "loss_mask": masks, "loss_dice": dice}
