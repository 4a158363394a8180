"""Columns of real sensors: every Parquet file of a folder, in the order the archive keeps rows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.benchmarks.codec_columns import REAL, Column

__all__ = ["device_time_order", "real_columns", "real_data_folder"]

_BESIDE: Final = Path(__file__).parents[3] / "shared" / "data"
_SEVERAL_IN_ONE: Final = "elf_benchmark_columns"
"""A file whose devices are columns of their own, with made-up times."""


def real_data_folder() -> Path | None:
    """Return the folder of real data, or None where there is none.

    It is the one that ``IOT_ARCHIVE_REAL_DATA`` names, else ``../shared/data`` beside the
    project, and has the Parquet files in ``parquet``.
    """
    named = os.environ.get("IOT_ARCHIVE_REAL_DATA")
    folder = Path(named) if named else _BESIDE
    return folder if (folder / "parquet").is_dir() else None


def real_columns(folder: Path) -> Iterator[Column]:
    """Yield the columns of all files below ``parquet`` of `folder`, but for ``device``.

    Rows are sorted by device and time, equal ones as they came. Times are int64 microseconds,
    texts the int32 codes of their dictionary. Names begin with the first word of the file's, or
    all of it where several files share that.
    """
    paths = sorted((folder / "parquet").rglob("*.parquet"))
    words = Counter(path.stem.split("_")[0] for path in paths)
    for path in paths:
        table = pq.read_table(path)
        word = path.stem.split("_")[0]
        name = word if words[word] == 1 else path.stem
        yield from (
            _one_per_device(name, table) if path.stem == _SEVERAL_IN_ONE else _columns(name, table)
        )


def device_time_order(table: pa.Table) -> NDArray[np.intp]:
    """Return the row numbers of a table sorted by device and time, equal ones as they came."""
    return np.lexsort((_times(table), _device_ranks(table)))


def _columns(name: str, table: pa.Table) -> Iterator[Column]:
    order = device_time_order(table)
    yield Column(f"{name}:time", REAL, _times(table)[order])
    for channel in _channels(table):
        yield _column(f"{name}:{channel}", table[channel].take(pa.array(order)))


def _one_per_device(name: str, table: pa.Table) -> Iterator[Column]:
    ranks, order = _device_ranks(table), device_time_order(table)
    for rows in np.split(order, np.flatnonzero(np.diff(ranks[order])) + 1):
        device = table["device"][int(rows[0])].as_py()
        (channel,) = _channels(table)
        yield _column(f"{name}:{device}", table[channel].take(pa.array(rows)))


def _channels(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in ("device", "time")]


def _column(name: str, column: pa.ChunkedArray) -> Column:
    array = column.combine_chunks()
    if pa.types.is_string(array.type):
        array = array.dictionary_encode()
    if pa.types.is_dictionary(array.type):
        array = array.indices
    valid: NDArray[np.bool_] | None = None
    if array.null_count:
        valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
        array = pc.fill_null(array, pa.scalar(0, array.type))
    return Column(name, REAL, array.to_numpy(zero_copy_only=False), valid)


def _times(table: pa.Table) -> NDArray[np.int64]:
    times: NDArray[np.int64] = table["time"].cast(pa.timestamp("us", "UTC")).cast("i8").to_numpy()
    return times


def _device_ranks(table: pa.Table) -> NDArray[np.int64]:
    """Return the place of every row's device among all devices in order of their names."""
    devices: Any = table["device"].combine_chunks()
    if not pa.types.is_dictionary(devices.type):
        devices = devices.dictionary_encode()
    _, ranks = np.unique(np.array(devices.dictionary.to_pylist(), np.str_), return_inverse=True)
    ranked: NDArray[np.int64] = ranks[devices.indices.to_numpy()]
    return ranked
