"""Memory that encoders use again and again.

The columns that a block passes through on its way take half a megabyte each. Memory of that size
goes back to the system when it is freed, and the pages of new memory cost more time than what is
written to them: some columns took twice as long to encode.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["empty"]

_LEAST_BYTES: Final = 1 << 15
_MOST_BYTES: Final = 1 << 22
_KEPT: Final = 8  # of a size, by each thread; a block needs four or five
_HELD_HERE: Final = 3  # references to a buffer that no array uses: list, variable, argument


class _Buffers(threading.local):
    """A thread's buffers by the bits of their size."""

    def __init__(self) -> None:
        self.of_size: dict[int, list[NDArray[np.uint8]]] = {}


_BUFFERS: Final = _Buffers()


def empty(size: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array like ``np.empty``, in memory of an earlier one that nobody holds any more.

    Parameters
    ----------
    size : int
        Rows.
    dtype : numpy.dtype
    """
    dtype = np.dtype(dtype)
    wanted = size * dtype.itemsize
    if not _LEAST_BYTES <= wanted <= _MOST_BYTES:
        return np.empty(size, dtype)
    bits = (wanted - 1).bit_length()
    kept = _BUFFERS.of_size.setdefault(bits, [])
    for buffer in kept:
        if sys.getrefcount(buffer) == _HELD_HERE:  # arrays in it hold it, and theirs hold it, too
            return buffer[:wanted].view(dtype)
    buffer = np.empty(1 << bits, np.uint8)
    if len(kept) < _KEPT:
        kept.append(buffer)
    return buffer[:wanted].view(dtype)
