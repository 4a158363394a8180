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
from itertools import count
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.compact_columns import CompactColumn
from pipeline.archive.machine_memory import memory_size
from pipeline.archive.transactions.differences import Differences
from pipeline.model.batches import Column

__all__ = [
    "MEMORY",
    "MEMORY_SHARE",
    "DecodedColumns",
    "DecodedMemory",
    "Recurring",
    "default_size",
]

type _Key = tuple[int, str]
"""A line of snapshots that share what did not change, and a store key."""

_NAMES: Final = 1 << 16
"""Names of columns that are remembered of those that were read once: some 16 MB."""

_SNAPSHOTS: Final = 1024
_LEAST, _MOST = 256 << 20, 4 << 30

MEMORY_SHARE: Final = 16
"""Decoded columns take one in so many bytes of what a process may use."""


def default_size(memory: int | None) -> int:
    """Return how many bytes a process keeps by default, of so many that it may use.

    A sixteenth, at least 256 MiB and at most 4 GiB; 256 MiB where it cannot be told.
    """
    return _LEAST if memory is None else min(max(memory // MEMORY_SHARE, _LEAST), _MOST)


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
        self._lines: OrderedDict[str, int] = OrderedDict()
        self._numbers = count()
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
            line = self._line(snapshot)
            return [self._ask((line, key), size) for key, size in zip(keys, sizes, strict=True)]

    def _line(self, snapshot: str) -> int:
        line = self._lines.get(snapshot)
        if line is None:
            line = self._lines[snapshot] = next(self._numbers)
            if len(self._lines) > _SNAPSHOTS:
                self._lines.popitem(last=False)
        return line

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
        if before is None or size > self._limit:
            return False
        return self._held + size <= self._limit or before > self._used[next(iter(self._columns))]

    def keep(self, snapshot: str, key: str, column: CompactColumn) -> None:
        """Hold a column, if it fits in at all."""
        if column.nbytes > self._limit:
            return
        with self._lock:
            name = self._line(snapshot), key
            self._once.pop(name, None)
            self._drop(name)
            self._columns[name] = column
            self._used[name] = self._clock
            self._held += column.nbytes
            self._give_up()

    def hand_over(self, earlier: str, later: str, changed: Differences) -> None:
        """Let a later snapshot have what is held of an earlier one and did not change.

        The earlier one has nothing then. A later one that has columns already keeps those instead.
        """
        with self._lock:
            if later in self._lines or earlier not in self._lines:
                return
            line = self._lines[later] = self._lines.pop(earlier)
            gone = [(line, key) for key in changed.keys]
            if changed.prefixes:
                held = [key for number, key in (*self._columns, *self._once) if number == line]
                gone += [(line, key) for key in changed.touched(held)]
            for key in gone:
                self._once.pop(key, None)
                self._drop(key)

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

    def hand_over(self, later: DecodedColumns, changed: Differences) -> None:
        """Let a later snapshot have what did not change, as `DecodedMemory.hand_over` does."""
        self.memory.hand_over(self.snapshot, later.snapshot, changed)

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
