"""Values with the bounds that the exact ones lie between, and how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.approximate.budget import Budget
from pipeline.analytics.collectors import Values
from pipeline.summaries.part_bounds import Bounds

__all__ = ["EXACT", "SAMPLE", "SKETCH", "SUMMARIES", "Bounded", "meets"]

EXACT: Final = "exact"
SUMMARIES: Final = "summaries"
SKETCH: Final = "sketch"
SAMPLE: Final = "sample"
"""Where an answer comes from."""


@dataclass(frozen=True, slots=True, eq=False)
class Bounded:
    """An answer to one statistic.

    Parameters
    ----------
    bounds
        Shape (groups, windows) or (groups, windows, parts).
    present
        Bool, shape (groups, windows): which cells have a value, or may have one.
    seen
        Bool, shape (groups, windows): where there may be a reading.
    source
        Where it comes from: `EXACT`, `SUMMARIES`, `SKETCH` or `SAMPLE`.
    confidence
        How often such bounds hold; 1 if always.
    """

    bounds: Bounds
    present: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    source: str
    confidence: float = 1.0

    @classmethod
    def exactly(cls, values: Values) -> Bounded:
        """Return an exact answer."""
        return cls(Bounds.exactly(values.values), values.present, values.seen, EXACT)

    @classmethod
    def joined(cls, answers: Sequence[Bounded]) -> Bounded:
        """Return answers about consecutive groups as one; exact if all of them are."""
        value, low, high = (
            np.concatenate([getattr(answer.bounds, name) for answer in answers])
            for name in ("value", "low", "high")
        )
        sources = {answer.source for answer in answers}
        return cls(
            Bounds(value, low, high),
            np.concatenate([answer.present for answer in answers]),
            np.concatenate([answer.seen for answer in answers]),
            min(sources, key=lambda source: source == EXACT),
            min(answer.confidence for answer in answers),
        )

    def values(self, name: str) -> Values:
        """Return ``value``, ``low`` or ``high`` with what is known of their cells."""
        return Values(getattr(self.bounds, name), self.present, self.seen)

    def errors(self) -> NDArray[np.float64]:
        """Return how far each value may be from the exact one at most; 0 where there is none."""
        bounds = self.bounds
        if self.source == EXACT or bounds.value.dtype.kind not in "iuf":
            return np.zeros(bounds.value.shape)
        value, low, high = (
            part.astype(np.float64) for part in (bounds.value, bounds.low, bounds.high)
        )
        with np.errstate(invalid="ignore"):
            errors = np.maximum(high - value, value - low)
        # Bounds that are the same infinity differ by nothing.
        errors = np.where((low == high) | ~_cells(self.present, errors), 0.0, errors)
        return np.nan_to_num(errors, nan=np.inf, posinf=np.inf)


def meets(answer: Bounded, budget: Budget) -> bool:
    """Tell whether every value of an answer is as good as a budget asks for."""
    if not budget.limits_error or answer.source == EXACT:
        return True
    errors = answer.errors()
    if budget.error is not None and bool((errors > budget.error).any()):
        return False
    if budget.relative_error is None:
        return True
    allowed = budget.relative_error * np.abs(answer.bounds.value.astype(np.float64))
    return not bool((errors > allowed).any())


def _cells(present: NDArray[np.bool_], like: NDArray[Any]) -> NDArray[np.bool_]:
    return present if like.ndim == 2 else present[..., None]
