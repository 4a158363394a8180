"""Looking at a source's first rows, to choose a fleet's window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline.connectors.parquet import ParquetSource
from pipeline.model.arrow_arrays import flat
from pipeline.model.ports import Fragment, Source
from pipeline.model.time_columns import parse_times
from pipeline.partitioning.suggest import suggest_window
from pipeline.partitioning.windows import WindowLength

__all__ = ["SampleSizes", "choose_window", "measure", "sample_rows"]

_ENOUGH: Final = 2_000_000
_TRIMMED: Final = 0.05  # at either end: clocks that are wrong must not stretch the span


@dataclass(frozen=True, slots=True)
class SampleSizes:
    """How many rows a sample has, of how many devices, over how many microseconds."""

    rows: int = 0
    span_us: int = 0
    devices: int = 0


def choose_window(client: Any, source: Source, devices_per_block: int) -> WindowLength:
    """Return the window that suits a source's first rows.

    Parameters
    ----------
    client
        Of the cluster, where the rows are read.
    source
        The source. Of Parquet files only the columns of devices and times are read.
    devices_per_block
        Of the fleet.
    """
    slim = replace(source, channels={}) if isinstance(source, ParquetSource) else source
    sizes = client.submit(sample_rows, tuple(slim.fragments()), pure=False).result()
    return suggest_window(sizes.rows, sizes.span_us, sizes.devices, devices_per_block)


def sample_rows(fragments: Sequence[Fragment], enough: int = _ENOUGH) -> SampleSizes:
    """Measure the first rows of some fragments, about `enough` of them."""
    tables: list[pa.Table] = []
    rows = 0
    for fragment in fragments:
        for piece in fragment.read():
            tables.append(piece.table.select(["device", "time"]))
            rows += piece.table.num_rows
            if rows >= enough:
                return measure(pa.concat_tables(tables))
    return measure(pa.concat_tables(tables)) if tables else SampleSizes()


def measure(table: pa.Table) -> SampleSizes:
    """Measure rows; the span is that of the middle nine tenths of the times, stretched to all.

    Parameters
    ----------
    table
        Columns ``device`` and ``time``.
    """
    parsed = parse_times(flat(table["time"]))
    time = parsed.time[parsed.valid]
    if len(time) == 0:
        return SampleSizes()
    low, high = np.quantile(time, [_TRIMMED, 1 - _TRIMMED])
    span = (high - low) / (1 - 2 * _TRIMMED)
    devices = len(flat(table["device"]).unique())
    return SampleSizes(len(time), round(span), devices)
