"""Real files as found in deployments, through their declared mappings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.connectors.delimited import DelimitedSource
from pipeline.connectors.json_documents import JsonSource
from pipeline.connectors.parquet import ParquetSource
from pipeline.model.ports import Intake
from pipeline.model.timestamps import to_microseconds
from pipeline.schema.channels import Schema
from pipeline.schema.validation import validate
from tests.connectors.dirty_files import (
    air_quality,
    find_real_data,
    library_motes,
    lora_main_node,
    lora_receiver_log,
    mqtt_capture,
    parquet_file,
    raw_file,
)

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        find_real_data() is None, reason="no real data: set IOT_ARCHIVE_REAL_DATA to its folder"
    ),
]


def intake_of(source: DelimitedSource | JsonSource) -> Intake:
    pieces = [intake for fragment in source.fragments() for intake in fragment.read()]
    tables = [piece.table for piece in pieces]
    rejects = type(pieces[0].rejects).concat(piece.rejects for piece in pieces)
    return Intake(
        pa.concat_tables(tables).unify_dictionaries(), rejects, sum(p.ignored for p in pieces)
    )


def physical_lines(source: DelimitedSource) -> int:
    data = Path(source.path).read_bytes()
    return data.count(b"\n") + (not data.endswith(b"\n"))


@pytest.mark.parametrize("piece_bytes", [256 * 1024 * 1024, 100_000])
@pytest.mark.parametrize(
    ("make", "rows", "rejected"),
    [
        (lora_main_node, 72_250, 0),
        (lora_receiver_log, 9765, 0),
        (air_quality, 9357, 0),
        (library_motes, 7563, 0),
    ],
)
def test_rows_rejects_and_ignored_add_up_to_the_lines_of_the_file(
    make: Callable[..., DelimitedSource], rows: int, rejected: int, piece_bytes: int
) -> None:
    source = make(piece_bytes=piece_bytes)
    found = intake_of(source)
    assert found.table.num_rows == rows
    assert len(found.rejects) == rejected
    assert rows + rejected + found.ignored == physical_lines(source)


@pytest.mark.parametrize("make", [lora_main_node, lora_receiver_log])
def test_undeclared_lines_are_rejected_whole_instead(make: Callable[..., DelimitedSource]) -> None:
    declared = make()
    source = DelimitedSource(
        declared.path,
        declared.mapping,
        header=False,
        columns=declared.columns,
        pattern=declared.pattern,
    )
    found = intake_of(source)
    assert found.table.num_rows == intake_of(declared).table.num_rows
    lines = set(Path(source.path).read_text().splitlines())
    assert len(found.rejects) > 1000
    assert set(found.rejects.records) <= lines
    assert found.table.num_rows + len(found.rejects) + found.ignored == physical_lines(source)


def test_documents_of_the_mqtt_capture_add_up() -> None:
    source = mqtt_capture()
    found = intake_of(source)
    documents = json.loads(Path(source.path).read_text())
    assert found.table.num_rows + len(found.rejects) == len(documents)
    payloads = [document["payload"] for document in documents if isinstance(document, dict)]
    readings = [p for p in payloads if isinstance(p, dict) and {"sensor", "timestamp"} & set(p)]
    assert found.table.num_rows == len(readings)
    assert set(found.table["sensor"].to_pylist()) >= {"pir-motion", "dht11"}
    for record in found.rejects.records:
        assert json.loads(record) in documents


def test_scaled_readings_are_the_written_digits() -> None:
    rows = intake_of(lora_main_node()).table
    counts = pq.read_table(parquet_file("hast_lora_leaf_nodes"))
    for channel, column in [("battery", "battery_cV"), ("temperature", "temp_cC")]:
        expected = [float(f"{value}e-2") for value in counts[column].to_pylist()]
        assert rows[channel].to_pylist() == expected
    assert rows["status"].to_pylist() == counts["status"].to_pylist()
    assert rows["time"].cast(pa.int64()).equals(counts["time"].cast(pa.int64()))


def test_decimal_commas_and_missing_marks() -> None:
    rows = intake_of(air_quality()).table
    first = rows.slice(0, 1).to_pylist()[0]
    assert (first["CO(GT)"], first["C6H6(GT)"], first["AH"]) == (2.6, 11.9, 0.7578)
    assert rows["time"][0].as_py().isoformat() == "2004-03-10T17:00:00+00:00"
    assert rows["NMHC(GT)"].null_count == 8443
    numbers = np.concatenate([rows[name].drop_null().to_numpy() for name in rows.column_names[2:]])
    assert numbers.min() > -200


def test_motes_agree_with_their_cleaned_form() -> None:
    rows = intake_of(library_motes()).table
    clean = pq.read_table(parquet_file("ulb_library_motes"))
    first = set(
        zip(rows["time"].cast(pa.int64()).to_pylist(), rows["temperature"].to_pylist(), strict=True)
    )
    every = set(
        zip(
            clean["time"].cast(pa.int64()).to_pylist(),
            clean["temperature"].to_pylist(),
            strict=True,
        )
    )
    assert len(first & every) > 0.9 * len(first)


def test_absurd_clocks_are_left_to_validation() -> None:
    source = lora_main_node()
    rows = intake_of(source).table
    schema = Schema.from_arrow(source.arrow_schema())
    batch, rejects = validate(
        rows,
        schema,
        earliest=to_microseconds("2015-01-01"),
        latest=to_microseconds("2030-01-01"),
        source=raw_file("").name,
    )
    assert len(batch) + len(rejects) == rows.num_rows
    assert 0 < len(rejects) < 100
    assert all(device.startswith("node-") for device in batch.devices)
    assert "node-213" not in batch.devices


def test_parquet_files_read_as_they_are() -> None:
    source = ParquetSource(parquet_file("beijing_multisite_air"), rows_per_piece=100_000)
    schema = Schema.from_arrow(source.arrow_schema())
    assert schema["PM2.5"].dtype == "float64"
    assert schema["wd"].dtype == "category"
    rows = missing = 0
    for fragment in source.fragments():
        for intake in fragment.read():
            batch, rejects = validate(intake.table, schema, earliest=0, latest=2**62)
            assert len(rejects) == 0
            rows += len(batch)
            for column in batch.columns.values():
                missing += 0 if column.valid is None else int((~column.valid).sum())
    assert (rows, missing) == (420_768, 74_027)
