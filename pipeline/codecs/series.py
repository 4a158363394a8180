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
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import WORD, Cursor
from pipeline.codecs.entropy import ENTROPY
from pipeline.codecs.lanes import Lanes, Mapping, read_lanes
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
NAMES: Final = {id: stage.name for id, stage in ENTROPY.items()} | {
    BINS: "bins",
    RUNS: "runs",
    LIST: "list",
}
"""Names of the entropy stages by id."""

MOST_LISTED: Final = 64


@dataclass(frozen=True)
class Finish:
    """What becomes of numbers once they are decoded.

    Attributes
    ----------
    values : callable
        Returns the values that numbers (uint64, modulo 2**64) stand for.
    mapping : Mapping or None
        The same for a kernel, if it can do it on its way.
    view : callable
        Returns the values whose bits are the int64 that `mapping` leaves.
    """

    values: Callable[[NDArray[np.uint64]], NDArray[Any]]
    mapping: Mapping | None
    view: Callable[[NDArray[np.int64]], NDArray[Any]]


def decode_series(
    predictor: int,
    entropy: int,
    cursor: Cursor,
    rows: int,
    finish: Finish,
    part: tuple[int, int] | None = None,
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
        return _decode_lanes(predictor, cursor, rows, finish, part)
    if entropy == RUNS:
        return _decode_runs(predictor, cursor, rows, finish), 0
    if entropy == LIST:
        return finish.values(_decode_list(predictor, cursor, rows)), 0
    return finish.values(decode_stream(predictor, entropy, cursor, rows)), 0


def _decode_lanes(
    predictor: int, cursor: Cursor, rows: int, finish: Finish, part: tuple[int, int] | None
) -> tuple[NDArray[Any], int]:
    offset, scale = cursor.signed_varint(), cursor.varint()
    lanes = read_lanes(predictor, cursor, rows)
    start, stop = lanes.span(*(part or (0, rows)))
    if finish.mapping is None:
        numbers = lanes.restore(start, stop, scale, offset, Mapping())
        return finish.values(numbers.view(np.uint64)), start
    return finish.view(lanes.restore(start, stop, scale, offset, finish.mapping)), start


def _decode_runs(predictor: int, cursor: Cursor, rows: int, finish: Finish) -> NDArray[Any]:
    offset, scale = cursor.signed_varint(), cursor.varint()
    numbers, lengths, first = _read_runs(predictor, cursor, rows)
    cursor.finish()
    if predictor == 0:
        return np.repeat(finish.values(scaled(numbers, scale, offset)), lengths)
    out = np.empty(rows, np.uint64)
    start = np.uint64((first * scale + offset) & WORD)
    kernel("block_numbers", "add_runs")(numbers * np.uint64(scale), lengths, start, out)
    return finish.values(out)


def _read_runs(
    predictor: int, cursor: Cursor, rows: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64], int]:
    """Return the number of every run, its rows, and the first multiple of all."""
    if predictor > 1 or rows <= predictor:
        raise CorruptBlockError(f"has runs of {rows} rows behind predictor {predictor}")
    first = cursor.varint() if predictor else 0
    rows -= predictor
    count = cursor.varint(rows)
    if count == 0:
        raise CorruptBlockError(f"has no runs for {rows} rows")
    numbers = read_part(cursor, count)
    lengths = read_part(cursor, count)
    if lengths.max() >= rows or int(lengths.sum()) + count != rows:
        raise CorruptBlockError(f"has {count} runs that are not {rows} rows")
    return numbers, lengths.view(np.int64) + 1, first


def _decode_list(predictor: int, cursor: Cursor, rows: int) -> NDArray[np.uint64]:
    if predictor or rows > MOST_LISTED:
        raise CorruptBlockError(f"lists {rows} numbers behind predictor {predictor}")
    numbers = [cursor.signed_varint() & WORD for _ in range(rows)]
    cursor.finish()
    return np.array(numbers, np.uint64)


def read_part(cursor: Cursor, rows: int, *, runs: bool = False) -> NDArray[np.uint64]:
    """Read a nested stream of `rows` numbers, of any stage but runs unless they are allowed.

    Raises
    ------
    CorruptBlockError
        As `decode_series`.
    """
    predictor, entropy = cursor.byte(), cursor.byte()
    if entropy == RUNS and not runs:
        raise CorruptBlockError("has runs within runs")
    numbers, _ = decode_series(predictor, entropy, cursor.sized(), rows, _NUMBERS)
    return np.asarray(numbers, np.uint64)


_NUMBERS: Final = Finish(lambda numbers: numbers, Mapping(), lambda bits: bits.view(np.uint64))


def describe_series(predictor: int, entropy: int, cursor: Cursor, rows: int) -> dict[str, Any]:
    """Tell the parameters of the series in the rest of `cursor` without decoding it.

    Raises
    ------
    CorruptBlockError
        As `decode_series`, as far as the parameters go.
    """
    if entropy == RUNS:
        told = {"offset": cursor.signed_varint(), "scale": cursor.varint()}
        if predictor:
            told["first"] = cursor.varint()
        count = cursor.varint(rows)
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
        offset, scale = cursor.signed_varint(), cursor.varint()
        told = {"offset": offset, "scale": scale}
        return told | _describe_lanes(read_lanes(predictor, cursor, rows))
    return describe_stream(predictor, entropy, cursor, rows)


def _describe_nested(cursor: Cursor, rows: int) -> dict[str, Any]:
    predictor, entropy = cursor.byte(), cursor.byte()
    inner = cursor.sized()
    size = inner.left
    return {"bytes": size} | describe_series(predictor, entropy, inner, rows)


def _describe_lanes(lanes: Lanes) -> dict[str, Any]:
    table = lanes.table()
    return {
        "predictor": str(lanes.predictor),
        "entropy": NAMES[BINS],
        "bins": table.bins,
        "contexts": table.contexts,
        "states": 1 << table.state_bits,
        "low_bits": lanes.low,
        "lane_rows": lanes.lane,
        "groups": lanes.groups.size + 1,
        "outliers": lanes.outliers.size,
        "table_bytes": table.bits / 8,
    }
