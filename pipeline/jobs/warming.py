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

_ROWS = 4096


def warm_up() -> int:
    """Encode and decode small blocks of every dtype and many kinds of values; return how many."""
    columns = _columns()
    some = np.arange(_ROWS) % 7 != 0
    for values in columns:
        for valid in (None, some):
            decode_block(encode_block(values, valid))
    return 2 * len(columns)


def _columns() -> list[NDArray[Any]]:
    """Return columns that take the codecs' different ways."""
    rng = np.random.default_rng(0)
    steps = rng.integers(-3, 4, _ROWS).cumsum()
    noise = rng.integers(0, 1 << 62, _ROWS)
    runs = np.repeat(np.arange(_ROWS // 64), 64)
    times = 1_735_689_600_000_000 + 60_000_000 * np.arange(_ROWS)
    floats = [steps / 10, 20 + runs / 4, rng.normal(size=_ROWS), rng.choice([0.1, 7.25], _ROWS)]
    numbers = [np.zeros(_ROWS, np.int64), steps, runs, noise, times, times + steps]
    columns: list[NDArray[Any]] = [noise % 2 == 0]
    for width in (1, 2, 4, 8):
        for kind in "iu":
            columns += [column.astype(f"{kind}{width}") for column in numbers]
    return columns + [column.astype(kind) for kind in ("f4", "f8") for column in floats]
