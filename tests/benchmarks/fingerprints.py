"""Telling whether two sets of rows are the same, whatever their order and wherever they are kept."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Fingerprint", "fingerprint"]

_FACTORS: Final = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How many rows there are, and the sum of a hash of each.

    Parameters
    ----------
    rows
        Number of rows.
    checksum
        Sum modulo 2^64 of a hash of every row's device, time and the exact bits of its values.
    """

    rows: int
    checksum: int


def fingerprint(batches: Iterable[pa.RecordBatch]) -> Fingerprint:
    """Take the fingerprint of rows.

    Parameters
    ----------
    batches
        Columns ``device``, ``time`` (microseconds) and up to two of ``float64``, none with
        missing values.
    """
    rows, checksum = 0, 0
    for batch in batches:
        rows += batch.num_rows
        checksum += int(_hashes(batch).sum(dtype=np.uint64))
    return Fingerprint(rows, checksum % 2**64)


def _hashes(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    hashes = np.zeros(batch.num_rows, np.uint64)
    for factor, name in zip(_FACTORS, sorted(batch.schema.names), strict=False):
        hashes += _bits(batch[name]) * np.uint64(factor)
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIX
    hashes ^= hashes >> np.uint64(29)
    return hashes


def _bits(column: pa.Array) -> NDArray[np.uint64]:
    """Return each value as 64 bits: texts by their checksum, numbers as they are stored."""
    if pa.types.is_string(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        texts = [zlib.crc32(text.encode()) for text in column.dictionary.to_pylist()]
        codes: NDArray[np.int32] = column.indices.to_numpy()
        return np.array(texts, np.uint64)[codes]
    values: NDArray[np.int64] = column.to_numpy()
    return values.view(np.uint64)
