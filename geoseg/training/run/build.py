"""All parts of a training run, from its settings and its data.

In: a TrainSpec and labelled rasters. Out: a run, ready to start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from geoseg.core.events import Reporter
from geoseg.models.build import build_network
from geoseg.models.dilation_check import far_rates
from geoseg.models.downloads import address_line, fetch_file, is_address
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.models.weights.places import download_weights
from geoseg.models.weights.start import start_from
from geoseg.models.window_check import check_window
from geoseg.raster.bands.embeddings import are_axes
from geoseg.spec import AugmentSpec, ModelSpec, TrainSpec
from geoseg.training.data.training_data import TrainingData
from geoseg.training.learner import Learner, LearnerInputs
from geoseg.training.methods.method import METHODS
from geoseg.training.run.provenance import model_spec, provenance, restriction, run_fingerprint
from geoseg.training.run.recorder import RunRecorder
from geoseg.training.run.run_folder import RunFolder
from geoseg.training.run.settings import Hardware
from geoseg.training.run.training_source import Forwarding, training_source
from geoseg.training.scoring.score_windows import load_scored, scored_windows
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.random_windows import TrainingWindows
from geoseg.training.windows.visible import visible_bands

SAMPLED_WINDOWS = 256
"""Training windows around which it is tested how much of the views holds data."""
MUCH_DATA = 0.8
"""Share of the pixels of views that hold data below which that is reported."""


@dataclass(frozen=True)
class Run:
    """All parts of a run, ready to start."""

    spec: TrainSpec
    """The settings of the run."""
    data: TrainingData
    """Rasters for training and validation."""
    learner: Learner
    """The network in training."""
    recorder: RunRecorder
    """Writes bundle, metrics and checkpoints."""
    folder: RunFolder
    """The folder of the results."""
    hardware: Hardware
    """Device and arithmetic."""


def build_run(spec: TrainSpec, data: TrainingData, folder: RunFolder, hardware: Hardware, reporter: Reporter) -> Run:
    """Build the network, the training and validation windows, and the recorder of the run.

    Raises:
        ModelError: if the network cannot be built, its first weights cannot be loaded, or it does not take the windows.
        SpecError: if the training method does not take its parameters.
    """
    model = model_spec(spec, data)
    _report_small_rasters(spec, data, reporter)
    network = _make_network(spec, model, reporter)
    check_window(network, len(model.bands), spec.window)
    _report_far_rates(network, len(model.bands), spec.window, reporter)
    augment = Augment(
        _augmentation(spec, data, reporter),
        *data.value_range,
        torch.tensor(model.normalization.mean),
        visible_bands(model.bands),
        METHODS.get(spec.method.name).needs_plain,
        spec.augment.keeps_fill or spec.network.semantic_normalization,
    )
    source = training_source(spec, data, folder, Forwarding(network, augment, hardware, model))
    inputs = LearnerInputs(
        spec=spec,
        model=model,
        folder=folder.path,
        precision=hardware.precision,
        class_counts=tuple(int(count) for count in data.train.class_counts),
        augment=augment,
        train=source.loader(spec),
        val=load_scored(scored_windows(data.val, model, folder.path), spec.batch_px),
        tag_sets=data.tag_sets,
    )
    learner = Learner(network, inputs)
    if spec.views:
        folder.make()  # rasters are averaged into scratch files
    views = _data_in_views(spec, source.drawn, reporter)
    known = {**provenance(spec, data, hardware), **views, **learner.method.provenance}
    for line in learner.method.notices(known):
        reporter.notice(line)
    learnt_from = {**learner.method.provenance, **source.learnt_from}
    recorder = RunRecorder(model, folder, known, run_fingerprint(data, learnt_from), reporter)
    return Run(spec, data, learner, recorder, folder, hardware)


def _augmentation(spec: TrainSpec, data: TrainingData, reporter: Reporter) -> AugmentSpec:
    """How windows are varied; axes of an embedding have no colours."""
    if not are_axes(spec.data.bands, spec.data.dtype, data.value_range[0]):
        return spec.augment.colours
    reporter.notice(
        f"the {len(spec.data.bands)} bands are taken for axes of an embedding, as no name is that of a colour and "
        "values have both signs: windows are turned, scaled, blurred and get noise, but colours are not varied"
    )
    return spec.augment.without_colours


def _report_small_rasters(spec: TrainSpec, data: TrainingData, reporter: Reporter) -> None:
    """Report that training rasters are smaller than the views around their windows."""
    wanted = spec.branch.shown_px(spec.window)
    longest = max(max(one.height, one.width) for one in data.train.rasters)
    if longest < wanted:
        reporter.notice(
            f"the views show {wanted} px and more, but the largest training raster is {longest} px wide: give whole "
            "scenes instead of tiles, or smaller ratios"
        )


def _report_far_rates(network: SegmentationNetwork, bands: int, window: int, reporter: Reporter) -> None:
    """Report dilated convolutions most of whose weights are not trained by windows of this size."""
    found = far_rates(network, bands, window)
    if found.rates:
        rates = ", ".join(map(str, found.rates))
        reporter.notice(
            f"windows of {window} px are narrower than the network's rates of dilation {rates}: the outer weights of "
            "these convolutions are not trained, but larger windows use them: give lower rates (network.arguments, "
            f"e.g. decoder_atrous_rates), or a window of {found.least_window} px or more"
        )


def _data_in_views(spec: TrainSpec, windows: TrainingWindows, reporter: Reporter) -> dict[str, list[float]]:
    """Per level, the share of the views' pixels that hold data, for the model's card; reports views with few.

    A view of the whole scene is as wide as that, and no setting gives it more data.
    """
    shares = windows.data_in_views(SAMPLED_WINDOWS)
    few = [
        f"{share:.0%} of their pixels at 1:{level.ratio}"
        for level, share in zip(spec.views, shares, strict=True)
        if share < MUCH_DATA and level.ratio != "scene"
    ]
    if few:
        reporter.notice(
            f"around training windows, views hold data in {', '.join(few)}: give larger scenes, smaller views (size) "
            "or smaller ratios"
        )
    return {"data_in_views": [round(share, 3) for share in shares]} if shares else {}


def _downloaded(spec: TrainSpec) -> Iterator[str]:
    """Lines that name the versions of what was downloaded."""
    if spec.encoder_weights is not None and (weights := download_weights(spec.encoder_weights)) is not None:
        yield address_line("encoder_weights", weights.address)
    if spec.init_from is not None and is_address(spec.init_from):
        yield address_line("init_from", fetch_file(os.fspath(spec.init_from)).address)


def _make_network(spec: TrainSpec, model: ModelSpec, reporter: Reporter) -> SegmentationNetwork:
    network = build_network(model)
    if (line := restriction(spec)) is not None:
        reporter.notice(line)
    for line in _downloaded(spec):
        reporter.notice(line)
    if spec.encoder_weights is not None:
        load_encoder_weights(network, model, spec.encoder_weights)
    if spec.init_from is not None:
        reporter.notice(start_from(network, model, spec.init_from))
    return network
