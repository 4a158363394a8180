"""One declaration for each payload format, with a way to write its payloads, for tests of all."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any, Final

import cbor2
import fastavro
import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from pipeline.connectors.payloads.sparkplug_schema import payload_class

__all__ = ["OPTIONS", "READING", "SPARKPLUG", "WRITERS", "avro", "confluent"]

NUMBERS: Final = {"t": {"dtype": "float64"}, "n": {"dtype": "int32"}}
MAPPING: Final[dict[str, Any]] = {
    "topic": "s/{id}",
    "device": "id",
    "time": {"columns": "at", "unit": "ms"},
    "channels": NUMBERS,
}

SCHEMA: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "t", "type": ["null", "double"]},
        {"name": "n", "type": ["null", "int"]},
    ],
}


def reading_file() -> Any:
    """Return the descriptor of a file with a message type of readings."""
    file = descriptor_pb2.FileDescriptorProto(name="reading.proto", package="demo", syntax="proto3")
    message = file.message_type.add(name="Reading")
    for number, (name, kind) in enumerate((("at", 3), ("t", 1), ("n", 5)), 1):
        message.field.add(
            name=name,
            number=number,
            type=kind,
            label=1,
            proto3_optional=True,
            oneof_index=number - 1,
        )
        message.oneof_decl.add(name=f"_{name}")
    return file


def reading_class() -> Any:
    """Return the class of its messages."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(reading_file().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("demo.Reading"))


READING: Final = reading_class()
SPARKPLUG: Final = payload_class("sparkplug_b")

OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "avro": {"mapping": MAPPING, "written_by": SCHEMA},
    "cbor": {"mapping": MAPPING},
    "csv": {"mapping": MAPPING, "columns": ["at", "t", "n"]},
    "json": {"mapping": MAPPING},
    "line_protocol": {
        "mapping": {"device": "id", "channels": NUMBERS, "precision": "ms"},
        "topic": "s/{id}",
    },
    "msgpack": {"mapping": MAPPING},
    "protobuf": {
        "mapping": MAPPING,
        "message": "demo.Reading",
        "descriptor_set": descriptor_pb2.FileDescriptorSet(
            file=[reading_file()]
        ).SerializeToString(),
    },
    "senml_json": {"mapping": {"topic": "s/{id}", "device": "id", "channels": NUMBERS}},
    "senml_cbor": {"mapping": {"topic": "s/{id}", "device": "id", "channels": NUMBERS}},
    "sparkplug_b": {"mapping": {"channels": NUMBERS, "device": "device"}},
}
"""Declarations of readings with a time ``at`` in milliseconds and channels ``t`` and ``n``."""


def avro(reading: dict[str, Any], schema: Any = SCHEMA) -> bytes:
    """Write a datum."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(
        stream, fastavro.parse_schema(schema), {"t": None, "n": None} | reading
    )
    return stream.getvalue()


def confluent(number: int, datum: bytes) -> bytes:
    """Write a datum in Confluent's wire format."""
    return b"\0" + struct.pack(">I", number) + datum


def _csv(reading: dict[str, Any]) -> bytes:
    texts = [str(reading.get(name, "")) for name in ("at", "t", "n")]
    return ",".join(texts).encode()


def _line(reading: dict[str, Any]) -> bytes:
    fields = [f"{k}={v!r}{'i' if k == 'n' else ''}" for k, v in reading.items() if k != "at"]
    return f"m {','.join(fields)} {reading['at']}".encode()


def _senml(reading: dict[str, Any]) -> list[dict[str, Any]]:
    values = [(name, reading[name]) for name in ("t", "n") if name in reading]
    return [{"bn": "x:", "bt": reading["at"] / 1000, "n": name, "v": v} for name, v in values]


def _senml_cbor(reading: dict[str, Any]) -> bytes:
    labels = {"bn": -2, "bt": -3, "n": 0, "v": 2}
    return cbor2.dumps([{labels[k]: v for k, v in record.items()} for record in _senml(reading)])


def _sparkplug(reading: dict[str, Any]) -> bytes:
    payload = SPARKPLUG(timestamp=reading["at"], seq=0)
    if "t" in reading:
        payload.metrics.add(name="t", datatype=10, double_value=reading["t"])
    if "n" in reading:
        payload.metrics.add(name="n", datatype=3, int_value=reading["n"] % 2**32)
    return bytes(payload.SerializeToString())


WRITERS: Final[dict[str, Callable[[dict[str, Any]], bytes]]] = {
    "avro": avro,
    "cbor": cbor2.dumps,
    "csv": _csv,
    "json": lambda reading: json.dumps(reading).encode(),
    "line_protocol": _line,
    "msgpack": msgspec.msgpack.encode,
    "protobuf": lambda reading: bytes(READING(**reading).SerializeToString()),
    "senml_json": lambda reading: json.dumps(_senml(reading)).encode(),
    "senml_cbor": _senml_cbor,
    "sparkplug_b": _sparkplug,
}
"""How a reading is written, by format."""
