"""Statistics of whole blocks, from their headers: no row is decoded where these tell enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable
from pipeline.archive.block_reader import read_block_columns, read_block_headers
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.mapped_statistics import mapped_states
from pipeline.archive.run_statistics import run_statistics
from pipeline.archive.version_reading import VersionReading
from pipeline.codecs.frame import BlockHeader
from pipeline.model.dtypes import storage_dtype
from pipeline.schema.conversions import Conversion
from pipeline.summaries.statistics import Statistics

__all__ = ["block_states", "header_states"]


def block_states(store: Store, meta: FleetMeta, blocks: BlockTable, channel: str) -> Statistics:
    """Return a channel's statistics of blocks, shape (blocks,); blocks are decoded where need be.

    Raises
    ------
    CorruptBlockError
        If a header, or a block that has to be decoded, is damaged.
    SchemaError
        If a value does not fit the version of the schema that is read.
    """
    states, sure = header_states(store, meta, blocks, channel)
    for at in np.flatnonzero(~sure).tolist():
        wanted = [(channel, states.min.dtype)]
        one = blocks.take(np.array([at]))
        (column,) = read_block_columns(store, meta.layout, one, wanted, meta.reading)
        states.put(
            slice(at, at + 1), run_statistics(column.values, column.valid, np.zeros(1, np.int64))
        )
    return states


def header_states(
    store: Store, meta: FleetMeta, blocks: BlockTable, channel: str
) -> tuple[Statistics, NDArray[np.bool_]]:
    """Return what headers tell of a channel in blocks, and in which of them that is sure.

    Parameters
    ----------
    store
        A snapshot's store.
    meta
        The fleet's definition.
    blocks
        The blocks.
    channel
        The channel's name.

    Returns
    -------
    tuple
        Statistics and bool, shape (blocks,). Where it is not sure, statistics have no meaning.

    Raises
    ------
    CorruptBlockError
        If a header is damaged.
    """
    dtype, reading = storage_dtype(meta.schema[channel].dtype), meta.reading
    if reading is None:
        headers = read_block_headers(store, meta.layout, blocks, channel)
        return _states(headers, dtype), np.ones(len(blocks), np.bool_)
    states, sure = Statistics.empty(len(blocks), dtype), np.ones(len(blocks), np.bool_)
    for version in np.unique(blocks.schema_version).tolist():
        here = np.flatnonzero(blocks.schema_version == version)
        conversion = reading.of(channel, version)
        if conversion.is_missing:
            continue
        part, known = _of_version(store, meta, reading, blocks.take(here), conversion)
        states.put(here, part)
        sure[here] = known
    return states, sure


def _of_version(
    store: Store,
    meta: FleetMeta,
    reading: VersionReading,
    blocks: BlockTable,
    conversion: Conversion,
) -> tuple[Statistics, NDArray[np.bool_]]:
    dtype = storage_dtype(conversion.channel.dtype)
    every = np.ones(len(blocks), np.bool_)
    if not conversion.arrays:
        value = reading.converted(conversion, {}, 1).values[0]
        return Statistics.constant(blocks.rows, value, dtype), every
    image = conversion.image
    if image is None:
        return Statistics.empty(len(blocks), dtype), ~every
    stored = storage_dtype(reading.history.stored[image.array].dtype)
    found = _states(read_block_headers(store, meta.layout, blocks, image.array), stored)
    return mapped_states(image, found)


def _states(headers: Sequence[BlockHeader | None], dtype: np.dtype[Any]) -> Statistics:
    states = Statistics.empty(len(headers), dtype)
    for at, header in enumerate(headers):
        if header is not None and header.statistics.count:
            found = header.statistics
            values = (
                found.count,
                found.min,
                found.max,
                found.first,
                found.last,
                found.sum,
                found.m2,
            )
            for array, value in zip(states.arrays(), values, strict=True):
                array[at] = value
    return states
