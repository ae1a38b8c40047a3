"""Style transfer: labels are learnt from windows that look like those of the target.

In: labelled windows and windows of the target. Out: the loss of the former, after a change of style that moves no
label; that of the latter is 0 unless their entropy gets a weight.
"""

from __future__ import annotations

from pydantic import Field

from geoseg.core.errors import SpecError
from geoseg.spec import TrainSpec
from geoseg.training.methods.minent import MinEnt, MinEntSettings
from geoseg.training.methods.unlabelled import UnlabelledSettings
from geoseg.training.styles import StyleSetting
from geoseg.training.styles.histogram import HistogramSettings


class StyleTransferSettings(MinEntSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=0.0, ge=0, le=1000)
    """Weight of the entropy of windows of the target; that of the labels' loss is 1."""
    style: StyleSetting = HistogramSettings()
    """How labelled windows are given the look of data.target: histogram, fourier, cyclegan, or one of another
    package."""


class StyleTransfer(MinEnt):
    """Minimises the loss of labelled windows in the style of the target."""

    Settings = StyleTransferSettings
    needs_target = True

    @classmethod
    def check(cls, spec: TrainSpec, settings: UnlabelledSettings) -> None:
        """Refuse surroundings, which keep their style, and a run without a style in which nothing else is learnt of the
        target; besides what other methods refuse.

        Raises:
            SpecError: saying what to change.
        """
        assert isinstance(settings, StyleTransferSettings)
        has_style = settings.style.by != "none"
        if spec.views and has_style:
            raise SpecError(
                f"method {spec.method.name} changes windows, not their surroundings: take a network that sees its "
                "windows alone, or another method, e.g. minent"
            )
        super().check(spec, settings)
        if not has_style and not settings.weight:
            raise SpecError(
                f"method {spec.method.name} without a style learns nothing of the target: give one, e.g. histogram, or "
                "take another method, e.g. minent"
            )
