"""Reading blocks: fetch all columns at once, decode on all cores, join."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable
from pipeline.archive.chunk_io import chunk_key, get_many, in_threads
from pipeline.archive.converted_chunks import Origin, decode_chunk, sources_of
from pipeline.archive.layout import FleetLayout
from pipeline.archive.version_reading import VersionReading
from pipeline.codecs.block import HEADER_BYTES, read_header
from pipeline.codecs.frame import BlockHeader
from pipeline.model.batches import Column, concatenated

__all__ = [
    "FetchedBlocks",
    "fetch_blocks",
    "read_block_columns",
    "read_block_headers",
    "runs_of_blocks",
]

_ROWS_AT_ONCE: Final = 1 << 19

_ROWS_FOR_THREADS: Final = 1 << 14
"""Mean rows of blocks from which on threads help. What is done around a block holds the interpreter
for 10 us, as long as 5,000 rows take: of small blocks threads wait for each other, which took a
fifth longer."""


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
        For each column, store key and bytes of its chunk in each block; None where there is none.
    converted
        By column and block, what has to be converted instead, since the block is of another version
        of the schema.
    """

    blocks: BlockTable
    columns: Sequence[tuple[str, np.dtype[Any]]]
    keys: Sequence[Sequence[str]]
    chunks: Sequence[Sequence[NDArray[np.uint8] | None]]
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

    def decode_column(self, column: int, at: int, rows: tuple[int, int] | None = None) -> Column:
        """Return one column of one block, or of a range ``[start, stop)`` of its rows.

        Raises
        ------
        CorruptBlockError
            If the block is damaged, or not the one that the index describes.
        """
        count = int(self.blocks.rows[at])
        if (column, at) in self.converted:
            return self.converted[column, at].decode(count, rows)
        key, dtype = self.keys[column][at], self.columns[column][1]
        return decode_chunk(self.chunks[column][at], key, dtype, count, rows)

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
        if ranges is None:
            parts = [self.decode_column(column, at) for at in range(len(self.blocks))]
        else:
            parts = [
                self.decode_column(column, at, (start, stop))
                for at, (start, stop) in enumerate(ranges.T.tolist())
                if stop > start
            ]
        return concatenated(parts, self.columns[column][1])

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
        runs = [self.part(*run) for run in runs_of_blocks(self.blocks.rows)]
        work = [(run, column) for column in range(len(self.columns)) for run in runs]
        decoded = self.each(lambda item: item[0].decode_ranges(item[1]), work)
        size = len(runs)
        return [
            concatenated(decoded[at * size : (at + 1) * size], dtype)
            for at, (_, dtype) in enumerate(self.columns)
        ]

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
        starts = np.cumsum(self.blocks.rows) - self.blocks.rows
        block = np.searchsorted(starts, positions, "right") - 1
        local = positions - starts[block]
        first, last = self.blocks.rows.copy(), np.zeros_like(starts)
        np.minimum.at(first, block, local)
        np.maximum.at(last, block, local + 1)
        ranges = np.stack([np.minimum(first, last), last])
        sizes = ranges[1] - ranges[0]
        places = (np.cumsum(sizes) - sizes - ranges[0])[block] + local
        return self.each(
            lambda column: self.decode_ranges(column, ranges).take(places), range(len(self.columns))
        )


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


def fetch_blocks(
    store: Store,
    layout: FleetLayout,
    blocks: BlockTable,
    columns: Sequence[tuple[str, np.dtype[Any]]],
    reading: VersionReading | None = None,
) -> FetchedBlocks:
    """Fetch columns of blocks, all at once.

    Parameters
    ----------
    store
        A snapshot's or a transaction's store.
    layout
        The fleet's layout.
    blocks
        The blocks, in the order wanted.
    columns
        Name and stored dtype of each raw column; where a block has no chunk of a column, the
        column was added later and its rows are missing.
    reading
        What stands between blocks and channels; None if columns are arrays as they are.
    """
    if reading is not None:
        return _fetch_versions(store, layout, blocks, columns, reading)
    keys = [_keys(layout, blocks, name) for name, _ in columns]
    chunks = get_many(store, [key for column in keys for key in column])
    size = len(blocks)
    parts = [chunks[at * size : (at + 1) * size] for at in range(len(columns))]
    return FetchedBlocks(blocks, columns, keys, parts)


def _fetch_versions(
    store: Store,
    layout: FleetLayout,
    blocks: BlockTable,
    columns: Sequence[tuple[str, np.dtype[Any]]],
    reading: VersionReading,
) -> FetchedBlocks:
    places, versions = blocks.places.tolist(), blocks.schema_version.tolist()
    wanted = [[sources_of(reading, name, version) for version in versions] for name, _ in columns]
    keys = [
        [
            [chunk_key(layout.raw_path(array), place) for array in source.arrays]
            for source, place in zip(sources, places, strict=True)
        ]
        for sources in wanted
    ]
    flat = [key for column in keys for block in column for key in block]
    found = dict(zip(flat, get_many(store, flat), strict=True))
    converted = {
        (column, at): source.origin(reading, keys[column][at], found)
        for column, sources in enumerate(wanted)
        for at, source in enumerate(sources)
        if source.conversion is not None
    }
    plain = [[block[0] if block else "" for block in column] for column in keys]
    chunks = [[found.get(key) for key in column] for column in plain]
    return FetchedBlocks(blocks, columns, plain, chunks, converted)


def read_block_columns(
    store: Store,
    layout: FleetLayout,
    blocks: BlockTable,
    columns: Sequence[tuple[str, np.dtype[Any]]],
    reading: VersionReading | None = None,
) -> list[Column]:
    """Return columns with the rows of all blocks, one block after the other.

    Parameters
    ----------
    store, layout, blocks, columns, reading
        As for `fetch_blocks`.

    Raises
    ------
    CorruptBlockError
        If a block is damaged, or not the one that the index describes.
    """
    return fetch_blocks(store, layout, blocks, columns, reading).decode_all()


def read_block_headers(
    store: Store, layout: FleetLayout, blocks: BlockTable, column: str
) -> list[BlockHeader | None]:
    """Return the headers of a column's blocks, which hold its statistics; None without a chunk."""
    keys = _keys(layout, blocks, column)
    prefixes = get_many(store, keys, HEADER_BYTES)
    return [
        None if prefix is None else read_header(prefix, where=key)
        for key, prefix in zip(keys, prefixes, strict=True)
    ]


def _keys(layout: FleetLayout, blocks: BlockTable, column: str) -> list[str]:
    path = layout.raw_path(column)
    return [chunk_key(path, place) for place in blocks.places.tolist()]
