"""Partial statistics gathered while a query runs, and their merging into the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.statistics import Statistics

__all__ = ["Piece", "merge_pieces"]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """States of some cells of the answer.

    Parameters
    ----------
    group, bin, time
        ``int64``, shape (states,): the cell of each state, and a time inside the period it is
        about, by which states of one cell are put in order.
    channels
        The states, by channel.
    """

    group: NDArray[np.int64]
    bin: NDArray[np.int64]
    time: NDArray[np.int64]
    channels: Mapping[str, Statistics]


def merge_pieces(
    pieces: Sequence[Piece], channel: str, dtype: np.dtype[Any], groups: int, bins: int
) -> Statistics:
    """Return a channel's states, shape (groups, bins)."""
    if not pieces:
        return Statistics.empty((groups, bins), dtype)
    time = np.concatenate([piece.time for piece in pieces])
    order = np.argsort(time, kind="stable")
    cells = np.concatenate([piece.group * bins + piece.bin for piece in pieces])[order]
    arrays = zip(*(piece.channels[channel].arrays() for piece in pieces), strict=True)
    states = Statistics(*(np.concatenate(parts)[order] for parts in arrays))
    merged = states.reduce(cells, groups * bins)
    return Statistics(*(array.reshape(groups, bins) for array in merged.arrays()))
