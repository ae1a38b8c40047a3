"""What is said of the temperature that a run keeps."""

import re

import pytest

from geoseg.metrics.calibration.temperature import SEARCHED, FittedTemperature
from geoseg.training.run.kept_model import at_an_end


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (SEARCHED[0], "0.2 is the lowest that is considered, and a lower one would .* less sure than it is right"),
        (SEARCHED[1], "10 is the highest that is considered, and a higher one would .* far too sure where it is wrong"),
    ],
)
def test_a_temperature_at_an_end_says_how_sure_the_network_is_not_how_many_pixels_are_right(
    value: float, says: str
) -> None:
    said = at_an_end(FittedTemperature(value, 1000))
    assert re.search(says, said)
    assert "pixels are right" not in said
