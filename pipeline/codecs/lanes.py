"""Laned streams: whole numbers as the entropy stage bins stores them.

Rows stand in groups of four lanes: lane after lane, each of so many consecutive rows, the last
ones shorter or empty. A group is decoded by itself, its four lanes at the same time. With the
entropy stage bins the predictors are these, and each lane begins anew:

==  =========  =========================================================================
id  name       residual of a row; parameters in the stream
==  =========  =========================================================================
0   none       the number
1   delta      its difference from the number before
2   delta2     the difference of that from the difference before
3   smoothing  its difference from ``value >> 8``; ``value`` begins at ``begin * 256 + 128``
               and gains ``residual << shift``. Parameter: shift (1 byte, 0 to 8)
4   grid       its difference from ``value >> 10``; ``value`` begins at
               ``begin * 1024 + 512``. With ``late = residual << 10`` a row that is more than
               half a period late has missed ``(late + period / 2) // period`` of them: these
               are taken from late and added to value. Then value gains ``period`` and
               ``late >> shift``. Parameters: shift (1 byte, 0 to 63), period (LEB128, of
               1024ths)
==  =========  =========================================================================

A stream is offset and scale (`pipeline.codecs.streams`), the predictor's parameters,

==========  ==============================================================================
part        bytes
==========  ==============================================================================
low         LEB128: low bits (0 to 62) of every residual that stand apart, row by row, or 63 if
            a kind follows; times 8, plus the bits (0 to 7) before the bit stream in its first
            byte
kind        if low is 63, LEB128: bits ``b`` (1 to 6) of a residual in a pair, 0 without pairs,
            plus 128 if low bits lie in planes; at least one of both is so
plane bits  if low bits lie in planes: how many of every residual (1 byte, 1 to 62)
smallest    if there are pairs: the smallest residual without its plane bits (zigzag LEB128,
            closer to zero than 2**18)
lane        LEB128: rows of a lane
outliers    LEB128: how many residuals are kept apart, at most 1,024; for each the rows from
            the one before (or 0), LEB128, and the whole residual, zigzag LEB128
groups      LEB128 for each but the last, of at most 64: its bits
bit stream  table, groups, low bits of all rows if they stand row by row, which end with the
            last bit; fields begin at the lowest bits of a byte
planes      if low bits lie in planes: the last bytes of the stream, as many as the planes of
            all groups take; the groups end before them
==========  ==============================================================================

*Table*: bits of a state (4 bits; 0, or 4 to 12), contexts less one (3), bins less one (8); the
first bin's base, a number from -2**38 up to below 2**38; for each bin how much wider it is than
the one before, zigzagged (Exp-Golomb code of order 0), and the distance of the next base less one
(Exp-Golomb of the bin's width, at most 40); if there are several contexts, the kind of each bin
(3 bits), and a bit: 0 if a row's kind is the context of the next, 1 if the next context stands
for each context and each kind (up to the last that a bin has) in 3 bits; and for each context and
each bin but the last its share of all states: how much longer it is in bits than the one before,
zigzagged (Exp-Golomb of order 0), and its bits but the highest. The last bin has what is left.

*Pairs*: two consecutive rows of a lane share a bin without plain bits. Its base, not negative, is
what the first residual is above the smallest, times ``2**b``, plus what the second is above it;
both residuals are closer to zero than 2**18. Where a row of a table or a group is spoken of, a
pair is meant; lanes have even numbers of rows. The last row, if it has no other to share with, is
the first of a pair whose second does not matter.

*Planes*: group after group, and in a group tile after tile. A tile has the rows of 1,024 steps, the
last one of a group those that are left; a step has a row of each lane, and a group as many as its
first lane has rows. Number ``4 * step + lane`` of a tile is the low bits of that row's residual,
0 if there is none, and further zeros make the numbers a multiple of 64. They are laid out in
little-endian words of 64 bits as `pipeline.codecs.kernels.bins_planes` says: a tile of n numbers
with so many plane bits takes ``n * plane bits / 64`` words. A residual is what its bin, or its
half of a pair, says, times ``2**plane bits``, plus its low bits; low bits that stand row by row
come under it the same way. A row kept apart has a bin and low bits, too, which do not matter.

*Group*: for every lane with rows its state, the begin of its predictor as a number, less the
begin of the lane before, and for delta2 the first difference, a number; then row by row, in each
row lane by lane, the bits that lead to the lane's next state and those that place the residual
in its bin. A *number* is seven bits of length, then so many bits, zigzagged. Lanes begin in
context 0. States are scattered over the table in steps of 5/8 of it and 3, and a bin's states,
in the order of the table, lead from one to the next as in any tabled ANS.

References
----------
Duda: Asymmetric numeral systems, arXiv:1311.2540 (2013). Collet, Kucherawy: RFC 8878, section
4.1 (the same spreading of states). Exp-Golomb: ITU-T H.264, section 9.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import WORD, Cursor, varint
from pipeline.codecs.pointwise import Mapping
from pipeline.errors import CorruptBlockError

__all__ = [
    "DELTA",
    "DELTA2",
    "GRID",
    "GROUP_ROWS",
    "HEAD",
    "LANES",
    "LEAST_LANE",
    "MAX_PAIR",
    "MAX_STATE_BITS",
    "MOST_GROUPS",
    "MOST_OUTLIERS",
    "MOST_PLANES",
    "NONE",
    "PAIRS",
    "PLANES",
    "PREDICTORS",
    "SIZES",
    "SMOOTHING",
    "SPARE_WORDS",
    "LanePredictor",
    "Lanes",
    "decode_whole",
    "read_lanes",
]  # fmt: skip

LANES: Final = 4
MOST_GROUPS: Final = 64
MOST_OUTLIERS: Final = 1024

HEAD: Final = 16
"""Numbers that the kernels are told of a stream."""

SPARE_WORDS: Final = 1794
"""Words behind a stream: what four lanes of a tile take at most, 28 bits a row, and two more."""

SIZES: Final = (HEAD, MOST_GROUPS - 1, MOST_OUTLIERS, SPARE_WORDS)
"""What the kernels that read a whole stream make room for."""

LEAST_LANE: Final = 256
"""Fewest rows of a lane, unless one lane holds them all."""

GROUP_ROWS: Final = 16384
"""About how many rows a group has where there are several; a decoder does not rely on it."""

MAX_STATE_BITS: Final = 12
"""Most bits of a state."""

NONE, DELTA, DELTA2, SMOOTHING, GRID = range(5)
PREDICTORS: Final = {
    NONE: "none",
    DELTA: "delta",
    DELTA2: "delta2",
    SMOOTHING: "smoothing",
    GRID: "grid",
}
"""Names of the predictors by id."""

PAIRS: Final = 63
"""What stands for the low bits where a kind follows: pairs, low bits in planes, or both."""

PLANES: Final = 128
"""Flag beside the bits of a pair: low bits lie in planes."""

MOST_PLANES: Final = 62
"""Most low bits in planes."""

MAX_PAIR: Final = 1 << 18
"""Residuals of a pair lie closer than this to zero."""

_WRONG: Final = {
    1: "a number that is cut short or too large",
    2: "an unknown predictor, or one of an impossible shift or period",
    3: "pairs of impossible numbers",
    4: "lanes of impossible length",
    5: "outliers out of order, or beyond the rows",
    6: "too many outliers or groups",
    7: "a bit stream that is cut short",
}
_PARAMETERS: Final = (SMOOTHING, GRID)
_NO_NUMBERS: Final = np.empty(0, np.int64)
_NUMBER: Final = np.dtype(np.int64)


class LanePredictor(NamedTuple):
    """A predictor and its parameters.

    Attributes
    ----------
    id : int
        A key of `PREDICTORS`.
    shift : int
        Of smoothing and grid.
    period : int
        Of grid, in 1024ths of a number.
    """

    id: int
    shift: int = 0
    period: int = 0

    def __str__(self) -> str:
        """Name the predictor and its parameters."""
        told = {SMOOTHING: f"(shift={self.shift})",
                GRID: f"(shift={self.shift}, period={self.period / 1024:g})"}  # fmt: skip
        return PREDICTORS[self.id] + told.get(self.id, "")

    def write(self) -> bytes:
        """Return the parameters as they stand in the stream."""
        shift = bytes((self.shift,)) if self.id in _PARAMETERS else b""
        return shift + varint(self.period) if self.id == GRID else shift


@dataclass(frozen=True)
class Table:
    """What the table of a laned stream says about itself.

    Attributes
    ----------
    state_bits, contexts, bins : int
    plain_bits : int
        Most plain bits of a bin.
    bits : int
        What it takes.
    """

    state_bits: int
    contexts: int
    bins: int
    plain_bits: int
    bits: int


@dataclass(slots=True)
class Lanes:
    """A laned stream whose parts have been checked against each other, not yet decoded.

    Attributes
    ----------
    head : ndarray of int64, shape (HEAD,)
        What the kernels are told (`pipeline.codecs.kernels.bins_stream.read_head`).
    groups : ndarray of int64
        Bits of each group but the last.
    outlier_rows, outliers : ndarray of int64
        Rows, ascending, and their residuals.
    words : ndarray of uint64
        The stream up to the planes, with `SPARE_WORDS` words of zeros behind.
    planes : ndarray of uint8
    """

    head: NDArray[np.int64]
    groups: NDArray[np.int64]
    outlier_rows: NDArray[np.int64]
    outliers: NDArray[np.int64]
    words: NDArray[np.uint64]
    planes: NDArray[np.uint8]

    @property
    def predictor(self) -> LanePredictor:
        """The predictor and its parameters."""
        return LanePredictor(int(self.head[13]), int(self.head[2]), int(self.head[3]))

    @property
    def offset(self) -> int:
        """What the multiples are counted from."""
        return int(self.head[0])

    @property
    def scale(self) -> int:
        """What the numbers are multiples of."""
        return int(self.head[1]) & WORD

    @property
    def low(self) -> int:
        """Low bits of every residual that stand apart, row by row."""
        return int(self.head[4])

    @property
    def plane_bits(self) -> int:
        """Low bits of every residual that lie in planes."""
        return int(self.head[14])

    @property
    def pairs(self) -> bool:
        """Whether two rows share a bin."""
        return bool(self.head[6])

    @property
    def bin_rows(self) -> int:
        """How many rows share a bin."""
        return 2 if self.pairs else 1

    @property
    def lane(self) -> int:
        """Rows of a lane."""
        return int(self.head[8])

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the smallest range of rows around [start, stop) that is whole groups."""
        group = LANES * self.lane
        return start // group * group, min(int(self.head[12]), -(-stop // group) * group)

    def table(self) -> Table:
        """Return what the table says.

        Raises
        ------
        CorruptBlockError
            If it is impossible.
        """
        sizes, bins = np.empty(3, np.int64), np.empty((3, 256), np.int64)
        tables = np.empty((8, 8), np.int64), np.empty((8, 256), np.int64)
        start = np.uint64(self.head[5])
        end = kernel("bins_table", "read_table")(self.words, start, sizes, *bins, *tables)
        if end == WORD:
            raise CorruptBlockError("holds an impossible table of bins")
        state_bits, contexts, count = sizes.tolist()
        widest = int(bins[1, :count].max())
        return Table(state_bits, contexts, count, widest, int(end) - int(start))

    def restore(
        self, start: int, stop: int, mapping: Mapping, dtype: np.dtype[Any] = _NUMBER
    ) -> NDArray[Any]:
        """Decode the rows of whole groups.

        Parameters
        ----------
        start, stop : int
            As `span` returns them.
        mapping : Mapping
            What is made of ``multiple * scale + offset``.
        dtype : dtype, optional
            Of what is returned; whole numbers are cut to its width, floats rounded.

        Returns
        -------
        ndarray, shape (stop - start,)

        Raises
        ------
        CorruptBlockError
            If the bit stream is impossible.
        """
        out = np.empty(stop - start, dtype)
        if start == stop:  # the loop decodes at least one group
            return out
        group = LANES * self.lane
        width = -4 if dtype == np.float32 else dtype.itemsize
        good = kernel("bins_decode", "decode_lanes")(
            self.words, self.planes, self.head, self.groups[: (stop - 1) // group], start // group,
            self.outlier_rows, self.outliers, *mapping, width, out.view(np.uint8),
        )  # fmt: skip
        if not good:
            raise CorruptBlockError("holds an impossible bit stream")
        return out


def decode_whole(
    predictor: int,
    cursor: Cursor,
    rows: int,
    mapping: Mapping,
    dtype: np.dtype[Any],
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Decode the rest of `cursor` at once, as `read_lanes` and `Lanes.restore` do of all rows."""
    data = np.frombuffer(cursor.rest(), np.uint8)
    out = np.empty(rows, dtype) if out is None else out
    width = -4 if dtype == np.float32 else dtype.itemsize
    wrong = kernel("bins_whole", "decode_whole")(
        data, rows, predictor, SIZES, *mapping, width, out.view(np.uint8)
    )
    if wrong:
        _refuse(wrong, rows)
    return out


def _refuse(wrong: int, rows: int) -> None:
    raise CorruptBlockError(
        f"has a stream of {rows} rows with {_WRONG[wrong]}"
        if wrong in _WRONG
        else "holds an impossible bit stream"
    )


def read_lanes(predictor: int, cursor: Cursor, rows: int) -> Lanes:
    """Read the rest of `cursor`: offset, scale, and a laned stream of `rows` numbers.

    Raises
    ------
    CorruptBlockError
        If its parts cannot belong together.
    """
    data = np.frombuffer(cursor.rest(), np.uint8)
    words = np.empty(data.size // 8 + 1 + SPARE_WORDS, np.uint64)
    head, groups = np.empty(HEAD, np.int64), np.empty(MOST_GROUPS - 1, np.int64)
    odd = np.empty((2, MOST_OUTLIERS), np.int64)
    wrong = kernel("bins_stream", "read_head")(
        data, rows, predictor, head, odd, groups, words.view(np.uint8)
    )
    if wrong:
        _refuse(wrong, rows)
    told = head.tolist()
    count, more, bits = told[9:12]
    words = words[: told[15] // 8 + 1 + SPARE_WORDS]  # what is cut short must not go on for long
    planes = data[data.size - bits // 8 + told[15] :]
    if count == 0:
        return Lanes(head, groups[:more], _NO_NUMBERS, _NO_NUMBERS, words, planes)
    return Lanes(head, groups[:more], odd[0, :count], odd[1, :count], words, planes)
