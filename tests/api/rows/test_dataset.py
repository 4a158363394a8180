"""Rows as an Arrow stream and dataset."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

import pipeline
from pipeline.errors import InvalidInputError
from tests.api.rows.plant import ROWS, day

DAY = pa.scalar(int(day(1).astype("int64")), pa.timestamp("us", "UTC"))
LATER = pa.scalar(int(day(3).astype("int64")), pa.timestamp("us", "UTC"))
NOON = pa.scalar(int(day(1.5).astype("int64")), pa.timestamp("us", "UTC"))
NOON_NS, NOON_S = (NOON.cast(pa.timestamp(unit, "UTC")) for unit in ("ns", "s"))
NAN = float("nan")
F, T = pc.field("f64"), pc.field("time")
FILTERS: dict[str, tuple[Any, int]] = {
    # An expression, and the most blocks of 12 that may be read for it.
    "device": (pc.field("device") == "d3", 4),
    "device mirrored": (pc.scalar("d3") == pc.field("device"), 4),
    "device dictionary": (pc.field("device") == pa.scalar("d3", pa.dictionary(pa.int8(), pa.string())), 4),
    "devices": (pc.field("device").isin(["d0", "d1", "nobody"]), 4),
    "either device": ((pc.field("device") == "d0") | (pc.field("device") == "d5"), 8),
    "nobody": (pc.field("device") == "nobody", 0),
    "nobody or one": ((pc.field("device") == "nobody") | (pc.field("device") == "d1"), 4),
    "both devices": ((pc.field("device") == "d0") & (pc.field("device") == "d5"), 0),
    "other device": (pc.field("device") != "d0", 12),
    "device after": (pc.field("device") > "d4", 12),
    "time": (T >= NOON, 9),
    "time exact": (T == NOON, 3),
    "times": ((T > NOON) & (T < NOON_NS), 0),
    "no time": ((T < NOON) & (T > LATER), 0),
    "some times": (T.isin(pa.array([NOON, None])), 3),
    "time in seconds": (T < NOON_S, 6),
    "never": (T.is_null(), 0),
    "always": (T.is_valid() & pc.field("i64").is_valid(), 12),
    "float": (F > 13.0, 3),
    "float between": ((F >= 13.0) & (F <= 13.5), 3),
    "float or null": ((F > 13.5) | F.is_null(), 12),
    "zero": (F == 0.0, 12),
    "unequal": (F != 0.0, 12),
    "nan": (pc.is_nan(F), 12),
    "nan in": (F.isin([float("nan"), 1.0]), 12),
    "nan compared": (F == NAN, 12),
    "whole for float": (F > 13, 3),
    "large whole for float": (pc.field("f64") < 2**53, 12),
    "single": (pc.field("f32") == 13.1, 12),
    "single exact": (pc.field("f32") == pa.scalar(13.1, pa.float32()), 3),
    "large": (pc.field("i64") == 2**53 + 1, 3),
    "small as float": (pc.field("i16") < -299.5, 12),
    "small": (pc.field("i16") < -299, 12),
    "out of range": (pc.field("u8") > 255, 0),
    "bool": (pc.field("on"), 12),
    "not bool": (~pc.field("on"), 12),
    "bool equal": (pc.field("on") == True, 12),  # noqa: E712
    "category": (pc.field("mode") == "fault", 12),
    "categories": (pc.field("mode").isin(["fault", "unheard of"]), 12),
    "no category": (pc.field("mode") == "unheard of", 0),
    "not in": (~pc.field("mode").isin(["fault"]), 12),
    "null": (pc.field("mode").is_null(), 12),
    "if else": (pc.if_else(F.is_valid(), F > 13.0, pc.scalar(False)), 3),
    "if else other": (pc.if_else(F.is_valid(), F > 13.0, pc.scalar(True)), 12),
    "computed": (pc.add(F, 1.0) > 14.0, 12),
    "computed and device": ((pc.add(F, 1.0) > 14.0) & (pc.field("device") == "d3"), 4),
    "computed or device": ((pc.add(F, 1.0) > 14.0) | (pc.field("device") == "d3"), 12),
    "cast": (pc.field("i16").cast(pa.int32()) > 290, 12),
    "true": (pc.scalar(True) & (pc.field("device") == "d3"), 4),
    "mixed": (((pc.field("device") == "d3") & (T < NOON)) | (pc.field("device") == "d2"), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_finds_its_rows_and_reads_few(
    name: str, plant: pipeline.Fleet, table: pa.Table
) -> None:
    expression, most = FILTERS[name]
    rows = plant.read()
    expected = table.filter(expression)
    found = rows.to_table(filter=expression)
    assert equal(found, expected)
    narrow = rows.to_table(["i16"], expression)
    assert equal(narrow, expected.select(["i16"]))
    assert rows.explain(filter=expression).blocks.touched <= most
    assert rows.count_rows(expression) == expected.num_rows


def equal(one: pa.Table, other: pa.Table) -> bool:
    """Compare all bits of floats."""

    def bits(table: pa.Table) -> list[list[Any]]:
        columns = []
        for column in table.columns:
            if pa.types.is_floating(column.type):
                width = pa.int64() if column.type == pa.float64() else pa.int32()
                column = pa.chunked_array([part.view(width) for part in column.chunks], width)
            columns.append(column.to_pylist())
        return columns

    return one.schema.equals(other.schema) and bits(one) == bits(other)


def test_what_was_asked_for_holds_beside_the_filter(plant: pipeline.Fleet, table: pa.Table) -> None:
    rows = plant.read(["d0", "d3"], (day(1), day(3)), ["i16", "f64"], where={"f64": "> 3"})
    assert rows.schema.names == ["device", "time", "i16", "f64"]
    expression = (pc.field("device") != "d0") & (F < 8.0) & (T < NOON)
    expected = table.filter(expression & (F > 3.0) & (pc.field("device") == "d3") & (T >= DAY))
    assert equal(rows.to_table(filter=expression), expected.select(rows.schema.names))
    assert equal(
        rows.filter(F < 8.0).filter(T < NOON).to_table(["f64"], pc.field("device") == "d3"),
        expected.select(["f64"]),
    )
    assert rows.filter(pc.field("device") == "d5").read_all().num_rows == 0


def test_columns_reach_the_plan(plant: pipeline.Fleet) -> None:
    rows = plant.read()
    assert rows.explain().columns == ("device_index", "time", *plant.schema.names)
    assert rows.explain(["i16"]).columns == ("device_index", "time", "i16")
    assert rows.explain(["i16"], F > 1.0).columns == ("device_index", "time", "f64", "i16")
    assert rows.explain([]).columns == ("device_index", "time")
    assert rows.explain(["i16"]).bytes.touched < rows.explain().bytes.touched / 2
    assert rows.to_table([]).num_rows == ROWS
    assert rows.to_table(["f64", "device"]).column_names == ["f64", "device"]
    with pytest.raises(InvalidInputError, match="no column 'g'"):
        rows.to_table(["g"])


def test_columns_may_be_computed(plant: pipeline.Fleet, table: pa.Table) -> None:
    rows = plant.read()
    columns = {"twice": pc.multiply(F, 2.0), "device": pc.field("device")}
    found = rows.to_table(columns, pc.field("i16") > 200)
    rest = table.filter(pc.field("i16") > 200)
    assert found["twice"].to_numpy().tolist() == pytest.approx(
        (rest["f64"].to_numpy() * 2).tolist(), nan_ok=True
    )
    nested = {"first": pc.field("f64", "x")}
    with pytest.raises(pa.ArrowInvalid):
        rows.to_table(nested)


def test_rows_are_a_stream_again_and_again(plant: pipeline.Fleet, table: pa.Table) -> None:
    rows = plant.read()
    for _ in range(2):
        assert equal(pa.table(rows), table)
        assert equal(pa.RecordBatchReader.from_stream(rows).read_all(), table)
        assert equal(pa.Table.from_batches(rows), table)
    assert equal(pa.table(rows.filter(F > 1.0)), table.filter(F > 1.0))
    assert pa.schema(rows).equals(table.schema)
    assert next(iter(rows)).num_rows < ROWS


def test_a_stream_of_a_requested_schema(plant: pipeline.Fleet, table: pa.Table) -> None:
    plain = pa.schema(
        [
            field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
            for field in table.schema
        ]
    )
    found = pa.RecordBatchReader.from_stream(plant.read(), schema=plain).read_all()
    assert found.schema.field("device").type == pa.string()
    assert found.to_pydict()["device"] == table["device"].to_pylist()
    with pytest.raises((ValueError, TypeError)):
        pa.RecordBatchReader.from_stream(plant.read(), schema=pa.schema([("x", pa.int8())]))


def test_what_datasets_do(plant: pipeline.Fleet, table: pa.Table) -> None:
    rows = plant.read()
    assert isinstance(rows, ds.Dataset)
    assert equal(rows.head(5, ["i16"]), table.select(["i16"]).slice(0, 5))
    assert equal(rows.take([3, 500]), table.take([3, 500]))
    assert rows.count_rows() == ROWS
    assert sum(batch.num_rows for batch in rows.to_batches(["on"], batch_size=100)) == ROWS
    down = rows.sort_by([("i64", "descending")]).to_table()
    assert down["i64"][0].as_py() == max(filter(None, table["i64"].to_pylist()))
    few = plant.read("d1", (day(0), day(1)), ["i16"])
    names = ds.dataset(pa.table({"device": ["d1"], "hall": ["north"]}))
    plain = few.to_table().set_column(0, "device", few.to_table()["device"].cast("string"))
    assert ds.dataset(plain).join(names, "device").to_table()["hall"].to_pylist() == ["north"] * 48
    joined = few.join(few, "time", right_suffix="_too").to_table()
    assert joined.num_rows == 48
    assert few.replace_schema(few.schema) is few
    assert repr(few) == "<FleetRows device, time, i16 of 'plant'>"


def test_what_does_not_go_says_so(plant: pipeline.Fleet) -> None:
    rows = plant.read()
    with pytest.raises(InvalidInputError, match="cast what to_table returns"):
        ds.dataset([rows, ds.dataset(pa.table({"x": [1]}))])
    with pytest.raises(TypeError, match="pickle the archive's URL"):
        pickle.dumps(rows)
    # Code of Arrow that goes past all methods neither crashes nor finds no rows.
    with pytest.raises(FileNotFoundError, match="rows of an archive are no files"):
        ds.Scanner.from_dataset(rows).to_table()
    with pytest.raises(FileNotFoundError, match="rows of an archive are no files"):
        list(next(rows.get_fragments()).to_batches())


def test_rows_as_folders_of_files(plant: pipeline.Fleet, table: pa.Table, tmp_path: Path) -> None:
    kind = ds.partitioning(pa.schema([("mode", pa.string())]), flavor="hive")
    ds.write_dataset(
        plant.read(channels=["mode", "i64"]), tmp_path, format="parquet", partitioning=kind
    )
    found = ds.dataset(tmp_path, partitioning="hive").to_table()
    assert sorted(found["i64"].to_pylist(), key=str) == sorted(table["i64"].to_pylist(), key=str)
    assert {path.name for path in tmp_path.iterdir()} > {"mode=run", "mode=fault"}


def test_old_versions_and_snapshots_take_filters(plant: pipeline.Fleet) -> None:
    one = plant.at_version(1).read().to_table(["i16"], pc.field("device") == "d3")
    assert one.num_rows == ROWS // 6


def test_a_failure_inside_a_scan_comes_through(
    plant: pipeline.Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("the disk is gone")

    rows = plant.read()
    monkeypatch.setattr("pipeline.archive.fleet_view.fetch_blocks", fail)
    for scan in (rows.read_all, rows.to_table, lambda: pa.table(rows)):
        with pytest.raises(OSError, match="the disk is gone"):
            scan()
