"""Networks and the model file."""

from geoseg.model_file import default_model_path, read_spec
from geoseg.models.augmented import Augmentation, find_augmentations
from geoseg.models.auxiliary import AuxiliaryHead
from geoseg.models.bundle import Model, load_model, save_model
from geoseg.models.context import ContextSegmenter, Views
from geoseg.models.networks import Context, SegmentationNetwork, Segmenter, build_network
from geoseg.models.pretrained import load_encoder_weights, start_from
from geoseg.models.refine import RefiningSegmenter, Told, refine_steps
from geoseg.models.runner import Runner

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
