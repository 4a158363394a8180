"""Loading the compiled code before anything is timed.

The codecs' loops are compiled on first use and kept on disk. A worker's first block, and a job's
first question, would otherwise pay for that: seconds when nothing is compiled yet, some tenths
when it is on disk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.api.archive import Archive
from pipeline.codecs.block import decode_block, encode_block
from pipeline.schema.channels import Channel, Schema

__all__ = ["warm_up"]

_ROWS = 16_384


def warm_up() -> int:
    """Encode and decode small blocks of the most usual kinds, and ask a small archive.

    Rarer stages (dictionaries, repeating patterns) are compiled when a column
    asks for them: to compile all takes a minute. Returns how many blocks there were.
    """
    columns = _columns()
    some = np.arange(_ROWS) % 7 != 0
    for values in columns:
        decode_block(encode_block(values))
    decode_block(encode_block(columns[0], some))
    _ask_small_archive()
    return len(columns) + 1


def _ask_small_archive() -> None:
    """Store and ask for some rows in memory: index, statistics and counters are blocks, too."""
    fleet = Archive.create("memory://").create_fleet("warm", Schema([Channel("t", "float64")]))
    rows = np.arange(12_000)
    table = {
        "device": np.array([f"d{row % 300}" for row in rows]),
        "time": np.datetime64("2026-01-01", "us") + 60_000_000 * rows,
        "t": np.round(20 + np.sin(rows / 5000 + rows % 300), 1),
    }
    fleet.append(table)
    fleet.aggregate({"t": "mean"}, every="1h", devices="d3")
    fleet.latest()


def _columns() -> list[NDArray[Any]]:
    """Return a measurement, an average, times, a device's code, and a state."""
    rng = np.random.default_rng(0)
    steps = rng.integers(-3, 4, _ROWS).cumsum()
    times = 1_735_689_600_000_000 + 60_000_000 * np.arange(_ROWS)
    devices = np.repeat(np.arange(_ROWS // 64), 64).astype(np.int32)
    states = (rng.random(_ROWS) < 0.1).astype(np.int8)
    return [
        steps / 10,
        np.round(steps / 7, 2),
        times + rng.integers(0, 1000, _ROWS),
        devices,
        states,
    ]
