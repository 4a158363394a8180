"""What goes wrong on the way: gaps, bad clocks, disorder, late rows, repeats, corrupt times.

Pure functions on NumPy columns and a random generator. They say which rows are delivered in
which order, or what the clocks show, and which rows they touched; apply `Order.rows` with
``table.take``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.simulation.value_faults import chosen, runs

__all__ = [
    "ROLLOVER",
    "Order",
    "Stamps",
    "corrupt_times",
    "drift_clock",
    "drop_gaps",
    "hold_back",
    "jitter_clock",
    "repeat_rows",
    "shuffle_within",
]

ROLLOVER: Final = 2**32 * 1_000_000
"""Microseconds after which a 32-bit counter of seconds is back at zero: 136 years."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """Rows in the order in which they are delivered.

    Parameters
    ----------
    rows
        ``int64``, shape (delivered,): numbers of the rows given.
    touched
        Bool, shape (delivered,), True at the rows that the fault concerns.
    """

    rows: NDArray[np.int64]
    touched: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Stamps:
    """Times as they are reported.

    Parameters
    ----------
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC.
    valid
        Bool, shape (rows,), False where no time is reported.
    touched
        Bool, shape (rows,), True where the time was corrupted.
    """

    time: NDArray[np.int64]
    valid: NDArray[np.bool_]
    touched: NDArray[np.bool_]


def drop_gaps(
    device_index: NDArray[np.integer[Any]], rng: np.random.Generator, share: float, length: float
) -> NDArray[np.bool_]:
    """Choose the rows lost while devices are out of reach.

    Parameters
    ----------
    device_index
        Shape (rows,), sorted by device: a gap never goes on with another device.
    rng
        Where chance comes from.
    share
        Expected share of rows lost, in [0, 1).
    length
        Mean length of a gap in rows.

    Returns
    -------
    ndarray
        Bool, shape (rows,), True where the row is lost.
    """
    return runs(rng, device_index, share, length)


def jitter_clock(
    time: NDArray[np.int64], rng: np.random.Generator, sigma: float
) -> NDArray[np.int64]:
    """Return `time` with independent normal errors of `sigma` microseconds."""
    return time + np.rint(rng.normal(0.0, sigma, time.shape)).astype(np.int64)


def drift_clock(
    time: NDArray[np.int64],
    rates: NDArray[np.floating[Any]],
    origin: int,
    resync: int,
) -> NDArray[np.int64]:
    """Return the times that clocks show which run fast or slow between two synchronisations.

    Parameters
    ----------
    time
        ``int64``, shape (rows,): true microseconds since 1970-01-01 UTC.
    rates
        Shape (rows,): error of each row's clock in parts per million, positive if fast.
    origin
        A moment at which all clocks are right, microseconds since 1970-01-01 UTC.
    resync
        Microseconds from one synchronisation to the next.
    """
    since = (time - origin) % resync
    return time + np.rint(since * (rates * 1e-6)).astype(np.int64)


def shuffle_within(
    time: NDArray[np.int64], rng: np.random.Generator, share: float, lateness: int
) -> Order:
    """Deliver rows by time, but a share of them up to `lateness` microseconds later.

    Returns
    -------
    Order
        `touched` marks rows delivered after a row with a later time. No row is delivered after
        one whose time is more than `lateness` later.
    """
    delay = rng.integers(0, lateness, len(time), endpoint=True)
    delay[~chosen(rng, len(time), share)] = 0
    rows = np.argsort(time + delay, kind="stable")
    delivered = time[rows]
    return Order(rows, delivered < np.maximum.accumulate(delivered))


def hold_back(time: NDArray[np.int64], rng: np.random.Generator, share: float, by: int) -> Order:
    """Deliver a share of the rows late, and the others in the order given.

    A late row comes when the clock of the stream (the latest time delivered so far) has passed
    its own time by `by` to twice `by` microseconds; with the last rows if it never does.

    Returns
    -------
    Order
        `touched` marks the late rows.
    """
    late = chosen(rng, len(time), share)
    arrival = np.maximum.accumulate(time) if len(time) else time
    arrival[late] = time[late] + rng.integers(by, 2 * by, int(late.sum()), endpoint=True)
    rows = np.argsort(arrival, kind="stable")
    return Order(rows, late[rows])


def repeat_rows(rows: int, rng: np.random.Generator, share: float) -> Order:
    """Deliver a share of the rows twice; `touched` marks the second delivery, right after the first."""
    counts = 1 + chosen(rng, rows, share).astype(np.int64)
    numbers = np.repeat(np.arange(rows), counts)
    second = np.zeros(len(numbers), bool)
    second[1:] = numbers[1:] == numbers[:-1]
    return Order(numbers, second)


def corrupt_times(time: NDArray[np.int64], rng: np.random.Generator, share: float) -> Stamps:
    """Corrupt a share of the times, in equal parts in three ways.

    The time is missing; or it counts from the start of the device instead of from 1970 (less
    than a day, so early on 1970-01-01); or its 32-bit seconds overflowed (136 years ahead).
    """
    touched = chosen(rng, len(time), share)
    kind = rng.integers(0, 3, len(time))
    reported = time.copy()
    early, ahead = touched & (kind == 1), touched & (kind == 2)
    reported[early] = rng.integers(0, 86_400_000_000, int(early.sum()))
    reported[ahead] += ROLLOVER
    return Stamps(reported, ~(touched & (kind == 0)), touched)
