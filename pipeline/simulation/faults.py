"""Faults of a simulated fleet: their rates, and how they reach the rows.

Faults of devices (values, gaps, clocks, repeats) depend on the device alone. Faults of the
delivery (disorder, late rows) mix the rows of all devices that share a stream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.simulation.disorder import (
    corrupt_times,
    drift_clock,
    drop_gaps,
    hold_back,
    jitter_clock,
    repeat_rows,
    shuffle_within,
)
from pipeline.simulation.rows import Rows
from pipeline.simulation.streams import as_microseconds
from pipeline.simulation.value_faults import chosen, hold, spike

__all__ = ["Faults", "break_values", "deliver", "send"]

_SHARES: Final = frozenset(
    ("missing", "nan", "stuck", "spikes", "gaps", "duplicates", "changed", "disorder", "late",
     "corrupt_times")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Faults:
    """How often which fault happens; nothing goes wrong by default.

    Parameters
    ----------
    missing
        Share of values that are missing (null).
    nan
        Share of float values that are NaN.
    stuck
        Share of values that repeat the value before, in runs of `stuck_length` on average.
    spikes
        Share of float values that are outliers.
    gaps
        Share of rows lost, in runs of `gap_length` on average.
    jitter
        Standard deviation of the clocks; microseconds or a text such as ``"5 ms"``.
    drift_ppm
        Clocks run fast or slow by up to this many parts per million, and are set right every
        `resync`.
    duplicates
        Share of rows delivered twice; a share `changed` of the repeats carries the values of
        another row of the device (which may happen to be the same).
    disorder
        Share of rows delivered late by up to `lateness`.
    late
        Share of rows delivered late by `late_by` to twice `late_by`, within one piece.
    corrupt_times
        Share of rows whose time is missing, early on 1970-01-01, or 136 years ahead.

    Raises
    ------
    InvalidInputError
        If a share is outside [0, 1), a length is below 1, or a duration is not one.
    """

    missing: float = 0.0
    nan: float = 0.0
    stuck: float = 0.0
    stuck_length: float = 30.0
    spikes: float = 0.0
    gaps: float = 0.0
    gap_length: float = 10.0
    jitter: int | str = 0
    drift_ppm: float = 0.0
    resync: int | str = "1 day"
    duplicates: float = 0.0
    changed: float = 0.5
    disorder: float = 0.0
    lateness: int | str = "30 s"
    late: float = 0.0
    late_by: int | str = "1 h"
    corrupt_times: float = 0.0

    def __post_init__(self) -> None:
        for name in _SHARES:
            share = getattr(self, name)
            if not 0 <= share <= 1 or (share == 1 and name in ("gaps", "stuck")):
                msg = f"fault {name} is {share}; give a share from 0 to 1 (1 excluded for runs)"
                raise InvalidInputError(msg)
        if min(self.stuck_length, self.gap_length) < 1:
            msg = f"mean lengths of runs are {self.stuck_length} and {self.gap_length}; give 1 or more"
            raise InvalidInputError(msg)
        for name in ("jitter", "resync", "lateness", "late_by"):
            as_microseconds(getattr(self, name), name)

    @property
    def active(self) -> bool:
        """Whether anything goes wrong at all."""
        return bool(
            self.jitter
            or self.drift_ppm
            or any(getattr(self, name) for name in _SHARES - {"changed"})
        )

    @property
    def reorders(self) -> bool:
        """Whether rows are delivered as a stream ordered by time, with exceptions."""
        return self.disorder > 0 or self.late > 0


def break_values(
    values: NDArray[Any], decimals: int | None, faults: Faults, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[np.bool_], dict[str, NDArray[np.bool_]]]:
    """Let sensors fail.

    Parameters
    ----------
    values
        Shape (devices, readings); only floats get spikes and NaN.
    decimals
        To which spikes are rounded; None if they are not.
    faults
        How often.
    rng
        Where chance comes from.

    Returns
    -------
    values
        Same shape and dtype.
    valid
        Bool, same shape, False where the value is missing.
    marks
        Bool, same shape, by fault: what can still be seen of it in the values.
    """
    values, stuck = hold(rng, values, faults.stuck, faults.stuck_length)
    spiked = nan = np.zeros(values.shape, bool)
    if values.dtype.kind == "f":
        values, spiked = spike(rng, values, faults.spikes, decimals)
        nan = chosen(rng, values.shape, faults.nan)
        values[nan] = np.nan
    missing = chosen(rng, values.shape, faults.missing)
    marks = {"stuck": stuck & ~nan & ~missing & ~spiked, "spikes": spiked & ~nan & ~missing,
             "nan": nan & ~missing, "missing": missing}  # fmt: skip
    return values, ~missing, marks


def send(
    rows: Rows, faults: Faults, rng: np.random.Generator, rates: NDArray[np.float64], origin: int
) -> Rows:
    """Let rows leave their devices: some are lost, clocks are wrong, some rows go out twice.

    Parameters
    ----------
    rows
        Sorted by device and time.
    faults
        How often.
    rng
        Where chance comes from.
    rates
        Shape (rows,): error of each row's clock in parts per million.
    origin
        When all clocks were right, microseconds since 1970-01-01 UTC.
    """
    resync = as_microseconds(faults.resync, "resync")
    time = drift_clock(rows.time, rates, origin, max(resync, 1))
    time = jitter_clock(time, rng, as_microseconds(faults.jitter, "jitter"))
    lost = drop_gaps(rows.device, rng, faults.gaps, faults.gap_length)
    rows = replace(rows, time=time, lost=rows.device[lost]).take(~lost)
    rows = _repeat(rows, faults, rng)
    stamps = corrupt_times(rows.time, rng, faults.corrupt_times)
    rows = replace(rows, reported=stamps.time, reported_valid=stamps.valid)
    return rows.marked(corrupt_times=stamps.touched)


def _repeat(rows: Rows, faults: Faults, rng: np.random.Generator) -> Rows:
    again = repeat_rows(len(rows.time), rng, faults.duplicates)
    changed = again.touched & chosen(rng, len(again), faults.changed)
    before = np.maximum(again.rows - 1, 0)
    before[rows.device[before] != rows.device[again.rows]] += 1
    twice = rows.take(again.rows, np.where(changed, before, again.rows))
    return twice.marked(duplicates=again.touched, changed=changed)


def deliver(rows: Rows, faults: Faults, rng: np.random.Generator) -> Rows:
    """Let rows arrive: by time, but some later than others, and some very late.

    The ``disorder`` mark counts rows that come after a row with a later time, whatever the cause.
    """
    lateness = as_microseconds(faults.lateness, "lateness")
    rows = rows.take(shuffle_within(rows.time, rng, faults.disorder, lateness).rows)
    late = hold_back(rows.time, rng, faults.late, as_microseconds(faults.late_by, "late_by"))
    rows = rows.take(late.rows)
    behind = rows.time < np.maximum.accumulate(rows.time) if len(rows.time) else late.touched
    return rows.marked(late=late.touched, disorder=behind)
