"""Decoded columns in little space: as narrow as their range, decimals as whole numbers.

What a device reports in an hour seldom needs the eight bytes of its dtype. Making values of what is
kept takes a nanosecond or two each, a tenth of what decoding them does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column
from pipeline.model.dtypes import fill_value

__all__ = ["CompactColumn"]

_OVERHEAD: Final = 400  # of a column: its key and the objects around the arrays
_NARROW: Final = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.uint32))
_EXACT: Final = float(1 << 53)
_SAMPLE: Final = 64
_POWERS: Final = tuple(10.0**digits for digits in range(7))


@dataclass(frozen=True, slots=True, eq=False)
class CompactColumn:
    """A decoded column of a block in little space.

    Parameters
    ----------
    dtype
        Of the column.
    values
        Shape (rows,): the values, or in an unsigned dtype how far they are above `least`.
    least
        The smallest value; None if `values` are the values.
    valid
        As `Column.valid`.
    divisor
        What sums of `least` and `values` are divided by; 1 for none.
    """

    dtype: np.dtype[Any]
    values: NDArray[Any]
    least: np.generic | None
    valid: NDArray[np.bool_] | None
    divisor: float = 1.0

    @classmethod
    def of(cls, column: Column) -> CompactColumn:
        """Return what `column`, as a block is decoded, is kept as; it shares no memory with it."""
        values, dtype = column.values, column.values.dtype
        valid = None if column.valid is None else column.valid.copy()
        numbers, divisor = values, 1.0 if dtype.kind in "iu" else 0.0
        if dtype == np.float64:
            numbers, divisor = _whole_numbers(values, valid)
        if divisor and len(numbers):
            least = numbers.min()
            span = int(numbers.max()) - int(least)
            narrow = next((one for one in _NARROW if span <= np.iinfo(one).max), dtype)
            if narrow.itemsize < dtype.itemsize:
                above = np.subtract(numbers, least, dtype=numbers.dtype).astype(narrow)
                return cls(dtype, above, least, valid, divisor)
        return cls(dtype, values.copy(), None, valid)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        valid = 0 if self.valid is None else self.valid.nbytes
        return _OVERHEAD + self.values.nbytes + int(valid)

    def write(self, out: NDArray[Any], rows: slice | NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Write the values of some rows to `out`; return their validity, not to be changed."""
        if self.least is None:
            out[:] = self.values[rows]
        else:
            np.add(self.values[rows], self.least, out=out)
        valid = None if self.valid is None else self.valid[rows]
        if self.divisor != 1:
            np.divide(out, self.divisor, out=out)
        if self.least is not None and self.dtype.kind == "f" and valid is not None:
            np.copyto(out, fill_value(self.dtype), where=~valid)
        return valid


def _whole_numbers(
    values: NDArray[np.float64], valid: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], float]:
    """Return whole numbers, and what they have to be divided by for the values; 0 if nothing will do.

    At rows without a value there is one of the others.
    """
    if valid is not None:
        there = np.flatnonzero(valid[:_SAMPLE])
        if not len(there):
            return values, 0.0
        values = np.where(valid, values, values[there[0]])
    sample = values[:_SAMPLE]
    for power in _POWERS:
        if _is_exact(sample, _scaled(sample, power), power):
            numbers = _scaled(values, power)
            return numbers, power if _is_exact(values, numbers, power) else 0.0
    return values, 0.0


def _scaled(values: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        return np.rint(values * power) + 0.0  # of zeros only the positive one is exact then


def _is_exact(values: NDArray[np.float64], numbers: NDArray[np.float64], power: float) -> bool:
    """Tell whether the numbers, divided, are the values to the last bit."""
    with np.errstate(all="ignore"):
        small = bool((np.abs(numbers) < _EXACT).all())
        return small and bool(((numbers / power).view(np.int64) == values.view(np.int64)).all())
