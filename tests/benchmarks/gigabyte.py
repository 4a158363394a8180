"""A gigabyte: how long the archive takes to store, and to read back, 1 GB of time and value.

A thousand thermometers send a reading every ten seconds, 62.5 million rows of an ``int64`` time
and a ``float64`` temperature of 0.01 degC; the device is a dictionary column besides and is not
counted. The rows come once as a bulk load (tables sorted by device and time, each with the whole
time of some devices) and once as a stream (in time order, all devices interleaved). Every append
is a durable commit. After each run it is checked that every row is there, bit for bit.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

import pipeline
from pipeline.archive.durability import sync_filesystem
from pipeline.partitioning.assignment import split_evenly
from pipeline.simulation.fleets import SimulatedFleet, SimulatedSource
from tests.benchmarks.fingerprints import Fingerprint, fingerprint
from tests.benchmarks.import_bench import check_rows
from tests.benchmarks.import_sides import Stored, read_table
from tests.benchmarks.measuring import (
    Stopwatch,
    folder_bytes,
    medians,
    run_apart,
    scratch_folder,
)
from tests.benchmarks.outcome import Figure, Size, WrongResultError

__all__ = ["measure"]

_ROWS: Final = 62_500_000
"""Rows of 8 bytes of time and 8 of value in a gigabyte."""

_FLEET: Final = "thermometers"
_CHANNEL: Final = "temperature"
_PRESET: Final = "temperature=temperature_fine"  # of 0.01 degC; 0.1 degC takes a third of the bytes
_BULK_DEVICES: Final = 128
_STREAM_ROWS: Final = 1 << 20
_WARM_ROWS: Final = 200_000
_BULK: Final = "bulk"
_STREAM: Final = "stream"


@dataclass(frozen=True, slots=True)
class _Scale:
    devices: int
    readings: int
    runs: int

    @property
    def fleet(self) -> SimulatedFleet:
        return SimulatedFleet(
            self.devices, self.readings, interval="10 s", channels=(_PRESET,), seed=1
        )

    @property
    def factor(self) -> float:
        """What a time or size is multiplied by to be that of a gigabyte."""
        return _ROWS / (self.devices * self.readings)


_SCALES: Final = {
    Size.FULL: _Scale(1000, 62_500, 3),
    Size.QUICK: _Scale(1000, 7_813, 3),
    Size.TINY: _Scale(300, 100, 1),
}


def measure(size: Size, show: Callable[[str], None]) -> Mapping[str, Figure]:
    """Measure storing and reading a gigabyte; `show` is told about progress.

    Returns
    -------
    mapping
        ``gigabyte_seconds``, ``gigabyte_decode_seconds``, ``gigabyte_bytes`` and
        ``gigabyte_peak_rss_mb`` of the bulk load, and ``gigabyte_stream_seconds`` and others of
        the stream.

    Raises
    ------
    WrongResultError
        If rows do not come back as they were stored.
    """
    scale = _SCALES[size]
    found: dict[str, dict[str, float]] = {}
    for order, write in ((_BULK, _write_bulk), (_STREAM, _write_stream)):
        with scratch_folder() as folder:
            show(f"gigabyte: simulating {scale.devices * scale.readings:,} rows for the {order}")
            tables = write(scale.fleet, folder)
            expected = fingerprint(
                batch for path in tables for batch in read_table(path).to_batches()
            )
            runs = [_run(tables, folder / "stored", expected) for _ in range(scale.runs)]
        for turn, run in enumerate(runs, 1):
            show(
                f"gigabyte, {order}, run {turn} of {scale.runs}: {run['seconds']:.2f} s, "
                f"decoded in {run['decode_seconds']:.2f} s"
            )
        found[order] = medians(runs, list(runs[0]))
    return _figures(found, scale)


def _write_bulk(fleet: SimulatedFleet, folder: Path) -> list[Path]:
    """Write tables of `_BULK_DEVICES` devices, sorted by device and time."""
    paths: list[Path] = []
    for fragment in SimulatedSource(fleet, devices_per_fragment=_BULK_DEVICES).fragments():
        slabs = [piece.table for piece in fragment.read()]
        devices = len(slabs[0]["device"].chunk(0).dictionary)
        order = np.argsort(
            np.concatenate([_numbers(slab["device"]) for slab in slabs]), kind="stable"
        )
        if len(order) % devices:
            msg = f"{len(order)} rows of {devices} devices; simulate whole devices"
            raise WrongResultError(msg)
        table = pa.concat_tables(slabs).combine_chunks().take(pa.array(order))
        paths.append(_write(table.combine_chunks(), folder / f"{len(paths):04d}.arrow"))
    return paths


def _numbers(devices: pa.ChunkedArray) -> Any:
    return devices.combine_chunks().indices.to_numpy()


def _write_stream(fleet: SimulatedFleet, folder: Path) -> list[Path]:
    """Write tables of about `_STREAM_ROWS` rows in time order, all devices interleaved."""
    source = SimulatedSource(fleet, devices_per_fragment=fleet.devices, order="time")
    paths: list[Path] = []
    for table in (piece.table for fragment in source.fragments() for piece in fragment.read()):
        for start, stop in split_evenly(0, table.num_rows, _STREAM_ROWS):
            paths.append(
                _write(table.slice(start, stop - start), folder / f"{len(paths):04d}.arrow")
            )
    return paths


def _write(table: pa.Table, path: Path) -> Path:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    return path


def _run(tables: Sequence[Path], folder: Path, expected: Fingerprint) -> dict[str, float]:
    stored = run_apart(append_tables, tables, folder)
    decoded = run_apart(decode_archive, folder, tables[0])
    check_rows("the archive", decoded.value[1], expected)
    size = folder_bytes(folder)
    shutil.rmtree(folder)
    return {
        "seconds": stored.value.work.seconds,
        "cores_used": stored.value.work.cpu_seconds / stored.value.work.seconds,
        "decode_seconds": decoded.value[0].seconds,
        "bytes": size,
        "peak_rss_mb": stored.peak_rss / 1e6,
        "decode_peak_rss_mb": decoded.peak_rss / 1e6,
    }


def append_tables(tables: Sequence[Path], folder: Path) -> Stored:
    """Append tables to a new archive; loading and warming up are not timed."""
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


def decode_archive(folder: Path, table: Path) -> tuple[Stopwatch, Fingerprint]:
    """Read all rows of an archive batch by batch, and once more, not timed, to check them."""
    warm = _new_fleet("memory://")
    warm.append(read_table(table).slice(0, _WARM_ROWS))
    rows = sum(batch.num_rows for batch in warm.read())
    fleet = pipeline.Archive.open(folder).fleet(_FLEET)
    with Stopwatch() as work:
        rows = sum(batch.num_rows for batch in fleet.read())
    found = fingerprint(fleet.read())
    if rows != found.rows:
        msg = f"{rows:,} rows were read first and {found.rows:,} then"
        raise WrongResultError(msg)
    return work, found


def _new_fleet(url: str | Path) -> pipeline.Fleet:
    schema = pipeline.Schema([pipeline.Channel(_CHANNEL, "float64", units="degC")])
    partitioning = pipeline.Partitioning(window="1 day", devices_per_block=256)
    return pipeline.Archive.create(url).create_fleet(_FLEET, schema, partitioning)


def _figures(found: Mapping[str, Mapping[str, float]], scale: _Scale) -> dict[str, Figure]:
    bulk, stream = found[_BULK], found[_STREAM]
    factor = scale.factor
    note = "" if factor == 1 else f" (measured on {1 / factor:.3f} GB and multiplied)"
    peak = "" if factor == 1 else f" (of {1 / factor:.3f} GB)"

    def of_all(value: float, meaning: str) -> Figure:
        return Figure(value * factor, f"{meaning}{note}")

    return {
        "gigabyte_seconds": of_all(
            bulk["seconds"],
            "s, appending 1 GB of time and value, sorted by device and time, durably committed",
        ),
        "gigabyte_decode_seconds": of_all(
            bulk["decode_seconds"], "s, reading it all back as Arrow batches"
        ),
        "gigabyte_bytes": of_all(bulk["bytes"], "bytes of all files of that archive"),
        "gigabyte_peak_rss_mb": Figure(
            bulk["peak_rss_mb"],
            f"MB, peak memory of the appending process, one table in memory{peak}",
        ),
        "gigabyte_cores_used": Figure(bulk["cores_used"], "cores busy on average meanwhile"),
        "gigabyte_decode_peak_rss_mb": Figure(
            bulk["decode_peak_rss_mb"], f"MB, peak memory of the reading process{peak}"
        ),
        "gigabyte_stream_seconds": of_all(
            stream["seconds"],
            "s, appending the same rows in time order, devices interleaved, a million a commit",
        ),
        "gigabyte_stream_decode_seconds": of_all(
            stream["decode_seconds"], "s, reading that back, sorted by device and time"
        ),
        "gigabyte_stream_bytes": of_all(stream["bytes"], "bytes of all files of that archive"),
        "gigabyte_stream_peak_rss_mb": Figure(
            stream["peak_rss_mb"], f"MB, peak memory of the process that appended it{peak}"
        ),
    }
