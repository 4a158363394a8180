"""The same rows in files of another order, and what a fleet holds in an order of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

import pipeline

__all__ = [
    "ORDERS",
    "arranged",
    "conflicts",
    "content",
    "digest",
    "kept_last",
    "rows_of",
    "same",
    "write_files",
]

Longs = NDArray[np.int64]
Content = Mapping[str, NDArray[Any]]


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array.cast(pa.string()) if pa.types.is_dictionary(array.type) else array


def _bits(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return values as something that compares and sorts bit by bit; texts as they are."""
    array = _plain(column)
    if pa.types.is_string(array.type):
        return np.asarray(pc.fill_null(array, "").to_numpy(zero_copy_only=False), dtype=str)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    return np.asarray(
        values.view(f"u{values.dtype.itemsize}") if values.dtype.kind == "f" else values
    )


def content(table: pa.Table) -> Content:
    """Return rows as columns of bits and of presence, ordered by device, time and all values."""
    columns: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        columns[name] = _bits(table[name])
        present = pc.is_valid(_plain(table[name]))
        columns[f"{name} is there"] = present.to_numpy(zero_copy_only=False)
    codes = [np.unique(column, return_inverse=True)[1] for column in columns.values()]
    order = np.lexsort(codes[::-1])
    return {name: column[order] for name, column in columns.items()}


def same(one: Content, two: Content) -> bool:
    """Tell whether two contents are the same, bit by bit."""
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def digest(found: Content) -> str:
    """Return a text that is the same for contents that are the same bit by bit."""
    state = hashlib.sha256()
    for name, column in found.items():
        state.update(f"{name} {column.dtype} {column.shape}".encode())
        state.update(np.ascontiguousarray(column))
    return state.hexdigest()


def _last_of_each(table: pa.Table) -> Longs:
    device = np.unique(_bits(table["device"]), return_inverse=True)[1]
    order = np.lexsort((np.arange(table.num_rows), _bits(table["time"]), device))
    keys = np.stack([device, _bits(table["time"])])[:, order]
    last: Longs = order[np.append((keys[:, 1:] != keys[:, :-1]).any(axis=0), True)]
    return last


def kept_last(table: pa.Table) -> pa.Table:
    """Return the last row of each device and time: what `keep_last` has to keep."""
    return table.take(pa.array(_last_of_each(table)))


def conflicts(table: pa.Table) -> int:
    """Return how many distinct rows there are beyond one for each device and time."""
    distinct = content(table)
    changed = [column[1:] != column[:-1] for column in distinct.values()]
    return 1 + int(np.any(changed, axis=0).sum()) - len(_last_of_each(table))


def _pieces(table: pa.Table) -> list[Longs]:
    return np.array_split(np.arange(table.num_rows), 7)


def _shuffled_files(table: pa.Table) -> Longs:
    pieces = _pieces(table)
    return np.concatenate([pieces[at] for at in np.random.default_rng(5).permutation(len(pieces))])


def _by(*keys: str) -> Callable[[pa.Table], Longs]:
    def order(table: pa.Table) -> Longs:
        codes = [np.unique(_bits(table[key]), return_inverse=True)[1] for key in keys]
        return np.lexsort((np.arange(table.num_rows), *codes[::-1]))

    return order


ORDERS: Final[Mapping[str, Callable[[pa.Table], Longs]]] = {
    "files as they are": lambda table: np.arange(table.num_rows),
    "files reversed": lambda table: np.concatenate(_pieces(table)[::-1]),
    "files shuffled": _shuffled_files,
    "by time": _by("time", "device"),
    "by device": _by("device", "time"),
    "rows shuffled": lambda table: np.random.default_rng(7).permutation(table.num_rows),
}
"""The numbers of a table's rows in the order in which they are imported."""


def arranged(table: pa.Table, order: str) -> pa.Table:
    """Return the rows in the order in which they are imported."""
    return table.take(pa.array(ORDERS[order](table)))


def write_files(table: pa.Table, folder: Path, rows: int = 50_000) -> None:
    """Write the rows as files whose names sort in the rows' order."""
    folder.mkdir(parents=True)
    count = max(4, -(-table.num_rows // rows))
    for at, piece in enumerate(np.array_split(np.arange(table.num_rows), count)):
        part = table.slice(piece[0], len(piece)) if len(piece) else table.slice(0, 0)
        pq.write_table(part, folder / f"{at:04}.parquet", row_group_size=1 + len(piece) // 2)


def rows_of(fleet: pipeline.Fleet, names: list[str]) -> pa.Table:
    """Return all rows of a fleet."""
    return fleet.read().read_all().select(names)
