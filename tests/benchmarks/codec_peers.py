"""Sizes of the peers: what others would need for the same blocks, each at its best.

Each function takes the blocks of a column and returns bytes. Where a peer has settings, several
are tried on the whole column and the smallest result counts. Those that know no missing rows
are given the values that are there, and a bitmap under zstd that counts.

References
----------
https://www.blosc.org/c-blosc2/c-blosc2.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numcodecs.zstd import compress as zstd_compress
from numpy.typing import NDArray

from tests.benchmarks.codec_columns import Block
from tests.benchmarks.codec_gorilla import gorilla_bits
from tests.benchmarks.codec_parquet import parquet_size
from tests.benchmarks.codec_sides import bitmap_bytes, needed

__all__ = [
    "PEERS",
    "blosc2_size",
    "doubledelta_size",
    "gorilla_size",
    "second_differences",
    "zstd_size",
]

_ZSTD_LEVELS: Final = (3, 9, 12)
_DOUBLEDELTA_LEVEL: Final = 9
_BLOSC2_SETTINGS: Final = (
    # Level and how streams are split. The highest level is a few per cent smaller on most
    # columns, not on all; splitting wins where a few bits change and elsewhere loses much.
    (9, "NEVER_SPLIT"),
    (5, "NEVER_SPLIT"),
    (5, "ALWAYS_SPLIT"),
)


def zstd_size(blocks: Sequence[Block]) -> int:
    """Return the bytes of raw values under zstd."""
    return min(_total(blocks, partial(_zstd, level=level)) for level in _ZSTD_LEVELS)


def blosc2_size(blocks: Sequence[Block]) -> int:
    """Return the bytes of Blosc2 with bit shuffle and zstd, one Blosc block per block."""
    return min(
        _total(blocks, partial(_blosc2, level=level, split=split))
        for level, split in _BLOSC2_SETTINGS
    )


def doubledelta_size(blocks: Sequence[Block]) -> int:
    """Return the bytes of second differences, zigzag, under zstd, byte-shuffled if that helps."""
    return min(_total(blocks, partial(_doubledelta, shuffle=shuffle)) for shuffle in (False, True))


def gorilla_size(blocks: Sequence[Block]) -> int:
    """Return the bytes of the Gorilla paper's two schemes, by the exact number of bits."""
    return _total(blocks, lambda values: -(-gorilla_bits(values) // 8))


def second_differences(values: NDArray[Any]) -> NDArray[Any]:
    """Return the zigzag of second differences of integers, or of the bits of floats.

    Arithmetic wraps in the width of the values, which loses nothing and keeps them short.

    Returns
    -------
    ndarray of unsigned integers, same shape and width
    """
    bits = values.view(f"u{values.itemsize}")
    zero = np.zeros(1, bits.dtype)
    second = np.diff(np.diff(bits, prepend=zero), prepend=zero)
    signed = second.view(f"i{values.itemsize}")
    zigzag: NDArray[Any] = (second << 1) ^ (signed >> (8 * values.itemsize - 1)).view(bits.dtype)
    return zigzag


def _total(blocks: Sequence[Block], size: Callable[[NDArray[Any]], int]) -> int:
    return sum(
        (size(block.present) if len(block.present) else 0) + len(bitmap_bytes(block))
        for block in blocks
    )


def _zstd(values: NDArray[Any], level: int) -> int:
    return len(zstd_compress(values, level))


def _blosc2(values: NDArray[Any], level: int, split: str) -> int:
    blosc2 = needed("blosc2")
    packed = blosc2.compress2(
        values,
        typesize=values.itemsize,
        clevel=level,
        codec=blosc2.Codec.ZSTD,
        filters=[blosc2.Filter.BITSHUFFLE],
        splitmode=blosc2.SplitMode[split],
        blocksize=values.nbytes,
        nthreads=1,
    )
    return len(packed)


def _doubledelta(values: NDArray[Any], shuffle: bool) -> int:
    coded = second_differences(values)
    if shuffle:
        coded = np.ascontiguousarray(coded.view(np.uint8).reshape(-1, values.itemsize).T)
    return len(zstd_compress(coded, _DOUBLEDELTA_LEVEL))


PEERS: Final[Mapping[str, Callable[[Sequence[Block]], int]]] = {
    "parquet": parquet_size,
    "blosc2": blosc2_size,
    "zstd": zstd_size,
    "doubledelta": doubledelta_size,
    "gorilla": gorilla_size,
}
"""How the size of each peer but pcodec is found, by the key of its figures."""
