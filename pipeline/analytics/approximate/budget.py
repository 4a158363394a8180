"""How exact an approximate answer has to be, and how long it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.errors import InvalidInputError

__all__ = ["Approximate", "Budget", "budget_of"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What an approximate answer may cost, in accuracy and time.

    Parameters
    ----------
    relative_error
        Largest distance of a value from either of its bounds, by the value.
    error
        Largest distance of a value from either of its bounds, in the units of the answer.
    seconds
        About how long it may take. The cheapest way that has bounds is taken even if it takes
        longer; costlier ones are not begun unless they are expected to end in time.
    confidence
        How often bounds from a sample hold, below 1. Those of stored statistics and sketches
        always hold.

    Raises
    ------
    InvalidInputError
        If a number makes no sense.
    """

    relative_error: float | None = None
    error: float | None = None
    seconds: float | None = None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("relative_error", "error", "seconds"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                msg = f"a budget of {name}={value!r}; give a number, 0 or more"
                raise InvalidInputError(msg)
        if not 0.5 <= self.confidence < 1:
            msg = f"confidence={self.confidence!r} of a budget; give a number from 0.5 to below 1"
            raise InvalidInputError(msg)

    @property
    def limits_error(self) -> bool:
        """Whether answers have to be better than the cheapest that has bounds."""
        return self.relative_error is not None or self.error is not None


Approximate = bool | Budget
"""False for exact answers, True for the cheapest that has bounds, or what it may cost."""


def budget_of(approximate: Approximate) -> Budget | None:
    """Return the budget that a user means; None for exact answers.

    Raises
    ------
    InvalidInputError
        If it is neither a bool nor a budget.
    """
    if isinstance(approximate, Budget):
        return approximate
    if approximate is True or approximate is False:
        return Budget() if approximate else None
    msg = f"approximate={approximate!r}; use True, False or pipeline.Budget(relative_error=0.01)"
    raise InvalidInputError(msg)
