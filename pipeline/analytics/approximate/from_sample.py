"""Percentiles from a random sample of windows, with bounds that hold at a stated rate.

Rows of one window resemble each other, and are read together: windows are drawn, not rows. The
draw follows from the question alone, so that who asks again gets the same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.approximate.bounded import Bounded, meets
from pipeline.analytics.approximate.budget import Budget
from pipeline.analytics.approximate.clusters import SampledQuantile, Stretches
from pipeline.analytics.approximate.stored_parts import read_parts
from pipeline.analytics.query import Query
from pipeline.analytics.readings import CellRows, readings_of
from pipeline.analytics.thinned import kept_units
from pipeline.archive.fleet_view import Rows
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.asked import Statistic
from pipeline.summaries.parts import Parts

__all__ = ["Sample", "draws", "make_sample"]

_FIRST_DRAW: Final = 16
_MOST_CERTAIN: Final = 4

Key = tuple[str, Statistic]


def make_sample(query: Query, known: Mapping[Key, Bounded], keys: list[Key]) -> Sample | None:
    """Return a sample that is yet to be drawn; None where there can be none that is sound.

    Parameters
    ----------
    query
        The request. Windows that overlap share rows, and are not sampled.
    known
        Answers from summaries.
    keys
        Which of them are to be made better; others than percentiles are passed over.
    """
    keys = [key for key in keys if key in known and key[1].quantile is not None]
    finite = [key for key in keys if _is_finite(known[key])]
    if not finite or not query.windows.is_panes:
        return None
    channels = tuple(dict.fromkeys(channel for channel, _ in finite))
    stored = read_parts(query, channels, (0, query.groups.size))
    parts = {channel: stored.parts(channel) for channel in channels}
    if not all(map(SampledQuantile.fits, parts.values())):
        return None
    stretches = _stretches(query, list(parts.values()))
    if len(stretches.random) < 2 * _FIRST_DRAW or stretches.certain.sum() > _MOST_CERTAIN:
        return None
    if (stretches.certain & stretches.gone).any():
        return None  # nobody knows any more how many readings there are
    sampled = {
        key: SampledQuantile(
            parts[key[0]],
            np.searchsorted(stretches.numbers, _windows_of(query, parts[key[0]])),
            stretches,
            known[key],
            key[1].quantile or 0.0,
        )
        for key in finite
    }
    return Sample(query, stretches, sampled, _order(query, stretches))


def draws(windows: int) -> list[int]:
    """Return after how many drawn windows to look whether the bounds are good enough."""
    sizes = []
    size = _FIRST_DRAW
    while size <= windows // 2:
        sizes.append(size)
        size *= 2
    return sizes


@dataclass(slots=True, eq=False)
class Sample:
    """Windows in the order in which they are drawn, and what is learnt from them."""

    query: Query
    stretches: Stretches
    sampled: dict[Key, SampledQuantile]
    order: NDArray[np.int64]

    def expected(self, size: int, budget: Budget) -> dict[Key, Bounded]:
        """Return about what the answers will be like after so many drawn windows."""
        at = np.concatenate([np.flatnonzero(self.stretches.certain), self.order[:size]])
        risk = self._risk(budget, size)
        return {key: one.expected(at, risk) for key, one in self.sampled.items()}

    def run(self, budget: Budget, most: int) -> dict[Key, Bounded]:
        """Draw until the budget is met, or so many windows are drawn.

        Raises
        ------
        InvalidInputError
            If rows are gone that have to be looked at.
        """
        answers: dict[Key, Bounded] = {}
        for at in np.flatnonzero(self.stretches.certain).tolist():
            self._look_at(at)
        done = 0
        for size in (size for size in draws(len(self.order)) if size <= most):
            for at in self.order[done:size].tolist():
                self._look_at(at)
            done = size
            risk = self._risk(budget, size)
            answers = {
                key: one.answer(risk, budget.confidence) for key, one in self.sampled.items()
            }
            if budget.limits_error and all(meets(answer, budget) for answer in answers.values()):
                break
        return answers

    def _risk(self, budget: Budget, size: int) -> float:
        """Return the risk of one look; those of all looks add up to less than what is allowed."""
        looks = 1 + draws(len(self.order)).index(size)
        return (1 - budget.confidence) * 0.5**looks

    def _look_at(self, at: int) -> None:
        channels = tuple(dict.fromkeys(channel for channel, _ in self.sampled))
        found: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {
            channel: [] for channel in channels
        }
        for cells, rows in _rows(self.query, int(self.stretches.numbers[at]), channels):
            for channel in channels:
                readings = readings_of(cells, rows.columns[channel])
                cell = readings.rows.group * len(self.query.windows) + readings.rows.bin
                found[channel].append((cell, readings.values.astype(np.float64)))
        none = np.zeros(0, np.int64), np.zeros(0)
        for (channel, _), one in self.sampled.items():
            cell, values = map(np.concatenate, zip(none, *found[channel], strict=True))
            one.add(at, cell, values)


def _rows(query: Query, window: int, channels: tuple[str, ...]) -> Iterator[tuple[CellRows, Rows]]:
    length, selection = query.view.meta.scheme.window_length, query.selection
    part = Selection(
        max(length.start(window), selection.start),
        min(length.start(window + 1), selection.stop),
        selection.codes,
    )
    for unit in kept_units(query.view, part):
        rows = query.view.rows(unit, part, channels)
        if len(rows):
            series = query.groups.ranks(rows.codes)
            bins = query.bins.numbers(rows.time)
            yield CellRows(series, query.groups.of_device[series], bins, rows.time), rows


def _windows_of(query: Query, parts: Parts) -> NDArray[np.int64]:
    """Return the fleet's window of each part."""
    scheme = query.view.meta.scheme
    numbers, inverse = np.unique(parts.key & 0xFFFFFFFF, return_inverse=True)
    found: NDArray[np.int64] = scheme.window_length.numbers(scheme.summary_length.starts(numbers))
    return found[inverse]


def _stretches(query: Query, parts: list[Parts]) -> Stretches:
    windows = [_windows_of(query, part) for part in parts]
    partly = [found[~part.whole] for found, part in zip(windows, parts, strict=True)]
    numbers = np.unique(np.concatenate(windows))
    view = query.view
    starts = view.meta.scheme.window_length.starts(numbers)
    gone = np.isin(numbers, view.thinned_windows(query.selection))
    gone |= starts < view.meta.retention.raw_from
    certain = np.isin(numbers, np.concatenate(partly))
    return Stretches(numbers, gone, certain)


def _order(query: Query, stretches: Stretches) -> NDArray[np.int64]:
    """Return the windows that are drawn from, shuffled as the question says."""
    asked = (
        query.view.meta.name,
        query.selection.start,
        query.selection.stop,
        query.windows.starts.tobytes(),
        query.groups.codes.tobytes(),
        query.groups.of_device.tobytes(),
        sorted((channel, str(names)) for channel, names in query.statistics.items()),
    )
    digest = hashlib.blake2b(repr(asked).encode(), digest_size=16).digest()
    random = np.random.default_rng(int.from_bytes(digest, "little"))
    order: NDArray[np.int64] = random.permutation(stretches.random)
    return order


def _is_finite(answer: Bounded) -> bool:
    """Tell whether a grid of numbers can lie between the bounds."""
    cells = answer.present
    return bool(
        np.isfinite(answer.bounds.low[cells]).all() and np.isfinite(answer.bounds.high[cells]).all()
    )
