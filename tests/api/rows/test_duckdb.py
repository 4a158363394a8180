"""DuckDB asks for columns and filters of rows, and gets what it would get of a table in memory."""

from __future__ import annotations

import builtins
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import pipeline
from pipeline.api.rows.dataset import FleetRows
from pipeline.errors import MissingDependencyError

WHERE: dict[str, int] = {
    "device = 'd3'": 4,
    "device IN ('d0', 'd1')": 4,
    "device = 'd0' OR device = 'd1'": 4,
    "device = 'nobody'": 0,
    "device = 'd3' AND time >= '2024-01-02T12:00Z' AND time < '2024-01-03T00:00Z'": 1,
    "time BETWEEN TIMESTAMPTZ '2024-01-02 12:00+00' AND TIMESTAMPTZ '2024-01-02 13:00+00'": 3,
    "date_trunc('day', time) = DATE '2024-01-02'": 3,
    "f64 <= -4.9": 3,
    "f64 > 13": 12,  # NaN is larger than everything in DuckDB, so that it does not ask Arrow
    "f64 = 'nan'::DOUBLE": 12,
    "f64 = 0.0": 12,
    "f64 IS NULL": 12,
    "f64 IS NOT NULL AND device = 'd5'": 4,
    "f32 = 1.5": 12,
    "f32 IN (13.5::FLOAT, 13.25::FLOAT)": 3,
    "i64 = 9007199254740993": 3,
    "i64 > 9007199254742000": 4,
    "i16 BETWEEN -3 AND 3 OR i16 = 100": 12,
    "i16 IN (1, 2, NULL)": 12,
    "u8 >= 250": 12,
    '"on"': 12,
    'NOT "on"': 12,
    "mode = 'fault' AND device >= 'd4'": 12,
    "mode <> 'fault'": 12,
    "mode LIKE 'f%' AND device IN ('d4')": 4,
    "f64 < i16": 12,
}


class Watched(FleetRows):
    """Notes how many blocks each scan touches."""

    touched: list[int]
    read: list[tuple[str, ...]]

    def scanner(self, columns: Any = None, filter: Any = None, **options: Any) -> Any:
        explained = self.explain(columns, filter)
        self.touched.append(explained.blocks.touched)
        self.read.append(explained.columns)
        return super().scanner(columns, filter, **options)


def watched(fleet: pipeline.Fleet) -> Watched:
    rows = Watched(fleet.read()._source)
    rows.touched, rows.read = [], []
    return rows


@pytest.mark.parametrize("condition", WHERE)
def test_the_same_answer_from_fewer_blocks(
    condition: str, plant: pipeline.Fleet, table: pa.Table
) -> None:
    rows = watched(plant)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("kept", rows)
        connection.register("held", table)
        queries = [
            f"SELECT * FROM {{}} WHERE {condition} ORDER BY device, time",
            f"SELECT count(*), sum(i16), max(u8) FROM {{}} WHERE {condition}",
            f"SELECT device, min(time) FROM {{}} WHERE {condition} GROUP BY ALL ORDER BY ALL",
        ]
        for query in queries:
            expected = connection.execute(query.format("held")).fetchall()
            found = connection.execute(query.format("kept")).fetchall()
            assert repr(found) == repr(expected)
    assert len(rows.touched) >= 3
    assert max(rows.touched) <= WHERE[condition]


def test_columns_that_are_not_asked_for_are_not_read(plant: pipeline.Fleet) -> None:
    rows = watched(plant)
    with duckdb.connect() as connection:
        found = connection.execute("SELECT avg(f32) FROM rows WHERE device = 'd1'").fetchall()
        assert len(found) == 1
        assert rows.read[0] == ("device_index", "time", "f32")
        connection.from_arrow(rows).aggregate("count(*)").fetchall()
        assert rows.read[-1] == ("device_index", "time")


def test_a_view_of_a_connection(plant: pipeline.Fleet, table: pa.Table) -> None:
    with plant.read(channels="i16").to_duckdb("readings") as connection:
        query = "SELECT count(i16) FROM readings"
        expected = len(table) - table["i16"].null_count
        assert connection.execute(query).fetchall() == [(expected,)]
        few = plant.read().filter(pc.field("device") == "d2")
        assert few.to_duckdb("few", connection) is connection
        query = "SELECT DISTINCT few.device FROM few JOIN readings USING (device, time)"
        assert connection.execute(query).fetchall() == [("d2",)]


def test_without_duckdb(plant: pipeline.Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return load(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match="pip install duckdb"):
        plant.read().to_duckdb("rows")
