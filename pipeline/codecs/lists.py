"""Short lists between a block's streams, read in one call where there is nothing odd about them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.lanes import SIZES

__all__ = ["Lists", "read_lists"]

_MOST: Final = 2048
"""Most stretches of a mask, and most numbers behind it: many take long enough anyway."""

_NO_LENGTHS: Final = np.empty(0, np.int64)


class Lists(NamedTuple):
    """A mask, and numbers that are listed behind it.

    Attributes
    ----------
    lengths : ndarray of int64
        Rows of stretches that are not marked and that are, in turn.
    each : int
        Numbers of each list.
    numbers : ndarray of uint64
        The lists, one behind the other.
    """

    lengths: NDArray[np.int64]
    each: int
    numbers: NDArray[np.uint64]


def read_lists(cursor: Cursor, rows: int, more: int, *, masked: bool = True) -> Lists | None:
    """Read a mask of `rows` rows and nested streams of one number for each row that is marked.

    Parameters
    ----------
    cursor : Cursor
        Moves on only if the lists are read.
    rows : int
        Numbers of each list if there is no mask.
    more : int
        How many nested streams there are.
    masked : bool
        Whether there is a mask.

    Returns
    -------
    Lists or None
        None if some part is long, of another stage than short lists are, or damaged.
    """
    data = np.frombuffer(cursor.ahead(), np.uint8)
    lengths = np.empty(_MOST, np.int64) if masked else _NO_LENGTHS
    numbers = np.empty(_MOST if masked else more * rows, np.uint64)
    told = np.empty(3, np.int64)
    if not kernel("lists_read", "read_lists")(
        data, rows, masked, more, SIZES, lengths, numbers, told
    ):
        return None
    stretches, count, size = told.tolist()
    cursor.take(size)
    return Lists(lengths[:stretches], count, numbers)
