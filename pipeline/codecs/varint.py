"""Integers in as many bytes as they need.

Layout
------
====== ====== =====================================================================
offset length content
====== ====== =====================================================================
0      1      format version, 1
1      1      type: 1 bool; 2, 3, 4, 5 int8 to int64; 6, 7, 8, 9 uint8 to uint64;
              plus 128 when the decoded array is big-endian (types of 2 bytes or more)
2      8      number of values, unsigned, little-endian
10     rest   the values, each in LEB128: seven bits to a byte, lowest first, the top
              bit set on all bytes but the last
====== ====== =====================================================================

Signed values are zigzagged first: 0, -1, 1, -2 become 0, 1, 2, 3. Datetimes and timedeltas are
stored as int64. A value takes the fewest bytes possible, so equal arrays have equal bytes;
a longer form, a value beyond its type and bytes left over are refused.

References
----------
LEB128: DWARF Debugging Information Format, version 5, section 7.6. Zigzag: Protocol Buffers,
"Encoding".
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.errors import CorruptBlockError, InvalidInputError

__all__ = ["decode", "encode", "stored_dtype"]

_VERSION = 1
_HEADER = struct.Struct("<BBQ")
_BIG_ENDIAN = 0x80
# Keyed by kind and width: NumPy has two 64-bit types that are equal but hash apart.
_CODES = {"b1": 1, "i1": 2, "i2": 3, "i4": 4, "i8": 5, "u1": 6, "u2": 7, "u4": 8, "u8": 9}
_TYPES = {code: np.dtype(name) for name, code in _CODES.items()}
_FAULTS = {
    -1: "it ends before the last of its values",
    -2: "it holds a number in more bytes than it needs, or of more than 64 bits",
    -3: "it holds a number beyond the range of its type",
}


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the boolean or integer type, in the same byte order, that `dtype` is stored as.

    Raises
    ------
    InvalidInputError
        When `dtype` is not a boolean, integer, datetime or timedelta.
    """
    if dtype.kind in "mM":
        return np.dtype("i8").newbyteorder(dtype.byteorder)
    if dtype.kind not in "biu":
        msg = (
            f"varint takes booleans, integers, datetimes and timedeltas, not {dtype}; "
            f"put iot_archive.delta before it to turn floats into integers"
        )
        raise InvalidInputError(msg)
    return dtype


def encode(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the header and the values.

    Parameters
    ----------
    values : ndarray, shape (n,), contiguous
        Any type that `stored_dtype` accepts, in any byte order.

    Returns
    -------
    ndarray of uint8, shape (m,)
        A fresh array of 10 bytes plus one to ten bytes a value.

    Raises
    ------
    InvalidInputError
        When the type is not supported.
    """
    dtype = stored_dtype(values.dtype)
    words = _as_words(values.view(dtype))
    # Seven of a value's bits to a byte: 2, 3, 5 or 10 bytes for the widest value of a type.
    room = _HEADER.size + words.size * -(-dtype.itemsize * 8 // 7)
    out = np.empty(room, np.uint8)
    header = _HEADER.pack(_VERSION, _code_of(dtype), words.size)
    out[: _HEADER.size] = np.frombuffer(header, np.uint8)
    used = kernel("varint", "encode")(words, dtype.kind == "i", out[_HEADER.size :])
    # A copy, so that the result does not keep the unused room alive.
    return out[: _HEADER.size + int(used)].copy()


def decode(data: NDArray[np.uint8]) -> NDArray[Any]:
    """Undo `encode`.

    Parameters
    ----------
    data : ndarray of uint8, shape (m,), contiguous
        What `encode` returned.

    Returns
    -------
    ndarray, shape (n,)
        A fresh array of the type that was stored. It never takes more than eight bytes for
        each byte of `data`.

    Raises
    ------
    CorruptBlockError
        When `data` is not exactly what `encode` writes for some array.
    """
    dtype, count = _parse_header(data)
    payload = data[_HEADER.size :]
    words = np.empty(count, np.uint64)
    limit = 1 if dtype.kind == "b" else (1 << 8 * dtype.itemsize) - 1
    used = int(kernel("varint", "decode")(payload, dtype.kind == "i", np.uint64(limit), words))
    if used != payload.size:
        raise _corrupt(_FAULTS.get(used, f"{payload.size - used} bytes follow its last value"))
    return _from_words(words, dtype)


def _parse_header(data: NDArray[np.uint8]) -> tuple[np.dtype[Any], int]:
    if data.size < _HEADER.size:
        raise _corrupt(f"{data.size} bytes are too few to hold its header")
    version, code, count = _HEADER.unpack(data[: _HEADER.size].tobytes())
    if version != _VERSION:
        raise _corrupt(f"its format version is {version}, and this release reads {_VERSION}")
    dtype = _TYPES.get(code & ~_BIG_ENDIAN)
    if dtype is None or (code & _BIG_ENDIAN and dtype.itemsize == 1):
        raise _corrupt(f"its type code {code} is unknown")
    # A value takes a byte at least, so that a forged count cannot claim memory.
    if count > data.size - _HEADER.size:
        raise _corrupt(f"it announces {count} values in {data.size - _HEADER.size} bytes")
    return dtype.newbyteorder(">") if code & _BIG_ENDIAN else dtype.newbyteorder("<"), int(count)


def _code_of(dtype: np.dtype[Any]) -> int:
    big = dtype.itemsize > 1 and dtype == dtype.newbyteorder(">")
    return _CODES[f"{dtype.kind}{dtype.itemsize}"] | (_BIG_ENDIAN if big else 0)


def _as_words(values: NDArray[Any]) -> NDArray[np.uint64]:
    wide = np.dtype("i8") if values.dtype.kind == "i" else np.dtype("u8")
    return np.require(values.astype(wide, copy=False), requirements="A").view(np.uint64)


def _from_words(words: NDArray[np.uint64], dtype: np.dtype[Any]) -> NDArray[Any]:
    return words.view(np.int64 if dtype.kind == "i" else np.uint64).astype(dtype, copy=False)


def _corrupt(reason: str) -> CorruptBlockError:
    return CorruptBlockError(f"varint: the stored bytes are damaged: {reason}; restore the chunk")
