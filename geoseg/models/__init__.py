"""Networks and the model file."""

from geoseg.models.auxiliary import AuxiliaryHead
from geoseg.models.build import Context, SegmentationNetwork, Segmenter, build_network
from geoseg.models.bundle import Model, load_model, save_model
from geoseg.models.context import ContextSegmenter, Views
from geoseg.models.header import default_model_path, read_spec
from geoseg.models.refine import RefiningSegmenter, Told, refine_steps
from geoseg.models.runner import Runner
from geoseg.models.tta import Augmentation, find_augmentations
from geoseg.models.weights.pretrained import load_encoder_weights, start_from

__all__ = [
    "Augmentation",
    "AuxiliaryHead",
    "Context",
    "ContextSegmenter",
    "Model",
    "RefiningSegmenter",
    "Runner",
    "SegmentationNetwork",
    "Segmenter",
    "Told",
    "Views",
    "build_network",
    "default_model_path",
    "find_augmentations",
    "load_encoder_weights",
    "load_model",
    "read_spec",
    "refine_steps",
    "save_model",
    "start_from",
]
