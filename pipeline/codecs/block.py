"""Blocks: one column of many rows as bytes that tell what they hold.

>>> import numpy as np
>>> block = encode_block(np.array([20.1, 20.2, 20.2, 20.3]))
>>> decode_block(block).values
array([20.1, 20.2, 20.2, 20.3])
>>> read_header(block[:HEADER_BYTES]).statistics.max
20.3

A block is a header (`pipeline.codecs.frame`) and a payload (`pipeline.codecs.payload`). Values
come back bit for bit, NaN payloads and negative zeros included, in a block that is never more
than some 20 bytes longer than header and raw values. Loops are compiled on first use.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.content import (
    SECTIONS,
    VALUES,
    Content,
    content_of,
    open_block,
    split_payload,
)
from pipeline.codecs.cursor import WORD, Cursor
from pipeline.codecs.frame import (
    DTYPE_CODES,
    HEADER_BYTES,
    MAX_ROWS,
    BlockHeader,
    join_constant,
    join_frame,
    join_linear,
    parse_header,
    split_frame,
)
from pipeline.codecs.memory import Memory
from pipeline.codecs.payload import decode_payload, inherit, stream_rows
from pipeline.codecs.payload_encode import encode_payload
from pipeline.codecs.pieces import PIECES, PieceStatistics
from pipeline.codecs.pieces import read_pieces as pieces_section
from pipeline.codecs.recipes import find_recipe
from pipeline.codecs.series import INHERITED, describe_series
from pipeline.codecs.statistics import block_statistics, summarise
from pipeline.codecs.transforms import read_transform
from pipeline.errors import CorruptBlockError, InvalidInputError
from pipeline.model.codec_names import AUTO
from pipeline.model.dtypes import fill_value

__all__ = [
    "HEADER_BYTES",
    "DecodedBlock",
    "Memory",
    "decode_block",
    "describe",
    "encode_block",
    "read_header",
    "read_pieces",
]

_NAMES: Final = SECTIONS | {PIECES: "pieces"}

type BlockData = bytes | memoryview | NDArray[np.uint8]


@dataclass(frozen=True)
class DecodedBlock:
    """The rows of a block.

    Attributes
    ----------
    values : ndarray, shape (rows,)
        In the column's own dtype; missing rows hold `pipeline.model.dtypes.fill_value`.
    valid : ndarray of bool, shape (rows,), or None
        False where a row is missing; None when none is.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_] | None


def encode_block(
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    *,
    codec: str = AUTO,
    memory: Memory | None = None,
) -> bytes:
    """Encode a column of up to `pipeline.codecs.frame.MAX_ROWS` rows.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        Bool, integers of 8 to 64 bits, float32 or float64, in any byte order.
    valid : ndarray of bool, shape (rows,), optional
        False where a row has no value; what `values` holds there is ignored.
    codec : str
        A key of `pipeline.model.codec_names.CODECS`.
    memory : Memory, optional
        Of the column whose blocks are encoded one after the other; saves looking for what suits
        the values where blocks before them tell.

    Returns
    -------
    bytes

    Raises
    ------
    InvalidInputError
        If dtype, shape, number of rows or codec is not as above.
    """
    recipe = find_recipe(codec)
    dtype = values.dtype.newbyteorder("=")
    if values.ndim != 1 or values.size > MAX_ROWS or dtype not in DTYPE_CODES:
        raise InvalidInputError(
            f"a block holds one dimension of at most {MAX_ROWS} bools, integers, float32 or "
            f"float64, not shape {values.shape} of {values.dtype}; split or convert the column"
        )
    if valid is not None and (valid.shape != values.shape or valid.dtype != np.bool_):
        raise InvalidInputError(
            f"the validity of {values.size} rows must be as many bools, "
            f"not shape {valid.shape} of {valid.dtype}"
        )
    column = np.ascontiguousarray(values, dtype)
    column = column if column.flags.carray else column.copy()  # kernels know one layout only
    if valid is None or valid.all():
        valid = None
        constant = _constant(column)
        if constant is not None:
            return join_constant(dtype, column.size, constant)
        step = _step(column)
        if step:
            return join_linear(dtype, column.size, int(column[0]), step)
    found = summarise(column, valid)
    statistics = block_statistics(column, valid, found)
    if column.size == 0 or not (statistics.count or valid is None or valid.any()):
        return join_frame(dtype, statistics)
    with np.errstate(all="ignore"):  # arithmetic wraps on purpose
        payload = encode_payload(column, valid, statistics, found[0], recipe, memory)
    if payload.head:
        short = payload.without_head()
        block = join_frame(dtype, statistics, short.stages, short.body, scale=short.scale)
        if parse_header(memoryview(block)).scale == short.scale:
            return block
    return join_frame(dtype, statistics, payload.stages, payload.body, scale=payload.scale)


def _constant(column: NDArray[Any]) -> int | None:
    """Return the bits that all rows hold, or None if there are no rows or they differ."""
    bits = column.view(f"u{column.dtype.itemsize}")
    if not column.size or bits[0] != bits[-1] or bits[0] != bits[column.size // 2]:
        return None
    return int(bits[0]) if (bits == bits[0]).all() else None


def _step(column: NDArray[Any]) -> int:
    """Return the step by which all rows of whole numbers follow each other, or 0."""
    if column.size < 2 or column.dtype.kind not in "iu":
        return 0
    first, second, last = int(column[0]), int(column[1]), int(column[-1])
    step = second - first
    if not step or last != first + (column.size - 1) * step or not -(1 << 63) <= step < 1 << 63:
        return 0
    # the ends are right without wrapping, so that the rows between may be compared with it
    words = column.view(f"u{column.dtype.itemsize}")
    wrapped = words.dtype.type(step & ((1 << 8 * words.itemsize) - 1))
    return step if (words[1:] - words[:-1] == wrapped).all() else 0


def decode_block(
    data: BlockData,
    *,
    where: str = "",
    rows: tuple[int, int] | None = None,
    out: NDArray[Any] | None = None,
) -> DecodedBlock:
    """Decode a block, or some of its rows.

    Parameters
    ----------
    data : bytes, memoryview or ndarray of uint8
        Exactly the block; nothing in it is trusted. The header's statistics are not looked at
        unless the rows follow from them.
    where : str
        Name of the chunk for error messages.
    rows : tuple of int, optional
        Decode only rows ``[start, stop)``, cut off at the end of the block; all by default.
        Stages that can, touch only the lanes around them.
    out : ndarray, shape (rows wanted,), optional
        Contiguous. If it has the dtype and length of the values, it receives them and is what is
        returned; the usual stages write there at once.

    Returns
    -------
    DecodedBlock

    Raises
    ------
    CorruptBlockError
        If the block is cut short or too long, fails a checksum, or cannot be.
    """
    try:
        content = open_block(_view(data))
        start, stop = _range(rows, content.rows)
        if out is not None and (out.dtype != content.dtype or out.size != stop - start):
            out = None
        if content.sections is None:
            found = _fill(content, start, stop)
        else:
            found = DecodedBlock(*decode_payload(content, content.sections, start, stop, out))
    except CorruptBlockError as error:
        raise _named(error, where) from error
    if out is None or found.values is out:
        return found
    out[:] = found.values
    return DecodedBlock(out, found.valid)


def _range(wanted: tuple[int, int] | None, rows: int) -> tuple[int, int]:
    """Return the range that is there of the rows wanted."""
    start, stop = wanted or (0, rows)
    if start < 0 or stop < start:
        raise InvalidInputError(
            f"rows from {start} up to {stop} are no range; give 0 <= start <= stop"
        )
    return min(start, rows), min(stop, rows)


def _fill(content: Content, start: int, stop: int) -> DecodedBlock:
    """Return some rows of a block without a payload."""
    rows, dtype = stop - start, content.dtype
    if content.first is None:
        valid = np.zeros(rows, np.bool_) if rows else None
        return DecodedBlock(np.full(rows, fill_value(dtype), dtype), valid)
    words = np.empty(rows, f"u{dtype.itemsize}")
    first = np.uint64((content.first + start * content.step) & WORD)
    if content.step:
        kernel("block_rows", "count_up")(first, np.uint64(content.step & WORD), words)
    else:
        words.fill(first)
    return DecodedBlock(words.view(dtype), None)


def read_header(data: BlockData, *, where: str = "") -> BlockHeader:
    """Read and verify a block's header.

    Parameters
    ----------
    data : bytes, memoryview or ndarray of uint8
        The first `HEADER_BYTES` of a block are enough; more, up to all of it, does no harm.
    where : str
        Name of the chunk for error messages.

    Raises
    ------
    CorruptBlockError
        If the header is cut short, fails its checksum, or cannot be.
    """
    try:
        return parse_header(_view(data))
    except CorruptBlockError as error:
        raise _named(error, where) from error


def read_pieces(data: BlockData, *, where: str = "") -> PieceStatistics | None:
    """Read the statistics of every 1,024 rows of a whole block, without decoding the rows.

    Parameters
    ----------
    data : bytes, memoryview or ndarray of uint8
        Exactly the block; nothing in it is trusted.
    where : str
        Name of the chunk for error messages.

    Returns
    -------
    PieceStatistics or None
        None if the block does not store them.

    Raises
    ------
    CorruptBlockError
        If the block is damaged, or its pieces do not agree with its header.
    """
    try:
        header, payload = split_frame(_view(data))
        sections = split_payload(payload) if payload else {}
        if PIECES not in sections:
            return None
        with np.errstate(all="ignore"):
            pieces = pieces_section(sections[PIECES], header.rows, header.dtype)
        if int(pieces.count.sum()) != header.statistics.count:
            raise CorruptBlockError("counts other rows in its pieces than in its header")
        return pieces
    except CorruptBlockError as error:
        raise _named(error, where) from error


def describe(data: BlockData, *, why: bool = False) -> dict[str, Any]:
    """Tell in plain words and numbers how a block is stored.

    Parameters
    ----------
    data : bytes, memoryview or ndarray of uint8
        Exactly the block; nothing in it is trusted.
    why : bool
        Encode its rows again, and tell what the encoder of today considers for them.

    Returns
    -------
    dict
        Rows, dtype, statistics, the stages with their parameters, and the bytes of each part.
        With `why`, under ``considered``: ``transforms`` and ``predictors``, each with the bits
        per row that it promised on a sample, ``stages`` with the bytes that each took (the
        shortest is chosen), and under ``chosen`` the stages that won.

    Raises
    ------
    CorruptBlockError
        As `decode_block`.
    """
    try:
        header, payload = split_frame(_view(data))
        sections = split_payload(payload) if payload else {}
        sizes = {_NAMES.get(id, str(id)): section.left for id, section in sections.items()}
        stages = _stages(content_of(header, payload), sections) if payload else {}
    except CorruptBlockError as error:
        raise _named(error, "") from error
    total = header.size + header.payload_bytes
    reasons = {"considered": _considered(data)} if why else {}
    return {
        "rows": header.rows,
        "dtype": str(header.dtype),
        "bytes": total,
        "bytes_per_row": total / max(1, header.rows),
        "header_bytes": header.size,
        "constant": header.constant is not None,
        "linear": header.step != 0,
        "step": header.step,
        "scale": header.scale,
        "section_bytes": sizes,
        "stages": stages,
        "statistics": asdict(header.statistics),
        **reasons,
    }


def _considered(data: BlockData) -> dict[str, Any]:
    """Return what an encoder looks at for the rows of a block."""
    block, memory = decode_block(data), Memory()
    again = describe(encode_block(block.values, block.valid, memory=memory))["stages"]
    told: dict[str, Any] = {
        "chosen": {key: again[key] for key in ("transform", "predictor", "entropy") if key in again}
    }
    if memory.transform is not None:
        told["transforms"] = dict(memory.transform.considered)
    if memory.series is not None:
        told["predictors"] = {str(way): bits for way, bits in memory.series.predictors}
        told["stages"] = dict(memory.series.stages)
    return told


def _stages(content: Content, sections: dict[int, Cursor]) -> dict[str, Any]:
    rows = stream_rows(content, sections)
    if not rows:
        return {}
    values = sections[VALUES]
    transform = read_transform(content.transform, values, rows, content.dtype)
    values = inherit(content, values)
    series = describe_series(content.predictor, content.entropy & ~INHERITED, values, rows)
    return {"transform": str(transform), **series}


def _view(data: BlockData) -> memoryview:
    if isinstance(data, bytes):
        return memoryview(data)
    flat = np.ascontiguousarray(data) if isinstance(data, np.ndarray) else data
    return memoryview(flat).cast("B").toreadonly()


def _named(error: CorruptBlockError, where: str) -> CorruptBlockError:
    """Return the error of a corrupt block with the name of the chunk."""
    return CorruptBlockError(
        f"block {where or 'of unknown origin'} is corrupt: {error}; "
        "restore it from a copy or an earlier snapshot"
    )
