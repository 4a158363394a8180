"""What is asked about: trucks and hosts of the Time Series Benchmark Suite, for each system alike.

A data set is one measurement: its intakes as they arrive, the tags of its devices, and the same
rows sorted by device and time, as a frame and as a Parquet file a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.simulation.tsbs_cpu import TsbsCpu
from pipeline.simulation.tsbs_iot import TsbsIot, TsbsSource

__all__ = ["NUMERIC_TAGS", "START", "Dataset", "Measurement", "make_dataset"]

type Measurement = Literal["readings", "diagnostics", "cpu"]

START: Final = np.datetime64("2016-01-01", "us")
NUMERIC_TAGS: Final = ("load_capacity", "fuel_capacity", "nominal_fuel_consumption")
"""Tags that are numbers, for those systems whose tags may be."""

_ROW_GROUP: Final = 122_880  # what DuckDB reads at a time


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """One measurement.

    Parameters
    ----------
    name
        Of the measurement, and of its table in each system.
    source
        Where its intakes come from.
    days
        How long it lasts, from `START`.
    tags
        One row a device, by its number; a missing tag is None, numeric ones are ``float64``.
    rows
        ``device`` (a number), ``time`` and channels, by device and time, missing values NaN; rows
        without a device are left out.
    parquet
        Folder of ``day=YYYY-MM-DD/rows.parquet``, with the same rows as `rows`.
    """

    name: Measurement
    source: TsbsSource | TsbsCpu
    days: float
    tags: pd.DataFrame
    rows: pd.DataFrame
    parquet: Path

    @property
    def stop(self) -> np.datetime64:
        """The end of its time."""
        return START + np.timedelta64(round(self.days * 86_400), "s")

    @property
    def channels(self) -> list[str]:
        """Names of the channels."""
        return list(self.rows.columns[2:])

    def intakes(self) -> Iterator[pa.Table]:
        """Yield the tables as they arrive: of 100 devices and a day each."""
        yield from _intakes(self.source)


def make_dataset(name: Measurement, devices: int, days: float, folder: Path) -> Dataset:
    """Simulate a measurement and write its Parquet files into a new folder."""
    source = _source(name, devices, days)
    tags = _tag_table(source.tags())
    table = _sorted(source, len(tags))
    parquet = folder / f"{name}-parquet"
    _write_days(table, parquet)
    rows = table.to_pandas(split_blocks=True, self_destruct=True)  # never held twice
    return Dataset(name, source, days, tags, rows, parquet)


def _source(name: Measurement, devices: int, days: float) -> TsbsSource | TsbsCpu:
    if name == "cpu":
        return TsbsCpu(devices, days=days)
    return TsbsSource(TsbsIot(devices, days=days), name)


def _intakes(source: TsbsSource | TsbsCpu) -> Iterator[pa.Table]:
    for fragment in source.fragments():
        yield from (intake.table for intake in fragment.read())


def _tag_table(tags: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    names = dict.fromkeys(name for one in tags.values() for name in one)
    columns: dict[str, Any] = {name: [one.get(name) for one in tags.values()] for name in names}
    for name in set(NUMERIC_TAGS) & set(columns):
        columns[name] = np.array(columns[name], np.float64)
    return pd.DataFrame({"device": list(tags), **columns})


def _sorted(source: TsbsSource | TsbsCpu, devices: int) -> pa.Table:
    """Return all rows that have a device, by its number and time."""
    prefix = "host_" if isinstance(source, TsbsCpu) else "truck_"
    numbers = {f"{prefix}{number}": number for number in range(devices)}
    # Fragments are of devices one after the other, so that each is put in order on its own.
    parts = [
        _in_order([intake.table for intake in fragment.read()], numbers)
        for fragment in source.fragments()
    ]
    return pa.concat_tables(parts)


def _in_order(tables: Sequence[pa.Table], numbers: Mapping[str, int]) -> pa.Table:
    numbered = []
    for table in tables:
        ids = table["device"].combine_chunks()
        of_code = pa.array([numbers[text] for text in ids.dictionary.to_pylist()], pa.int32())
        table = table.set_column(0, "device", of_code.take(ids.indices))
        numbered.append(table.filter(table["device"].is_valid()))
    everything = pa.concat_tables(numbered).combine_chunks()
    time = pa.compute.cast(everything["time"], pa.timestamp("us"))
    order = np.lexsort([np.asarray(time).view(np.int64), np.asarray(everything["device"])])
    return everything.set_column(1, "time", time).take(pa.array(order))


def _write_days(table: pa.Table, folder: Path) -> None:
    """Write a file a day: zstd, statistics and row groups as DuckDB likes them best."""
    days = np.asarray(table["time"]).astype("M8[D]")
    for day in np.unique(days):
        part = folder / f"day={day}"
        part.mkdir(parents=True)
        pq.write_table(
            table.filter(pa.array(days == day)),
            part / "rows.parquet",
            compression="zstd",
            row_group_size=_ROW_GROUP,
        )
