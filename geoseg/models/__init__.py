"""Networks and the model file."""

from geoseg.models.bundle import Model, default_model_path, load_model, read_spec, save_model
from geoseg.models.networks import Segmenter, build_network
from geoseg.models.runner import Runner

__all__ = [
    "Model",
    "Runner",
    "Segmenter",
    "build_network",
    "default_model_path",
    "load_model",
    "read_spec",
    "save_model",
]
