"""What a conversion makes of statistics: of extremes, of sums, of single values.

Stored summaries and the headers of blocks speak of values as they are stored. Where a conversion is
a chain of casts and affine maps, the same chain applied to them gives the statistics of the
converted values: extremes change places under a decreasing map, sums shift with the count, squares
scale with the factor's square. Where a value in between may not fit, nothing can be said, and rows
have to be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column
from pipeline.schema.expressions import Expression, Stepped, Stored
from pipeline.schema.steps import Step

__all__ = ["Image", "image_of"]


@dataclass(frozen=True, slots=True)
class Image:
    """A conversion of one array whose values keep or turn their order.

    Parameters
    ----------
    array
        The array.
    steps
        What happens to its values, in order.
    """

    array: str
    steps: tuple[Step, ...] = ()

    @property
    def is_identity(self) -> bool:
        """Whether statistics stay as they are."""
        return not self.steps

    @property
    def turns(self) -> bool:
        """Whether greater values become less."""
        return bool(np.prod([step.direction for step in self.steps]) < 0)

    def points(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return single values converted; without a meaning where they do not fit. Any shape."""
        column = Column(values.reshape(-1))
        for step in self.steps:
            column, _ = step.apply(column)
        return column.values.reshape(values.shape)

    def fits(self, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where all values from `low` to `high` are sure to be converted; bool, any shape."""
        known = np.ones(low.shape, np.bool_)
        for step in self.steps:
            known &= step.fits(low, high)
            ends = [step.apply(Column(end.reshape(-1)))[0].values.reshape(end.shape) for end in (low, high)]  # fmt: skip
            low, high = ends if step.direction > 0 else ends[::-1]
        return known

    def extremes(self, low: NDArray[Any], high: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the least and the greatest converted value, where they fit."""
        one, two = self.points(low), self.points(high)
        return (two, one) if self.turns else (one, two)

    def sums(
        self, count: NDArray[np.int64], total: NDArray[np.float64], m2: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sum, and the sum of squared deviations, of converted values."""
        for step in self.steps:
            affine = step.moments
            if affine is not None and not affine.is_identity:
                with np.errstate(over="ignore", invalid="ignore"):
                    total = (total * affine.multiply + affine.add * count) / affine.divide
                    m2 = m2 * affine.factor**2
        return total, m2


def image_of(expression: Expression) -> Image | None:
    """Return what a conversion makes of statistics; None if that cannot be said without the rows."""
    steps: list[Step] = []
    while isinstance(expression, Stepped):
        if expression.step.direction == 0 or expression.step.moments is None:
            return None
        steps.append(expression.step)
        expression = expression.of
    return (
        Image(expression.array, tuple(reversed(steps))) if isinstance(expression, Stored) else None
    )
