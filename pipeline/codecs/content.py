"""What decoding a block needs of its frame, and nothing else.

Reading the statistics takes longer than the rest of a header. Where the block is whole, its
length tells where they end, so that the header's checksum can be verified without them.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

import google_crc32c
import numpy as np

from pipeline.codecs.frame import HEADER_BYTES, payload_checksum, split_frame
from pipeline.codecs.frame_v2 import CHECKSUM, Prefix, read_prefix
from pipeline.codecs.header import DTYPES, MAGIC, BlockHeader
from pipeline.codecs.header_bounds import read_bounds
from pipeline.codecs.header_flags import CONSTANT, PAYLOAD
from pipeline.codecs.header_numbers import FLOATS
from pipeline.codecs.header_rows import LINEAR, read_constant, read_linear
from pipeline.codecs.series import INHERITED
from pipeline.errors import CorruptBlockError

__all__ = ["Content", "content_of", "open_block"]

_START: Final = MAGIC + b"\x02"


class Content(NamedTuple):
    """A block as its decoder sees it.

    Attributes
    ----------
    rows : int
    dtype : numpy.dtype
        The column's own dtype, native byte order.
    transform, predictor, entropy : int
        Ids of the stages.
    payload : memoryview or None
        Verified; None if the rows follow from the header.
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
    payload: memoryview | None
    first: int | None = None
    step: int = 0
    least: int | None = None
    scale: int = 1


def open_block(data: memoryview) -> Content:
    """Return what is in a whole block.

    Raises
    ------
    CorruptBlockError
        As `pipeline.codecs.frame.split_frame`.
    """
    content = _quickly(data)
    return content_of(*split_frame(data)) if content is None else content


def _quickly(data: memoryview) -> Content | None:
    """Return what is in a block of version 2, None if something is odd."""
    head = bytes(data[:HEADER_BYTES])
    if head[:5] != _START:
        return None
    try:
        prefix = read_prefix(head)
        size = len(data) - prefix.payload_bytes - 4
        if size < prefix.end or CHECKSUM.unpack_from(head, size)[0] != google_crc32c.value(
            head[:size]
        ):
            return None
        if not prefix.flags & PAYLOAD:
            return _bare(prefix, head, data[size + 4 :])
        payload = data[size + 4 :]
        if payload_checksum(payload) != prefix.payload_crc32c:
            return None
        transform, predictor, entropy = prefix.stages
        least, scale = None, 1
        if entropy & INHERITED and prefix.code not in FLOATS and prefix.missing < prefix.rows:
            bounds, _, scale, _ = read_bounds(prefix.code, prefix.flags, head, prefix.end)
            least = int(bounds[0])
    except (IndexError, struct.error, CorruptBlockError):
        return None
    return Content(
        prefix.rows, DTYPES[prefix.code], transform, predictor, entropy, payload,
        least=least, scale=scale,
    )  # fmt: skip


def _bare(prefix: Prefix, head: bytes, nothing: memoryview) -> Content | None:
    """Return the rows of a header without a payload."""
    code, flags, rows = prefix.code, prefix.flags, prefix.rows
    first, step, at = None, 0, prefix.end
    if flags & LINEAR == LINEAR:
        statistics, step, at = read_linear(code, flags, rows, head, at)
        first = int(statistics.first or 0)
    elif flags & CONSTANT:
        _, first, at = read_constant(code, flags, head, at)
    if at + 4 + len(nothing) != len(head) or nothing:
        return None
    return Content(rows, DTYPES[code], 0, 0, 0, None, first, step)


def content_of(header: BlockHeader, payload: memoryview) -> Content:
    """Return what `open_block` does, of a header that has been read."""
    first = int(header.statistics.first or 0) if header.step else header.constant
    bare, least = first is not None or header.vacant, header.statistics.min
    return Content(
        header.rows, header.dtype, header.transform, header.predictor, header.entropy,
        None if bare else payload, first, header.step, least if isinstance(least, int) else None, header.scale,
    )  # fmt: skip
