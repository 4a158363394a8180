"""The order in which TSBS delivers the entries of its ``iot`` use case, batch by batch.

The simulator takes entries from its trucks in batches of ten. A batch may be skipped, or kept
for later; so may each entry in it; and what was kept comes back between later ones, first in,
first out. Nothing of that depends on what is in the entries, so the order is worked out alone.

References
----------
Time Series Benchmark Suite, https://github.com/timescale/tsbs, ``pkg/data/usecases/iot``:
``batch_config.go`` (probabilities) and ``simulator.go`` (what they mean).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BATCH",
    "BATCH_LATE",
    "BATCH_MISSING",
    "BATCH_RETURNS",
    "ENTRY_LATE",
    "ENTRY_MISSING",
    "ENTRY_RETURNS",
    "ZERO_FIELD",
    "ZERO_TAG",
    "tsbs_order",
]

BATCH: Final = 10
BATCH_MISSING: Final = 0.01
BATCH_LATE: Final = 0.05
BATCH_RETURNS: Final = 0.5
ENTRY_MISSING: Final = 0.1
ENTRY_LATE: Final = 0.3
ENTRY_RETURNS: Final = 0.5
ZERO_FIELD: Final = 0.1
ZERO_TAG: Final = 0.01


def tsbs_order(entries: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return which entries are delivered, in which order.

    Parameters
    ----------
    entries
        Number of entries that the trucks produce, in the order of time.
    rng
        Where chance comes from.

    Returns
    -------
    ndarray
        ``int64``, shape (delivered,): entry numbers, each at most once. About a tenth is
        missing, and about a fifth comes after an entry with a higher number.
    """
    slots = _Slots.draw(entries // 7 + 64, rng)  # a draw uses up ten entries or so on average
    starts, delivered = _batches(entries, slots.taken.tolist(), rng)
    slots = slots.first(len(starts))
    numbers, waiting = _entry_numbers(slots, starts)
    everything = np.concatenate([numbers[delivered].ravel(), waiting])
    return everything[everything < entries]


@dataclass(frozen=True, slots=True, eq=False)
class _Slots:
    """Slots of batches: each takes an entry, new or returning, and sends, loses or keeps it.

    A batch has ten slots in which anything may happen, and then as many as it needs to send
    ten entries. All arrays have shape (batches, 20) but `taken`.
    """

    sent: NDArray[np.bool_]
    late: NDArray[np.bool_]
    returning: NDArray[np.bool_]
    new: NDArray[np.bool_]

    @property
    def taken(self) -> NDArray[np.int64]:
        """How many new entries each batch takes, shape (batches,)."""
        return np.asarray(self.new.sum(axis=1))

    @classmethod
    def draw(cls, batches: int, rng: np.random.Generator) -> _Slots:
        missing, late, wants = (
            rng.random((batches, BATCH), dtype=np.float32) < share
            for share in (ENTRY_MISSING, ENTRY_LATE, ENTRY_RETURNS)
        )
        late &= ~missing
        returned = _returned(late.sum(axis=1), wants.sum(axis=1))
        returning = wants & (np.cumsum(wants, axis=1) <= returned[:, None])
        used = np.arange(2 * BATCH) < BATCH + (missing | late).sum(axis=1)[:, None]
        missing, late, returning = (
            np.pad(flags, ((0, 0), (0, BATCH))) for flags in (missing, late, returning)
        )
        return cls(used & ~missing & ~late, late, returning, used & ~returning)

    def first(self, batches: int) -> _Slots:
        keep = slice(batches)
        return _Slots(self.sent[keep], self.late[keep], self.returning[keep], self.new[keep])


def _returned(kept: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many entries come back in each batch: the wanted ones, as far as any wait.

    Only what was kept by earlier batches can return. What then waits is ``max(0, ...)`` of a
    recursion, which is the distance of a walk from its lowest point so far (Lindley).
    """
    arrived = np.concatenate([[0], kept[:-1]])
    walk = np.cumsum(arrived - wanted)
    left = walk - np.minimum.accumulate(np.minimum(walk, 0))
    return np.asarray(np.concatenate([[0], left[:-1]]) + arrived - left)


def _batches(
    entries: int, taken: list[int], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first new entry of each batch made, and the batches in the order delivered."""
    draws = rng.random((len(taken), 3)) < (BATCH_MISSING, BATCH_LATE, BATCH_RETURNS)
    start, starts, delivered, waiting = 0, list[int](), list[int](), deque[int]()
    for missing, late, returns in draws.tolist():
        if start >= entries:
            break
        if missing:
            start += BATCH
        elif waiting and returns:
            delivered.append(waiting.popleft())
        else:
            (waiting if late else delivered).append(len(starts))
            starts.append(start)
            start += taken[len(starts) - 1]
    return np.array(starts, np.int64), np.array([*delivered, *waiting], np.int64)


def _entry_numbers(
    slots: _Slots, starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the entries each batch sends, shape (batches, 10), and those still kept at the end."""
    number = (starts[:, None] + np.cumsum(slots.new, axis=1) - 1).ravel()
    kept, back = np.flatnonzero(slots.late), np.flatnonzero(slots.returning)
    source = np.arange(len(number))
    source[back] = kept[: len(back)]  # first in, first out
    while not np.array_equal(further := source[source], source):
        source = further  # an entry that returned may have been kept once more
    number = number[source]
    return number[slots.sent.ravel()].reshape(-1, BATCH), number[kept[len(back) :]]
