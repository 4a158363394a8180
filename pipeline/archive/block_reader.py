"""Reading blocks: all columns are fetched at once, unless they are known from before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable
from pipeline.archive.chunk_io import chunk_key, get_many
from pipeline.archive.converted_chunks import Chunk, sources_of
from pipeline.archive.decoded_columns import Recurring
from pipeline.archive.fetched_blocks import FetchedBlocks
from pipeline.archive.layout import FleetLayout
from pipeline.archive.remembering import decoded_of
from pipeline.archive.version_reading import VersionReading
from pipeline.codecs.block import HEADER_BYTES, read_header
from pipeline.codecs.frame import BlockHeader
from pipeline.model.batches import Column

__all__ = ["fetch_blocks", "read_block_columns", "read_block_headers"]


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
    size = len(blocks)
    chunks = _chunks(
        store,
        [key for column in keys for key in column],
        [rows * dtype.itemsize for _, dtype in columns for rows in blocks.rows.tolist()],
    )
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
    sizes = {
        key: rows * dtype.itemsize
        for column, (_, dtype) in zip(keys, columns, strict=True)
        for block, rows in zip(column, blocks.rows.tolist(), strict=True)
        for key in block
    }
    found = dict(zip(sizes, _chunks(store, list(sizes), list(sizes.values())), strict=True))
    converted = {
        (column, at): source.origin(reading, keys[column][at], found)
        for column, sources in enumerate(wanted)
        for at, source in enumerate(sources)
        if source.conversion is not None
    }
    plain = [[block[0] if block else "" for block in column] for column in keys]
    chunks = [[found.get(key) for key in column] for column in plain]
    return FetchedBlocks(blocks, columns, plain, chunks, converted)


def _chunks(store: Store, keys: Sequence[str], sizes: Sequence[int]) -> list[Chunk]:
    """Return chunks by key: decoded where they are known, and fetched at once where they are not.

    `sizes` are the bytes of each as it is decoded.
    """
    decoded = decoded_of(store)
    if decoded is None:
        return [*get_many(store, keys)]
    known = decoded.take(keys, sizes)
    found: list[Chunk] = [None if isinstance(one, bool) else one for one in known]
    missing = [at for at, one in enumerate(known) if isinstance(one, bool)]
    for at, data in zip(missing, get_many(store, [keys[at] for at in missing]), strict=True):
        found[at] = Recurring(data, decoded) if known[at] and data is not None else data
    return found


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
