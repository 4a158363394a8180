"""The loop behind a block's sum of squared deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = ["sum_deviations"]

_CHUNK = 256


@loop
def sum_deviations(
    values: NDArray[Any], origin: Any, mean: float, sums: NDArray[np.float64]
) -> None:
    """Add ``value - origin - mean``, and its square, over all `values` to ``sums[0]``, ``[1]``.

    The difference from `origin` is taken in the dtype of the values, so that it is exact. Four
    running sums a chunk keep rounding small and the processor busy.
    """
    for start in range(0, values.size, _CHUNK):
        end = min(start + _CHUNK, values.size)
        a = b = c = d = 0.0
        p = q = r = s = 0.0
        whole = start + (end - start) // 4 * 4
        for i in range(start, whole, 4):
            w = np.float64(values[i] - origin) - mean
            x = np.float64(values[i + 1] - origin) - mean
            y = np.float64(values[i + 2] - origin) - mean
            z = np.float64(values[i + 3] - origin) - mean
            a += w
            b += x
            c += y
            d += z
            p += w * w
            q += x * x
            r += y * y
            s += z * z
        for i in range(whole, end):
            w = np.float64(values[i] - origin) - mean
            a += w
            p += w * w
        sums[0] += (a + b) + (c + d)
        sums[1] += (p + q) + (r + s)
