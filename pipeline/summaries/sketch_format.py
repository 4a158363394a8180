"""Bytes of a quantile sketch.

::

    u8   version, 1
    f64  alpha
    u32  max_buckets
    u64  zeros, low infinities, high infinities
    f64  min, max
    twice, for positive and negative readings:
        i32  first key
        u32  number of keys
        u8   bytes a count: 1, 2, 4 or 8; 128 more if lower keys were counted as the first
        counts, unsigned

Everything is little-endian.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from pipeline.errors import CorruptBlockError, InvalidInputError
from pipeline.summaries.geometric_counts import GeometricCounts
from pipeline.summaries.quantile_sketch import QuantileSketch

__all__ = ["sketch_from_bytes", "sketch_to_bytes"]

_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BdIQQQdd")
_STORE: Final = struct.Struct("<iIB")
_COLLAPSED: Final = 0x80


def sketch_to_bytes(sketch: QuantileSketch) -> bytes:
    """Return the bytes of a sketch; equal sketches have equal bytes."""
    head = _HEAD.pack(
        _VERSION,
        sketch.alpha,
        sketch.max_buckets,
        sketch.zeros,
        sketch.low_infinities,
        sketch.high_infinities,
        sketch.min,
        sketch.max,
    )
    return head + _store_to_bytes(sketch.positive) + _store_to_bytes(sketch.negative)


def sketch_from_bytes(data: bytes, where: str = "quantile sketch") -> QuantileSketch:
    """Return the sketch of bytes that `sketch_to_bytes` made.

    Parameters
    ----------
    data
        All bytes of the sketch.
    where
        What an error calls them.

    Raises
    ------
    CorruptBlockError
        If the bytes are none of a sketch, or of a later version.
    """
    if len(data) < 1 or data[0] != _VERSION:
        known = f"version {data[0]}" if data else "no version"
        msg = f"{where}: {known}, this release reads version {_VERSION}; was it written by a later one?"
        raise CorruptBlockError(msg)
    try:
        _, alpha, most, zeros, low, high, least, greatest = _HEAD.unpack_from(data)
        positive, at = _store_from_bytes(data, _HEAD.size, most)
        negative, at = _store_from_bytes(data, at, most)
        if at != len(data):
            msg = f"{len(data) - at} bytes too many"
            raise ValueError(msg)
        return QuantileSketch(alpha, most, positive, negative, zeros, low, high, least, greatest)
    except (struct.error, ValueError, InvalidInputError) as error:
        msg = f"{where}: {len(data)} bytes are no quantile sketch: {error}"
        raise CorruptBlockError(msg) from error


def _store_to_bytes(store: GeometricCounts) -> bytes:
    most = int(store.counts.max(initial=0))
    width = next(width for width in (1, 2, 4, 8) if most < 1 << 8 * width)
    flags = width | (_COLLAPSED if store.collapsed else 0)
    counts = store.counts.astype(f"<u{width}").tobytes()
    return _STORE.pack(store.first, len(store.counts), flags) + counts


def _store_from_bytes(data: bytes, at: int, most: int) -> tuple[GeometricCounts, int]:
    first, size, flags = _STORE.unpack_from(data, at)
    at += _STORE.size
    width = flags & ~_COLLAPSED
    if width not in (1, 2, 4, 8) or size > most or at + size * width > len(data):
        msg = f"{size} counts of {width} bytes at byte {at}"
        raise ValueError(msg)
    counts = np.frombuffer(data, f"<u{width}", size, at)
    if width == 8 and counts.max(initial=0) > np.iinfo(np.int64).max:
        msg = f"a count beyond 2**63 at byte {at}"
        raise ValueError(msg)
    collapsed = bool(flags & _COLLAPSED)
    return GeometricCounts(first, counts.astype(np.int64), collapsed), at + size * width
