"""Loading the compiled code before anything is timed.

The codecs' loops are compiled on first use and kept on disk. A worker's first block would
otherwise pay for that: seconds when nothing is compiled yet, some tenths when it is on disk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.block import decode_block, encode_block

__all__ = ["warm_up"]

_ROWS = 16_384


def warm_up() -> int:
    """Encode and decode small blocks of the most usual kinds of values; return how many.

    Rarer stages (dictionaries, computed floats, repeating patterns) are compiled when a column
    asks for them: to compile all takes a minute.
    """
    columns = _columns()
    some = np.arange(_ROWS) % 7 != 0
    for values in columns:
        decode_block(encode_block(values))
    decode_block(encode_block(columns[0], some))
    return len(columns) + 1


def _columns() -> list[NDArray[Any]]:
    """Return a measurement, its times, a device's code, and a state."""
    rng = np.random.default_rng(0)
    steps = rng.integers(-3, 4, _ROWS).cumsum()
    times = 1_735_689_600_000_000 + 60_000_000 * np.arange(_ROWS)
    devices = np.repeat(np.arange(_ROWS // 64), 64).astype(np.int32)
    states = (rng.random(_ROWS) < 0.1).astype(np.int8)
    return [steps / 10, times + rng.integers(0, 1000, _ROWS), devices, states]
