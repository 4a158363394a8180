"""Which file holds which chunk of an array, listed as far as it pays.

The library fetches a chunk in 100 to 250 us, most of it spent on waking threads, where reading the
file takes 15 us. Which file that is can only be listed for a whole array, in the order of its
windows: 0.5 us a chunk where manifests are large, 5 us where they hold 32 chunks each. So nothing is
listed until some dozens of chunks were asked for. Then the listing goes on as long as those turn up
in it, and besides for a twentieth of the time that fetching them takes, so that no answer is much later
for it. A later request of the same array takes it up where it was left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BATCH", "Batch", "ChunkRefs", "Found", "places_of"]

BATCH: Final = 64
"""Chunks that are listed at once: loading the manifests of so many takes half a millisecond at most."""

_NATIVE: Final = 1
_INLINED: Final = 3
_ID_BYTES: Final = 20

_WORTH_LISTING: Final = 48  # chunks, which are fetched in 5 to 12 ms; the first batch takes 1 ms
_SAVED_S: Final = 60e-6  # by each chunk that turns up
_STAKE_S: Final = 6e-6  # for each that is looked for, a twentieth of what fetching it takes
_OVERHEAD: Final = 100  # bytes, of an inlined chunk

type Batch = tuple[Any, Any, Sequence[str], Any, Any, dict[int, bytes]]
"""Coordinates, kinds, ids, offsets, lengths and inlined bytes of chunks, as the library lists them."""

type Found = tuple[bytes, int] | bytes | None
"""The id and length of a file that is a chunk, or the chunk itself if it is inlined; None if unknown."""


class ChunkRefs:
    """The chunks of one array, as far as they were listed. Not safe for threads.

    Parameters
    ----------
    batches
        Lists the chunks, in the order of their coordinates.
    clock
        Tells seconds.
    """

    def __init__(
        self, batches: Iterator[Batch], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._batches: Iterator[Batch] | None = batches
        self._clock = clock
        self._count = 0
        self._places = np.zeros(1, "S1")
        self._ids = np.zeros(1, f"S{_ID_BYTES}")
        self._lengths = np.zeros(1, np.int64)
        self._inlined: dict[int, bytes] = {}
        self._inlined_bytes = 0
        self._sought = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        held = self._places.nbytes + self._ids.nbytes + self._lengths.nbytes
        return held + self._inlined_bytes

    def find(self, places: NDArray[np.bytes_], *, listing: bool) -> list[Found]:
        """Return where chunks are, as far as it is known.

        Parameters
        ----------
        places
            Shape (chunks,), see `places_of`.
        listing
            Whether the listing may go on, if that pays.
        """
        rows = self._rows(places)
        missing = np.flatnonzero(rows < 0)
        self._sought += len(missing)
        worth = self._sought >= _WORTH_LISTING
        if listing and worth and len(missing) and self._batches is not None:
            self._list_on(self._batches, np.sort(places[missing]))
            rows[missing] = self._rows(places[missing])
            # What paid is worth being done for the next few chunks too.
            self._sought = 0 if (rows < 0).any() else _WORTH_LISTING
        ids, lengths = self._ids[rows].tolist(), self._lengths[rows].tolist()
        return [
            None if row < 0 else self._inlined[row] if length < 0 else (name, length)
            for row, name, length in zip(rows.tolist(), ids, lengths, strict=True)
        ]

    def _rows(self, places: NDArray[np.bytes_]) -> NDArray[np.intp]:
        """Return the number of each chunk in the listing, -1 if it is not there."""
        known = self._places[: self._count]
        rows = np.minimum(np.searchsorted(known, places), max(self._count - 1, 0))
        return np.where(known[rows] == places, rows, -1) if self._count else rows - 1

    def _list_on(self, batches: Iterator[Batch], wanted: NDArray[np.bytes_]) -> None:
        until, met = np.inf, 0
        while met < len(wanted) and self._clock() < until + _SAVED_S * met:
            batch = next(batches, None)
            if batch is None or not self._add(batch):
                self._batches = None
                return
            if until == np.inf:  # what it takes to begin is not to end it
                until = self._clock() + _STAKE_S * self._sought
            if self._count:
                met = int(np.searchsorted(wanted, self._places[self._count - 1], "right"))

    def _add(self, batch: Batch) -> bool:
        """Add what was listed; tell whether it follows on what is there."""
        coordinates, kinds, ids, offsets, lengths, inlined = batch
        places = places_of(coordinates)
        before = self._places[self._count - 1 : self._count]
        if not (places[:-1] < places[1:]).all() or (before >= places[:1]).any():
            return False
        names, lengths = _names(ids), lengths.astype(np.int64)
        if inlined or not (kinds == _NATIVE).all() or offsets.any():
            lengths[kinds == _INLINED] = -1
            whole = (kinds == _INLINED) | ((kinds == _NATIVE) & (offsets == 0))
            places, names, lengths = places[whole], names[whole], lengths[whole]
            for row, at in enumerate(np.flatnonzero(whole).tolist(), self._count):
                if at in inlined:
                    self._inlined[row] = inlined[at]
                    self._inlined_bytes += len(inlined[at]) + _OVERHEAD
        start, self._count = self._count, self._count + len(places)
        self._reserve(places.dtype)
        here = slice(start, self._count)
        self._places[here], self._ids[here], self._lengths[here] = places, names, lengths
        return True

    def _reserve(self, places: np.dtype[Any]) -> None:
        if self._count > len(self._ids) or self._places.dtype != places:
            size = max(2 * len(self._ids), self._count, BATCH)
            self._places = _longer(self._places.astype(places), size)
            self._ids = _longer(self._ids, size)
            self._lengths = _longer(self._lengths, size)


def places_of(coordinates: NDArray[Any] | Sequence[Sequence[int]]) -> NDArray[np.bytes_]:
    """Return coordinates, shape (chunks, dimensions), as one sortable item each, shape (chunks,).

    Raises
    ------
    ValueError, OverflowError
        If they are no table of numbers from 0 to 2**32 - 1.
    """
    table = np.ascontiguousarray(coordinates, ">u4")
    return table.view(f"S{4 * table.shape[1]}")[:, 0]


def _names(ids: Sequence[str]) -> NDArray[np.bytes_]:
    joined = "".join(ids).encode()
    if len(joined) == _ID_BYTES * len(ids):  # of files, all: that takes a tenth of the time
        return np.frombuffer(joined, f"S{_ID_BYTES}")
    return np.array(ids, f"S{_ID_BYTES}")


def _longer[T: np.generic](array: NDArray[T], size: int) -> NDArray[T]:
    longer = np.zeros(size, array.dtype)
    longer[: len(array)] = array
    return longer
