"""Settings by name, as the public functions take them; their meaning and their bounds are those of the specs.

Made by `python docs/make_settings.py` from these, so that editors complete names and type checkers refuse others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict


class PredictSettings(TypedDict, total=False):
    """How a scene is predicted, and what becomes of results that exist."""

    overwrite: bool
    resume: bool
    aoi: str | os.PathLike[str] | None
    bbox: Sequence[float] | None
    crf: bool
    crf_iterations: int
    crf_radius: int
    crf_appearance: float
    crf_appearance_px: float
    crf_appearance_values: float
    crf_smoothness: float
    crf_smoothness_px: float
    tile: int | None
    overlap: int | None
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]
    engine: Literal["auto", "torch", "onnx"]
    tta: Literal["none", "flips", "d4"]
    tta_scales: Sequence[float]
    compile: bool
    context: bool
    refine_fraction: float
    bands: Sequence[int] | None
    nodata: Literal["auto"] | float | None
    rescale: Literal["auto"] | Sequence[float] | None
    match: str | os.PathLike[str] | None
    match_by: str
    adapt: str | None
    adapt_share: float | None
    adapt_windows: int
    resolution: Literal["auto", "scene", "native", "model"] | float
    majority: int | None
    fill_holes: float | str | None
    min_area: float | str | None
    simplify: float | str | None
    smooth: bool
    connectivity: Literal[4, 8]
    classes: Sequence[str] | None
    dissolve: bool
    to_crs: str | None
    embed_style: bool
    instances: Sequence[str] | None
    split_instances: Literal["distance", "confidence"] | None
    split_depth: float | None
    scores: str | os.PathLike[str] | None
    scores_type: Literal["float32", "uint8"]
    confidence: str | os.PathLike[str] | None
    uncertainty: str | os.PathLike[str] | None
    uncertainty_by: str
    polygons: bool
    format: Sequence[str]
    preview: bool
    stac: bool
    force: bool
    batch_size: int | None
    device: str
    devices: str | None


class EvaluateSettings(TypedDict, total=False):
    """How a model is scored."""

    split: Literal["val", "train", "test"]
    device: str
    boundary_px: int | None
    block_px: int | None
    draws: int
    seed: int
    unit: Literal["block", "image"]
    aoi: str | os.PathLike[str] | None
    bbox: Sequence[float] | None
    crf: bool
    crf_iterations: int
    crf_radius: int
    crf_appearance: float
    crf_appearance_px: float
    crf_appearance_values: float
    crf_smoothness: float
    crf_smoothness_px: float
    tile: int | None
    overlap: int | None
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]
    engine: Literal["auto", "torch", "onnx"]
    tta: Literal["none", "flips", "d4"]
    tta_scales: Sequence[float]
    compile: bool
    context: bool
    refine_fraction: float
    bands: Sequence[int] | None
    nodata: Literal["auto"] | float | None
    rescale: Literal["auto"] | Sequence[float] | None
    match: str | os.PathLike[str] | None
    match_by: str
    adapt: str | None
    adapt_share: float | None
    adapt_windows: int
    resolution: Literal["auto", "scene", "native", "model"] | float
    suspects: str | os.PathLike[str] | None
    min_area: float | str


class ComparisonSettings(TypedDict, total=False):
    """How a class raster is compared with labels."""

    block_px: int | None
    draws: int
    seed: int
    legend: str | os.PathLike[str] | None
    column: str | None
    layer: str | None
    buffer_px: float
    outside: str | None
    extent: str | os.PathLike[str] | None
    corrections: str | os.PathLike[str] | None


class CompareSettings(TypedDict, total=False):
    """How several models are compared."""

    split: Literal["val", "train", "test"]
    device: str
    boundary_px: int | None
    block_px: int | None
    draws: int
    seed: int
    unit: Literal["block", "image"]
    baseline: str | None
    aoi: str | os.PathLike[str] | None
    bbox: Sequence[float] | None
    crf: bool
    crf_iterations: int
    crf_radius: int
    crf_appearance: float
    crf_appearance_px: float
    crf_appearance_values: float
    crf_smoothness: float
    crf_smoothness_px: float
    tile: int | None
    overlap: int | None
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]
    engine: Literal["auto", "torch", "onnx"]
    tta: Literal["none", "flips", "d4"]
    tta_scales: Sequence[float]
    compile: bool
    context: bool
    refine_fraction: float
    bands: Sequence[int] | None
    nodata: Literal["auto"] | float | None
    rescale: Literal["auto"] | Sequence[float] | None
    match: str | os.PathLike[str] | None
    match_by: str
    adapt: str | None
    adapt_share: float | None
    adapt_windows: int
    resolution: Literal["auto", "scene", "native", "model"] | float


class VectorizeSettings(TypedDict, total=False):
    """How a class raster becomes polygons."""

    majority: int | None
    fill_holes: float | str | None
    min_area: float | str | None
    simplify: float | str | None
    smooth: bool
    connectivity: Literal[4, 8]
    classes: Sequence[str] | None
    dissolve: bool
    to_crs: str | None
    embed_style: bool
    instances: Sequence[str] | None
    split_instances: Literal["distance", "confidence"] | None
    split_depth: float | None
    aoi: str | os.PathLike[str] | None
    bbox: Sequence[float] | None
    legend: str | os.PathLike[str] | None


class InitSettings(TypedDict, total=False):
    """How a training config is written."""

    column: str | None
    layer: str | None
    init_from: str | os.PathLike[str] | None


class ImportSettings(TypedDict, total=False):
    """What is said of another tool's model."""

    architecture: str | None
    encoder: str | None
    arguments: Mapping[str, Any] | None
    bands: Sequence[str] | None
    dtype: Literal["uint8", "int8", "uint16", "int16", "float32"] | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    classes: Sequence[Mapping[str, Any] | str] | None
    resolution: float | Literal["unknown"] | None
    tile: int | None
    overlap: int | None
    purpose: str | None
    data: str | None
    credits: str | None
    licence: str | None
    limits: str | None


class SampleSettings(TypedDict, total=False):
    """How places are drawn for a test."""

    stratified: bool
    count: int
    side: int | None
    allocation: Literal["proportional", "equal"]
    min_per_class: int
    seed: int


class SuggestSettings(TypedDict, total=False):
    """How places to label are found, and what becomes of a file that exists."""

    overwrite: bool
    resume: bool
    count: int
    side: int
    by: str
    min_valid: float
    min_area: float | str
    simplify: float | str | None
    aoi: str | os.PathLike[str] | None
    bbox: Sequence[float] | None
    crf: bool
    crf_iterations: int
    crf_radius: int
    crf_appearance: float
    crf_appearance_px: float
    crf_appearance_values: float
    crf_smoothness: float
    crf_smoothness_px: float
    tile: int | None
    overlap: int | None
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]
    engine: Literal["auto", "torch", "onnx"]
    tta: Literal["none", "flips", "d4"]
    tta_scales: Sequence[float]
    compile: bool
    context: bool
    refine_fraction: float
    bands: Sequence[int] | None
    nodata: Literal["auto"] | float | None
    rescale: Literal["auto"] | Sequence[float] | None
    match: str | os.PathLike[str] | None
    match_by: str
    adapt: str | None
    adapt_share: float | None
    adapt_windows: int
    resolution: Literal["auto", "scene", "native", "model"] | float
    force: bool
    batch_size: int | None
    device: str
    devices: str | None


class TileSettings(TypedDict, total=False):
    """How labelled rasters are cut into tiles."""

    size: int
    overlap: int
    min_labelled: float


class TrainSettings(TypedDict, total=False):
    """How a model is trained, over what its config says."""

    name: str
    classes: Sequence[Mapping[str, Any]]
    network: Mapping[str, Any]
    context: Mapping[str, Any] | None
    refine: Mapping[str, Any] | None
    surroundings: Mapping[str, Any] | None
    encoder_weights: str | None
    init_from: str | os.PathLike[str] | None
    frozen_epochs: int
    method: Mapping[str, Any]
    loss: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    augment: Mapping[str, Any]
    epochs: int
    windows_per_epoch: int
    cache: Mapping[str, Any] | None
    batch_size: int
    window: int
    ema: float
    swa_epochs: int
    boundary_px: int
    seed: int
    seeds: int
    device: str
    devices: int
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    tile: int
    overlap: int
    card: Mapping[str, Any]
