"""Columns of blocks that were fetched, and their decoding on all cores, joined as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.block_index import BlockTable
from pipeline.archive.chunk_io import in_threads
from pipeline.archive.compact_columns import CompactColumn
from pipeline.archive.converted_chunks import Chunk, Origin, decode_chunk
from pipeline.model.batches import Column

__all__ = ["FetchedBlocks", "runs_of_blocks"]

_ROWS_AT_ONCE: Final = 1 << 19

_ROWS_FOR_THREADS: Final = 1 << 14
"""Mean rows of blocks from which on threads help. What is done around a block holds the interpreter
for 10 us, as long as 5,000 rows take: of small blocks threads wait for each other, which took a
fifth longer."""

type _Valid = tuple[int, int, NDArray[np.bool_]]
"""Which rows, and which of them have a value."""


@dataclass(frozen=True, slots=True, eq=False)
class FetchedBlocks:
    """Encoded columns of blocks.

    Parameters
    ----------
    blocks
        Their index entries.
    columns
        Name and stored dtype of each raw column.
    keys, chunks
        For each column, store key and bytes of its chunk in each block, or what is known of it;
        None where there is none.
    converted
        By column and block, what has to be converted instead, since the block is of another version
        of the schema.
    """

    blocks: BlockTable
    columns: Sequence[tuple[str, np.dtype[Any]]]
    keys: Sequence[Sequence[str]]
    chunks: Sequence[Sequence[Chunk]]
    converted: Mapping[tuple[int, int], Origin] = field(default_factory=dict)

    def each[A, B](self, decode: Callable[[A], B], arguments: Sequence[A]) -> list[B]:
        """Decode one thing after the other, or on all cores if blocks are large enough for that."""
        if not len(self.blocks) or self.blocks.rows.mean() < _ROWS_FOR_THREADS:
            return [decode(argument) for argument in arguments]
        return in_threads(decode, arguments)

    def decode(self, at: int) -> list[Column]:
        """Return the columns of one block.

        Raises
        ------
        CorruptBlockError
            If the block is damaged, or not the one that the index describes.
        """
        return self.each(lambda column: self.decode_column(column, at), range(len(self.columns)))

    def decode_column(
        self,
        column: int,
        at: int,
        rows: tuple[int, int] | None = None,
        out: NDArray[Any] | None = None,
    ) -> Column:
        """Return one column of one block, or of a range ``[start, stop)`` of its rows.

        Parameters
        ----------
        column, at
            Which column of which block.
        rows
            The range; None for all rows.
        out
            Contiguous, of the column's dtype: receives the values, which are those returned then.

        Raises
        ------
        CorruptBlockError
            If the block is damaged, or not the one that the index describes.
        """
        count = int(self.blocks.rows[at])
        if (column, at) in self.converted:
            found = self.converted[column, at].decode(count, rows)
            if out is None:
                return found
            out[:] = found.values
            return Column(out, found.valid)
        key, dtype = self.keys[column][at], self.columns[column][1]
        return decode_chunk(self.chunks[column][at], key, dtype, count, rows, out)

    def decode_ranges(self, column: int, ranges: NDArray[np.int64] | None = None) -> Column:
        """Return one column of all blocks, one after the other, or a range of the rows of each.

        Parameters
        ----------
        column
            Which.
        ranges
            ``int64``, shape (2, blocks): first row wanted of each block, and the one behind the last.

        Raises
        ------
        CorruptBlockError
            If a block is damaged, or not the one that the index describes.
        """
        if len(self.blocks) == 1:
            start, stop = (0, self.blocks.rows[0]) if ranges is None else ranges[:, 0]
            if stop > start:
                return self.decode_column(column, 0, (int(start), int(stop)))
        rows = self.blocks.rows if ranges is None else ranges[1] - ranges[0]
        values = np.empty(int(rows.sum()), self.columns[column][1])
        return _column(values, self._write(column, values, ranges))

    def _write(
        self, column: int, out: NDArray[Any], ranges: NDArray[np.int64] | None = None
    ) -> list[_Valid]:
        """Write one column of all blocks, or ranges of their rows, side by side; return their validity."""
        if ranges is None:
            wanted: Iterable[tuple[int, int] | None] = repeat(None, len(self.blocks))
            ends = np.cumsum(self.blocks.rows)
        else:
            wanted, ends = map(tuple, ranges.T.tolist()), np.cumsum(ranges[1] - ranges[0])
        begin, validity = 0, list[_Valid]()
        for at, (rows, end) in enumerate(zip(wanted, ends.tolist(), strict=True)):
            if begin < end:
                valid = self.decode_column(column, at, rows, out[begin:end]).valid
                if valid is not None:
                    validity.append((begin, end, valid))
            begin = end
        return validity

    def part(self, start: int, stop: int) -> FetchedBlocks:
        """Return some blocks in a row."""
        keys = [column[start:stop] for column in self.keys]
        chunks = [column[start:stop] for column in self.chunks]
        blocks = self.blocks.take(np.arange(start, stop))
        converted = {
            (column, at - start): origin
            for (column, at), origin in self.converted.items()
            if start <= at < stop
        }
        return FetchedBlocks(blocks, self.columns, keys, chunks, converted)

    def one(self, at: int) -> FetchedBlocks:
        """Return one of the blocks."""
        keys = [[column[at]] for column in self.keys]
        chunks = [[column[at]] for column in self.chunks]
        converted = {
            (column, 0): origin for (column, block), origin in self.converted.items() if block == at
        }
        blocks = self.blocks.take(np.array([at]))
        return FetchedBlocks(blocks, self.columns, keys, chunks, converted)

    def decode_all(self) -> list[Column]:
        """Return columns with the rows of all blocks, one block after the other.

        Raises
        ------
        CorruptBlockError
            If a block is damaged, or not the one that the index describes.
        """
        rows = self.blocks.rows
        ends = np.cumsum(rows)
        total = int(ends[-1]) if len(rows) else 0
        found = [(np.empty(total, dtype), list[_Valid]()) for _, dtype in self.columns]
        runs = [
            (self.part(start, stop), int(ends[start] - rows[start]), int(ends[stop - 1]))
            for start, stop in runs_of_blocks(rows)
        ]

        def decode(work: tuple[int, tuple[FetchedBlocks, int, int]]) -> None:
            column, (run, begin, end) = work
            values, validity = found[column]
            for first, last, valid in run._write(column, values[begin:end]):
                validity.append((begin + first, begin + last, valid))

        self.each(decode, [(column, run) for column in range(len(self.columns)) for run in runs])
        return [_column(*one) for one in found]

    def decode_rows(self, positions: NDArray[np.int64]) -> list[Column]:
        """Return columns with some rows; of each block, no more than lies around its rows is decoded.

        Parameters
        ----------
        positions
            ``int64``, shape (rows,), in any order: places among the rows of all blocks.

        Raises
        ------
        CorruptBlockError
            If a block is damaged, or not the one that the index describes.
        """
        if (positions[1:] < positions[:-1]).any():
            order = np.argsort(positions, kind="stable")
            places = np.empty_like(order)
            places[order] = np.arange(len(order))
            return [column.take(places) for column in self.decode_rows(positions[order])]
        ends = np.cumsum(self.blocks.rows)
        cuts = np.searchsorted(positions, ends).tolist()
        picks = [
            (at, first, positions[first:last] - start)
            for at, (first, last, start) in enumerate(
                zip([0, *cuts], cuts, (ends - self.blocks.rows).tolist(), strict=False)
            )
            if last > first
        ]

        def pick(column: int) -> Column:
            values = np.empty(len(positions), self.columns[column][1])
            validity: list[_Valid] = []
            for at, first, local in picks:
                last = first + len(local)
                valid = self._pick(column, at, local, values[first:last])
                if valid is not None:
                    validity.append((first, last, valid))
            return _column(values, validity)

        return self.each(pick, range(len(self.columns)))

    def _pick(
        self, column: int, at: int, rows: NDArray[np.int64], out: NDArray[Any]
    ) -> NDArray[np.bool_] | None:
        """Write one column of some rows of one block, ascending; return their validity."""
        chunk = self.chunks[column][at]
        if isinstance(chunk, CompactColumn) and (column, at) not in self.converted:
            return chunk.write(out, rows)
        start, stop = int(rows[0]), int(rows[-1]) + 1
        found = self.decode_column(column, at, (start, stop)).take(rows - start)
        out[:] = found.values
        return found.valid


def _column(values: NDArray[Any], validity: Sequence[_Valid]) -> Column:
    if not validity:
        return Column(values)
    every = np.ones(len(values), np.bool_)
    for begin, end, valid in validity:
        every[begin:end] = valid
    return Column(values, every)


def runs_of_blocks(rows: NDArray[np.int64], most: int = _ROWS_AT_ONCE) -> list[tuple[int, int]]:
    """Return half-open runs of blocks.

    Parameters
    ----------
    rows
        ``int64``, shape (blocks,).
    most
        Rows of a run, if it has more than one block; by default so many that what is decoded
        together stays in the caches.
    """
    runs, start, held = [], 0, 0
    for at, size in enumerate(rows.tolist()):
        if held and held + size > most:
            runs.append((start, at))
            start, held = at, 0
        held += size
    return [*runs, (start, len(rows))] if len(rows) else []
