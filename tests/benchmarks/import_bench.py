"""Import: a stream of a thousand thermometers and hygrometers, against DuckDB and Parquet.

Readings arrive in time order, all devices interleaved, in tables of about a million rows. The
archive appends table by table, each a durable commit. DuckDB gets all rows at once, sorts them
by device and time, and writes Parquet with zstd. Both start from Arrow in memory and end with
synced files; runs alternate, and after each it is checked that every row is there, bit for bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import pyarrow as pa

from pipeline.partitioning.assignment import split_evenly
from pipeline.simulation.fleets import SimulatedFleet, SimulatedSource
from tests.benchmarks.fingerprints import Fingerprint, fingerprint
from tests.benchmarks.import_sides import (
    append_to_archive,
    read_archive,
    read_parquet,
    read_table,
    write_parquet,
)
from tests.benchmarks.measuring import folder_bytes, medians, run_apart, scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError

__all__ = ["check_rows", "run"]

_CHANNELS: Final = ("temperature", "humidity")
_TABLE_ROWS: Final = 1 << 20
_RAW_ROW_BYTES: Final = 8 + 8 * len(_CHANNELS)
_OURS: Final = "iot-archive"
_DUCKDB: Final = "duckdb-partitioned"
_ONE_FILE: Final = "duckdb-one-file"


@dataclass(frozen=True, slots=True)
class _Scale:
    devices: int
    readings: int
    runs: int


_SCALES: Final = {
    Size.FULL: _Scale(1000, 10_000, 5),
    Size.QUICK: _Scale(1000, 1000, 5),
    Size.TINY: _Scale(300, 100, 1),
}


@dataclass(frozen=True, slots=True)
class _Side:
    """A contestant: how it stores tables in a folder, and how what it stored is read."""

    store: Callable[..., Any]
    read: Callable[[Path], Any]


_SIDES: Final = {
    _OURS: _Side(append_to_archive, read_archive),
    _DUCKDB: _Side(partial(write_parquet, layout="partitioned"), read_parquet),
    _ONE_FILE: _Side(partial(write_parquet, layout="one-file"), read_parquet),
}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure imports; `show` is told about progress."""
    scale = _SCALES[size]
    with scratch_folder() as folder:
        show(f"simulating {scale.devices:,} devices, {scale.readings:,} readings each")
        tables = _write_tables(scale, folder)
        expected = fingerprint(batch for path in tables for batch in read_table(path).to_batches())
        rows = []
        for turn in range(1, scale.runs + 1):
            for name in _SIDES:
                row = _measure(name, turn, tables, folder / "stored", expected)
                show(f"run {turn} of {scale.runs}, {name}: {row['seconds']:.2f} s")
                rows.append(row)
    return Outcome(_figures(rows), rows, _NOTES)


def _write_tables(scale: _Scale, folder: Path) -> list[Path]:
    """Write the readings as Arrow files of about `_TABLE_ROWS` rows, in order of delivery."""
    fleet = SimulatedFleet(scale.devices, scale.readings, channels=_CHANNELS)
    source = SimulatedSource(fleet, devices_per_fragment=scale.devices, order="time")
    paths: list[Path] = []
    for piece in (piece for fragment in source.fragments() for piece in fragment.read()):
        for start, stop in split_evenly(0, piece.table.num_rows, _TABLE_ROWS):
            paths.append(folder / f"{len(paths):04d}.arrow")
            with pa.ipc.new_file(paths[-1], piece.table.schema) as writer:
                writer.write_table(piece.table.slice(start, stop - start))
    return paths


def _measure(
    name: str, turn: int, tables: Sequence[Path], target: Path, expected: Fingerprint
) -> dict[str, Any]:
    target.mkdir()
    stored = target / "data"
    apart = run_apart(_SIDES[name].store, tables, stored)
    check_rows(name, fingerprint(_SIDES[name].read(stored)), expected)
    size = folder_bytes(stored) if stored.is_dir() else stored.stat().st_size
    shutil.rmtree(target)
    work = apart.value.work
    return {
        "side": name,
        "run": turn,
        "rows": expected.rows,
        "seconds": work.seconds,
        "points_per_s": len(_CHANNELS) * expected.rows / work.seconds,
        "cores_used": work.cpu_seconds / work.seconds,
        "cores_of_others": work.other_cpu_seconds / work.seconds,
        "bytes": size,
        "ratio": _RAW_ROW_BYTES * expected.rows / size,
        "peak_rss_mb": apart.peak_rss / 1e6,
        "warmup_s": apart.value.warmup_s,
    }


def check_rows(side: str, found: Fingerprint, expected: Fingerprint) -> None:
    """Check that a side holds the rows it was given.

    Raises
    ------
    WrongResultError
        If it holds others.
    """
    if found != expected:
        msg = (
            f"{side} holds {found.rows:,} rows with checksum {found.checksum:016x}, it was given "
            f"{expected.rows:,} with {expected.checksum:016x}; its times mean nothing"
        )
        raise WrongResultError(msg)


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    of = {name: [row for row in rows if row["side"] == name] for name in _SIDES}
    keys = ("points_per_s", "ratio", "peak_rss_mb", "seconds", "bytes", "warmup_s", "cores_used")
    ours, theirs, one_file = (medians(of[name], keys) for name in _SIDES)
    pairs = [
        own["seconds"] / other["seconds"] for own, other in zip(of[_OURS], of[_DUCKDB], strict=True)
    ]
    return {
        "points_per_s": Figure(ours["points_per_s"], "points imported per second"),
        "ratio": Figure(ours["ratio"], "raw bytes (8 a time, 8 a value) by all bytes stored"),
        "peak_rss_mb": Figure(ours["peak_rss_mb"], "MB, peak memory of the importing process"),
        "seconds_vs_duckdb_parquet": Figure(
            ours["seconds"] / theirs["seconds"], "our time by DuckDB's, ratio of medians"
        ),
        "seconds_vs_duckdb_parquet_min": Figure(min(pairs), "the same, best pair of runs"),
        "seconds_vs_duckdb_parquet_median": Figure(median(pairs), "the same, median of pairs"),
        "seconds_vs_duckdb_parquet_max": Figure(max(pairs), "the same, worst pair of runs"),
        "bytes_vs_duckdb_parquet": Figure(ours["bytes"] / theirs["bytes"], "our bytes by its"),
        "seconds_vs_duckdb_one_file": Figure(
            ours["seconds"] / one_file["seconds"], "our time by DuckDB's without partitions"
        ),
        "bytes_vs_duckdb_one_file": Figure(
            ours["bytes"] / one_file["bytes"], "our bytes by its without partitions"
        ),
        "seconds": Figure(ours["seconds"], "s, all appends with their durable commits"),
        "duckdb_seconds": Figure(theirs["seconds"], "s, DuckDB's COPY and a sync"),
        "cores_used": Figure(ours["cores_used"], "cores busy on average with our import"),
        "duckdb_cores_used": Figure(theirs["cores_used"], "cores busy with DuckDB's COPY"),
        "cores_of_others": Figure(
            median(row["cores_of_others"] for row in rows),
            "cores busy with other programs meanwhile; near 0, or the times are not to be used",
        ),
        "stored_bytes": Figure(ours["bytes"], "all files of the archive"),
        "duckdb_stored_bytes": Figure(theirs["bytes"], "all Parquet files"),
        "duckdb_peak_rss_mb": Figure(theirs["peak_rss_mb"], "MB, all rows in memory included"),
        "warmup_s": Figure(ours["warmup_s"], "s, before the clock: loading or compiling code"),
    }


_NOTES: Final = (
    "Medians of alternating runs, each in a fresh process with warm code; loading the Arrow",
    "tables is not timed. Every side was read back and holds every row, bit for bit.",
    "The archive appends tables as they come; DuckDB is given all rows at once and sorts them.",
    f"{_DUCKDB}: days and runs of 256 devices, the archive's own partitions; DuckDB writes",
    "these in parallel and keeps the order only in stretches.",
    f"{_ONE_FILE}: not partitioned, sorted throughout.",
)
