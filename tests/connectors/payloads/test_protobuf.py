"""Protobuf by descriptors: framings, presence, well-known types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)

from pipeline.connectors.payloads import descriptor_set_of, payload_format
from pipeline.errors import InvalidInputError
from tests.connectors.payloads.kinds import OPTIONS, READING
from tests.connectors.payloads.saying import RECEIVED, decode, reasons_of, rows_of, say

AT = 1_700_000_000_123
DOUBLE, INT64, STRING, MESSAGE, ENUM, SINT32 = 1, 3, 9, 11, 14, 17


def file_of_plants() -> Any:
    """Return a file as protoc would describe it::

    message Batch { string gateway = 1; repeated Sample samples = 2; map<string, string> labels = 3; }
    message Sample {
      google.protobuf.Timestamp at = 1; double level = 2; google.protobuf.DoubleValue flow = 3;
      State state = 4; sint32 change = 5; Sample before = 6; repeated int64 raw = 7;
    }
    enum State { OFF = 0; ON = 1; }
    """
    file = descriptor_pb2.FileDescriptorProto(name="plant.proto", package="plant", syntax="proto3")
    file.dependency.extend(["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"])
    state = file.enum_type.add(name="State")
    state.value.add(name="OFF", number=0)
    state.value.add(name="ON", number=1)
    sample = file.message_type.add(name="Sample")
    for name, number, kind, of in (
        ("at", 1, MESSAGE, ".google.protobuf.Timestamp"),
        ("level", 2, DOUBLE, ""),
        ("flow", 3, MESSAGE, ".google.protobuf.DoubleValue"),
        ("state", 4, ENUM, ".plant.State"),
        ("change", 5, SINT32, ""),
        ("before", 6, MESSAGE, ".plant.Sample"),
    ):
        sample.field.add(name=name, number=number, type=kind, type_name=of or None, label=1)
    sample.field.add(name="raw", number=7, type=INT64, label=3)
    batch = file.message_type.add(name="Batch")
    batch.field.add(name="gateway", number=1, type=STRING, label=1)
    batch.field.add(name="samples", number=2, type=MESSAGE, type_name=".plant.Sample", label=3)
    entry = batch.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=STRING, label=1)
    entry.field.add(name="value", number=2, type=STRING, label=1)
    batch.field.add(
        name="labels", number=3, type=MESSAGE, type_name=".plant.Batch.LabelsEntry", label=3
    )
    return file


def batch_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for module in (timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file_of_plants().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("plant.Batch"))


BATCH = batch_class()
PLANT: dict[str, Any] = {
    "message": "plant.Batch",
    "descriptor_set": descriptor_set_of(BATCH),
    "mapping": {
        "device": "{root/gateway}",
        "tags": {"hall": "root/labels.hall"},
        "records": "samples",
        "time": "at",
        "channels": {
            "level": {"dtype": "float64"},
            "flow": {"dtype": "float64"},
            "state": {"dtype": "category"},
            "change": {"dtype": "int16"},
            "before": {"dtype": "float64", "column": "before.level"},
            "raw": {"dtype": "int64", "column": "raw.1"},
        },
    },
}


def test_samples_within_a_batch_with_every_kind_of_field() -> None:
    batch = BATCH(gateway="gw-7", labels={"hall": "north"})
    full = batch.samples.add(level=1.25, state=1, change=-3, raw=[10, 20])
    full.at.FromMilliseconds(AT)
    full.flow.value = 0.0
    full.before.level = 1.5
    bare = batch.samples.add(state=9)
    bare.at.FromMilliseconds(AT + 1)
    fine = batch.samples.add()
    fine.at.FromNanoseconds(AT * 1_000_000 + 1)
    decoded = decode("protobuf", PLANT, [say("x", batch.SerializeToString())])
    assert rows_of(decoded) == [
        {
            "device": "gw-7",
            "time": AT * 1000,
            "level": 1.25,
            "flow": 0.0,
            "state": "ON",
            "change": -3,
            "before": 1.5,
            "raw": 20,
        },
        {"device": "gw-7", "time": (AT + 1) * 1000, "level": 0.0, "state": "9", "change": 0},
    ]
    assert decoded.tags == {"gw-7": {"hall": "north"}}
    assert "has digits below the microsecond" in reasons_of(decoded)[0]


def test_a_batch_without_samples_is_ignored() -> None:
    decoded = decode("protobuf", PLANT, [say("x", BATCH(gateway="gw-7").SerializeToString())])
    assert (decoded.ignored, decoded.rejected) == (1, 0)


def framed(framing: str) -> dict[str, Any]:
    return {**OPTIONS["protobuf"], "framing": framing}


def test_messages_behind_their_lengths_are_a_batch() -> None:
    parts = [READING(at=AT + at, t=1.0 * at, n=200).SerializeToString() for at in range(3)]
    payload = b"".join(len(part).to_bytes(1, "little") + part for part in parts)
    decoded = decode("protobuf", framed("delimited"), [say("s/a", payload)])
    assert [row["t"] for row in rows_of(decoded)] == [0.0, 1.0, 2.0]
    long = READING(at=AT, t=1.0).SerializeToString() + b"\x7a\xc8\x01" + b"x" * 200  # unknown field
    twice = b"".join([(len(long) & 0x7F | 0x80).to_bytes(), (len(long) >> 7).to_bytes(), long] * 2)
    assert decode("protobuf", framed("delimited"), [say("s/a", twice)]).table.num_rows == 2


@pytest.mark.parametrize(
    ("framing", "payload", "reason"),
    [
        ("single", b"", "the payload is empty"),
        ("single", b"\xff\xff", "not a protobuf message of this type"),
        ("delimited", b"\x05\x08\x01", "a message of 5 bytes is announced where 2 are left"),
        ("delimited", b"\x80" * 11, "a varint does not end"),
        ("delimited", b"\x80", "a varint does not end"),
        ("confluent", b"\x01\x00\x00\x00\x01\x00\x08\x01", "does not begin with a zero byte"),
        ("confluent", b"\x00\x00\x00\x00\x01\xff\xff\xff\x7f\x01", "a varint does not end"),
    ],
)
def test_frames_that_cannot_be_are_kept(framing: str, payload: bytes, reason: str) -> None:
    decoded = decode("protobuf", framed(framing), [say("s/a", payload)])
    assert decoded.table.num_rows == 0
    assert reason in reasons_of(decoded)[0]
    assert decoded.rejects[0].message.payload == payload


@pytest.mark.parametrize("indexes", [b"\x00", b"\x02\x00", b"\x04\x02\x06"])
def test_confluents_wire_format_names_schema_and_message(indexes: bytes) -> None:
    payload = b"\x00\x00\x00\x00\x07" + indexes + READING(at=AT, t=2.5).SerializeToString()
    decoded = decode("protobuf", framed("confluent"), [say("s/a", payload)])
    assert rows_of(decoded) == [{"device": "a", "time": AT * 1000, "t": 2.5}]


def test_descriptors_can_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "plant.desc"
    options = {key: value for key, value in PLANT.items() if key != "descriptor_set"}
    file.write_bytes(PLANT["descriptor_set"])
    batch = BATCH(gateway="gw-7")
    batch.samples.add(level=1.0).at.FromMicroseconds(RECEIVED)
    told = [say("x", batch.SerializeToString())]
    decoded = decode("protobuf", {**options, "descriptors": str(file)}, told)
    assert decoded.table["level"].to_pylist() == [1.0]
    missing = payload_format("protobuf", {**options, "descriptors": str(tmp_path / "none")})
    with pytest.raises(InvalidInputError, match="cannot be read"):
        missing.decoder()


@pytest.mark.parametrize("described", [b"\xff", descriptor_set_of(READING)])
def test_a_message_that_is_not_described_is_an_error(described: bytes) -> None:
    declared = payload_format("protobuf", {**PLANT, "descriptor_set": described})
    with pytest.raises(
        InvalidInputError, match=r"'plant.Batch' is not described .*--include_imports"
    ):
        declared.decoder()


def test_descriptors_have_to_be_declared_once() -> None:
    with pytest.raises(InvalidInputError, match="give one of descriptors"):
        payload_format("protobuf", {**PLANT, "descriptor_set": b""})
