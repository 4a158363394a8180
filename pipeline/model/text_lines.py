"""Bytes of a text file to its lines, whole columns at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["decode_lines", "find_noise"]


def decode_lines(data: bytes, encoding: str) -> tuple[pa.Array, NDArray[np.bool_]]:
    r"""Return the lines of `data` as texts, and which of them are not valid in `encoding`.

    Returns
    -------
    lines
        ``string``, shape (lines,), without their ends; bytes that are not valid are written
        as ``\xff``, so that the line can still be kept for people to read.
    spoiled
        Bool, shape (lines,).
    """
    utf8 = _to_utf8(data, encoding)
    if utf8 is not None:
        lines = pc.ascii_rtrim(_split_lines(utf8), "\r\n")
        if _is_sound(lines):
            return lines, np.zeros(len(lines), bool)
    pieces = data.removesuffix(b"\n").split(b"\n")
    texts = [piece.decode(encoding, "backslashreplace").rstrip("\r") for piece in pieces]
    spoiled = np.array([not _can_decode(piece, encoding) for piece in pieces])
    return pa.array(texts, pa.string()), spoiled


def _to_utf8(data: bytes, encoding: str) -> bytes | None:
    if encoding.lower() in ("utf-8", "utf8", "ascii"):
        return data if encoding.lower() != "ascii" or data.isascii() else None
    try:
        return data.decode(encoding).encode()
    except UnicodeDecodeError:
        return None


def _split_lines(data: bytes) -> pa.Array:
    """Lay an Arrow array of lines over the bytes, their ends included, without a copy."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    starts = np.append(0, ends + 1)
    offsets = np.minimum(starts, len(data)).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(ends), buffers)


def _is_sound(lines: pa.Array) -> bool:
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _can_decode(piece: bytes, encoding: str) -> bool:
    try:
        piece.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def find_noise(lines: pa.Array, comment: str, ignore: str) -> NDArray[np.bool_]:
    """Return which lines are declared not to be data: blank, comments, or found by `ignore`."""
    trimmed = pc.ascii_trim_whitespace(lines)
    noise = pc.equal(trimmed, "")
    if comment:
        noise = pc.or_(noise, pc.starts_with(trimmed, comment))
    if ignore:
        noise = pc.or_(noise, pc.match_substring_regex(lines, ignore))
    return np.asarray(noise.to_numpy(zero_copy_only=False), dtype=bool)
