"""What decoding a block needs of its frame, and nothing else.

Reading the statistics takes longer than the rest of a header. Where the block is whole, its
length tells where they end, so that the header's checksum can be verified without them.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

import google_crc32c
import numpy as np

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.frame import split_frame
from pipeline.codecs.header import DTYPES, MAX_ROWS, BlockHeader
from pipeline.codecs.header_bounds import read_bounds
from pipeline.codecs.header_flags import CONSTANT, POSSIBLE, REAL
from pipeline.codecs.header_numbers import FLOATS
from pipeline.codecs.header_rows import LINEAR, read_constant, read_steps
from pipeline.codecs.series import INHERITED
from pipeline.errors import CorruptBlockError

__all__ = [
    "ABSENT",
    "CORRECTIONS",
    "DROPPED",
    "MISSING",
    "OPTIONAL",
    "REPEATED",
    "SECTIONS",
    "VALUES",
    "Content",
    "content_of",
    "open_block",
    "split_payload",
]

VALUES, MISSING, REPEATED, CORRECTIONS, ABSENT, DROPPED = range(1, 7)
SECTIONS: Final = {
    VALUES: "values",
    MISSING: "missing",
    REPEATED: "repeated",
    CORRECTIONS: "corrections",
    ABSENT: "absent",
    DROPPED: "dropped",
}
"""Names of the sections by id that a decoder has to know."""

OPTIONAL: Final = 128
"""Least id of sections that a decoder may pass over."""

_FIELDS: Final = 24


class Content(NamedTuple):
    """A block as its decoder sees it.

    Attributes
    ----------
    rows : int
    dtype : numpy.dtype
        The column's own dtype, native byte order.
    transform, predictor, entropy : int
        Ids of the stages.
    sections : dict or None
        Those of the verified payload by id; None if the rows follow from the header.
    first : int or None
        Bits of the first row, and `step` from row to row, where all rows follow from them.
    step : int
    least, scale : int or None
        Offset and scale that a series may leave to the header.
    """

    rows: int
    dtype: np.dtype[Any]
    transform: int
    predictor: int
    entropy: int
    sections: dict[int, Cursor] | None
    first: int | None = None
    step: int = 0
    least: int | None = None
    scale: int = 1


def split_payload(data: memoryview) -> dict[int, Cursor]:
    """Return the sections of a payload by id.

    Raises
    ------
    CorruptBlockError
        If a section is unknown, comes twice or is cut short, or the values are absent.
    """
    cursor, sections = Cursor(data), {}
    while True:
        id = cursor.byte()
        if (id not in SECTIONS and id < OPTIONAL) or id in sections:
            raise CorruptBlockError(f"has section {id}, unknown or for the second time")
        sections[id] = Cursor(cursor.rest()) if id == VALUES else cursor.sized()
        if id == VALUES:
            return sections


def open_block(data: memoryview) -> Content:
    """Return what is in a whole block.

    Raises
    ------
    CorruptBlockError
        As `pipeline.codecs.frame.split_frame` and `split_payload`.
    """
    content = _quickly(data)
    return content_of(*split_frame(data)) if content is None else content


def _quickly(data: memoryview) -> Content | None:
    """Return what is in a block of version 2 with rows, None if something is odd."""
    octets, told = np.frombuffer(data, np.uint8), np.empty(_FIELDS, np.int64)
    if not kernel("frame_open", "open_frame")(octets, told):
        return None
    code, flags, rows, missing, transform, predictor, entropy, at, end, *places = told.tolist()
    if code not in DTYPES or flags not in (REAL if code in FLOATS else POSSIBLE):
        return None
    if rows > MAX_ROWS or rows == 0 or missing > rows:
        return None
    if flags & CONSTANT:
        return _bare(code, flags, rows, bytes(data), at)
    if google_crc32c.value(octets[end + 4 :]) != places[13]:
        return None
    least, scale = None, 1
    if entropy & INHERITED:
        if code in FLOATS or missing == rows:
            return None
        try:
            bounds, _, scale, _ = read_bounds(code, flags, bytes(data[: end + 4]), at)
        except (IndexError, struct.error):  # numbers that run on beyond the header
            return None
        least = int(bounds[0])
    sections = {VALUES: Cursor(data, places[1], places[2])}
    if any(places[4:13:2]):
        for id in range(MISSING, DROPPED + 1):
            if places[2 * id]:
                sections[id] = Cursor(data, places[2 * id - 1], places[2 * id])
    return Content(
        rows, DTYPES[code], transform, predictor, entropy, sections, least=least, scale=scale
    )


def _bare(code: int, flags: int, rows: int, data: bytes, at: int) -> Content | None:
    """Return what is in a block whose rows follow from its header, None if something is odd."""
    try:
        if flags & LINEAR == LINEAR:
            first, step, end = read_steps(code, flags, rows, data, at)
        else:
            (_, first, end), step = read_constant(code, flags, data, at), 0
    except (IndexError, struct.error):
        return None
    if end + 4 != len(data):
        return None
    return Content(rows, DTYPES[code], 0, 0, 0, None, first, step)


def content_of(header: BlockHeader, payload: memoryview) -> Content:
    """Return what `open_block` does, of a header that has been read.

    Raises
    ------
    CorruptBlockError
        As `split_payload`, or if there is a payload of no rows.
    """
    first = int(header.statistics.first or 0) if header.step else header.constant
    bare, least = first is not None or header.vacant, header.statistics.min
    if header.rows == 0 and not bare:
        Cursor(payload).finish()
    return Content(
        header.rows, header.dtype, header.transform, header.predictor, header.entropy,
        None if bare else split_payload(payload) if header.rows else {},
        first, header.step, least if isinstance(least, int) else None, header.scale,
    )  # fmt: skip
