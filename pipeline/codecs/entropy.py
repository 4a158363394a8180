"""Entropy stages: residuals to bytes and back.

A stage is told how many residuals there are, all `uint64`. Its parameters come first, then its
buffers (`pipeline.codecs.buffers`), which do the compressing.

==  ==========  =========================================================================
id  name        parameters and bytes in the payload
==  ==========  =========================================================================
0   constant    the residual that all rows repeat (LEB128)
1   raw         width in bytes (1, 2, 4, 8), then the residuals, little-endian
2   codes       width in bits (1, 2, 4, or 8 to 64 in eights), number of escapes (LEB128);
                if there are any, the escapes as in stage 4; then one buffer for a width up
                to 8, or one for every byte of the residuals, the lowest first
3   bit planes  number of planes, then one buffer: all lowest bits, then all second-lowest …;
                each plane is padded to whole bytes, eight rows a byte, the first row lowest
4   varints     length of the buffer (LEB128), then the buffer: residuals as LEB128
==  ==========  =========================================================================

Codes narrower than a byte share one, the first row in its lowest bits. If there are escapes,
the code of all ones marks a residual at least as large, and the escapes list how much larger
each of them is: a jump from one device to the next does not widen the whole block.

A new stage is a new id here; a stage that has been written once never changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.buffers import read_buffer, write_buffer
from pipeline.codecs.cursor import Cursor, varint
from pipeline.codecs.packed import NO_NUMBERS, WORDS, Packed, unpack
from pipeline.codecs.predictors import Predictor
from pipeline.errors import CorruptBlockError, InvalidInputError

__all__ = ["BIT_PLANES", "CODES", "CONSTANT", "ENTROPY", "RAW", "VARINTS", "Entropy", "is_constant"]

type Residuals = NDArray[np.uint64]

CONSTANT, RAW, CODES, BIT_PLANES, VARINTS = range(5)


@dataclass(frozen=True)
class Entropy:
    """A stage: how to write residuals, and how to read them from untrusted bytes.

    Attributes
    ----------
    name : str
    encode : callable
        ``encode(residuals, width)`` returns the parameters and buffers. `width` is in
        bytes (raw), bits (codes) or planes (bit planes), `level` is Zstandard's.
    read : callable
        ``read(cursor, count)`` returns `count` residuals as they are laid out, decompressed, or
        raises `CorruptBlockError`.
    """

    name: str
    encode: Callable[[Residuals, int], bytes]
    read: Callable[[Cursor, int], Packed]

    def decode(self, cursor: Cursor, count: int) -> Residuals:
        """Return `count` residuals, at least one.

        Raises
        ------
        CorruptBlockError
            If they cannot be read.
        """
        packed = self.read(cursor, count)
        return unpack(packed, Predictor(0), count, 1, 0, dtype=WORDS)


def is_constant(residuals: Residuals) -> bool:
    """Tell whether the stage constant can hold `residuals`: all agree, or there are none."""
    return bool(residuals.size == 0 or residuals.min() == residuals.max())


def _encode_constant(residuals: Residuals, width: int) -> bytes:  # noqa: ARG001
    return varint(int(residuals[0]) if residuals.size else 0)


def _read_constant(cursor: Cursor, count: int) -> Packed:  # noqa: ARG001
    return Packed(CONSTANT, constant=cursor.varint())


def _encode_raw(residuals: Residuals, width: int) -> bytes:
    if int(residuals.max()) >> (8 * width):
        raise InvalidInputError(f"residuals up to {residuals.max()} do not fit {width} bytes")
    return bytes((width,)) + residuals.astype(f"<u{width}").tobytes()


def _read_raw(cursor: Cursor, count: int) -> Packed:
    width = cursor.byte()
    if width not in (1, 2, 4, 8):
        raise CorruptBlockError(f"has raw values of {width} bytes")
    stored = np.frombuffer(cursor.take(count * width), f"<u{width}")
    return Packed(RAW, larger=stored.astype(np.uint64))


def _encode_codes(residuals: Residuals, width: int) -> bytes:
    escape = np.uint64((1 << width) - 1)
    head = bytes((width, 0))
    if residuals.max() > escape:
        beyond = np.flatnonzero(residuals >= escape)
        head = head[:1] + varint(beyond.size)
        head += _encode_varints(residuals[beyond] - escape, 0)
        residuals = np.minimum(residuals, escape)
    return head + b"".join(write_buffer(plane) for plane in _split(residuals, width))


def _split(residuals: Residuals, width: int) -> NDArray[np.uint8]:
    """Return the bytes of codes of `width` bits, shape (buffers, bytes)."""
    if width < 8:
        packed = np.empty((1, -(-residuals.size * width // 8)), np.uint8)
        kernel("block_layouts", "split_codes")(residuals, width, packed[0])
        return packed
    planes = np.empty((width // 8, residuals.size), np.uint8)
    kernel("block_layouts", "split_bytes")(residuals, planes)
    return planes


def _read_codes(cursor: Cursor, count: int) -> Packed:
    width = cursor.byte()
    if width not in (1, 2, 4, *range(8, 65, 8)):
        raise CorruptBlockError(f"has codes of {width} bits")
    escapes = cursor.varint(count)
    larger = ENTROPY[VARINTS].decode(cursor, escapes) if escapes else NO_NUMBERS
    if width <= 8:
        return Packed(CODES, width, read_buffer(cursor, -(-count * width // 8)), larger=larger)
    planes = np.empty((width // 8, count), np.uint8)
    for plane in planes:
        read_buffer(cursor, count, plane)
    return Packed(CODES, width, planes.reshape(-1), larger=larger)


def _encode_bit_planes(residuals: Residuals, width: int) -> bytes:
    if int(residuals.max()) >> width:
        raise InvalidInputError(f"residuals up to {residuals.max()} do not fit {width} bits")
    padded = np.concatenate((residuals, np.zeros(-residuals.size % 8, np.uint64)))
    planes = np.empty((width, padded.size // 8), np.uint8)
    kernel("block_layouts", "split_bit_planes")(padded, planes)
    return bytes((width,)) + write_buffer(planes.ravel())


def _read_bit_planes(cursor: Cursor, count: int) -> Packed:
    width = cursor.byte()
    if not 1 <= width <= 64:
        raise CorruptBlockError(f"has {width} bit planes")
    return Packed(BIT_PLANES, width, read_buffer(cursor, width * -(-count // 8)))


def _encode_varints(residuals: Residuals, width: int) -> bytes:  # noqa: ARG001
    longest = max(1, -(-int(residuals.max()).bit_length() // 7))
    out = np.empty(residuals.size * longest, np.uint8)
    used = kernel("block_layouts", "write_varints")(residuals, out)
    return varint(used) + write_buffer(out[:used])


def _read_varints(cursor: Cursor, count: int) -> Packed:
    return Packed(VARINTS, data=read_buffer(cursor, cursor.varint(10 * count)))


ENTROPY: Final[dict[int, Entropy]] = {
    CONSTANT: Entropy("constant", _encode_constant, _read_constant),
    RAW: Entropy("raw", _encode_raw, _read_raw),
    CODES: Entropy("codes", _encode_codes, _read_codes),
    BIT_PLANES: Entropy("bit planes", _encode_bit_planes, _read_bit_planes),
    VARINTS: Entropy("varints", _encode_varints, _read_varints),
}
"""Entropy stages by id."""
