"""Networks and the model file."""

from geoseg.models.augmented import View, find_views
from geoseg.models.auxiliary import AuxiliaryHead
from geoseg.models.bundle import Model, default_model_path, load_model, read_spec, save_model
from geoseg.models.networks import SegmentationNetwork, Segmenter, build_network
from geoseg.models.pretrained import load_encoder_weights, start_from
from geoseg.models.runner import Runner

__all__ = [
    "AuxiliaryHead",
    "Model",
    "Runner",
    "SegmentationNetwork",
    "Segmenter",
    "View",
    "build_network",
    "default_model_path",
    "find_views",
    "load_encoder_weights",
    "load_model",
    "read_spec",
    "save_model",
    "start_from",
]
