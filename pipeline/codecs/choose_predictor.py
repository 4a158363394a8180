"""Which predictor suits a series of numbers, judged from a few thousand of its rows.

Candidates are ranked by the entropy of what they leave, counted on contiguous runs from all over
the series. The choice has no effect on what comes back, only on size and speed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.lanes import DELTA, DELTA2, GRID, NONE, SMOOTHING, LanePredictor

__all__ = ["Prediction", "choose_predictor", "sample_runs"]

_LOG: Final = logging.getLogger(__name__)

_RUNS: Final = 20
_RUN_ROWS: Final = 160

_DIFFERENCES: Final = (LanePredictor(NONE), LanePredictor(DELTA), LanePredictor(DELTA2))
_AVERAGES: Final = tuple(LanePredictor(SMOOTHING, shift) for shift in (7, 6, 5))
_GRID_SHIFTS: Final = (1, 2, 4, 40)
_HANDICAPS: Final = {NONE: 0.0, DELTA: 0.01, DELTA2: 0.03, SMOOTHING: 0.05, GRID: 0.1}
"""Bits a row by which the dearer predictor must win, because it costs time …"""
_DOUBT: Final = 0.01
"""… and the share of its promise, because a sample of noise always favours one."""

_MOST_DIFFERENCED: Final = 1 << 62
_MOST_AVERAGED: Final = 1 << 50
_STEADY: Final = 0.7


@dataclass(frozen=True)
class Prediction:
    """A predictor, and what it promises.

    Attributes
    ----------
    predictor : LanePredictor
    bits : float
        Estimated bits per row.
    """

    predictor: LanePredictor
    bits: float


def sample_runs(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return contiguous runs from all over `rows`, shape (runs, rows of a run)."""
    if rows.size <= _RUNS * _RUN_ROWS:
        return rows.reshape(1, -1)
    last = rows.size - _RUN_ROWS
    starts = [last * run // (_RUNS - 1) for run in range(_RUNS)]
    return np.concatenate([rows[at : at + _RUN_ROWS] for at in starts]).reshape(_RUNS, -1)


def choose_predictor(runs: NDArray[np.int64], largest: int) -> list[Prediction]:
    """Rank the predictors for numbers of which `runs` are a sample, the best first.

    Parameters
    ----------
    runs : ndarray of int64, shape (runs, rows)
        Contiguous rows, at least one run.
    largest : int
        Largest of all numbers; the smallest is not negative.
    """
    candidates = list(_DIFFERENCES if largest < _MOST_DIFFERENCED else _DIFFERENCES[:1])
    period = 0
    if largest < _MOST_AVERAGED:
        candidates.extend(_AVERAGES)
        period = _period(runs)
        candidates.extend(LanePredictor(GRID, shift, period) for shift in _GRID_SHIFTS if period)
    estimates = np.empty(len(candidates))
    kernel("lanes", "score_predictors")(
        runs,
        np.array([candidate.id for candidate in candidates]),
        np.array([candidate.shift for candidate in candidates]),
        np.int64(period),
        estimates,
    )
    _LOG.debug("%s: %s", [str(candidate) for candidate in candidates], estimates)
    handicaps = np.array([_HANDICAPS[candidate.id] for candidate in candidates])
    order = np.argsort(estimates * (1.0 + _DOUBT * (handicaps > 0.0)) + handicaps, kind="stable")
    return [Prediction(candidates[at], float(estimates[at])) for at in order.tolist()]


def _period(runs: NDArray[np.int64]) -> int:
    """Return the period of a clock in 1024ths, 0 where numbers do not advance like one.

    The median step is refined over ever longer distances, so that jitter averages out.
    """
    steps = runs[:, 1:] - runs[:, :-1]
    if steps.size < 2:
        return 0
    few = np.sort(steps.reshape(-1)[:: max(1, steps.size // 512)])
    usual = int(few[few.size // 2])
    near = np.count_nonzero(np.abs(few - usual) <= usual // 2)
    if usual <= 1 or near < _STEADY * few.size or few[0] == few[-1]:
        return 0
    period = float(usual)
    for distance in (16, 128):
        if runs.shape[1] <= distance:
            break
        far = (runs[:, distance:] - runs[:, :-distance]).reshape(-1)[::7]
        periods = np.rint(far / period)
        good = (periods > 0) & (periods < 4 * distance)
        if np.count_nonzero(good) > 8:
            period = float(np.median(far[good] / periods[good]))
    return round(1024 * period)
