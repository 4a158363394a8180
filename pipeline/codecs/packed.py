"""Residuals as their stage has laid them out, and the one pass that makes values of them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import WORD
from pipeline.codecs.pointwise import NUMBERS, Mapping
from pipeline.codecs.predictors import Predictor
from pipeline.errors import CorruptBlockError

__all__ = ["NO_BYTES", "NO_NUMBERS", "NUMBER", "WORDS", "Packed", "unpack"]

NO_BYTES: Final = np.empty(0, np.uint8)
NO_NUMBERS: Final = np.empty(0, np.uint64)

NUMBER: Final = np.dtype(np.int64)
WORDS: Final = np.dtype(np.uint64)

_ESCAPES, _LENGTH, _ENTRY = 1, 2, 3


class Packed(NamedTuple):
    """Residuals that have been found to be as many bytes as they need.

    Attributes
    ----------
    stage, width : int
        Of `pipeline.codecs.entropy`.
    data : ndarray of uint8
        Decompressed bytes; planes of codes stand behind each other.
    constant : int
        What all residuals are, with the stage constant.
    larger : ndarray of uint64
        Escapes of codes, or raw residuals.
    """

    stage: int
    width: int = 0
    data: NDArray[np.uint8] = NO_BYTES
    constant: int = 0
    larger: NDArray[np.uint64] = NO_NUMBERS


def unpack(
    packed: Packed,
    predictor: Predictor,
    rows: int,
    scale: int,
    offset: int,
    mapping: Mapping = NUMBERS,
    dtype: np.dtype[Any] = NUMBER,
) -> NDArray[Any]:
    """Return what `mapping` makes of ``number * scale + offset`` for every row.

    Parameters
    ----------
    packed : Packed
        One residual a row, fewer by the predictor's order.
    predictor : Predictor
    rows : int
    scale, offset : int
        Taken modulo 2**64.
    mapping : Mapping
    dtype : numpy.dtype
        Of what is returned; whole numbers are cut to its width, floats rounded.

    Returns
    -------
    ndarray, shape (rows,)

    Raises
    ------
    CorruptBlockError
        If the residuals' bytes are not what they should be, or an entry does not exist.
    """
    head = (packed.stage, packed.width, packed.constant, predictor.order, predictor.first,
            predictor.step & WORD, scale & WORD, offset & WORD)  # fmt: skip
    out = np.empty(rows, dtype)
    width = -4 if dtype == np.float32 else dtype.itemsize
    wrong = kernel("plain_decode", "decode_plain")(
        packed.data, packed.larger, np.array(head, np.uint64), *mapping, width, out.view(np.uint8)
    )
    if wrong == _ESCAPES:
        raise CorruptBlockError(f"marks other escapes than the {packed.larger.size} it lists")
    if wrong == _LENGTH:
        raise CorruptBlockError(f"{packed.data.size} bytes do not hold exactly the numbers asked")
    if wrong == _ENTRY:
        raise CorruptBlockError(f"refers to an entry beyond the {mapping.lookup.size} there are")
    return out
