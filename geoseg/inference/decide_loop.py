"""Class indexes and confidences of many pixels, in a loop that is compiled. Pure functions on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from geoseg.core.compiler import compiled

LEAST_POWER = -100.0
"""Power of 2 below which an exponential counts as that."""


def _float_of_bits(_typing: Any, _bits: Any) -> Any:
    """The float32 whose bits an int32 has."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


_float: Any = intrinsic(_float_of_bits)


@compiled
def decide_into(
    logits: NDArray[np.float32], sharpness: float, index: NDArray[np.uint8], percent: NDArray[np.uint8]
) -> None:
    """Fill in the index of the highest logit of each pixel, the first of equals, and its probability in whole percent.

    The probability is 1 / sum(exp((logit - highest) * sharpness)); 0 where there is no number. The exponential is a
    power of 2: its whole part becomes the exponent of a float, the rest, from -0.5 to 0.5, goes through the first terms
    of its series, which are right to 3e-6.

    Args:
        logits: (K, h, w).
        sharpness: 1 / temperature.
        index: (h, w).
        percent: (h, w).
    """
    classes, height, width = logits.shape
    factor = np.float32(sharpness / np.log(2))
    row = np.empty((classes, width), np.float32)
    highest, place, total = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        for x in range(width):
            row[0, x] = highest[x] = logits[0, y, x]
            place[x] = total[x] = np.float32(0)
        for k in range(1, classes):
            for x in range(width):
                value = logits[k, y, x]
                row[k, x] = value
                is_higher = value > highest[x]
                highest[x] = value if is_higher else highest[x]
                place[x] = np.float32(k) if is_higher else place[x]
        for k in range(classes):
            for x in range(width):
                power = (row[k, x] - highest[x]) * factor
                power = power if power > np.float32(LEAST_POWER) else np.float32(LEAST_POWER)
                whole = np.int32(power - np.float32(0.5))
                rest = power - np.float32(whole)
                series = np.float32(0.00961813) + rest * np.float32(0.00133336)
                series = np.float32(0.24022651) + rest * (np.float32(0.05550411) + rest * series)
                series = np.float32(1) + rest * (np.float32(0.69314718) + rest * series)
                total[x] += series * _float(np.int32((whole + np.int32(127)) << np.int32(23)))
        for x in range(width):
            share = np.rint(np.float32(100) / total[x])
            index[y, x] = np.uint8(place[x])
            percent[y, x] = np.uint8(share if share <= np.float32(100) else np.float32(0))
