"""Reading blocks: fetch all columns at once, decode on all cores, join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable
from pipeline.archive.chunk_io import chunk_key, get_many, in_threads
from pipeline.archive.layout import FleetLayout
from pipeline.codecs.block import HEADER_BYTES, DecodedBlock, decode_block, read_header
from pipeline.codecs.frame import BlockHeader
from pipeline.errors import CorruptBlockError
from pipeline.model.batches import Column
from pipeline.model.dtypes import fill_value

__all__ = ["FetchedBlocks", "fetch_blocks", "read_block_columns", "read_block_headers"]


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
    """

    blocks: BlockTable
    columns: Sequence[tuple[str, np.dtype[Any]]]
    keys: Sequence[Sequence[str]]
    chunks: Sequence[Sequence[NDArray[np.uint8] | None]]

    def decode(self, at: int) -> list[Column]:
        """Return the columns of one block.

        Raises
        ------
        CorruptBlockError
            If the block is damaged, or not the one that the index describes.
        """
        decoded = in_threads(lambda column: self._decoded(column, at), range(len(self.columns)))
        return [Column(block.values, block.valid) for block in decoded]

    def decode_all(self) -> list[Column]:
        """Return columns with the rows of all blocks, one block after the other.

        Raises
        ------
        CorruptBlockError
            If a block is damaged, or not the one that the index describes.
        """
        size = len(self.blocks)
        work = [(column, at) for column in range(len(self.columns)) for at in range(size)]
        decoded = in_threads(lambda item: self._decoded(*item), work)
        return [
            _joined(decoded[at * size : (at + 1) * size], dtype)
            for at, (_, dtype) in enumerate(self.columns)
        ]

    def decode_rows(self, positions: NDArray[np.int64]) -> list[Column]:
        """Return columns with some rows; blocks without any of them are not decoded.

        Parameters
        ----------
        positions
            ``int64``, shape (rows,), in any order: places among the rows of all blocks.

        Raises
        ------
        CorruptBlockError
            If a block is damaged, or not the one that the index describes.
        """
        ends = np.cumsum(self.blocks.rows)
        block = np.searchsorted(ends, positions, "right")
        order = np.argsort(block, kind="stable")
        blocks, starts = np.unique(block[order], return_index=True)
        local = positions[order] - (ends - self.blocks.rows)[block[order]]
        rows = list(zip(blocks.tolist(), np.split(local, starts[1:]), strict=True))
        work = [(column, *part) for column in range(len(self.columns)) for part in rows]
        # Rows are picked block by block: joining whole blocks first took a fifth of a read of
        # few rows.
        picked = in_threads(lambda item: _picked(self._decoded(*item[:2]), item[2]), work)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return [
            _joined(picked[at * len(rows) : (at + 1) * len(rows)], dtype).take(back)
            for at, (_, dtype) in enumerate(self.columns)
        ]

    def _decoded(self, column: int, at: int) -> DecodedBlock:
        rows, dtype = int(self.blocks.rows[at]), self.columns[column][1]
        return _decode(self.keys[column][at], self.chunks[column][at], rows, dtype)


def fetch_blocks(
    store: Store,
    layout: FleetLayout,
    blocks: BlockTable,
    columns: Sequence[tuple[str, np.dtype[Any]]],
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
    """
    keys = [_keys(layout, blocks, name) for name, _ in columns]
    chunks = get_many(store, [key for column in keys for key in column])
    size = len(blocks)
    parts = [chunks[at * size : (at + 1) * size] for at in range(len(columns))]
    return FetchedBlocks(blocks, columns, keys, parts)


def read_block_columns(
    store: Store,
    layout: FleetLayout,
    blocks: BlockTable,
    columns: Sequence[tuple[str, np.dtype[Any]]],
) -> list[Column]:
    """Return columns with the rows of all blocks, one block after the other.

    Parameters
    ----------
    store, layout, blocks, columns
        As for `fetch_blocks`.

    Raises
    ------
    CorruptBlockError
        If a block is damaged, or not the one that the index describes.
    """
    return fetch_blocks(store, layout, blocks, columns).decode_all()


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


def _decode(
    key: str, data: NDArray[np.uint8] | None, rows: int, dtype: np.dtype[Any]
) -> DecodedBlock:
    if data is None:
        return DecodedBlock(np.full(rows, fill_value(dtype), dtype), np.zeros(rows, np.bool_))
    block = decode_block(data, where=key)
    if len(block.values) != rows or block.values.dtype != dtype:
        msg = (
            f"{key}: holds {len(block.values)} rows of {block.values.dtype}, "
            f"the index says {rows} of {dtype}"
        )
        raise CorruptBlockError(msg)
    return block


def _picked(block: DecodedBlock, rows: NDArray[np.int64]) -> DecodedBlock:
    return DecodedBlock(block.values[rows], None if block.valid is None else block.valid[rows])


def _joined(blocks: Sequence[DecodedBlock], dtype: np.dtype[Any]) -> Column:
    if len(blocks) == 1:
        return Column(blocks[0].values, blocks[0].valid)
    if not blocks:
        return Column(np.zeros(0, dtype))
    values = np.concatenate([block.values for block in blocks])
    if all(block.valid is None for block in blocks):
        return Column(values)
    parts = [
        np.ones(len(block.values), np.bool_) if block.valid is None else block.valid
        for block in blocks
    ]
    return Column(values, np.concatenate(parts))
