"""What a block's header says, however it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

__all__ = [
    "DTYPES",
    "DTYPE_CODES",
    "LETTERS",
    "MAGIC",
    "MAX_ROWS",
    "BlockHeader",
    "BlockStatistics",
    "build",
]

MAGIC: Final = b"IOTB"
"""How every block begins; the format version, 1 byte, follows."""

MAX_ROWS: Final = 65_536 * 16
"""Most rows a block may hold; bounds what a decoder will ever allocate."""

_DTYPES: Final = {
    1: ("bool", "B"), 2: ("int8", "b"), 3: ("int16", "h"), 4: ("int32", "i"), 5: ("int64", "q"),
    6: ("uint8", "B"), 7: ("uint16", "H"), 8: ("uint32", "I"), 9: ("uint64", "Q"),
    16: ("float32", "f"), 17: ("float64", "d"),
}  # fmt: skip
DTYPES: Final = {code: np.dtype(name) for code, (name, _) in _DTYPES.items()}
"""Dtypes by their code in the header."""

DTYPE_CODES: Final = {dtype: code for code, dtype in DTYPES.items()}
"""Codes by dtype."""

LETTERS: Final = {code: letter for code, (_, letter) in _DTYPES.items()}
"""The letter that `struct` has for a value, by the code of its dtype."""


@dataclass(frozen=True)
class BlockStatistics:
    """What a block's header knows about its values.

    Attributes
    ----------
    count : int
        Rows with a value that is not NaN.
    missing : int
        All other rows.
    min, max, first, last : int or float or None
        Exact, in the column's dtype; None when `count` is 0.
    sum, m2 : float
        Sum of the values, and of their squared deviations from the mean.
    """

    count: int
    missing: int
    min: int | float | None
    max: int | float | None
    sum: float
    m2: float
    first: int | float | None
    last: int | float | None


@dataclass(frozen=True)
class BlockHeader:
    """Everything a block says about itself before its payload.

    Attributes
    ----------
    version : int
        Format version.
    rows : int
        Rows, with or without a value.
    dtype : numpy.dtype
        The column's own dtype, native byte order.
    statistics : BlockStatistics
    size : int
        Bytes the header itself takes.
    payload_bytes, payload_crc32c : int
        Length and checksum of the payload.
    transform, predictor, entropy : int
        Ids of the stages; their parameters stand in the payload. 0 without a payload.
    constant : int or None
        The bits that every row holds, as an unsigned number of the dtype's width; None when
        the rows differ, or the payload holds them.
    vacant : bool
        No row has a value, and there is no payload.
    scale : int
        What the distances of the values from the smallest are whole multiples of, as the
        encoder was told; 1 if it is not known, or for floats.
    step : int
        Not 0 if the rows are ``first + i * step`` and there is no payload.
    """

    version: int
    rows: int
    dtype: np.dtype[np.generic]
    statistics: BlockStatistics
    size: int
    payload_bytes: int
    payload_crc32c: int
    transform: int
    predictor: int
    entropy: int
    constant: int | None = None
    vacant: bool = False
    scale: int = 1
    step: int = 0


def build[Kind](kind: type[Kind], **fields: object) -> Kind:
    """Return a frozen dataclass with all its `fields`, which are not checked.

    Its own constructor sets field by field: 2.5 us for a header where this takes 0.7 us.
    """
    made = object.__new__(kind)
    object.__setattr__(made, "__dict__", fields)
    return made
