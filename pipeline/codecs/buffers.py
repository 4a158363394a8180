"""Byte buffers of a known length, stored as they are, compressed, or as one repeated byte.

A buffer is a tag (LEB128: stored length times four, plus a mode), then the stored bytes:

====  ==================================================================================
mode  stored bytes
====  ==================================================================================
0     the buffer itself
1     a Zstandard frame that states its content size, without the four magic bytes
2     one byte that the whole buffer repeats
====  ==================================================================================

How long the buffer is must follow from what stands before it; nothing is decompressed whose
stated size is different.

References
----------
RFC 8878, Zstandard Compression; section 3.1.1.1 for the frame header.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numcodecs import zstd
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import Cursor, varint
from pipeline.errors import CorruptBlockError

__all__ = ["read_buffer", "write_buffer"]

_FAST: Final = 1
"""Zstandard level for noise: a tenth smaller than levels 3 and up there, and fastest."""
_THOROUGH: Final = 6
"""Level for buffers with repeating patterns: twice as fast as 9, on real columns 2 % larger …"""
_MOST_THOROUGH: Final = 9
"""… but up to 12 % where less than a sixth is left."""
_LITTLE: Final = 6

_PATTERNED: Final = 0.97

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_STORED, _ZSTD, _REPEATED = 0, 1, 2
_SHORT: Final = 640  # up to here, 10 us to decompress must be worth half of the bytes
_TINY: Final = 96  # a frame's own header and tables eat what so few bytes could save


def write_buffer(buffer: NDArray[np.uint8]) -> bytes:
    """Return `buffer` with its tag, in the smallest of the modes.

    Parameters
    ----------
    buffer : ndarray of uint8
        Contiguous bytes.
    """
    if buffer.size > 1 and buffer[0] == buffer[-1] and not (buffer != buffer[0]).any():
        return varint(1 << 2 | _REPEATED) + buffer[:1].tobytes()
    if buffer.size >= _TINY:
        frame = _compress(buffer)
        size = len(frame) - len(_MAGIC)
        if size < (buffer.size if buffer.size > _SHORT else buffer.size // 2):
            return varint(size << 2 | _ZSTD) + frame[len(_MAGIC) :]
    return varint(buffer.size << 2 | _STORED) + buffer.tobytes()


def _compress(buffer: NDArray[np.uint8]) -> bytes:
    """Compress fast, and thoroughly too if the result shows that there are patterns.

    Byte frequencies alone cannot bring a buffer below its entropy; only repetitions do.
    """
    frame: bytes = zstd.compress(buffer, _FAST)
    if 8 * len(frame) < _PATTERNED * kernel("block_sample", "byte_bits")(buffer):
        level = _MOST_THOROUGH if _LITTLE * len(frame) < buffer.size else _THOROUGH
        thorough: bytes = zstd.compress(buffer, level)
        return min(frame, thorough, key=len)
    return frame


def read_buffer(
    cursor: Cursor, size: int, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Return the next buffer, which must have `size` bytes.

    Parameters
    ----------
    cursor : Cursor
    size : int
    out : ndarray of uint8, shape (size,), optional
        Receives the bytes, and is returned.

    Raises
    ------
    CorruptBlockError
        If it has another length or cannot be decompressed.
    """
    tag = cursor.varint()
    mode, stored = tag & 3, cursor.take(tag >> 2)
    if len(stored) == (size if mode == _STORED else 1) and mode in (_STORED, _REPEATED):
        given = np.frombuffer(stored, np.uint8)
    elif mode == _ZSTD and _content_size(stored) == size and size > 0:
        return _decompress(stored, np.empty(size, np.uint8) if out is None else out)
    else:
        raise CorruptBlockError(
            f"a buffer of {size} bytes has mode {mode} and {len(stored)} stored bytes"
        )
    out = np.empty(size, np.uint8) if out is None else out
    out[:] = given  # writable, as the others
    return out


def _decompress(stored: memoryview, out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    try:
        zstd.decompress(_MAGIC + stored, out)
    except (RuntimeError, ValueError) as error:
        raise CorruptBlockError(
            f"a buffer of {out.size} bytes cannot be decompressed: {error}"
        ) from error
    return out


def _content_size(frame: memoryview) -> int | None:
    """Return what a frame without its magic says it holds, None when it does not say."""
    if len(frame) < 2:
        return None
    descriptor = frame[0]
    single_segment = descriptor >> 5 & 1
    start = 2 - single_segment + (0, 1, 2, 4)[descriptor & 3]
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    if width == 0 or len(frame) < start + width:
        return None
    size = int.from_bytes(frame[start : start + width], "little")
    return size + 256 if width == 2 else size
