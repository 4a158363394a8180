"""Predictors: what is left of a series of whole numbers when a guess is taken away.

A predictor turns `n` numbers into `n - order` residuals and a few numbers to start from. All
arithmetic wraps modulo 2**64, so every series comes back, however far apart its values are.
Residuals of a difference are zigzagged: 0, -1, 1, -2 … become 0, 1, 2, 3 …

==  =======  ===========================================================================
id  name     parameters in the payload
==  =======  ===========================================================================
0   none
1   delta    first number (LEB128), usual difference (zigzag LEB128), which is taken away too
2   delta2   first number (LEB128), first difference (zigzag LEB128)
==  =======  ===========================================================================

`pipeline.codecs.packed` undoes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import WORD, Cursor, as_signed, signed_varint, varint
from pipeline.errors import CorruptBlockError

__all__ = ["PREDICTORS", "Predictor", "scaled"]

PREDICTORS: Final[dict[int, str]] = {0: "none", 1: "delta", 2: "delta2"}
"""Names of the predictors by id, which is also their order."""


@dataclass(frozen=True)
class Predictor:
    """A difference of some order, with the numbers it starts from.

    Attributes
    ----------
    order : int
        0, 1 or 2; also the predictor's id.
    first : int
        First number (order 1 and 2).
    step : int
        Usual difference (order 1) or first difference (order 2), as an int64.
    """

    order: int
    first: int = 0
    step: int = 0

    def __str__(self) -> str:
        """Name the predictor and its parameters."""
        name = PREDICTORS[self.order]
        return f"{name}(first={self.first}, step={self.step})" if self.order else name

    @classmethod
    def forward(
        cls, order: int, step: int, numbers: NDArray[np.uint64]
    ) -> tuple[Self, NDArray[np.uint64]]:
        """Return the predictor of `order` for `numbers`, and the residuals.

        Parameters
        ----------
        order : int
            A key of `PREDICTORS`, not above the length of `numbers`.
        step : int
            Usual difference, for order 1.
        numbers : ndarray of uint64, shape (rows,)

        Returns
        -------
        predictor : Predictor
        residuals : ndarray of uint64, shape (rows - order,)
        """
        if order == 0:
            return cls(0), numbers
        out = scratch.empty(numbers.size - order, np.uint64)
        kernel("block_numbers", "residuals")(numbers, order, np.uint64(step & WORD), out)
        first = int(numbers[0])
        return cls(order, first, as_signed(int(numbers[1]) - first) if order == 2 else step), out

    @classmethod
    def read(cls, order: int, cursor: Cursor, rows: int) -> Self:
        """Read the parameters of the predictor with id `order` for `rows` numbers.

        Raises
        ------
        CorruptBlockError
            If there is no such predictor, or it needs more rows.
        """
        if order not in PREDICTORS or order > rows:
            raise CorruptBlockError(f"has predictor {order}, unknown or impossible for {rows} rows")
        first = cursor.varint() if order else 0
        return cls(order, first, cursor.signed_varint() if order else 0)

    def write(self) -> bytes:
        """Return the parameters as they stand in the payload."""
        return varint(self.first) + signed_varint(self.step) if self.order else b""


def scaled(numbers: NDArray[np.uint64], scale: int, offset: int) -> NDArray[np.uint64]:
    """Return ``number * scale + offset`` of all numbers, modulo 2**64."""
    if scale != 1:
        numbers = numbers * np.uint64(scale & WORD)
    return numbers + np.uint64(offset & WORD) if offset else numbers
