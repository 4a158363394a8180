"""The loop that decodes a whole laned stream: one call instead of a dozen from its bytes to values.

What Python does for a stream takes 10 us otherwise, as long as decoding a thousand rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_decode import decode_lanes
from pipeline.codecs.kernels.bins_stream import read_head
from pipeline.codecs.kernels.block_loop import wide_loop

__all__ = ["decode_whole"]

_IMPOSSIBLE = 8
"""What is wrong if it is not the head."""


@wide_loop
def decode_whole(
    data: NDArray[np.uint8],
    rows: int,
    predictor: int,
    sizes: tuple[int, int, int, int],
    mapping: int,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    width: int,
    out: NDArray[np.uint8],
) -> int:
    """Decode all rows; return 0, or what is wrong as `read_head` does.

    Parameters
    ----------
    data, rows, predictor
        See `pipeline.codecs.kernels.bins_stream.read_head`.
    sizes
        Numbers of a head, most groups but the last, most outliers, words behind a stream.
    mapping, power, inverse, rest, lookup, width, out
        See `pipeline.codecs.kernels.bins_decode.decode_lanes`.
    """
    numbers, most_groups, most_odd, spare = sizes
    words = np.empty(data.size // 8 + 1 + spare, np.uint64)
    head = np.empty(numbers, np.int64)
    groups = np.empty(most_groups, np.int64)
    odd = np.empty((2, most_odd), np.int64)
    wrong = read_head(data, rows, predictor, head, odd, groups, words.view(np.uint8))
    if wrong:
        return wrong
    count = head[9]
    good = decode_lanes(
        words[: head[15] // 8 + 1 + spare], data[data.size - head[11] // 8 + head[15] :], head, groups[: head[10]], 0,
        odd[0, :count], odd[1, :count], mapping, power, inverse, rest, lookup, width, out,
    )  # fmt: skip
    return 0 if good else _IMPOSSIBLE
