from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.connectors.mapping import DeviceMapping
from pipeline.connectors.parquet import ParquetSource, group_ranges
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.model.ports import Fragment, Source
from pipeline.model.timestamps import TimeFormat

UNITS = {"units": "degC", "description": "Air"}


def table(rows: int = 10, start: int = 0) -> pa.Table:
    numbers = np.arange(start, start + rows)
    fields = [
        pa.field("device", pa.dictionary(pa.int32(), pa.string())),
        pa.field("time", pa.timestamp("us", tz="UTC")),
        pa.field("PM2.5", pa.float64(), metadata=UNITS),
        pa.field("node", pa.int64()),
    ]
    devices = pa.array([f"d{n % 3}" for n in numbers]).dictionary_encode()
    times = pa.array(numbers, fields[1].type)
    return pa.table([devices, times, pa.array(numbers / 2), numbers % 3], schema=pa.schema(fields))


def write(
    folder: Path, name: str = "a.parquet", data: pa.Table | None = None, group: int = 4
) -> Path:
    path = folder / name
    pq.write_table(table() if data is None else data, path, row_group_size=group)
    return path


def read_all(source: ParquetSource) -> pa.Table:
    intakes = [intake for fragment in source.fragments() for intake in fragment.read()]
    return pa.concat_tables([i.table for i in intakes], promote_options="default")


def test_all_rows_in_order_with_their_types_and_metadata(tmp_path: Path) -> None:
    source = ParquetSource(write(tmp_path))
    rows = read_all(source)
    assert rows.cast(source.arrow_schema()).equals(table())
    assert source.arrow_schema().field("PM2.5").metadata == {
        b"units": b"degC",
        b"description": b"Air",
    }


def test_fragments_are_bounded_runs_of_row_groups(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet")
    write(tmp_path, "b.parquet", table(10, 10))
    source = ParquetSource(str(tmp_path / "*.parquet"), rows_per_piece=8)
    names = [Path(fragment.name).name for fragment in source.fragments()]
    assert names == [
        "a.parquet#row_groups=0-2",
        "a.parquet#row_groups=2-3",
        "b.parquet#row_groups=0-2",
        "b.parquet#row_groups=2-3",
    ]
    assert read_all(source)["time"].cast(pa.int64()).to_pylist() == list(range(20))


def test_row_groups_are_never_split() -> None:
    assert group_ranges([5, 5, 5, 20, 1], 10) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert group_ranges([], 10) == []
    assert group_ranges([0, 0], 10) == [(0, 2)]


def test_only_declared_columns_under_their_channel_names(tmp_path: Path) -> None:
    path = write(tmp_path)
    source = ParquetSource(path, device="mote-{node}", channels={"pm25": "PM2.5"})
    rows = read_all(source)
    assert rows.column_names == ["device", "time", "pm25"]
    assert rows["device"].to_pylist()[:3] == ["mote-0", "mote-1", "mote-2"]
    constant = ParquetSource(path, device=DeviceMapping(constant="all"), channels={"x": "PM2.5"})
    assert set(read_all(constant)["device"].to_pylist()) == {"all"}
    assert ParquetSource(path, device="node").channel_columns(table().schema) == {
        "device": "device",
        "PM2.5": "PM2.5",
    }


def test_times_that_are_numbers_take_their_declared_unit(tmp_path: Path) -> None:
    data = pa.table({"device": ["a", "b", "c"], "time": [1, None, 2**60], "t": [1.5, 2.5, 3.5]})
    source = ParquetSource(write(tmp_path, data=data), time_format=TimeFormat("s"))
    intake = next(source.fragments()[0].read())
    assert intake.table["time"].cast(pa.int64()).to_pylist() == [1_000_000]
    assert [json.loads(record)["t"] for record in intake.rejects.records] == [2.5, 3.5]
    assert intake.rejects.reasons[0] == "time is missing"
    assert intake.rejects.source.endswith("a.parquet")
    assert source.arrow_schema().field("time").type == pa.timestamp("us", tz="UTC")


def test_a_source_and_its_fragments_are_ports_and_can_be_sent_to_workers(tmp_path: Path) -> None:
    source = ParquetSource(write(tmp_path))
    fragment = pickle.loads(pickle.dumps(source.fragments()[0]))
    assert isinstance(source, Source)
    assert isinstance(fragment, Fragment)
    assert sum(intake.table.num_rows for intake in fragment.read()) == 10
    assert source.tags() == {}


@pytest.mark.parametrize(
    "options", [{"device": "id"}, {"time": "when"}, {"channels": {"x": "y"}}, {"device": "{id}"}]
)
def test_columns_that_are_not_there_are_named(tmp_path: Path, options: dict[str, Any]) -> None:
    source = ParquetSource(write(tmp_path), **options)
    with pytest.raises(InvalidInputError, match=r"a\.parquet' has no column"):
        source.arrow_schema()


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file found"):
        ParquetSource(tmp_path / "none.parquet").arrow_schema()
    (tmp_path / "z.parquet").write_bytes(b"no parquet")
    with pytest.raises(InvalidInputError, match="no Parquet file"):
        ParquetSource(tmp_path / "z.parquet").fragments()
    (tmp_path / "z.parquet").unlink()
    write(tmp_path, "a.parquet")
    write(tmp_path, "b.parquet", table().drop_columns(["node"]))
    with pytest.raises(InvalidInputError, match=r"b\.parquet' has other columns"):
        ParquetSource(str(tmp_path / "*.parquet")).fragments()
    with pytest.raises(ValidationError):
        ParquetSource("x", device=DeviceMapping.model_construct())


def partitioned(folder: Path) -> str:
    for at, part in enumerate(["site=Oslo/year=2024", "site=New%20York/year=2025"]):
        (folder / part).mkdir(parents=True)
        write(folder / part, data=table(10, 10 * at))
    (folder / "_SUCCESS").touch()
    return str(folder)


def test_folders_that_name_keys_are_columns(tmp_path: Path) -> None:
    source = ParquetSource(
        partitioned(tmp_path),
        device="{site}-{node}",
        channels={"t": "PM2.5", "place": "site"},
        tag_columns={"site": "site", "built": "year", "kind": "device"},
    )
    rows = read_all(source)
    assert rows.cast(source.arrow_schema()).num_rows == 20
    assert set(rows["place"].to_pylist()) == {"Oslo", "New York"}
    assert rows["device"].to_pylist()[:2] == ["New York-1", "New York-2"]
    told: dict[str, Any] = {}
    for fragment in source.fragments():
        for intake in fragment.read():
            told |= intake.tags
    assert told["Oslo-2"] == {"site": "Oslo", "built": "2024", "kind": "d2"}
    assert told["New York-1"] == {"site": "New York", "built": "2025", "kind": "d1"}
    assert len(told) == 6


def test_keys_of_folders_are_no_channels_unless_named(tmp_path: Path) -> None:
    assert ParquetSource(partitioned(tmp_path)).arrow_schema().names == table().schema.names


def test_a_key_without_a_value_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "site=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir()
    write(folder)
    source = ParquetSource(tmp_path, channels={"place": "site"}, tag_columns={"site": "site"})
    assert read_all(source)["place"].null_count == 10
    assert not any(intake.tags for f in source.fragments() for intake in f.read())
    nobody = ParquetSource(tmp_path, device="site", channels={})
    assert read_all(nobody)["device"].null_count == 10


def test_a_column_of_the_file_comes_before_a_key_of_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "node=seven"
    folder.mkdir()
    source = ParquetSource(write(folder), channels={"node": "node"})
    assert read_all(source)["node"].to_pylist()[:3] == [0, 1, 2]


def test_keys_that_cannot_be_what_they_are_asked_to_be(tmp_path: Path) -> None:
    path = partitioned(tmp_path)
    with pytest.raises(InvalidInputError, match="times have to be in the file"):
        ParquetSource(path, time="year").arrow_schema()
    with pytest.raises(InvalidInputError, match=r"partition keys \['site', 'year'\]"):
        ParquetSource(path, tag_columns={"x": "month"}).fragments()


def test_a_tag_is_what_the_first_row_with_a_value_says(tmp_path: Path) -> None:
    data = pa.table(
        {
            "device": ["a", "b", None, "a", "b"],
            "time": pa.array(range(5), pa.timestamp("us", tz="UTC")),
            "site": ["", "x", "w", "y", "z"],
            "floor": pa.array([None, None, 1, 2, None], pa.int8()),
        }
    )
    source = ParquetSource(
        write(tmp_path, data=data, group=10),
        channels={},
        tag_columns={"site": "site", "floor": "floor"},
    )
    (intake,) = source.fragments()[0].read()
    assert intake.tags == {"a": {"site": "y", "floor": "2"}, "b": {"site": "x"}}
