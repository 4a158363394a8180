"""Series: whole numbers as a stream, whatever stages suit them.

Which entropy stage a stream ends with decides how the rest of it is laid out:

==  =============  ======================================================================
id  entropy stage  layout
==  =============  ======================================================================
0…  see `pipeline.codecs.entropy`: a plain stream (`pipeline.codecs.streams`)
5   bins           offset and scale as in a plain stream, then a laned stream
                   (`pipeline.codecs.lanes`)
6   runs           offset and scale as in a plain stream; with predictor 1 the first multiple
                   (LEB128), and what follows are the differences between multiples, one
                   fewer; number of runs (LEB128); one number a run, and each run's rows
                   less one, both as nested streams of any stage but runs
7   list           up to 64 numbers, zigzag LEB128
==  =============  ======================================================================

With 128 added to the id of a block's entropy stage (not list), offset and scale do not stand in
the series: they are the smallest value and the scale in the block's header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import WORD, Cursor
from pipeline.codecs.entropy import CONSTANT, ENTROPY, VARINTS
from pipeline.codecs.lanes import GROUP_ROWS, Lanes, decode_whole, read_lanes
from pipeline.codecs.lists import read_lists
from pipeline.codecs.pointwise import NUMBERS, Mapping
from pipeline.codecs.predictors import PREDICTORS, scaled
from pipeline.codecs.streams import decode_stream, describe_stream
from pipeline.errors import CorruptBlockError

__all__ = [
    "BINS",
    "LIST",
    "MOST_LISTED",
    "NAMES",
    "RUNS",
    "Finish",
    "decode_series",
    "describe_series",
    "read_part",
]

BINS, RUNS, LIST = 5, 6, 7
INHERITED: Final = 128
"""Flag in an entropy stage's id: offset and scale are the header's."""

NAMES: Final = {id: stage.name for id, stage in ENTROPY.items()} | {
    BINS: "bins",
    RUNS: "runs",
    LIST: "list",
}
"""Names of the entropy stages by id."""

MOST_LISTED: Final = 64

_SHORT_STAGES: Final = frozenset(bytes((stage,)) for stage in (CONSTANT, VARINTS, LIST))
"""What few numbers are stored in; of bins, one loop for all streams of a block is faster."""

_WORDS: Final = np.dtype(np.uint64)


class Finish(NamedTuple):
    """What becomes of numbers once they are decoded (`pipeline.codecs.finishing`).

    Attributes
    ----------
    mapping : Mapping or None
        What a kernel can do on its way; None if `values` has to do all.
    dtype : numpy.dtype
        Of the values.
    values : callable
        Returns the values that numbers, modulo 2**64, stand for, perhaps in their place.
    pointwise : bool
        A number's value does not depend on the rows before it.
    """

    mapping: Mapping | None
    dtype: np.dtype[Any]
    values: Callable[[NDArray[np.uint64]], NDArray[Any]]
    pointwise: bool = True


_NUMBERS: Final = Finish(NUMBERS, _WORDS, lambda numbers: numbers)


def decode_series(
    predictor: int,
    entropy: int,
    cursor: Cursor,
    rows: int,
    finish: Finish,
    part: tuple[int, int] | None = None,
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], int]:
    """Decode the rest of `cursor` as a series.

    Parameters
    ----------
    predictor, entropy : int
        Ids of the stages.
    cursor : Cursor
    rows : int
        At least 1.
    finish : Finish
    part : tuple of int, optional
        Rows ``[start, stop)`` that are wanted; all by default.
    out : ndarray, shape (rows wanted,), optional
        Of the dtype of `finish`: what is returned, where that takes no copy.

    Returns
    -------
    values : ndarray, shape (rows decoded,)
        At least the rows wanted.
    first : int
        Row of the first of them.

    Raises
    ------
    CorruptBlockError
        If an id is unknown, or the bytes do not hold exactly so many numbers.
    """
    if entropy == BINS:
        return _decode_lanes(predictor, cursor, rows, finish, part, out)
    if entropy == RUNS:
        return _decode_runs(predictor, cursor, rows, finish), 0
    if entropy == LIST:
        return finish.values(_decode_list(predictor, cursor, rows)), 0
    if finish.mapping is None:
        return finish.values(decode_stream(predictor, entropy, cursor, rows).view(np.uint64)), 0
    mapping, dtype = finish.mapping, finish.dtype
    return decode_stream(predictor, entropy, cursor, rows, mapping, dtype), 0


def _decode_lanes(
    predictor: int,
    cursor: Cursor,
    rows: int,
    finish: Finish,
    part: tuple[int, int] | None,
    out: NDArray[Any] | None,
) -> tuple[NDArray[Any], int]:
    mapping, dtype = finish.mapping or NUMBERS, finish.dtype if finish.mapping else _WORDS
    start = 0
    # One group is decoded whole in any case, and at once that takes a fifth less.
    lone = rows < 2 * GROUP_ROWS
    if part is None or part == (0, rows) or lone or not finish.pointwise:
        into = out if finish.mapping and out is not None and out.size == rows else None
        numbers = decode_whole(predictor, cursor, rows, mapping, dtype, into)
    else:
        lanes = read_lanes(predictor, cursor, rows)
        start, stop = lanes.span(*part)
        numbers = lanes.restore(start, stop, mapping, dtype)
    return numbers if finish.mapping else finish.values(numbers), start


def _decode_runs(predictor: int, cursor: Cursor, rows: int, finish: Finish) -> NDArray[Any]:
    offset, scale = cursor.signed_varint(), cursor.varint()
    numbers, lengths, first = _read_runs(predictor, cursor, rows)
    cursor.finish()
    if predictor == 0 and not finish.pointwise:
        return finish.values(_repeat(scaled(numbers, scale, offset), lengths, rows))
    if predictor == 0:
        return _repeat(finish.values(scaled(numbers, scale, offset)), lengths, rows)
    out = np.empty(rows, np.uint64)
    start = np.uint64((first * scale + offset) & WORD)
    kernel("block_rows", "add_runs")(scaled(numbers, scale, 0), lengths, start, out)
    return finish.values(out)


def _repeat(values: NDArray[Any], lengths: NDArray[np.uint64], rows: int) -> NDArray[Any]:
    bits = f"u{values.dtype.itemsize}"
    out = np.empty(rows, bits)
    kernel("block_rows", "repeat")(values.view(bits), lengths, out)
    return out.view(values.dtype)


def _read_runs(
    predictor: int, cursor: Cursor, rows: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], int]:
    """Return the number of every run, its rows less one, and the first multiple of all."""
    first, count = _read_count(predictor, cursor, rows)
    rows -= predictor
    lists = read_lists(cursor, count, 2, masked=False)
    if lists is None:
        numbers, lengths = read_part(cursor, count), read_part(cursor, count)
    else:
        numbers, lengths = lists.numbers[:count], lists.numbers[count:]
    if not kernel("block_rows", "add_up")(lengths, np.uint64(rows)):
        raise CorruptBlockError(f"has {count} runs that are not {rows} rows")
    return numbers, lengths, first


def _read_count(predictor: int, cursor: Cursor, rows: int) -> tuple[int, int]:
    """Return the first multiple, and how many runs there are."""
    if predictor > 1 or rows <= predictor:
        raise CorruptBlockError(f"has runs of {rows} rows behind predictor {predictor}")
    first = cursor.varint() if predictor else 0
    count = cursor.varint(rows - predictor)
    if count == 0:
        raise CorruptBlockError(f"has no runs for {rows} rows")
    return first, count


def _decode_list(predictor: int, cursor: Cursor, rows: int) -> NDArray[np.uint64]:
    if predictor or rows > MOST_LISTED:
        raise CorruptBlockError(f"lists {rows} numbers behind predictor {predictor}")
    data = np.frombuffer(cursor.rest(), np.uint8)
    numbers = np.empty(rows, np.uint64)
    if not kernel("plain_decode", "read_list")(data, numbers):
        raise CorruptBlockError(f"{data.size} bytes do not list exactly {rows} numbers")
    return numbers


def _read_stages(cursor: Cursor, runs: bool) -> tuple[int, int]:
    """Return predictor and entropy stage of a nested stream."""
    predictor, entropy = cursor.byte(), cursor.byte()
    if entropy == RUNS and not runs:
        raise CorruptBlockError("has runs within runs")
    return predictor, entropy


def read_part(
    cursor: Cursor, rows: int, finish: Finish = _NUMBERS, *, runs: bool = False
) -> NDArray[Any]:
    """Read a nested stream of `rows` numbers, of any stage but runs unless they are allowed.

    Parameters
    ----------
    cursor : Cursor
    rows : int
    finish : Finish, optional
        What becomes of the numbers; by default they are returned as they are, uint64.
    runs : bool, optional

    Raises
    ------
    CorruptBlockError
        As `decode_series`.
    """
    if rows and bytes(cursor.ahead()[1:2]) in _SHORT_STAGES:
        lists = read_lists(cursor, rows, 1, masked=False)
        if lists is not None:
            return finish.values(lists.numbers)
    predictor, entropy = _read_stages(cursor, runs)
    if rows == 0:
        raise CorruptBlockError("has a nested stream of no numbers")
    numbers, _ = decode_series(predictor, entropy, cursor.sized(), rows, finish)
    return numbers


def describe_series(predictor: int, entropy: int, cursor: Cursor, rows: int) -> dict[str, Any]:
    """Tell the parameters of the series in the rest of `cursor` without decoding it.

    Raises
    ------
    CorruptBlockError
        As `decode_series`, as far as the parameters go.
    """
    if entropy == RUNS:
        told = {"offset": cursor.signed_varint(), "scale": cursor.varint()}
        told["first"], count = _read_count(predictor, cursor, rows)
        return told | {
            "predictor": PREDICTORS[predictor],
            "entropy": NAMES[RUNS],
            "runs": count,
            "values": _describe_nested(cursor, count),
            "lengths": _describe_nested(cursor, count),
        }
    if entropy == LIST:
        return {"predictor": "none", "entropy": NAMES[LIST]}
    if entropy == BINS:
        return _describe_lanes(read_lanes(predictor, cursor, rows))
    return describe_stream(predictor, entropy, cursor, rows)


def _describe_nested(cursor: Cursor, rows: int) -> dict[str, Any]:
    predictor, entropy = _read_stages(cursor, runs=False)
    inner = cursor.sized()
    size = inner.left
    return {"bytes": size} | describe_series(predictor, entropy, inner, rows)


def _describe_lanes(lanes: Lanes) -> dict[str, Any]:
    table = lanes.table()
    return {
        "offset": lanes.offset,
        "scale": lanes.scale,
        "predictor": str(lanes.predictor),
        "entropy": NAMES[BINS],
        "bins": table.bins,
        "plain_bits": table.plain_bits,
        "contexts": table.contexts,
        "states": 1 << table.state_bits,
        "low_bits": lanes.low,
        "plane_bits": lanes.plane_bits,
        "pairs": lanes.pairs,
        "bin_rows": lanes.bin_rows,
        "lane_rows": lanes.lane,
        "groups": lanes.groups.size + 1,
        "outliers": lanes.outliers.size,
        "table_bytes": table.bits / 8,
    }
