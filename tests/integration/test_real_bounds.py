"""Bounds of approximate answers hold on public sensor data, as it was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import pipeline
from tests.support import memory_archive


@pytest.mark.parametrize(
    ("name", "channel", "dtype", "widest"),
    [
        ("room_climate_nodes", 0, "float64", 0.15),
        ("tracebase_smart_plugs", 0, "float64", np.inf),
        pytest.param("noaa_isd_alaska", 0, "float64", 0.5, marks=pytest.mark.campaign),
    ],
)
def test_exact_answers_lie_between_the_bounds(
    real_data: Path, name: str, channel: int, dtype: str, widest: float
) -> None:
    table = pq.read_table(real_data / "parquet" / f"{name}.parquet")
    column = table.column_names[2 + channel]
    table = table.select(["device", "time", column])
    schema = pipeline.Schema([pipeline.Channel(column, dtype)])
    fleet = memory_archive().create_fleet(name, schema, duplicates="keep_all")
    fleet.append(table.set_column(2, column, table[column].cast("float64")))
    statistics = {column: ["median", "p95", "p99", "distinct", "time_weighted_mean"]}
    widths = []
    for options in ({}, {"every": "1 month"}, {"every": "12h", "timezone": "Europe/Paris"}):
        question = {"statistics": statistics, **options}
        if options:
            question["statistics"] = {column: ["median", "p95", "mean", "count", "max"]}
        exact = fleet.aggregate(**question)  # type: ignore[arg-type]
        found = fleet.aggregate(**question, approximate=True)  # type: ignore[arg-type]
        for variable, values in exact.data_vars.items():
            there = ~np.isnan(values.values)
            low, high = (found[f"{variable}_{end}"].values[there] for end in ("low", "high"))
            room = 1e-9 * np.abs(values.values[there])
            assert (low - room <= values.values[there]).all()
            assert (values.values[there] <= high + room).all()
            if not options and str(variable).endswith("p95"):
                wanted = np.abs(values.values[there])
                widths += ((high - low)[wanted > 0] / wanted[wanted > 0]).tolist()
    assert np.median(widths) <= widest
