"""Patterns of whole numbers: counters that roll over, and states that last for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError

__all__ = ["Dwelling", "counter", "dwell_states"]


def counter(
    increments: NDArray[np.int64],
    last: NDArray[np.int64],
    modulus: int,
    resets: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return the running totals of a register that rolls over and may restart at zero.

    Parameters
    ----------
    increments
        ``int64``, shape (devices, readings): what each reading adds, at least 0.
    last
        ``int64``, shape (devices,): the totals before the first reading, at least 0.
    modulus
        The register's size, such as ``2**16`` or ``2**32``.
    resets
        Bool, shape (devices, readings), True where the device restarted: there the total is
        the reading's own increment.

    Returns
    -------
    ndarray
        ``int64``, shape (devices, readings), in [0, modulus).
    """
    total = np.cumsum(increments, axis=1)
    total += last[:, None]
    if resets is not None:
        before = np.where(resets, total - increments, 0)
        total -= np.maximum.accumulate(before, axis=1)
    total %= modulus
    return total


@dataclass(frozen=True, slots=True, eq=False)
class Dwelling:
    """States in which devices are, and how long each still stays in its own.

    Parameters
    ----------
    state
        ``int32``, shape (devices,).
    left
        ``float64``, shape (devices,): seconds until the state changes.
    """

    state: NDArray[np.int32]
    left: NDArray[np.float64]

    @classmethod
    def begin(cls, rng: np.random.Generator, devices: int, dwell: Sequence[float]) -> Dwelling:
        """Draw states in proportion to their mean duration."""
        means = np.asarray(dwell, np.float64)
        state = rng.choice(len(means), devices, p=means / means.sum()).astype(np.int32)
        return cls(state, rng.exponential(means[state]))


def dwell_states(
    rng: np.random.Generator,
    begin: Dwelling,
    readings: int,
    interval: float,
    dwell: Sequence[float],
    jumps: NDArray[np.floating[Any]] | None = None,
) -> tuple[NDArray[np.int32], Dwelling]:
    """Return states of a continuous-time Markov chain as seen at regular readings.

    Parameters
    ----------
    rng
        Where chance comes from.
    begin
        The states at the first reading.
    readings
        Number of readings.
    interval
        Seconds between readings.
    dwell
        Mean duration of each state in seconds; taken as one interval if shorter, since a
        shorter stay is seldom seen.
    jumps
        Shape (states, states): probability of the next state, by row; uniform over the other
        states if None.

    Returns
    -------
    states
        ``int32``, shape (devices, readings).
    Dwelling
        Where the next readings go on.

    Raises
    ------
    InvalidInputError
        If `jumps` does not fit `dwell`.
    """
    means = np.maximum(np.asarray(dwell, np.float64), interval)
    threshold = np.cumsum(_jumps(len(means), jumps), axis=1)
    span = readings * interval
    state, change = begin.state, begin.left.copy()
    visited, entered = [state], []
    while (open_ := change < span).any():
        entered.append(np.where(open_, np.ceil(change / interval), readings).astype(np.int64))
        drawn = (rng.random(len(state))[:, None] >= threshold[state, :-1]).sum(axis=1)
        state = np.where(open_, drawn, state).astype(np.int32)
        visited.append(state)
        change += np.where(open_, rng.exponential(means[state]), 0.0)
    return _spread(visited, entered, readings), Dwelling(state, change - span)


def _jumps(states: int, jumps: NDArray[np.floating[Any]] | None) -> NDArray[np.floating[Any]]:
    if jumps is None:
        return (1.0 - np.eye(states)) / max(states - 1, 1)
    if jumps.shape != (states, states):
        msg = f"jumps of {states} states must have shape ({states}, {states}), not {jumps.shape}"
        raise InvalidInputError(msg)
    return jumps


def _spread(
    visited: list[NDArray[np.int32]], entered: list[NDArray[np.int64]], readings: int
) -> NDArray[np.int32]:
    """Write each visited state from the reading at which it was entered."""
    devices = len(visited[0])
    changes = np.zeros((devices, readings + 1), np.int32)
    for column in entered:
        changes[np.arange(devices), column] += 1  # each device once, so plain indexing adds
    number = np.cumsum(changes[:, :readings], axis=1)
    return np.asarray(np.take_along_axis(np.stack(visited, axis=1), number, axis=1))
