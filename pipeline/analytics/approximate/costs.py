"""About how long ways to answer take, from counts alone.

Measured on a small virtual machine (2 cores, busy with other work; warm, local folder) and meant to
be right within a factor of two: percentiles of one of 10,000 devices over 12 windows took 37 ms and
are taken for 60, those of all devices, 21 million rows in 480 blocks, 9 s and are taken for 6.6.
Other machines differ by a factor that is about the same for all ways, so that their order is kept.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.analytics.query import Query
from pipeline.archive.block_index import BlockTable
from pipeline.archive.fleet_view import KEY_COLUMNS
from pipeline.partitioning.pruning import Selection

__all__ = ["decoding_seconds", "sketch_seconds", "stored_rows"]

_PER_CHUNK: Final = 1.5e-3
"""Fetching and decoding one column of one block, beyond its rows."""

_PER_VALUE: Final = 4e-9
"""Decoding one value of one column, and choosing those asked for."""

_PER_READING: Final = 2e-7
"""Sorting a reading into its cell and among the others of it."""

_PER_SKETCH: Final = 40e-6
"""Reading one sketch and taking it apart."""


def stored_rows(query: Query) -> BlockTable:
    """Return the index entries of all blocks that an exact answer would decode."""
    start = max(query.selection.start, query.bounds[0])
    stop = max(start, min(query.selection.stop, query.bounds[1]))
    return query.view.blocks(Selection(start, stop, query.selection.codes))


def decoding_seconds(query: Query, blocks: BlockTable, channels: int) -> float:
    """Return about how long it takes to look at all rows of blocks.

    Parameters
    ----------
    query
        The request.
    blocks
        Index entries.
    channels
        How many channels are asked about.
    """
    columns, rows = len(KEY_COLUMNS) + channels, float(np.sum(blocks.rows))
    chosen = len(query.groups.codes) / max(len(query.view.registry), 1)
    chunks = len(blocks) * columns * _PER_CHUNK
    return chunks + rows * (columns * _PER_VALUE + channels * chosen * _PER_READING)


def sketch_seconds(sketches: int) -> float:
    """Return about how long it takes to use so many sketches."""
    return sketches * _PER_SKETCH
