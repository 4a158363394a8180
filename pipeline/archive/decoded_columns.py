"""Columns of blocks that are asked for again and again, kept decoded.

Questions of a dashboard, and an analyst's at a notebook, are about the same hours and channels, and
decoding is most of what answering them takes. One memory for the whole process holds columns that
were asked for twice, as narrow numbers wherever their range allows: what a device reports in an hour
seldom needs the eight bytes of its dtype.

What is read once leaves nothing but its name behind. A full memory takes a column in the place of
another only if it came back sooner than that one, so that a scan that does not fit in, repeated over
and over, finds the part that was there first instead of driving itself out.

References
----------
S. Jiang, X. Zhang: LIRS, an efficient low inter-reference recency set replacement policy to improve
buffer cache performance. SIGMETRICS 2002.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.machine_memory import memory_size
from pipeline.model.batches import Column

__all__ = [
    "MEMORY",
    "CompactColumn",
    "DecodedColumns",
    "DecodedMemory",
    "Recurring",
    "default_size",
]

type _Key = tuple[str, str]

_NAMES: Final = 1 << 16
"""Names of columns that are remembered of those that were read once: some 16 MB."""

_LEAST, _MOST, _SHARE = 256 << 20, 4 << 30, 16
_OVERHEAD: Final = 400  # of an entry: its key and the objects around the arrays
_NARROW: Final = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.uint32))


def default_size(memory: int | None) -> int:
    """Return how many bytes a process keeps by default, of so many that it may use.

    A sixteenth, at least 256 MiB and at most 4 GiB; 256 MiB where it cannot be told.
    """
    return _LEAST if memory is None else min(max(memory // _SHARE, _LEAST), _MOST)


@dataclass(frozen=True, slots=True, eq=False)
class CompactColumn:
    """A decoded column of a block in little space.

    Parameters
    ----------
    dtype
        Of the column.
    values
        Shape (rows,): the values, or how far they are above `least`, in an unsigned dtype.
    least
        The smallest value; None if `values` are the values.
    valid
        As `Column.valid`.
    """

    dtype: np.dtype[Any]
    values: NDArray[Any]
    least: np.generic | None
    valid: NDArray[np.bool_] | None

    @classmethod
    def of(cls, column: Column) -> CompactColumn:
        """Return what `column` is kept as; shares no memory with it that others may change."""
        values, valid = column.values, column.valid
        dtype = values.dtype
        if dtype.kind not in "iu" or dtype.itemsize == 1 or not len(values):
            return cls(dtype, values.copy(), None, None if valid is None else valid.copy())
        least = values.min()
        span = int(values.max()) - int(least)
        narrow = next((one for one in _NARROW if span <= np.iinfo(one).max), dtype)
        if narrow.itemsize >= dtype.itemsize:
            return cls(dtype, values.copy(), None, None if valid is None else valid.copy())
        above = np.subtract(values, least, dtype=dtype).astype(narrow)
        return cls(dtype, above, least, None if valid is None else valid.copy())

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return (
            _OVERHEAD + self.values.nbytes + (0 if self.valid is None else int(self.valid.nbytes))
        )

    def write(self, out: NDArray[Any], rows: slice | NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Write the values of some rows to `out`; return their validity, not to be changed."""
        if self.least is None:
            out[:] = self.values[rows]
        else:
            np.add(self.values[rows], self.least, out=out)
        return None if self.valid is None else self.valid[rows]

    def column(self, start: int, stop: int) -> Column:
        """Return rows ``[start, stop)`` as a column of their own."""
        values = np.empty(stop - start, self.dtype)
        valid = self.write(values, slice(start, stop))
        return Column(values, None if valid is None else valid.copy())


class DecodedMemory:
    """Decoded columns by snapshot and key.

    Parameters
    ----------
    limit
        Bytes that are held at most; 0 for none.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._columns: OrderedDict[_Key, CompactColumn] = OrderedDict()
        self._held = 0
        self._clock = 0
        self._used: dict[_Key, int] = {}
        self._once: OrderedDict[_Key, int] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return self._held

    @property
    def limit(self) -> int:
        """Bytes that are held at most."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        with self._lock:
            self._limit = limit
            self._give_up()
            if not limit:
                self._once.clear()

    def take(
        self, snapshot: str, keys: Sequence[str], sizes: Sequence[int]
    ) -> list[CompactColumn | bool]:
        """Return what is known of columns; where nothing is, whether to keep them once decoded.

        Parameters
        ----------
        snapshot
            Id of the snapshot that they are of.
        keys
            Names of columns.
        sizes
            Bytes of each as it is decoded.
        """
        if not self._limit:
            return [False] * len(keys)
        with self._lock:
            return [self._ask((snapshot, key), size) for key, size in zip(keys, sizes, strict=True)]

    def _ask(self, key: _Key, size: int) -> CompactColumn | bool:
        self._clock += size
        found = self._columns.get(key)
        if found is not None:
            self._columns.move_to_end(key)
            self._used[key] = self._clock
            return found
        before = self._once.pop(key, None)
        self._once[key] = self._clock
        if len(self._once) > _NAMES:
            self._once.popitem(last=False)
        if before is None:
            return False
        return self._held + size <= self._limit or before > self._used[next(iter(self._columns))]

    def keep(self, snapshot: str, key: str, column: CompactColumn) -> None:
        """Hold a column."""
        name = snapshot, key
        with self._lock:
            self._once.pop(name, None)
            self._drop(name)
            self._columns[name] = column
            self._used[name] = self._clock
            self._held += column.nbytes
            self._give_up()

    def _give_up(self) -> None:
        while self._held > self._limit:
            self._drop(next(iter(self._columns)))

    def _drop(self, key: _Key) -> None:
        dropped = self._columns.pop(key, None)
        if dropped is not None:
            self._held -= dropped.nbytes
            del self._used[key]


MEMORY: Final = DecodedMemory(default_size(memory_size()))
"""Of this process."""


@dataclass(frozen=True, slots=True)
class DecodedColumns:
    """The decoded columns of one snapshot, under the store keys of their chunks.

    Parameters
    ----------
    snapshot
        Its id, by which all that are open at it share what is kept.
    memory
        Where they are kept.
    """

    snapshot: str
    memory: DecodedMemory = MEMORY

    def take(self, keys: Sequence[str], sizes: Sequence[int]) -> list[CompactColumn | bool]:
        """Return what is known of columns, as `DecodedMemory.take` does."""
        return self.memory.take(self.snapshot, keys, sizes)

    def keep(self, key: str, column: Column) -> CompactColumn:
        """Hold a column, and return what is held."""
        compact = CompactColumn.of(column)
        self.memory.keep(self.snapshot, key, compact)
        return compact


@dataclass(frozen=True, slots=True, eq=False)
class Recurring:
    """An encoded column that was asked for before.

    Parameters
    ----------
    data
        The chunk.
    decoded
        Where it is to be kept once it is decoded.
    """

    data: NDArray[np.uint8]
    decoded: DecodedColumns
