"""Frames of blocks put together by hand: of the version before, and with checksums made good."""

from __future__ import annotations

import struct

import google_crc32c

from pipeline.codecs.block import read_header
from pipeline.codecs.cursor import varint
from pipeline.codecs.frame import DTYPE_CODES, DTYPES, BlockHeader

__all__ = ["as_version_1", "checksum", "resealed", "resealed_version_1"]

LETTERS = {
    "bool": "B", "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B",
    "uint16": "H", "uint32": "I", "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip


def checksum(data: bytes) -> bytes:
    """The checksum of `data` as a header stores it."""
    return struct.pack("<I", google_crc32c.value(data))


def as_version_1(block: bytes) -> bytes:
    """The block under a header of version 1; it must have a payload, or no rows."""
    header = read_header(block)
    found = header.statistics
    stages = (header.transform, header.predictor, header.entropy)
    head = struct.pack(
        "<4s6B4I2d", b"IOTB", 1, DTYPE_CODES[header.dtype], *stages, 0, header.rows,
        found.missing, header.payload_bytes, header.payload_crc32c, found.sum, found.m2,
    )  # fmt: skip
    bounds = [bound or 0 for bound in (found.min, found.max, found.first, found.last)]
    head += struct.pack(f"<4{LETTERS[str(header.dtype)]}", *bounds)
    return head + checksum(head) + block[header.size :]


def resealed_version_1(block: bytes) -> bytes:
    """Make both checksums of a damaged block of version 1 good again."""
    size = 46 + 4 * DTYPES[block[5]].itemsize if block[5] in DTYPES else 78
    payload = block[size:]
    head = block[:18] + struct.pack("<I", len(payload)) + checksum(payload)
    head += block[26 : size - 4]
    return head + checksum(head) + payload


def resealed(block: bytes, whole: bytes) -> bytes:
    """Make length and both checksums of `block` good again, which was `whole` before damage."""
    header = read_header(whole)
    head, payload = block[: header.size - 4], block[header.size :]
    at = _payload_place(header)
    if at is not None:
        fields = varint(header.payload_bytes)
        head = head[:at] + varint(len(payload)) + checksum(payload) + head[at + len(fields) + 4 :]
    return head + checksum(head) + payload


def _payload_place(header: BlockHeader) -> int | None:
    """Where the length of the payload stands."""
    if not header.payload_bytes:
        return None
    missing = header.statistics.missing
    return 7 + len(varint(header.rows)) + (len(varint(missing)) if missing else 0) + 3
