"""The payload of a block: sections, the last of which holds the values.

A section is its id (1 byte), its length (LEB128) and its bytes. The values come last and have
no length: they reach to the end of the block. A block without rows has no payload.

==  ===========  =======================================================================
id  section      bytes
==  ===========  =======================================================================
1   values       the transform's parameters (`pipeline.codecs.transforms`), then the
                 numbers as a series (`pipeline.codecs.series`); the header names the
                 stages
2   missing      mask (`pipeline.codecs.sections`) of the rows without a value
3   repeated     mask of rows that hold one and the same value, behind that value: one
                 byte 0 for the dtype's fill value (quiet NaN without payload, smallest
                 signed, largest unsigned number), or 1 and the value's own bytes
4   corrections  what the transform does not bring back bit for bit
5   absent       mask of the rows without a value, which are not in the stream
6   dropped      as repeated, of rows that are not in the stream
==  ===========  =======================================================================

From 128 on: 128, pieces (`pipeline.codecs.pieces`).

Rows of sections 2 and 3 hold a neighbour's value in the stream, where it costs next to nothing.
Sections apply in the order 4, 3, 6, 2, 5; the mask of 6 marks rows among those that 5 leaves, and
those of 4 and 3 among those that 6 leaves. Sections 2 and 5 exclude each other, and so do 3 and
6. No values follow their id if no row is left. A new kind of section is a new id: below 128 if the rows
cannot be had without it, from 128 on if a decoder that does not know it may pass over it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.content import (
    ABSENT,
    CORRECTIONS,
    DROPPED,
    MISSING,
    OPTIONAL,
    REPEATED,
    VALUES,
    Content,
)
from pipeline.codecs.cursor import Cursor, signed_varint, varint
from pipeline.codecs.finishing import read_finish
from pipeline.codecs.lanes import SIZES
from pipeline.codecs.marks import Marks, read_marks
from pipeline.codecs.sections import apply_corrections
from pipeline.codecs.series import INHERITED, LIST, decode_series
from pipeline.codecs.transforms import Decimal, Identity, Ordered
from pipeline.errors import CorruptBlockError
from pipeline.model.dtypes import fill_value

__all__ = [
    "ABSENT",
    "CORRECTIONS",
    "DROPPED",
    "MISSING",
    "REPEATED",
    "VALUES",
    "decode_payload",
    "inherit",
    "stream_rows",
]

_GAPS: Final = frozenset((MISSING, REPEATED, ABSENT, DROPPED))
_FEW_SECTIONS: Final = frozenset((ABSENT, VALUES))
_MOST_FEW: Final = 2000
_SIMPLE: Final = frozenset((Identity.id, Ordered.id, Decimal.id))
_SINGLE: Final = np.dtype(np.float32)


class _Level(NamedTuple):
    """A range of rows that are wanted, at one level of leaving rows out.

    Attributes
    ----------
    rows, start, stop : int
        Rows there are; those wanted.
    """

    rows: int
    start: int
    stop: int

    def below(self, out: Marks | None) -> _Level:
        """Return the same range among the rows that are not left out."""
        if out is None:
            return self
        if self.start == 0 and self.stop == self.rows:
            there = self.rows - out.marked
            return _Level(there, 0, there)
        before = self.start - out.part(0, self.start).marked
        within = self.stop - self.start - self.part(out).marked
        return _Level(self.rows - out.marked, before, before + within)

    def part(self, marks: Marks) -> Marks:
        """Return the part of the marks of all rows that is wanted."""
        return marks.part(self.start, self.stop)


def stream_rows(content: Content, sections: dict[int, Cursor]) -> int:
    """Return how many rows the stream of a block has, whose sections have not been read yet.

    Raises
    ------
    CorruptBlockError
        If a mask of rows that are not in the stream is impossible.
    """
    rows = content.rows
    if ABSENT in sections:
        rows -= read_marks(sections[ABSENT], rows).marked
    if DROPPED in sections:
        _one_value(sections[DROPPED], content.dtype)
        rows -= read_marks(sections[DROPPED], rows).marked
    return rows


def inherit(content: Content, cursor: Cursor) -> Cursor:
    """Return the series at a cursor with the offset and scale that it may leave to the header.

    Raises
    ------
    CorruptBlockError
        If the header has none.
    """
    if not content.entropy & INHERITED:
        return cursor
    if content.least is None or content.entropy & ~INHERITED == LIST:
        raise CorruptBlockError("leaves offset and scale to a header that has none")
    head = signed_varint(content.least) + varint(content.scale)
    return Cursor(memoryview(head + bytes(cursor.rest())))


def decode_payload(
    content: Content,
    sections: dict[int, Cursor],
    start: int,
    stop: int,
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Decode rows of a block.

    Parameters
    ----------
    content : Content
    sections : dict
        Its own, which are read up.
    start, stop : int
        The rows wanted, within those of the block.
    out : ndarray, shape (stop - start,), optional
        Of the column's dtype: what is returned, where that takes no copy.

    Returns
    -------
    values : ndarray, shape (stop - start,)
        Of the column's dtype; the fill value where missing.
    valid : ndarray of bool, shape (stop - start,), or None
        None when none of the rows is missing.

    Raises
    ------
    CorruptBlockError
        If the payload cannot be what an encoder wrote.
    """
    if start == stop:
        return np.empty(0, content.dtype), None
    if sections.keys().isdisjoint(_GAPS):  # nearly every block
        values = _decode_values(content, sections, content.rows, start, stop, out)
        return _finished(sections, values), None
    if stop - start == content.rows and sections.keys() == _FEW_SECTIONS:
        few = _decode_few(content, sections)
        if few is not None:
            return few
    return _decode_around_gaps(content, sections, _Level(content.rows, start, stop))


def _decode_few(
    content: Content, sections: dict[int, Cursor]
) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """Decode a block few rows of which have a value at once, None if it is not one of the usual.

    Cursors do not move.
    """
    mask, values = (Cursor(sections[id].ahead()) for id in (ABSENT, VALUES))
    rows, dtype = content.rows, content.dtype
    if content.transform not in _SIMPLE or Cursor(mask.ahead()).varint() + _MOST_FEW < rows:
        return None
    finish = read_finish(content.transform, values, rows, dtype)
    if finish.mapping is None:
        return None
    series = inherit(content, values)
    out, valid = np.empty(rows, dtype), np.empty(rows, np.bool_)
    good = kernel("lists_read", "read_few")(
        _octets(mask), _octets(series), content.predictor, content.entropy & ~INHERITED, SIZES,
        *finish.mapping, _fill_bits(dtype), -4 if dtype == _SINGLE else dtype.itemsize,
        out.view(np.uint8), valid,
    )  # fmt: skip
    return (out, valid) if good else None


def _octets(cursor: Cursor) -> NDArray[np.uint8]:
    return np.frombuffer(cursor.ahead(), np.uint8)


def _decode_around_gaps(
    content: Content, sections: dict[int, Cursor], wanted: _Level
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Decode a block some rows of which are left out of its stream, or held there."""
    dtype = content.dtype
    missing = _marks(sections, MISSING, wanted.rows)
    absent = _marks(sections, ABSENT, wanted.rows)
    values = _decode_held(content, sections, wanted.below(absent))
    gaps = missing if absent is None else absent
    part = None if gaps is None else wanted.part(gaps)
    if part is None or not part.marked:
        return _finished(sections, values), None
    fill = _fill_bits(dtype)
    valid = np.empty(part.rows, np.bool_)
    if absent is not None:
        values = part.expand(values, fill, valid)
    else:
        valid.fill(True)
        part.overwrite(values, fill, valid)
    return _finished(sections, values), valid


def _decode_held(content: Content, sections: dict[int, Cursor], there: _Level) -> NDArray[Any]:
    """Decode rows that have a value, or hold one, some of which may be one and the same."""
    value = _read_value(sections, content.dtype)
    repeated = _marks(sections, REPEATED, there.rows)
    dropped = _marks(sections, DROPPED, there.rows)
    streamed = there.below(dropped)
    values = _decode_values(content, sections, streamed.rows, streamed.start, streamed.stop)
    if repeated is not None:
        there.part(repeated).overwrite(values, value)
    if dropped is not None:
        values = there.part(dropped).expand(values, value)
    return values


def _finished(sections: dict[int, Cursor], values: NDArray[Any]) -> NDArray[Any]:
    """Return the values when nothing is left in the sections that they were made of."""
    for id, section in sections.items():
        if id < OPTIONAL and section.left and (id != VALUES or values.size):
            section.finish()
    return values


def _marks(sections: dict[int, Cursor], id: int, rows: int) -> Marks | None:
    return read_marks(sections[id], rows) if id in sections else None


def _read_value(sections: dict[int, Cursor], dtype: np.dtype[Any]) -> np.uint64:
    """Return the bits of the value of the rows that are repeated or dropped, if any are."""
    if MISSING in sections and ABSENT in sections:
        raise CorruptBlockError("has rows without a value both in the stream and not in it")
    if REPEATED in sections and DROPPED in sections:
        raise CorruptBlockError("has repeated rows both in the stream and not in it")
    for id in (REPEATED, DROPPED):
        if id in sections:
            return _one_value(sections[id], dtype)
    return np.uint64(0)


def _one_value(cursor: Cursor, dtype: np.dtype[Any]) -> np.uint64:
    flag = cursor.byte()
    if flag > 1:
        raise CorruptBlockError(f"has a repeated value of kind {flag}")
    if flag == 0:
        return _fill_bits(dtype)
    bits = int.from_bytes(cursor.take(dtype.itemsize), "little")
    return np.uint64(bits != 0 if dtype.kind == "b" else bits)


@cache
def _fill_bits(dtype: np.dtype[Any]) -> np.uint64:
    return np.uint64(np.full(1, fill_value(dtype), dtype).view(f"u{dtype.itemsize}")[0])


def _decode_values(
    content: Content,
    sections: dict[int, Cursor],
    rows: int,
    start: int,
    stop: int,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Decode the rows from `start` up to `stop` of the stream's `rows`."""
    if start == stop:
        if rows:  # what the stream holds is of other rows and need not be looked at
            for id in (VALUES, CORRECTIONS):
                sections.pop(id, None)
        return np.empty(0, content.dtype)
    cursor = sections[VALUES]
    finish = read_finish(content.transform, cursor, rows, content.dtype)
    cursor = inherit(content, cursor)
    entropy = content.entropy & ~INHERITED
    part = start, stop
    values, first = decode_series(content.predictor, entropy, cursor, rows, finish, part, out)
    if values.size != stop - start:
        values = values[start - first : stop - first]
    if CORRECTIONS in sections:
        apply_corrections(sections[CORRECTIONS], values, start, rows)
    return values
