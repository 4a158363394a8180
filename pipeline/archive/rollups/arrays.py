"""The arrays of a rollup ``[device, time]``, encoded chunk by chunk so that plain Zarr reads them.

Cells without a value hold the fill value. It is declared as CF ``_FillValue`` wherever no real value
can equal it: integers of up to 32 bits are therefore kept in a wider dtype. Those of 64 bits have
none to spare: of them the count tells whether there is a value. Quantile sketches are texts, base64 of
their bytes, in smaller chunks of the same columns; there is none of a cell without a reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
import zarr
from numcodecs.vlen import VLenUTF8
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from pipeline.archive.chunk_io import chunk_key, read_decoded
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.layout import FleetLayout, node_name
from pipeline.archive.rollups.definition import (
    SKETCHES,
    RollupDefinition,
    chunk_shape,
    has_exact_sum,
)
from pipeline.archive.rollups.sketch_kinds import SKETCH_ATTRIBUTES
from pipeline.archive.statistic_attributes import statistic_attributes
from pipeline.archive.tables import Table
from pipeline.codecs.block import Memory, decode_block, encode_block
from pipeline.codecs.zarr_block import BlockCodec
from pipeline.errors import CorruptBlockError
from pipeline.model.dtypes import fill_value, storage_dtype
from pipeline.schema.channels import Channel
from pipeline.summaries.asked import Statistic

__all__ = [
    "RollupArray",
    "SketchArray",
    "built_table",
    "gather",
    "rollup_arrays",
    "rollup_path",
    "rollup_places",
    "rows_array",
    "time_tables",
]

_WIDER: Final = {
    "int8": "int16",
    "uint8": "int16",
    "int16": "int32",
    "uint16": "int32",
    "int32": "int64",
    "uint32": "int64",
}
_TIME: Final = {"units": "microseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
_TIMES_PER_CHUNK: Final = 16_384
_LEVEL: Final = 3
_TEXTS: Final = VLenUTF8()
_SKETCHES_PER_CELLS: Final = 8
"""A sketch is some hundred bytes: chunks of them hold so many times fewer devices."""
_BUILT_SHAPE: Final = (1 << 16, 1 << 20)
_BUILT_CHUNK: Final = (256, 16)


@dataclass(frozen=True, slots=True)
class RollupArray:
    """One statistic of one channel.

    Parameters
    ----------
    path
        Of the array in the store.
    dtype, fill
        Of the array.
    chunk
        Devices and periods of a chunk.
    channel, statistic
        What it holds; None for rows with and without values.
    attributes
        For the array's metadata.
    """

    path: str
    dtype: np.dtype[Any]
    fill: int | float | str
    chunk: tuple[int, int]
    channel: str | None = None
    statistic: Statistic | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the array in its group."""
        return self.path.rsplit("/", 1)[1]

    def create(self, store: Store, shape: tuple[int, int]) -> None:
        """Write the array's metadata."""
        zarr.create_array(
            store,
            name=self.path,
            shape=shape,
            chunks=self.chunk,
            dtype=self.dtype,
            fill_value=self.fill,
            serializer=BlockCodec(),
            compressors=None,
            filters=None,
            dimension_names=("device", "time"),
            attributes=dict(self.attributes),
        )

    def blank(self) -> NDArray[Any]:
        """Return a chunk without values."""
        return np.full(self.chunk, self.fill, self.dtype)

    def encode(self, chunk: NDArray[Any], memory: Memory | None = None) -> bytes:
        """Return a chunk as it is stored; `memory` is of other chunks of the array."""
        flat = chunk.ravel()
        has = ~np.isnan(flat) if self.dtype.kind == "f" else flat != self.fill
        used = np.flatnonzero(has)
        stop = int(used[-1]) + 1 if len(used) else 0
        # A count of 0 is a value like any other; what is missing is left out of the block.
        valid = None if self.fill == 0 else has[:stop]
        return encode_block(flat[:stop], valid, memory=memory)

    def decode(self, data: NDArray[np.uint8], key: str) -> NDArray[Any]:
        """Return a stored chunk.

        Raises
        ------
        CorruptBlockError
            If it is damaged, or no chunk of this array; the message names `key`.
        """
        block = decode_block(data, where=key)
        held = len(block.values)
        if held > prod(self.chunk) or block.values.dtype != self.dtype:
            msg = f"{key}: holds {held} values of {block.values.dtype}, not a chunk of {self.path}"
            raise CorruptBlockError(msg)
        flat = np.full(prod(self.chunk), self.fill, self.dtype)
        np.copyto(flat[:held], block.values, where=True if block.valid is None else block.valid)
        return flat.reshape(self.chunk)

    def read(
        self, store: Store, places: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], NDArray[Any]]:
        """Return the chunks that exist, by their coordinates in the chunk grid."""
        return {
            place: chunk
            for (_, place), chunk in read_rollup_chunks(store, [(self, p) for p in places]).items()
        }


@dataclass(frozen=True, slots=True)
class SketchArray(RollupArray):
    """Quantile sketches of one channel, as texts."""

    def create(self, store: Store, shape: tuple[int, int]) -> None:
        """Write the array's metadata."""
        zarr.create_array(
            store,
            name=self.path,
            shape=shape,
            chunks=self.chunk,
            dtype=str,
            fill_value="",
            compressors=ZstdCodec(level=_LEVEL, checksum=True),
            dimension_names=("device", "time"),
            attributes=dict(self.attributes),
        )

    def encode(self, chunk: NDArray[Any], memory: Memory | None = None) -> bytes:  # noqa: ARG002
        """Return a chunk as it is stored."""
        return bytes(Zstd(level=_LEVEL, checksum=True).encode(_TEXTS.encode(chunk.ravel())))

    def decode(self, data: NDArray[np.uint8], key: str) -> NDArray[Any]:
        """Return a stored chunk.

        Raises
        ------
        CorruptBlockError
            If it is damaged; the message names `key`.
        """
        try:
            texts: NDArray[Any] = _TEXTS.decode(Zstd().decode(np.ascontiguousarray(data)))
            return texts.reshape(self.chunk)
        except (RuntimeError, ValueError) as error:
            msg = f"{key}: the sketches cannot be read: {error}"
            raise CorruptBlockError(msg) from error


def read_rollup_chunks(
    store: Store, wanted: Sequence[tuple[RollupArray, tuple[int, int]]]
) -> dict[tuple[str, tuple[int, int]], NDArray[Any]]:
    """Return the chunks of any arrays that exist, by path and coordinates, all fetched at once.

    They are read-only if the store is one that remembers.
    """
    arrays = [array for array, _ in wanted]
    keys = [chunk_key(array.path, place) for array, place in wanted]
    found = read_decoded(store, keys, lambda at, data: arrays[at].decode(data, keys[at]))
    return {
        (array.path, place): chunk
        for (array, place), chunk in zip(wanted, found, strict=True)
        if chunk is not None
    }


def gather(
    store: Store, arrays: Sequence[RollupArray], codes: NDArray[np.int64], positions: range
) -> list[NDArray[Any]]:
    """Return cells of arrays of one rollup, shape (codes, positions), read at once.

    Parameters
    ----------
    store
        A snapshot's or a transaction's store.
    arrays
        The arrays.
    codes
        ``int64``: device codes.
    positions
        Of periods along the time axis; none beyond it has a value.
    """
    shape = (len(codes), len(positions))
    gathered = [np.full(shape, array.fill, array.dtype) for array in arrays]
    if not arrays or not len(codes) or not positions:
        return gathered
    devices, length = arrays[0].chunk
    places = rollup_places(arrays[0], codes, positions)
    found = read_rollup_chunks(store, [(array, place) for array in arrays for place in places])
    rows = {row: np.flatnonzero(codes // devices == row) for row in {row for row, _ in places}}
    for array, into in zip(arrays, gathered, strict=True):
        for row, column in places:
            chunk = found.get((array.path, (row, column)))
            if chunk is None:
                continue
            here, first = rows[row], column * length
            start, stop = max(positions.start, first), min(positions.stop, first + length)
            part = chunk[codes[here] % devices, start - first : stop - first]
            into[here, start - positions.start : stop - positions.start] = part
    return gathered


def rollup_places(
    array: RollupArray, codes: NDArray[np.int64], positions: range
) -> list[tuple[int, int]]:
    """Return which chunks of an array may hold cells; parameters are those of `gather`."""
    devices, length = array.chunk
    columns = range(max(positions.start, 0) // length, (positions.stop - 1) // length + 1)
    return [(row, column) for row in np.unique(codes // devices).tolist() for column in columns]


def rollup_path(layout: FleetLayout, name: str) -> str:
    """Return the path of a rollup's group."""
    return f"{layout.rollup_group}/{name}"


def built_table(layout: FleetLayout, name: str) -> Table:
    """Return the table of what each run of devices and periods was built at.

    A number is the fleet's sequence at the snapshot that was read: rows and changes below it are in
    the cells. It lies in a group of its own, where plain readers of the rollup do not see it.
    """
    path = f"{rollup_path(layout, name)}/state/built"
    return Table(path, np.dtype(np.int64), _BUILT_SHAPE, _BUILT_CHUNK, ("device_run", "time_run"))


def time_tables(layout: FleetLayout, name: str, periods: int) -> tuple[Table, Table]:
    """Return the tables of the periods' starts, and of their starts and stops."""
    path, dtype = rollup_path(layout, name), np.dtype(np.int64)
    empty = int(np.iinfo(np.int64).min)
    starts = {**_TIME, "standard_name": "time", "axis": "T", "bounds": "time_bounds"}
    return (
        Table(f"{path}/time", dtype, (periods,), (_TIMES_PER_CHUNK,), ("time",), empty, starts),
        Table(
            f"{path}/time_bounds",
            dtype,
            (periods, 2),
            (_TIMES_PER_CHUNK, 2),
            ("time", "bound"),
            empty,
            _TIME,
        ),
    )


def rows_array(layout: FleetLayout, definition: RollupDefinition) -> RollupArray:
    """Return the array of rows with and without values."""
    return RollupArray(
        f"{rollup_path(layout, definition.name)}/rows",
        np.dtype(np.int64),
        0,
        chunk_shape(definition.period),
        attributes={"long_name": "rows", "units": "1", "cell_methods": "time: sum"},
    )


def rollup_arrays(meta: FleetMeta, definition: RollupDefinition) -> list[RollupArray]:
    """Return all arrays of a rollup, that of its rows first."""
    return [
        rows_array(meta.layout, definition),
        *(
            _array(meta, definition, meta.schema[channel], statistic)
            for channel in definition.statistics
            for statistic in definition.stored(channel)
        ),
    ]


def _array(
    meta: FleetMeta, definition: RollupDefinition, channel: Channel, statistic: Statistic
) -> RollupArray:
    chunk = chunk_shape(definition.period)
    path = f"{rollup_path(meta.layout, definition.name)}/{node_name(f'{channel.name}_{statistic.label}')}"
    if statistic.kind in SKETCHES:
        return _sketches(path, chunk, channel, statistic)
    dtype, fill = _dtype_of(channel, statistic)
    attributes: dict[str, Any] = {
        **statistic_attributes(channel, statistic),
        "channel": channel.name,
        "statistic": statistic.label,
    }
    if dtype.kind in "iu" and fill != 0:
        if channel.dtype in ("int64", "uint64"):
            attributes["ancillary_variables"] = node_name(f"{channel.name}_count")
        else:
            attributes["_FillValue"] = fill
    if dtype.kind == "i" and channel.dtype in ("bool", "category") and fill != 0:
        attributes |= _flags(meta, channel)
    return RollupArray(path, dtype, fill, chunk, channel.name, statistic, attributes)


def _sketches(
    path: str, chunk: tuple[int, int], channel: Channel, statistic: Statistic
) -> SketchArray:
    attributes = {
        "long_name": f"quantile sketches of {channel.description or channel.name}",
        "channel": channel.name,
        "statistic": statistic.label,
        **SKETCH_ATTRIBUTES[statistic.kind],
    }
    smaller = (max(1, chunk[0] // _SKETCHES_PER_CELLS), chunk[1])
    dtype = np.dtype(object)
    return SketchArray(path, dtype, "", smaller, channel.name, statistic, attributes)


def _dtype_of(channel: Channel, statistic: Statistic) -> tuple[np.dtype[Any], int | float]:
    if statistic.kind in ("count", "missing", "distinct"):
        return np.dtype(np.int64), 0
    if statistic.kind == "sum":
        return np.dtype(np.int64 if has_exact_sum(channel.dtype) else np.float64), 0
    dtype: np.dtype[Any] = np.dtype(np.float64)
    if statistic.kind in ("min", "max", "first", "last"):
        dtype = storage_dtype(channel.dtype)
        if channel.dtype in ("bool", "category"):
            return dtype, -1
        dtype = np.dtype(_WIDER.get(dtype.name, dtype.name))
    elif statistic.kind in ("range", "delta") and channel.dtype in _WIDER:
        dtype = np.dtype(np.int64)
    return dtype, fill_value(dtype)


def _flags(meta: FleetMeta, channel: Channel) -> dict[str, Any]:
    if channel.dtype == "bool":
        return {"flag_values": [0, 1], "flag_meanings": "false true"}
    texts = meta.texts(channel.name)
    meanings = " ".join("_".join(text.split()) or "_" for text in texts)
    return {
        "flag_values": list(range(len(texts))),
        "flag_meanings": meanings,
        "categories": list(texts),
    }
