"""Avro, bare and in Confluent's wire format."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipeline.connectors.payloads import Message, payload_format
from pipeline.errors import InvalidInputError
from tests.connectors.payloads.kinds import MAPPING, SCHEMA, avro, confluent
from tests.connectors.payloads.saying import RECEIVED, decode, reasons_of, rows_of, say

AT = 1_700_000_000_123
READING = {"at": datetime.fromtimestamp(AT / 1000, UTC), "t": 21.5, "n": 7}

NEWER = {
    "type": "record",
    "name": "Reading",
    "namespace": "plant.v2",
    "fields": [
        {"name": "sensor", "type": {"type": "enum", "name": "Sensor", "symbols": ["A", "B"]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {
            "name": "t",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3},
        },
        {"name": "n", "type": ["null", "int"], "default": None},
    ],
}


def test_confluents_wire_format_names_the_schema() -> None:
    newer = {"sensor": "B", "at": READING["at"], "t": Decimal("21.375"), "n": None}
    options = {"mapping": MAPPING, "registered": {1: SCHEMA, 42: NEWER}}
    told = [
        say("s/a", confluent(1, avro(READING))),
        say("s/b", confluent(42, avro(newer, NEWER))),
        say("s/c", confluent(43, avro(READING))),
        say("s/d", avro(READING)),
        say("s/e", confluent(1, avro(READING) + b"!")),
        say("s/f", confluent(1, avro(READING)[:-1])),
        say("s/g", b"\0\0"),
    ]
    decoded = decode("avro", options, told)
    assert rows_of(decoded) == [
        {"device": "a", "time": AT * 1000, "t": 21.5, "n": 7},
        {"device": "b", "time": AT * 1000, "t": 21.375},
    ]
    assert [reject.message for reject in decoded.rejects] == told[2:]
    declared = "schema 43 is not among those declared ([1, 42]); add it"
    begins = "the payload does not begin with a zero byte and the id of a schema"
    reasons = reasons_of(decoded)
    assert reasons[:3] == [declared, begins, "1 bytes follow the Avro datum"]
    assert reasons[3].startswith("the payload is not written by its Avro schema: ")
    assert reasons[4] == begins


def test_keys_and_headers_of_a_broker_are_fields() -> None:
    mapping = {
        "device": "{header/site}-{message/key}",
        "tags": {"from": "message/topic"},
        "time": "message/received",
        "channels": {"t": {"dtype": "float64"}},
    }
    told = [
        Message("readings", avro(READING), RECEIVED, b"k1", (("site", b"old"), ("site", b"ghent"))),
        Message("readings", avro(READING), RECEIVED, None, (("site", "ghent"),)),
    ]
    decoded = decode("avro", {"mapping": mapping, "written_by": SCHEMA}, told)
    assert rows_of(decoded) == [{"device": "ghent-k1", "time": RECEIVED, "t": 21.5}]
    assert decoded.tags == {"ghent-k1": {"from": "readings"}}
    assert reasons_of(decoded) == ["device is missing: no 'header/site', 'message/key'"]


def test_an_array_of_records_is_a_batch() -> None:
    schema = {"type": "array", "items": SCHEMA}
    stream = io.BytesIO()
    readings = [{"at": AT + at, "t": 1.0 * at, "n": None} for at in range(3)]
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), readings)
    decoded = decode(
        "avro", {"mapping": MAPPING, "written_by": schema}, [say("s/a", stream.getvalue())]
    )
    assert [row["t"] for row in rows_of(decoded)] == [0.0, 1.0, 2.0]


def test_schemas_can_stand_in_files(tmp_path: Path) -> None:
    file = tmp_path / "reading.avsc"
    file.write_text(json.dumps(SCHEMA))
    decoded = decode(
        "avro", {"mapping": MAPPING, "written_by": str(file)}, [say("s/a", avro(READING))]
    )
    assert [row["n"] for row in rows_of(decoded)] == [7]
    (tmp_path / "wrong.avsc").write_text('{"type": "recor"}')
    for path in (tmp_path / "wrong.avsc", tmp_path / "none.avsc"):
        declared = payload_format("avro", {"mapping": MAPPING, "written_by": str(path)})
        with pytest.raises(InvalidInputError, match=f"avro schema '{path}' cannot be used"):
            declared.decoder()


@pytest.mark.parametrize("told", [{}, {"written_by": SCHEMA, "registered": {1: SCHEMA}}])
def test_one_way_of_knowing_the_schema_has_to_be_declared(told: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="give one of written_by"):
        payload_format("avro", {"mapping": MAPPING, **told})


def test_local_times_are_those_of_the_declared_clock() -> None:
    local = {"type": "long", "logicalType": "local-timestamp-millis"}
    fields = [
        {"name": "at", "type": ["null", local, SCHEMA["fields"][0]["type"]]},
        *SCHEMA["fields"][1:],
    ]
    schema = {**SCHEMA, "fields": fields}
    mapping = {**MAPPING, "time": {"columns": "at", "timezone": "Europe/Brussels"}}
    naive = [datetime(2024, 7, 1, 12), datetime(2024, 3, 31, 2, 30), None]  # noqa: DTZ001
    told = [say("s/a", avro({"at": at, "t": 1.0}, schema)) for at in naive]
    decoded = decode("avro", {"mapping": mapping, "written_by": schema}, told)
    assert [row["time"] for row in rows_of(decoded)] == [1_719_828_000_000_000]
    assert "clocks skip it" in reasons_of(decoded)[0]
