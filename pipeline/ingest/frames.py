"""Frames: how entries of a write-ahead log lie in its files, one after the other.

A segment is a file that begins with `MAGIC` and a frame that tells whose log it is. A frame is ::

    length     uint32   bytes of the payload; 0 means that nothing follows
    checksum   uint32   crc32c of sequence and payload
    sequence   uint64   larger than that of the frame before
    payload    bytes    padded with zeros to a multiple of 8

all little-endian. Segments get their size before they are written to, so behind the last frame
there are zeros. Anything else there is a torn tail: a write that power loss or a kill cut off.

References
----------
RFC 3720, appendix B.4: the checksum CRC32C.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import google_crc32c

__all__ = ["MAGIC", "Frame", "Tail", "frame", "frames", "tail_of"]

MAGIC: Final = b"IOTWAL\x00\x01"
"""The first 8 bytes of a segment; the last one is the version of the format."""

_HEAD: Final = struct.Struct("<IIQ")
_SEQUENCE: Final = struct.Struct("<Q")
_ALIGNMENT: Final = 8
_PADDING: Final = tuple(bytes(size) for size in range(_ALIGNMENT))


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame.

    Parameters
    ----------
    sequence
        Its number.
    payload
        What it holds.
    end
        Offset of what follows it.
    """

    sequence: int
    payload: memoryview
    end: int


@dataclass(frozen=True, slots=True)
class Tail:
    """What lies behind the last whole frame.

    Parameters
    ----------
    end
        Offset of the end of that frame.
    torn
        Bytes behind it up to the last one that is not zero: 0 after a clean end.
    frames
        Whole frames among these bytes, with larger numbers: they were written after the damage.
    """

    end: int
    torn: int
    frames: int


def frame(sequence: int, parts: Sequence[bytes]) -> bytes:
    """Return the bytes of a frame.

    Parameters
    ----------
    sequence
        From 0 to 2^64 - 1.
    parts
        The payload in pieces; it has at least 1 byte and less than 4 GiB.
    """
    checksum = google_crc32c.value(_SEQUENCE.pack(sequence))
    for part in parts:
        checksum = google_crc32c.extend(checksum, part)
    size = sum(map(len, parts))
    return b"".join(
        [_HEAD.pack(size, checksum, sequence), *parts, _PADDING[-size % _ALIGNMENT]]
    )  # fmt: skip


def frames(data: memoryview, start: int = 0, after: int = -1) -> Iterator[Frame]:
    """Yield whole frames one after the other, up to the first that is not.

    Parameters
    ----------
    data
        A segment.
    start
        Offset of the first frame.
    after
        Sequence numbers have to be larger.
    """
    while (found := _frame_at(data, start, after)) is not None:
        yield found
        start, after = found.end, found.sequence


def tail_of(data: memoryview, end: int, after: int) -> Tail:
    """Return what lies behind the last whole frame.

    Parameters
    ----------
    data
        A segment.
    end
        Offset of the end of that frame.
    after
        Its number.
    """
    torn = len(bytes(data[end:]).rstrip(b"\x00"))
    later = 0
    start = end
    while start < end + torn:
        found = _frame_at(data, start, after)
        if found is None:
            start += _ALIGNMENT
        else:
            later, start, after = later + 1, found.end, found.sequence
    return Tail(end, torn, later)


def _frame_at(data: memoryview, start: int, after: int) -> Frame | None:
    begin = start + _HEAD.size
    if begin > len(data):
        return None
    size, checksum, sequence = _HEAD.unpack_from(data, start)
    stop = begin + size
    if size == 0 or stop > len(data) or sequence <= after:
        return None
    # The sequence lies right before the payload.
    if google_crc32c.value(bytes(data[begin - _SEQUENCE.size : stop])) != checksum:
        return None
    return Frame(sequence, data[begin:stop], min(stop + -size % _ALIGNMENT, len(data)))
