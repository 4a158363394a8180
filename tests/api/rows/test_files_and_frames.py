"""Rows as Parquet files and pandas frames."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.connectors.parquet import ParquetSource
from pipeline.errors import InvalidInputError
from pipeline.model import parquet_files
from tests.api.rows.plant import DEVICES, ROWS, SCHEMA, day
from tests.api.rows.test_dataset import equal
from tests.support import as_any, memory_archive, minutes

NANS = np.array([0x7FF8000000000000, 0x7FF8000000000001, 0xFFF8DEADBEEF0000, 1 << 63], "u8")


def again(data: Any, schema: pipeline.Schema = SCHEMA) -> pa.Table:
    fleet = memory_archive().create_fleet("again", schema)
    fleet.append(data)
    return fleet.read().read_all()


def test_a_file_holds_every_row_and_bit(
    plant: pipeline.Fleet, table: pa.Table, tmp_path: Path
) -> None:
    path = tmp_path / "plant.parquet"
    plant.read().to_parquet(path, row_group_size=100)
    found = pq.read_table(path)
    assert equal(found, table)
    assert [at.name for at in tmp_path.iterdir()] == ["plant.parquet"]
    assert equal(again(found), table)
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]
    assert sizes == [100] * (ROWS // 100) + [ROWS % 100]
    assert found.schema.field("f64").metadata == {b"units": b"degC"}


def test_an_import_takes_a_file_back(
    plant: pipeline.Fleet, table: pa.Table, tmp_path: Path
) -> None:
    plant.read().to_parquet(str(tmp_path / "plant.parquet"))
    fleet = memory_archive().create_fleet("again", SCHEMA)
    for fragment in ParquetSource(tmp_path / "plant.parquet").fragments():
        for intake in fragment.read():
            fleet.append(intake.table)
    assert equal(fleet.read().read_all(), table)


def test_bits_of_nan_and_missing_values_stay_apart(tmp_path: Path) -> None:
    schema = pipeline.Schema(
        [pipeline.Channel("f64", "float64"), pipeline.Channel("f32", "float32")]
    )
    f64 = np.tile(NANS.view("f8"), 3)
    f32 = np.tile(np.array([0x7FC00000, 0x7FC00001, 0xFFC12345, 1 << 31], "u4").view("f4"), 3)
    gaps = np.arange(12) == 4
    data = {
        "device": "d",
        "time": minutes(*range(12)),
        "f64": pa.array(f64, mask=gaps),
        "f32": pa.array(f32, mask=gaps),
    }
    fleet = memory_archive().create_fleet("nan", schema)
    fleet.append(data)
    rows, path = fleet.read(), tmp_path / "nan.parquet"
    rows.to_parquet(path)
    found = again(pq.read_table(path), schema)
    assert equal(found, rows.read_all())
    assert found["f64"].null_count == found["f32"].null_count == 1
    stored = found["f64"].combine_chunks().drop_null().to_numpy()
    assert stored.view("u8").tolist() == f64[~gaps].view("u8").tolist()


def test_groups_hold_texts_that_occur_in_them(plant: pipeline.Fleet, tmp_path: Path) -> None:
    path = tmp_path / "plant.parquet"
    plant.read().to_parquet(path, row_group_size=48, compression="snappy")
    with pq.ParquetFile(path) as file:
        first = file.read_row_group(0)["device"]
        bounds = file.metadata.row_group(1).column(0).statistics
    assert first.combine_chunks().dictionary.to_pylist() == ["d0"]
    assert (bounds.min, bounds.max) == ("d1", "d1")


def test_memory_is_that_of_a_group(plant: pipeline.Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    group = parquet_files._group

    def watch(batches: list[pa.RecordBatch]) -> pa.Table:
        alive.append(sum(batch.num_rows for batch in batches))
        return group(batches)

    monkeypatch.setattr(parquet_files, "_group", watch)
    target = io.BytesIO()
    plant.read(["d0", "d1"]).to_parquet(target, row_group_size=10)
    assert max(alive) == 10
    assert pq.read_metadata(target).num_rows == sum(alive) == ROWS // DEVICES * 2


def test_no_rows_make_a_file_too(plant: pipeline.Fleet, tmp_path: Path) -> None:
    plant.read(time=(day(9), None)).to_parquet(tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_a_file_appears_once_it_is_whole(
    plant: pipeline.Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("the disk is full")

    path = tmp_path / "plant.parquet"
    path.write_text("kept")
    monkeypatch.setattr(parquet_files, "_group", fail)
    with pytest.raises(OSError, match="the disk is full"):
        plant.read().to_parquet(path)
    assert path.read_text() == "kept"
    assert [at.name for at in tmp_path.iterdir()] == ["plant.parquet"]
    with pytest.raises(InvalidInputError, match="row_group_size=0"):
        plant.read().to_parquet(path, row_group_size=0)


def test_types_of_pandas(plant: pipeline.Fleet, table: pa.Table) -> None:
    frame = plant.read().to_pandas()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "device": "category",
        "time": "datetime64[us, UTC]",
        "f64": "float64",
        "f32": "float32",
        "i64": "Int64",
        "i16": "Int16",
        "u8": "UInt8",
        "on": "boolean",
        "mode": "category",
    }
    assert frame["i64"].isna().sum() == table["i64"].null_count > 0
    assert frame["i64"].dropna().tolist() == [n for n in table["i64"].to_pylist() if n is not None]
    whole = plant.read("d0", (day(0), day(1)), "i64", where={"i64": "> 0"}).to_pandas()
    assert str(whole["i64"].dtype) == "int64"
    assert frame.groupby("device", observed=True)["f64"].count().index.tolist() == [
        f"d{at}" for at in range(DEVICES)
    ]


def test_types_of_pandas_that_tell_missing_from_nan(plant: pipeline.Fleet, table: pa.Table) -> None:
    nullable = plant.read().to_pandas("numpy_nullable")
    assert str(nullable["f64"].dtype) == "Float64"
    assert str(nullable["i16"].dtype) == "Int16"
    arrow = plant.read().to_pandas("pyarrow")
    assert arrow["f64"].dtype == pd.ArrowDtype(pa.float64())
    assert arrow["f64"].isna().sum() == table["f64"].null_count
    assert str(arrow["device"].dtype).startswith("dictionary")
    assert equal(again(arrow), table)
    with pytest.raises(InvalidInputError, match="'numpy', 'numpy_nullable', 'pyarrow'"):
        plant.read().to_pandas(as_any("torch"))


def test_pandas_takes_the_stream(plant: pipeline.Fleet) -> None:
    assert len(as_any(pd.DataFrame).from_arrow(plant.read(channels="u8"))) == ROWS
