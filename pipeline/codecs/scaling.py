"""Numbers as multiples of a scale above an offset: what series begin with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import WORD

__all__ = ["Scaled", "scale_down"]

_FEW: Final = 256


@dataclass(frozen=True)
class Scaled:
    """Numbers as multiples of a scale above an offset.

    Attributes
    ----------
    multiples : ndarray of uint64, shape (rows,)
        The smallest is 0.
    offset, scale : int
        ``number = multiple * scale + offset``, modulo 2**64.
    """

    multiples: NDArray[np.uint64]
    offset: int
    scale: int


def scale_down(numbers: NDArray[Any], bounds: tuple[int, int] | None = None) -> Scaled:
    """Take the smallest of `numbers` and their common divisor out.

    Parameters
    ----------
    numbers : ndarray of int64 or uint64, shape (rows,), at least one row
        Where nothing is to be taken out, they are returned as they stand.
    bounds : tuple of int, optional
        Smallest and largest number, if they are known.

    Notes
    -----
    Distances are unsigned, so nothing overflows whatever the range. The divisor of a few rows
    is tried on all of them by multiplication, and reduced wherever a row objects.
    """
    offset, last = bounds or (int(numbers.min()), int(numbers.max()))
    words, least = numbers.view(np.uint64), np.uint64(offset & WORD)
    if last == offset:
        return Scaled(np.zeros(numbers.size, np.uint64), offset, 1)
    every = max(1, numbers.size // _FEW)
    divisor = int(
        kernel("block_numbers", "common_divisor")(words, least, np.uint64(last - offset), every)
    )
    if divisor == 1 and not offset:
        return Scaled(words, offset, 1)
    multiples = scratch.empty(words.size, np.uint64)
    while divisor > 1:
        objecting = _divide(words, least, divisor, multiples)
        if objecting == words.size:
            return Scaled(multiples, offset, divisor)
        divisor = math.gcd(divisor, int(words[objecting]) - offset & WORD)
    return Scaled(np.subtract(words, least, out=multiples) if offset else words, offset, 1)


def _divide(
    numbers: NDArray[np.uint64],
    offset: np.uint64,
    divisor: int,
    quotients: NDArray[np.uint64],
) -> int:
    right = (divisor & -divisor).bit_length() - 1
    inverse = pow(divisor >> right, -1, 1 << 64)
    words = (np.uint64(n) for n in (inverse, right, (64 - right) % 64, WORD // divisor))
    return int(kernel("block_numbers", "exact_quotients")(numbers, offset, *words, quotients))
