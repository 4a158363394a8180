"""The contestants of the import benchmark: each stores the same Arrow tables, durably.

Every function here runs in a process of its own. Each loads its input and stores some rows
elsewhere before the clock starts, so that compiling and loading code is not timed.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

import pipeline
from pipeline.archive.durability import sync_filesystem
from pipeline.errors import MissingDependencyError
from tests.benchmarks.measuring import Stopwatch

__all__ = [
    "Stored",
    "append_to_archive",
    "read_archive",
    "read_parquet",
    "read_table",
    "write_parquet",
]

_FLEET: Final = "sensors"
_DEVICES_PER_BLOCK: Final = 256
_WARM_ROWS: Final = 200_000
_SCHEMA: Final = (("temperature", "degC"), ("humidity", "%"))

_PARQUET_LAYOUTS: Final = {
    # Query and options of DuckDB's COPY.
    # The archive's own partitions: days and runs of 256 devices, here numbered by the id.
    "partitioned": (
        "SELECT *, time::DATE AS day, "
        f"CAST(right(device, 5) AS INTEGER) // {_DEVICES_PER_BLOCK} AS device_block "
        "FROM readings ORDER BY device, time",
        ", PARTITION_BY (day, device_block)",
    ),
    # One file: nothing to partition, and the only way in which the whole order survives.
    "one-file": ("SELECT * FROM readings ORDER BY device, time", ""),
}


@dataclass(frozen=True, slots=True)
class Stored:
    """What storing took: warming up (seconds), and the work itself."""

    warmup_s: float
    work: Stopwatch


def append_to_archive(tables: Sequence[Path], folder: Path) -> Stored:
    """Append tables, one after the other, to a new archive; each is a durable commit."""
    with Stopwatch() as warming:
        _new_fleet("memory://").append(read_table(tables[0]).slice(0, _WARM_ROWS))
    sync_filesystem(folder.parent)
    with Stopwatch() as work:
        fleet = _new_fleet(folder)
    for path in tables:
        table = read_table(path)
        gc.collect()
        with work:
            fleet.append(table)
    return Stored(warming.seconds, work)


def write_parquet(tables: Sequence[Path], folder: Path, layout: str) -> Stored:
    """Let DuckDB, with its default threads, sort and write tables that are in memory.

    Parameters
    ----------
    tables
        Arrow IPC files.
    folder
        Where to write: a folder, or with layout ``"one-file"`` a file.
    layout
        ``"partitioned"`` or ``"one-file"``.

    Raises
    ------
    MissingDependencyError
        If DuckDB is not installed.
    """
    readings = pa.concat_tables([read_table(path) for path in tables])
    query, options = _PARQUET_LAYOUTS[layout]
    connection = _duckdb().connect()
    connection.execute("SET enable_progress_bar = false")

    def copy(table: pa.Table, target: Path) -> None:
        connection.register("readings", table)
        connection.execute(
            f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd{options})"
        )

    with Stopwatch() as warming:
        copy(readings.slice(0, _WARM_ROWS), folder.with_name(f"{folder.name}-warm-up"))
    gc.collect()
    sync_filesystem(folder.parent)
    with Stopwatch() as work:
        copy(readings, folder)
        # The same as a commit of the archive does; DuckDB leaves its files to the page cache.
        sync_filesystem(folder.parent)
    return Stored(warming.seconds, work)


def read_table(path: Path) -> pa.Table:
    """Read an Arrow IPC file into memory."""
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
        return reader.read_all()


def read_archive(folder: Path) -> Iterator[pa.RecordBatch]:
    """Yield all rows of an archive of this benchmark."""
    yield from pipeline.Archive.open(folder).fleet(_FLEET).read()


def read_parquet(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file, or of all below a folder."""
    names = ["device", "time", *(name for name, _ in _SCHEMA)]
    for file in sorted(path.rglob("*.parquet")) if path.is_dir() else [path]:
        with pq.ParquetFile(file) as parquet:
            yield from parquet.iter_batches(columns=names)


def _new_fleet(url: str | Path) -> pipeline.Fleet:
    channels = [pipeline.Channel(name, "float64", units=units) for name, units in _SCHEMA]
    partitioning = pipeline.Partitioning(window="1 day", devices_per_block=_DEVICES_PER_BLOCK)
    archive = pipeline.Archive.create(url)
    return archive.create_fleet(_FLEET, pipeline.Schema(channels), partitioning)


def _duckdb() -> Any:
    try:
        return import_module("duckdb")
    except ImportError as error:
        msg = "the import benchmark needs duckdb; install the extra 'bench' (uv run --extra bench)"
        raise MissingDependencyError(msg) from error
