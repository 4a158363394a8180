"""Bytes of an archive of all real data, against sorted Parquet files with zstd."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.codec_columns_real import device_time_order, real_data_folder
from tests.benchmarks.measuring import folder_bytes, scratch_folder
from tests.benchmarks.outcome import Figure, Size, WrongResultError

__all__ = ["archive_bytes", "measure", "parquet_bytes"]

_ROOT: Final = Path(__file__).parents[2]
_JOB: Final = "configs/real-data.yaml"
_LEVELS: Final = (None, 9)
"""Levels of zstd that are tried; None is the default of pyarrow."""


def measure(size: Size, show: Callable[[str], None]) -> Mapping[str, Figure]:
    """Measure the archive; nothing without real data, or at tiny size."""
    folder = real_data_folder()
    if folder is None or size is Size.TINY:
        return {}
    ours, theirs = archive_bytes(folder), parquet_bytes(folder)
    show(f"archive of the real data: {ours:,} bytes, Parquet {theirs:,}")
    return {
        "archive_vs_parquet_bytes": Figure(
            ours / theirs,
            "everything in the folder of an archive of all real data by Parquet, a sorted zstd file "
            "per data set, each at the default level or 9, whichever is smaller",
        ),
        "archive_bytes": Figure(ours, "bytes of that archive"),
    }


def archive_bytes(folder: Path) -> int:
    """Run the job that imports a folder of real data; return the bytes of the archive's folder.

    Raises
    ------
    WrongResultError
        If the job fails.
    """
    with scratch_folder() as scratch:
        archive = scratch / "archive"
        command = [
            sys.executable, "-m", "pipeline", "--quiet", _JOB,
            f"archive={archive}", f"report={scratch / 'report.json'}",
        ]  # fmt: skip
        environment = {**os.environ, "IOT_ARCHIVE_REAL_DATA": str(folder.resolve())}
        done = subprocess.run(
            command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            msg = f"{_JOB} ended with exit code {done.returncode}: {done.stderr.strip()}"
            raise WrongResultError(msg)
        return folder_bytes(archive)


def parquet_bytes(folder: Path) -> int:
    """Return the bytes of all data sets of a folder as Parquet, sorted by device and time."""
    return sum(_sorted_size(path) for path in sorted((folder / "parquet").rglob("*.parquet")))


def _sorted_size(path: Path) -> int:
    table = pq.read_table(path)
    table = table.take(pa.array(device_time_order(table)))
    return min(_written_size(table, level) for level in _LEVELS)


def _written_size(table: pa.Table, level: int | None) -> int:
    with pa.BufferOutputStream() as stream:
        pq.write_table(table, stream, compression="zstd", compression_level=level)
        return int(stream.tell())
